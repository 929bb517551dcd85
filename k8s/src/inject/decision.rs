//! Whether a pod gets a sidecar, and whether it may have one.

use std::fmt;

use serde_json::Value;

use super::{Config, INIT, Names, SIDECAR, STATUS_ANNOTATION, Scope, names};

/// Ours, on pods: `true` or `false`. A label counts before an annotation, since webhooks select by labels.
pub const POD_KEY: &str = "sidecar.dromon.io/inject";
/// Istio's, which counts where ours is absent.
pub const ISTIO_POD_KEY: &str = "sidecar.istio.io/inject";
/// Ours, on namespaces: `enabled` or `disabled`.
pub const NAMESPACE_LABEL: &str = "dromon.io/inject";
/// Istio's, honoured by choice.
pub const ISTIO_NAMESPACE_LABEL: &str = "istio-injection";
/// Label of namespaces with the level that Pod Security admission enforces.
const POD_SECURITY_LABEL: &str = "pod-security.kubernetes.io/enforce";

/// Why a pod stays as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Skip {
    /// It has a sidecar.
    HasOne,
    /// It uses the network of its host, where capture would take everybody's traffic.
    HostNetwork,
    /// It runs on Windows.
    Windows,
    /// It says so itself.
    PodSaysNo,
    /// Neither it nor its namespace asks for one.
    NotAsked,
    /// Its namespace is one that the cluster needs to run, or ours.
    SystemNamespace,
    /// There is nothing to inject.
    NoSpec,
}

impl fmt::Display for Skip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Skip::HasOne => "it has a sidecar already",
            Skip::HostNetwork => "it uses its host's network, where capture would take everybody's traffic",
            Skip::Windows => "it runs on Windows",
            Skip::PodSaysNo => "its label or annotation says no",
            Skip::NotAsked => "neither it nor its namespace asks for a sidecar",
            Skip::SystemNamespace => "its namespace is never injected",
            Skip::NoSpec => "it has no spec",
        })
    }
}

/// Whether the pod is to be injected.
///
/// # Errors
/// It is not, and why.
pub fn decide(pod: &Value, scope: &Scope, config: &Config) -> Result<(), Skip> {
    let spec = &pod["spec"];
    if crate::install::NEVER_INJECTED.contains(&scope.namespace.as_str()) {
        return Err(Skip::SystemNamespace);
    }
    if has_sidecar(pod) {
        return Err(Skip::HasOne);
    }
    match (asked(pod), &scope.namespace_labels) {
        (Some(false), _) => return Err(Skip::PodSaysNo),
        (_, Some(labels)) if namespace_asks(labels, config) == Some(false) => return Err(Skip::NotAsked),
        (Some(true), _) | (None, None) => {}
        (None, Some(labels)) if namespace_asks(labels, config) == Some(true) => {}
        (None, Some(_)) => return Err(Skip::NotAsked),
    }
    if spec["hostNetwork"] == true {
        return Err(Skip::HostNetwork);
    }
    if spec["os"]["name"] == "windows" {
        return Err(Skip::Windows);
    }
    Ok(())
}

/// Why a pod of this namespace must not be injected: it could not start.
pub fn refusal(scope: &Scope) -> Option<String> {
    let level = scope.namespace_labels.as_ref()?.get(POD_SECURITY_LABEL)?;
    if !matches!(level.as_str(), "baseline" | "restricted") {
        return None;
    }
    let namespace = &scope.namespace;
    Some(format!(
        "namespace {namespace} enforces the Pod Security level {level:?}, which forbids NET_ADMIN, and the init container {INIT} \
         needs that to capture the pod's traffic. Either allow it (kubectl label namespace {namespace} \
         {POD_SECURITY_LABEL}=privileged --overwrite) or run the pod without a sidecar (label {POD_KEY}: \"false\")"
    ))
}

/// What works other than the pod's author may expect.
pub fn warnings(pod: &Value) -> Vec<String> {
    let all = ["containers", "initContainers"]
        .into_iter()
        .flat_map(|field| pod["spec"][field].as_array())
        .flatten();
    let pod_user = &pod["spec"]["securityContext"]["runAsUser"];
    let uid = crate::install::names::PROXY_UID;
    let runs_as_proxy = |container: &&Value| {
        let own = &container["securityContext"]["runAsUser"];
        (if own.is_null() { pod_user } else { own }) == uid
    };
    let text = |container: &Value| {
        let name = container["name"].as_str().unwrap_or_default();
        format!("container {name} runs as user {uid}, the proxy's: what it sends is not captured")
    };
    all.filter(runs_as_proxy).map(text).collect()
}

fn has_sidecar(pod: &Value) -> bool {
    let is_ours = |field: &str| {
        let mut all = pod["spec"][field].as_array().into_iter().flatten();
        all.any(|container| container["name"] == SIDECAR)
    };
    let marked = pod["metadata"]["annotations"][STATUS_ANNOTATION].is_string();
    is_ours("containers") || is_ours("initContainers") && marked
}

/// What the pod itself says.
fn asked(pod: &Value) -> Option<bool> {
    let (labels, annotations) = (names(pod, "labels"), names(pod, "annotations"));
    let said = |key: &str| labels.get(key).or_else(|| annotations.get(key));
    match said(POD_KEY).or_else(|| said(ISTIO_POD_KEY))?.as_str() {
        "true" | "yes" | "on" | "enabled" => Some(true),
        "false" | "no" | "off" | "disabled" => Some(false),
        _ => None,
    }
}

/// What the namespace says; Istio's label counts only where ours is absent.
fn namespace_asks(labels: &Names, config: &Config) -> Option<bool> {
    let istio = labels.get(ISTIO_NAMESPACE_LABEL).filter(|_| config.istio_labels);
    match labels.get(NAMESPACE_LABEL).or(istio)?.as_str() {
        "enabled" => Some(true),
        "disabled" => Some(false),
        _ => None,
    }
}
