//! What each `apiVersion` and `kind` means here: kept, of no use to a mesh, not carried out yet, or of the past.

use serde_json::Value;

use crate::api::Kind;
use crate::diagnostic::Diagnostic;

use super::spelling::nearest;

/// What is done with a document.
pub enum Known {
    /// It becomes an object.
    Kept(Kind),
    /// It is not kept; what to say about it, if anything.
    Not(Option<Diagnostic>),
}

/// Versions in which each group's kinds are read.
const VERSIONS: &[(&str, &[&str])] = &[
    ("", &["v1"]),
    ("discovery.k8s.io", &["v1"]),
    ("networking.k8s.io", &["v1"]),
    // TLSRoute, TCPRoute and BackendTLSPolicy were alphas for long, and clusters keep old versions of the CRDs.
    ("gateway.networking.k8s.io", &["v1", "v1beta1", "v1alpha3", "v1alpha2"]),
    ("networking.istio.io", &["v1", "v1beta1", "v1alpha3"]),
    ("security.istio.io", &["v1", "v1beta1"]),
    ("telemetry.istio.io", &["v1", "v1alpha1"]),
    ("policy.dromon.io", &["v1"]),
    ("run.dromon.io", &["v1"]),
];

/// Kinds of the dialect whose meaning is not carried out yet.
const PLANNED: &[(&str, &str)] = &[
    ("security.istio.io", "RequestAuthentication"),
    ("security.istio.io", "AuthorizationPolicy"),
    ("networking.istio.io", "WorkloadGroup"),
    ("networking.istio.io", "EnvoyFilter"),
    ("networking.istio.io", "ProxyConfig"),
    ("extensions.istio.io", "WasmPlugin"),
    ("extensions.istio.io", "TrafficExtension"),
    ("gateway.networking.k8s.io", "UDPRoute"),
    ("gateway.networking.k8s.io", "ListenerSet"),
];

/// Kinds of earlier Istio versions, with what says the same today.
const PAST: &[(&str, &str)] = &[
    (
        "RouteRule",
        "use a networking.istio.io/v1 VirtualService (http routes) with a DestinationRule (subsets)",
    ),
    (
        "route-rule",
        "use a networking.istio.io/v1 VirtualService (http routes) with a DestinationRule (subsets)",
    ),
    ("DestinationPolicy", "use a networking.istio.io/v1 DestinationRule (trafficPolicy)"),
    ("destination-policy", "use a networking.istio.io/v1 DestinationRule (trafficPolicy)"),
    ("EgressRule", "use a networking.istio.io/v1 ServiceEntry"),
    ("IngressRule", "use a networking.istio.io/v1 Gateway and VirtualService"),
    ("ingress-rule", "use a networking.istio.io/v1 Gateway and VirtualService"),
    ("IstioConfig", "use networking.istio.io/v1 VirtualService and DestinationRule"),
    ("rule", "use policy.dromon.io/v1 RateLimit for quotas, telemetry.istio.io/v1 Telemetry for logs"),
    ("quota", "use policy.dromon.io/v1 RateLimit"),
    ("memquota", "use policy.dromon.io/v1 RateLimit"),
    ("QuotaSpec", "use policy.dromon.io/v1 RateLimit"),
    ("QuotaSpecBinding", "use policy.dromon.io/v1 RateLimit"),
    ("ServiceRole", "use security.istio.io/v1 AuthorizationPolicy"),
    ("ServiceRoleBinding", "use security.istio.io/v1 AuthorizationPolicy"),
    ("Policy", "use security.istio.io/v1 PeerAuthentication and RequestAuthentication"),
    ("MeshPolicy", "use security.istio.io/v1 PeerAuthentication in the root namespace"),
];

/// Kubernetes' kinds that start pods: of no use where no cluster runs them.
const WORKLOADS: &[&str] =
    &["Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "ReplicationController", "Job", "CronJob"];

/// Groups of Kubernetes itself, whose other kinds say nothing to a mesh.
const KUBERNETES: &[&str] = &["", "apps", "batch", "autoscaling", "policy", "extensions"];

/// Looks up a document's kind.
pub fn lookup(value: &Value) -> Known {
    let text = |field: &str| value.get(field).and_then(Value::as_str);
    let (version, kind) = match (text("apiVersion"), text("kind")) {
        (Some(version), Some(kind)) => (version, kind),
        (version, kind) => return Known::Not(Some(unnamed(value, version, kind))),
    };
    let (group, version) = version.split_once('/').unwrap_or(("", version));
    if let Some(kept) = kept(group, version, kind, value) {
        return kept;
    }
    Known::Not(foreign(group, version, kind))
}

fn unnamed(value: &Value, version: Option<&str>, kind: Option<&str>) -> Diagnostic {
    if let Some(old) = value.get("type").and_then(Value::as_str) {
        return past(old).unwrap_or_else(|| {
            Diagnostic::error("type", format!("`type: {old}` is Istio 0.1's file format, which is not read"))
                .hint("write `apiVersion`, `kind`, `metadata` and `spec`")
        });
    }
    let missing = match (version, kind) {
        (None, None) => "apiVersion` and `kind",
        (None, _) => "apiVersion",
        _ => "kind",
    };
    Diagnostic::error("", format!("not an object: `{missing}` is missing or not a text"))
        .hint("every document needs apiVersion, kind and metadata.name")
}

fn kept(group: &str, version: &str, kind: &str, value: &Value) -> Option<Known> {
    if group.is_empty() && kind == "ConfigMap" {
        let name = value.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
        let has_mesh = value.pointer("/data/mesh").is_some();
        let is_mesh = has_mesh && matches!(name, "dromon" | "istio");
        // CAs that a BackendTLSPolicy may name.
        let has_ca = value.pointer("/data/ca.crt").is_some();
        return Some(match (is_mesh, has_ca) {
            (true, _) => Known::Kept(Kind::MeshConfig),
            (false, true) => Known::Kept(Kind::ConfigMap),
            (false, false) => Known::Not(None),
        });
    }
    let known = Kind::ALL.iter().find(|known| known.name() == kind && known.group() == group)?;
    let versions = VERSIONS.iter().find(|(of, _)| *of == group)?.1;
    if versions.contains(&version) {
        return Some(Known::Kept(*known));
    }
    let message = format!("version `{version}` of {kind} is not known");
    let hint = format!("use {}", api_version(group, versions.first().copied().unwrap_or("v1")));
    Some(Known::Not(Some(Diagnostic::error("apiVersion", message).hint(hint))))
}

fn api_version(group: &str, version: &str) -> String {
    if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") }
}

fn past(kind: &str) -> Option<Diagnostic> {
    let (_, hint) = PAST.iter().find(|(past, _)| *past == kind)?;
    Some(
        Diagnostic::error("kind", format!("`{kind}` is a kind of an earlier Istio and is not read"))
            .hint(*hint),
    )
}

fn foreign(group: &str, version: &str, kind: &str) -> Option<Diagnostic> {
    if PLANNED.contains(&(group, kind)) {
        let message = format!("{kind} ({group}) is not carried out yet; the object has no effect");
        return Some(Diagnostic::warning("kind", message).hint("docs/rules.md lists what is carried out"));
    }
    if group == "extensions" && kind == "Ingress" {
        let message = "extensions/v1beta1 is not served by Kubernetes since 1.22; the object has no effect";
        return Some(Diagnostic::warning("kind", message).hint("use networking.k8s.io/v1"));
    }
    if WORKLOADS.contains(&kind) && KUBERNETES.contains(&group) {
        let message = format!("a {kind} starts nothing here: pods are a cluster's matter");
        return Some(
            Diagnostic::info("kind", message).hint("in a local mesh, a run.dromon.io/v1 Process is started"),
        );
    }
    let ours = group.ends_with("istio.io") || group.ends_with("dromon.io");
    if let Some(old) = past(kind).filter(|_| ours) {
        return Some(old);
    }
    if KUBERNETES.contains(&group) || (group.ends_with(".k8s.io") && !group.starts_with("gateway.")) {
        let known = Kind::ALL.iter().map(|kind| kind.name());
        return match nearest(kind, known) {
            Some(near) if group.is_empty() && near != kind => Some(
                Diagnostic::warning("kind", format!("`{kind}` is not a kind of {version}")).hint(mean(near)),
            ),
            _ => None,
        };
    }
    let same_kind = Kind::ALL.iter().find(|known| known.name() == kind);
    if let Some(known) = same_kind {
        let message = format!("the group `{group}` has no {kind}");
        let group = known.group();
        let versions = VERSIONS.iter().find(|(of, _)| *of == group).map_or("v1", |(_, versions)| versions[0]);
        return Some(Diagnostic::error("apiVersion", message).hint(mean(&api_version(group, versions))));
    }
    if !ours && !group.starts_with("gateway.networking") {
        return Some(Diagnostic::info("kind", format!("{kind} ({group}) says nothing to the mesh")));
    }
    let candidates = Kind::ALL.iter().map(|kind| kind.name()).chain(PLANNED.iter().map(|(_, kind)| *kind));
    let diagnostic =
        Diagnostic::error("kind", format!("the kind `{kind}` of {group}/{version} is not known"));
    Some(match nearest(kind, candidates) {
        Some(near) => diagnostic.hint(mean(near)),
        None => diagnostic.hint("docs/rules.md lists the kinds that are read"),
    })
}

fn mean(name: &str) -> String {
    format!("did you mean `{name}`?")
}
