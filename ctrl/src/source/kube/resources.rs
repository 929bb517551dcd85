//! What is watched, in which versions it is understood, and how it is asked for.

use dromon_k8s::api::Kind;
use kube::core::{ApiResource, GroupVersionKind};

/// A kind of object at the API server.
#[derive(Debug, PartialEq, Eq)]
pub struct Resource {
    /// API group; empty for Kubernetes' core.
    pub group: &'static str,
    /// Versions that are understood, best first.
    pub versions: &'static [&'static str],
    /// `kind`.
    pub kind: &'static str,
    /// Name in paths and in roles.
    pub plural: &'static str,
    /// Which of them are asked for.
    pub which: Which,
    /// Whose business it is to serve it.
    pub served: Served,
}

/// Which objects of a kind are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// All.
    All,
    /// The one with the mesh's settings.
    MeshSettings,
}

/// Whose business it is to serve a kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Served {
    /// Every API server's.
    Always,
    /// That of servers with EndpointSlices, or of those without.
    Endpoints,
    /// A CustomResourceDefinition's, which may come and go.
    ByDefinition,
}

/// Name of the ConfigMap with the mesh's settings.
pub const MESH_SETTINGS: &str = "dromon";

const ISTIO: &[&str] = &["v1", "v1beta1", "v1alpha3"];
const SECURITY: &[&str] = &["v1", "v1beta1"];
const TELEMETRY: &[&str] = &["v1", "v1alpha1"];
const GATEWAY: &[&str] = &["v1", "v1beta1"];
const GATEWAY_EARLY: &[&str] = &["v1", "v1alpha3", "v1alpha2"];

macro_rules! resources {
    ($($group:literal $versions:expr, $kind:literal $plural:literal $which:ident $served:ident;)+) => {
        /// All that may be watched; those that the mesh keeps nothing of are left out by [`kind`].
        pub const ALL: &[Resource] = &[$(Resource {
            group: $group,
            versions: $versions,
            kind: $kind,
            plural: $plural,
            which: Which::$which,
            served: Served::$served,
        },)+];
    };
}

resources! {
    "" &["v1"], "Namespace" "namespaces" All Always;
    "" &["v1"], "Node" "nodes" All Always;
    "" &["v1"], "Service" "services" All Always;
    "" &["v1"], "Pod" "pods" All Always;
    "" &["v1"], "ConfigMap" "configmaps" MeshSettings Always;
    "discovery.k8s.io" &["v1"], "EndpointSlice" "endpointslices" All Endpoints;
    "" &["v1"], "Endpoints" "endpoints" All Endpoints;
    "networking.k8s.io" &["v1"], "Ingress" "ingresses" All Always;
    "networking.k8s.io" &["v1"], "IngressClass" "ingressclasses" All Always;
    "networking.istio.io" ISTIO, "VirtualService" "virtualservices" All ByDefinition;
    "networking.istio.io" ISTIO, "DestinationRule" "destinationrules" All ByDefinition;
    "networking.istio.io" ISTIO, "Gateway" "gateways" All ByDefinition;
    "networking.istio.io" ISTIO, "ServiceEntry" "serviceentries" All ByDefinition;
    "networking.istio.io" ISTIO, "WorkloadEntry" "workloadentries" All ByDefinition;
    "networking.istio.io" ISTIO, "Sidecar" "sidecars" All ByDefinition;
    "security.istio.io" SECURITY, "PeerAuthentication" "peerauthentications" All ByDefinition;
    "security.istio.io" SECURITY, "RequestAuthentication" "requestauthentications" All ByDefinition;
    "security.istio.io" SECURITY, "AuthorizationPolicy" "authorizationpolicies" All ByDefinition;
    "telemetry.istio.io" TELEMETRY, "Telemetry" "telemetries" All ByDefinition;
    "gateway.networking.k8s.io" GATEWAY, "GatewayClass" "gatewayclasses" All ByDefinition;
    "gateway.networking.k8s.io" GATEWAY, "Gateway" "gateways" All ByDefinition;
    "gateway.networking.k8s.io" GATEWAY, "HTTPRoute" "httproutes" All ByDefinition;
    "gateway.networking.k8s.io" GATEWAY_EARLY, "GRPCRoute" "grpcroutes" All ByDefinition;
    "gateway.networking.k8s.io" GATEWAY_EARLY, "TLSRoute" "tlsroutes" All ByDefinition;
    "gateway.networking.k8s.io" GATEWAY_EARLY, "TCPRoute" "tcproutes" All ByDefinition;
    "gateway.networking.k8s.io" GATEWAY, "ReferenceGrant" "referencegrants" All ByDefinition;
    "gateway.networking.k8s.io" GATEWAY_EARLY, "BackendTLSPolicy" "backendtlspolicies" All ByDefinition;
    "policy.dromon.io" &["v1"], "RateLimit" "ratelimits" All ByDefinition;
}

impl Resource {
    /// As roles and CustomResourceDefinitions name it: `gateways.networking.istio.io`, `pods`.
    pub fn full_name(&self) -> String {
        if self.group.is_empty() { self.plural.to_owned() } else { format!("{}.{}", self.plural, self.group) }
    }

    /// `GROUP/VERSION`, or the version alone for Kubernetes' core.
    pub fn api_version(&self, version: &str) -> String {
        if self.group.is_empty() { version.to_owned() } else { format!("{}/{version}", self.group) }
    }

    /// As the client wants it.
    pub fn at(&self, version: &str) -> ApiResource {
        let of = GroupVersionKind::gvk(self.group, version, self.kind);
        ApiResource::from_gvk_with_plural(&of, self.plural)
    }

    /// What the mesh calls it; none if it keeps no such objects.
    pub fn kind(&self) -> Option<Kind> {
        kind(self.group, self.kind)
    }
}

/// What the mesh calls a kind; none if it keeps no such objects.
pub fn kind(group: &str, kind: &str) -> Option<Kind> {
    Kind::ALL.iter().copied().find(|it| it.group() == group && it.name() == kind)
}
