//! The controller's Deployment, Service and PodDisruptionBudget.

use serde_json::{Value, json};

use super::names::{
    CONFIG_DIR, CONTROLLER, FEED_PORT, MESH_CONFIG, STATUS_PORT, SYSTEM_NAMESPACE, VALUES_KEY, WEBHOOK_PORT,
    WEBHOOK_SERVICE_PORT,
};
use super::{Part, Values, anti_affinity, disruption_budget, image, security_context};

/// User of the controller; any but root's and the proxies' would do.
const UID: i64 = 1338;

pub(super) fn parts(values: &Values, hash: &str) -> Vec<Part> {
    vec![
        Part::always(service()),
        Part::always(disruption_budget(CONTROLLER)),
        Part::always(deployment(values, hash)),
    ]
}

fn service() -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"name": CONTROLLER, "namespace": SYSTEM_NAMESPACE, "labels": {"app": CONTROLLER}},
        "spec": {
            "selector": {"app": CONTROLLER},
            "ports": [
                {"name": "tls-feed", "port": FEED_PORT, "targetPort": FEED_PORT, "protocol": "TCP"},
                {"name": "https-webhook", "port": WEBHOOK_SERVICE_PORT, "targetPort": WEBHOOK_PORT, "protocol": "TCP"},
                {"name": "http-status", "port": STATUS_PORT, "targetPort": STATUS_PORT, "protocol": "TCP"},
            ],
        },
    })
}

fn deployment(values: &Values, hash: &str) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": CONTROLLER, "namespace": SYSTEM_NAMESPACE, "labels": {"app": CONTROLLER}},
        "spec": {
            "replicas": values.get("controller.replicas"),
            "selector": {"matchLabels": {"app": CONTROLLER}},
            // The new one serves before the old one goes, whatever the number.
            "strategy": {"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
            "template": {
                "metadata": {
                    "labels": {"app": CONTROLLER, "sidecar.dromon.io/inject": "false"},
                    "annotations": {
                        "prometheus.io/scrape": "true",
                        "prometheus.io/port": STATUS_PORT.to_string(),
                        "prometheus.io/path": "/metrics",
                        // Other values are other pods.
                        "dromon.io/values-hash": hash,
                    },
                },
                "spec": pod(values),
            },
        },
    })
}

fn pod(values: &Values) -> Value {
    let healthy = |period: u32, failures: u32| {
        json!({
            "httpGet": {"path": "/healthz", "port": STATUS_PORT},
            "periodSeconds": period, "timeoutSeconds": 3, "failureThreshold": failures,
        })
    };
    let ready = json!({
        "httpGet": {"path": "/healthz", "port": STATUS_PORT},
        "periodSeconds": 2, "timeoutSeconds": 3, "failureThreshold": 3,
    });
    json!({
        "serviceAccountName": CONTROLLER,
        "affinity": anti_affinity(CONTROLLER),
        "nodeSelector": values.get("controller.nodeSelector"),
        "tolerations": values.get("controller.tolerations"),
        "terminationGracePeriodSeconds": 30,
        "containers": [{
            "name": "controller",
            "image": image(values, "dromon-controller"),
            "imagePullPolicy": values.get("image.pullPolicy"),
            "args": [
                "--source", "kube",
                "--system-namespace", SYSTEM_NAMESPACE,
                "--run-dir", "/run/dromon",
                "--feed-tcp", format!("0.0.0.0:{FEED_PORT}"),
                "--webhook-addr", format!("0.0.0.0:{WEBHOOK_PORT}"),
                "--status-addr", format!("0.0.0.0:{STATUS_PORT}"),
                format!("--ca-secret={}", values.text("ca.secret")),
                "--values", format!("{CONFIG_DIR}/{VALUES_KEY}"),
                "--log-level", values.get("logLevel"),
            ],
            "env": [
                {"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
                {"name": "POD_NAMESPACE", "valueFrom": {"fieldRef": {"fieldPath": "metadata.namespace"}}},
            ],
            "ports": [
                {"name": "feed", "containerPort": FEED_PORT, "protocol": "TCP"},
                {"name": "webhook", "containerPort": WEBHOOK_PORT, "protocol": "TCP"},
                {"name": "status", "containerPort": STATUS_PORT, "protocol": "TCP"},
            ],
            "startupProbe": healthy(1, 120),
            "livenessProbe": healthy(10, 6),
            "readinessProbe": ready,
            "resources": values.get("controller.resources"),
            "securityContext": security_context(UID, json!({"type": "RuntimeDefault"})),
            "volumeMounts": [
                {"name": "config", "mountPath": CONFIG_DIR, "readOnly": true},
                {"name": "run", "mountPath": "/run/dromon"},
            ],
        }],
        "volumes": [
            {"name": "config", "configMap": {"name": MESH_CONFIG}},
            {"name": "run", "emptyDir": {"sizeLimit": "256Mi"}},
        ],
    })
}
