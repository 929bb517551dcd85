//! The ingress gateway, and an egress gateway where one is asked for: Deployment, Service, PodDisruptionBudget and HPA.

use serde_json::{Value, json};

use super::names::{
    CERTS_DIR, EGRESS_GATEWAY, GATEWAY, PROXY_UID, STATE_DIR, SYSTEM_NAMESPACE, account_secret, feed_address,
};
use super::{Part, Values, anti_affinity, disruption_budget, image, security_context};

/// How long a gateway's connections get to end, in seconds.
const DRAIN_S: u64 = 25;
/// How long a gateway takes connections after its end was asked for, in seconds.
const LEAVING_S: u64 = 5;
/// What the pod gets until it is killed.
const GRACE_S: u64 = 60;

pub(super) fn parts(values: &Values) -> Vec<Part> {
    let ingress = Role { name: GATEWAY, label: "ingressgateway", replicas: None };
    let egress = Role { name: EGRESS_GATEWAY, label: "egressgateway", replicas: Some("egress.replicas") };
    vec![
        Part::when("gateway.enabled", ingress_service(values)),
        Part::when("gateway.enabled", disruption_budget(GATEWAY)),
        Part::when("gateway.enabled", deployment(values, &ingress)),
        Part::when("gateway.enabled", autoscaler(values)),
        Part::when("egress.enabled", egress_service()),
        Part::when("egress.enabled", disruption_budget(EGRESS_GATEWAY)),
        Part::when("egress.enabled", deployment(values, &egress)),
    ]
}

/// One of the gateways.
struct Role {
    name: &'static str,
    /// Value of the label `istio`, by which Istio's Gateways usually select.
    label: &'static str,
    /// Path of the number of replicas; none where an autoscaler decides.
    replicas: Option<&'static str>,
}

fn ingress_service(values: &Values) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {
            "name": GATEWAY, "namespace": SYSTEM_NAMESPACE,
            "labels": {"app": GATEWAY, "istio": "ingressgateway"},
            "annotations": values.get("gateway.service.annotations"),
        },
        "spec": {
            "type": values.get("gateway.service.type"),
            "selector": {"app": GATEWAY},
            "ports": [
                {"name": "http", "port": 80, "targetPort": 8080, "protocol": "TCP"},
                {"name": "https", "port": 443, "targetPort": 8443, "protocol": "TCP"},
            ],
        },
    })
}

fn egress_service() -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {
            "name": EGRESS_GATEWAY, "namespace": SYSTEM_NAMESPACE,
            "labels": {"app": EGRESS_GATEWAY, "istio": "egressgateway"},
        },
        "spec": {
            "selector": {"app": EGRESS_GATEWAY},
            "ports": [
                {"name": "http2", "port": 80, "targetPort": 8080, "protocol": "TCP"},
                {"name": "https", "port": 443, "targetPort": 8443, "protocol": "TCP"},
            ],
        },
    })
}

fn deployment(values: &Values, role: &Role) -> Value {
    let labels = json!({"app": role.name, "istio": role.label});
    let mut pod_labels = labels.clone();
    pod_labels["sidecar.dromon.io/inject"] = json!("false");
    let mut deployment = json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": role.name, "namespace": SYSTEM_NAMESPACE, "labels": labels},
        "spec": {
            "selector": {"matchLabels": {"app": role.name}},
            "strategy": {"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
            "template": {
                "metadata": {
                    "labels": pod_labels,
                    "annotations": {
                        "prometheus.io/scrape": "true",
                        "prometheus.io/port": "15090",
                        "prometheus.io/path": "/stats/prometheus",
                    },
                },
                "spec": pod(values, role.name),
            },
        },
    });
    if let Some(path) = role.replicas {
        deployment["spec"]["replicas"] = values.get(path);
    }
    deployment
}

fn pod(values: &Values, name: &str) -> Value {
    json!({
        "serviceAccountName": GATEWAY,
        "affinity": anti_affinity(name),
        "nodeSelector": values.get("gateway.nodeSelector"),
        "tolerations": values.get("gateway.tolerations"),
        "terminationGracePeriodSeconds": GRACE_S,
        "containers": [{
            "name": "dromon-proxy",
            "image": image(values, "dromon-proxy"),
            "imagePullPolicy": values.get("image.pullPolicy"),
            "args": [
                "--id", "gateway~$(POD_NAME).$(POD_NAMESPACE)",
                "--feed", feed_address(),
                "--certs", CERTS_DIR,
                "--state-dir", STATE_DIR,
                "--metrics-addr", "*:15020",
                "--health-addr", "*:15021",
                "--stats-addr", "*:15090",
                "--drain-seconds", DRAIN_S.to_string(),
                "--log-level", values.get("logLevel"),
            ],
            "env": [
                {"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
                {"name": "POD_NAMESPACE", "valueFrom": {"fieldRef": {"fieldPath": "metadata.namespace"}}},
            ],
            "ports": [
                {"name": "http", "containerPort": 8080, "protocol": "TCP"},
                {"name": "https", "containerPort": 8443, "protocol": "TCP"},
                {"name": "metrics", "containerPort": 15090, "protocol": "TCP"},
            ],
            // New connections still come until every node has heard that the pod is on its way out: it takes them meanwhile.
            "lifecycle": {"preStop": {"exec": {"command": [
                "/usr/local/bin/dromon-proxy", "drain", "--until-idle",
                "--at-least", LEAVING_S.to_string(), "--at-most", DRAIN_S.to_string(),
            ]}}},
            "startupProbe": probe(1, 600),
            "readinessProbe": probe(2, 3),
            "resources": values.get("gateway.resources"),
            "securityContext": security_context(PROXY_UID, json!({"type": "RuntimeDefault"})),
            "volumeMounts": [
                {"name": "certs", "mountPath": CERTS_DIR, "readOnly": true},
                {"name": "state", "mountPath": STATE_DIR},
            ],
        }],
        "volumes": [
            {"name": "certs", "secret": {"secretName": account_secret(GATEWAY)}},
            {"name": "state", "emptyDir": {"sizeLimit": "256Mi"}},
        ],
    })
}

fn probe(period: u32, failures: u32) -> Value {
    json!({
        "httpGet": {"path": "/healthz/ready", "port": 15021},
        "periodSeconds": period, "timeoutSeconds": 3, "failureThreshold": failures,
    })
}

fn autoscaler(values: &Values) -> Value {
    json!({
        "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": GATEWAY, "namespace": SYSTEM_NAMESPACE, "labels": {"app": GATEWAY}},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": GATEWAY},
            "minReplicas": values.get("gateway.minReplicas"),
            "maxReplicas": values.get("gateway.maxReplicas"),
            "metrics": [{
                "type": "Resource",
                "resource": {
                    "name": "cpu",
                    "target": {"type": "Utilization", "averageUtilization": values.get("gateway.targetCPUPercent")},
                },
            }],
        },
    })
}
