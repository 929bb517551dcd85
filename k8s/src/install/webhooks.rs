//! The webhook configurations, without their CA bundle: the controller puts that in and keeps it fresh.

use serde_json::{Value, json};

use super::Part;
use super::names::{
    CONTROLLER, INJECTOR_WEBHOOK, INJECTOR_WEBHOOK_ISTIO, SYSTEM_NAMESPACE, VALIDATOR_WEBHOOK,
    WEBHOOK_SERVICE_PORT,
};

/// Namespaces that are never injected, whatever their labels: what the cluster itself needs to run, and we.
pub const NEVER_INJECTED: &[&str] = &["kube-system", "kube-public", "kube-node-lease", SYSTEM_NAMESPACE];
/// Label of namespaces, `enabled` or `disabled`.
const NAMESPACE_LABEL: &str = "dromon.io/inject";
/// Istio's, honoured by choice.
const ISTIO_NAMESPACE_LABEL: &str = "istio-injection";
/// Label of pods, `true` or `false`.
const POD_LABEL: &str = "sidecar.dromon.io/inject";
/// Istio's, honoured where ours is absent.
const ISTIO_POD_LABEL: &str = "sidecar.istio.io/inject";
/// How long the API server waits for an answer, in seconds.
const INJECT_TIMEOUT_S: u32 = 10;
/// As above; a check that does not answer must hold nobody up.
const VALIDATE_TIMEOUT_S: u32 = 3;

pub(super) fn parts() -> Vec<Part> {
    vec![
        Part::always(injector()),
        Part::when("injection.istioLabels", istio_injector()),
        Part::always(validator()),
    ]
}

/// Namespaces that are labelled, and pods that ask by themselves in namespaces that say nothing.
fn injector() -> Value {
    let unlabelled = json!({"key": NAMESPACE_LABEL, "operator": "DoesNotExist"});
    let enabled = json!({"key": NAMESPACE_LABEL, "operator": "In", "values": ["enabled"]});
    let not_refused = json!({"key": POD_LABEL, "operator": "NotIn", "values": ["false"]});
    let asked = |label: &str| json!({"key": label, "operator": "In", "values": ["true"]});
    let silent = json!({"key": POD_LABEL, "operator": "DoesNotExist"});
    configuration(
        INJECTOR_WEBHOOK,
        vec![
            inject("namespace.inject.dromon.io", vec![enabled], vec![not_refused]),
            inject("pod.inject.dromon.io", vec![unlabelled.clone()], vec![asked(POD_LABEL)]),
            inject("istio-pod.inject.dromon.io", vec![unlabelled], vec![silent, asked(ISTIO_POD_LABEL)]),
        ],
    )
}

fn istio_injector() -> Value {
    let unlabelled = json!({"key": NAMESPACE_LABEL, "operator": "DoesNotExist"});
    let enabled = json!({"key": ISTIO_NAMESPACE_LABEL, "operator": "In", "values": ["enabled"]});
    let not_refused = json!({"key": POD_LABEL, "operator": "NotIn", "values": ["false"]});
    let webhooks =
        vec![inject("istio-namespace.inject.dromon.io", vec![enabled, unlabelled], vec![not_refused])];
    configuration(INJECTOR_WEBHOOK_ISTIO, webhooks)
}

fn configuration(name: &str, webhooks: Vec<Value>) -> Value {
    json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingWebhookConfiguration",
        "metadata": {"name": name},
        "webhooks": webhooks,
    })
}

/// A pod that should have a sidecar and cannot get one must not run without: it would speak plaintext and obey no rule.
fn inject(name: &str, mut namespaces: Vec<Value>, pods: Vec<Value>) -> Value {
    namespaces
        .push(json!({"key": "kubernetes.io/metadata.name", "operator": "NotIn", "values": NEVER_INJECTED}));
    json!({
        "name": name,
        "clientConfig": client("/inject"),
        "rules": [{
            "operations": ["CREATE"],
            "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"], "scope": "Namespaced",
        }],
        "namespaceSelector": {"matchExpressions": namespaces},
        "objectSelector": {"matchExpressions": pods},
        "failurePolicy": "Fail",
        "reinvocationPolicy": "Never",
        "matchPolicy": "Equivalent",
        // The account's Secret is made if it is missing; a dry run makes none.
        "sideEffects": "NoneOnDryRun",
        "admissionReviewVersions": ["v1"],
        "timeoutSeconds": INJECT_TIMEOUT_S,
    })
}

fn validator() -> Value {
    let rule = |group: &str, resources: &[&str]| {
        json!({
            "operations": ["CREATE", "UPDATE"],
            "apiGroups": [group], "apiVersions": ["*"], "resources": resources, "scope": "*",
        })
    };
    json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": VALIDATOR_WEBHOOK},
        "webhooks": [{
            "name": "validate.dromon.io",
            "clientConfig": client("/validate"),
            "rules": [
                rule("networking.istio.io", &["*"]),
                rule("security.istio.io", &["*"]),
                rule("telemetry.istio.io", &["*"]),
                rule("gateway.networking.k8s.io", &["*"]),
                rule("policy.dromon.io", &["*"]),
                rule("networking.k8s.io", &["ingresses"]),
            ],
            // A wrong rule is told of by its status too, so a check that is away refuses nothing.
            "failurePolicy": "Ignore",
            "matchPolicy": "Equivalent",
            "sideEffects": "None",
            "admissionReviewVersions": ["v1"],
            "timeoutSeconds": VALIDATE_TIMEOUT_S,
        }],
    })
}

fn client(path: &str) -> Value {
    json!({"service": {
        "name": CONTROLLER, "namespace": SYSTEM_NAMESPACE, "path": path, "port": WEBHOOK_SERVICE_PORT,
    }})
}
