//! What the controller and gateways may do, in one table: the ClusterRole and Roles that are installed are made of it, and
//! the suites run the controller with nothing more.
//!
//! Least privilege, with one cost that cannot be avoided: since a pod's keys are in a Secret of its own namespace, the
//! controller writes Secrets in the whole cluster.

use serde_json::{Value, json};

use super::names::{CONTROLLER, GATEWAY, INJECTOR_WEBHOOK, INJECTOR_WEBHOOK_ISTIO, VALIDATOR_WEBHOOK};

/// One line of a role: these verbs on these resources.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grant {
    /// API group; empty for Kubernetes' core.
    pub group: &'static str,
    /// Plural names; `NAME/status` is the status alone.
    pub resources: &'static [&'static str],
    /// What is allowed.
    pub verbs: &'static [&'static str],
    /// Only objects of these names; empty: all of them.
    pub names: &'static [&'static str],
}

/// To follow a kind.
const READ: &[&str] = &["get", "list", "watch"];
/// To set a status by server-side apply or merge.
const STATUS: &[&str] = &["get", "patch", "update"];

const fn grant(
    group: &'static str,
    resources: &'static [&'static str],
    verbs: &'static [&'static str],
) -> Grant {
    Grant { group, resources, verbs, names: &[] }
}

/// Istio's networking kinds that the mesh reads.
const ISTIO_NETWORKING: &[&str] =
    &["virtualservices", "destinationrules", "gateways", "serviceentries", "sidecars", "workloadentries"];
/// Their statuses.
const ISTIO_NETWORKING_STATUS: &[&str] = &[
    "virtualservices/status",
    "destinationrules/status",
    "gateways/status",
    "serviceentries/status",
    "sidecars/status",
    "workloadentries/status",
];
/// The Gateway API's kinds that the mesh reads.
const GATEWAY_API: &[&str] = &[
    "gatewayclasses",
    "gateways",
    "httproutes",
    "grpcroutes",
    "tlsroutes",
    "tcproutes",
    "referencegrants",
    "backendtlspolicies",
];
/// Their statuses; a ReferenceGrant has none.
const GATEWAY_API_STATUS: &[&str] = &[
    "gatewayclasses/status",
    "gateways/status",
    "httproutes/status",
    "grpcroutes/status",
    "tlsroutes/status",
    "tcproutes/status",
    "backendtlspolicies/status",
];

/// What the controller may do in the whole cluster.
pub const CONTROLLER_CLUSTER: &[Grant] = &[
    // What services are made of, and where.
    grant(
        "",
        &["services", "endpoints", "pods", "namespaces", "nodes", "serviceaccounts", "configmaps"],
        READ,
    ),
    grant("discovery.k8s.io", &["endpointslices"], READ),
    // Each account's certificate, and the TLS credentials that gateways serve.
    grant("", &["secrets"], &["get", "list", "watch", "create", "update", "patch", "delete"]),
    grant("networking.k8s.io", &["ingresses", "ingressclasses"], READ),
    grant("networking.k8s.io", &["ingresses/status"], STATUS),
    grant("networking.istio.io", ISTIO_NETWORKING, READ),
    grant("networking.istio.io", ISTIO_NETWORKING_STATUS, STATUS),
    grant("security.istio.io", &["peerauthentications"], READ),
    grant("security.istio.io", &["peerauthentications/status"], STATUS),
    grant("telemetry.istio.io", &["telemetries"], READ),
    grant("telemetry.istio.io", &["telemetries/status"], STATUS),
    grant("gateway.networking.k8s.io", GATEWAY_API, READ),
    grant("gateway.networking.k8s.io", GATEWAY_API_STATUS, STATUS),
    grant("policy.dromon.io", &["ratelimits"], READ),
    grant("policy.dromon.io", &["ratelimits/status"], STATUS),
    // Which kinds there are, and when one comes or goes.
    grant("apiextensions.k8s.io", &["customresourcedefinitions"], READ),
    // Why an object is refused, told beside it.
    grant("", &["events"], &["create", "patch"]),
    grant("events.k8s.io", &["events"], &["create", "patch"]),
    // The CA bundle of our own webhooks. Names cannot be given for a list or a watch of the whole kind.
    grant(
        "admissionregistration.k8s.io",
        &["mutatingwebhookconfigurations", "validatingwebhookconfigurations"],
        &["list", "watch"],
    ),
    Grant {
        group: "admissionregistration.k8s.io",
        resources: &["mutatingwebhookconfigurations"],
        verbs: &["get", "patch", "update"],
        names: &[INJECTOR_WEBHOOK, INJECTOR_WEBHOOK_ISTIO],
    },
    Grant {
        group: "admissionregistration.k8s.io",
        resources: &["validatingwebhookconfigurations"],
        verbs: &["get", "patch", "update"],
        names: &[VALIDATOR_WEBHOOK],
    },
];

/// What the controller may do in its own namespace, beyond the above.
pub const CONTROLLER_NAMESPACE: &[Grant] = &[
    // Names cannot be given for a creation: the object has none yet when it is authorized.
    grant("coordination.k8s.io", &["leases"], &["create"]),
    Grant {
        group: "coordination.k8s.io",
        resources: &["leases"],
        verbs: &["get", "list", "watch", "update", "patch"],
        names: &[CONTROLLER],
    },
    // Services of Gateways with an address of their own, beside the gateway's.
    grant("", &["services"], &["create", "patch", "delete"]),
];

/// A grant as a PolicyRule.
pub fn rule(grant: &Grant) -> Value {
    let mut rule = json!({
        "apiGroups": [grant.group],
        "resources": grant.resources,
        "verbs": grant.verbs,
    });
    if !grant.names.is_empty() {
        rule["resourceNames"] = json!(grant.names);
    }
    rule
}

/// Accounts, roles and bindings, in the order in which they are applied.
pub fn objects(namespace: &str) -> Vec<Value> {
    let account = |name: &str, automount: bool| {
        json!({
            "apiVersion": "v1", "kind": "ServiceAccount",
            "metadata": {"name": name, "namespace": namespace},
            "automountServiceAccountToken": automount,
        })
    };
    let subject = json!([{"kind": "ServiceAccount", "name": CONTROLLER, "namespace": namespace}]);
    let reference =
        |kind: &str| json!({"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": CONTROLLER});
    let rules = |grants: &[Grant]| grants.iter().map(rule).collect::<Vec<_>>();
    vec![
        account(CONTROLLER, true),
        // A gateway gets its keys from a mounted Secret and its rules from the feed: it never asks the API server.
        account(GATEWAY, false),
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
            "metadata": {"name": CONTROLLER},
            "rules": rules(CONTROLLER_CLUSTER),
        }),
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
            "metadata": {"name": CONTROLLER},
            "roleRef": reference("ClusterRole"),
            "subjects": subject,
        }),
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role",
            "metadata": {"name": CONTROLLER, "namespace": namespace},
            "rules": rules(CONTROLLER_NAMESPACE),
        }),
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
            "metadata": {"name": CONTROLLER, "namespace": namespace},
            "roleRef": reference("Role"),
            "subjects": subject,
        }),
    ]
}
