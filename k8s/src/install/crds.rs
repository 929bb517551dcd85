//! The CustomResourceDefinitions that the mesh reads.
//!
//! Ours, and for clusters without them those of Istio's and the Gateway API's kinds. The latter hold what structural schemas need
//! and keep every field as it is: whoever installs the upstream ones has theirs, which nothing here replaces. They are
//! installed where they are missing and never removed, since their objects would go with them.

use serde_json::{Value, json};

mod rate_limit;

/// A kind and where it lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Crd {
    /// API group.
    pub group: &'static str,
    /// Kind.
    pub kind: &'static str,
    /// Plural name in paths.
    pub plural: &'static str,
    /// Versions served; the first is stored.
    pub versions: &'static [&'static str],
    /// Has no namespace.
    pub cluster_wide: bool,
    /// Short names for kubectl.
    pub short: &'static [&'static str],
}

const ISTIO: &[&str] = &["v1", "v1beta1", "v1alpha3"];
const ISTIO_SHORT: &[&str] = &["v1", "v1beta1"];
/// The group of the mesh's own rules.
const OWN_GROUP: &str = "policy.dromon.io";
/// The Gateway API's group.
const GATEWAY_API_GROUP: &str = "gateway.networking.k8s.io";

const fn crd(
    group: &'static str,
    kind: &'static str,
    plural: &'static str,
    versions: &'static [&'static str],
    short: &'static [&'static str],
) -> Crd {
    Crd { group, kind, plural, versions, cluster_wide: false, short }
}

/// All of them.
pub const ALL: &[Crd] = &[
    crd(OWN_GROUP, "RateLimit", "ratelimits", &["v1"], &[]),
    crd("networking.istio.io", "VirtualService", "virtualservices", ISTIO, &["vs"]),
    crd("networking.istio.io", "DestinationRule", "destinationrules", ISTIO, &["dr"]),
    crd("networking.istio.io", "Gateway", "gateways", ISTIO, &["gw"]),
    crd("networking.istio.io", "ServiceEntry", "serviceentries", ISTIO, &["se"]),
    crd("networking.istio.io", "WorkloadEntry", "workloadentries", ISTIO, &["we"]),
    crd("networking.istio.io", "Sidecar", "sidecars", ISTIO, &[]),
    crd("security.istio.io", "PeerAuthentication", "peerauthentications", ISTIO_SHORT, &["pa"]),
    crd("telemetry.istio.io", "Telemetry", "telemetries", &["v1", "v1alpha1"], &[]),
    Crd {
        cluster_wide: true,
        ..crd(GATEWAY_API_GROUP, "GatewayClass", "gatewayclasses", &["v1", "v1beta1"], &["gc"])
    },
    crd(GATEWAY_API_GROUP, "Gateway", "gateways", &["v1", "v1beta1"], &["gtw"]),
    crd(GATEWAY_API_GROUP, "HTTPRoute", "httproutes", &["v1", "v1beta1"], &[]),
    crd(GATEWAY_API_GROUP, "GRPCRoute", "grpcroutes", &["v1"], &[]),
    crd(GATEWAY_API_GROUP, "TLSRoute", "tlsroutes", &["v1", "v1alpha3", "v1alpha2"], &[]),
    crd(GATEWAY_API_GROUP, "TCPRoute", "tcproutes", &["v1", "v1alpha2"], &[]),
    crd(GATEWAY_API_GROUP, "ReferenceGrant", "referencegrants", &["v1", "v1beta1"], &["refgrant"]),
    crd(GATEWAY_API_GROUP, "BackendTLSPolicy", "backendtlspolicies", &["v1", "v1alpha3"], &["btlspolicy"]),
];

impl Crd {
    /// Its name in a cluster.
    pub fn name(&self) -> String {
        format!("{}.{}", self.plural, self.group)
    }

    /// It is the mesh's own, so an upgrade brings its schema up to date.
    pub fn is_ours(&self) -> bool {
        self.group == OWN_GROUP
    }

    /// The definition.
    pub fn object(&self) -> Value {
        let mut annotations = json!({"helm.sh/resource-policy": "keep"});
        if self.group.ends_with(".k8s.io") {
            // Without a word on approval the API server takes no definition of a *.k8s.io group.
            annotations["api-approved.kubernetes.io"] =
                json!("unapproved, stands in until the Gateway API's own definitions are installed");
        }
        let singular = self.kind.to_ascii_lowercase();
        json!({
            "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": {
                "name": self.name(),
                "labels": {"app.kubernetes.io/part-of": "dromon"},
                "annotations": annotations,
            },
            "spec": {
                "group": self.group,
                "names": {
                    "kind": self.kind,
                    "listKind": format!("{}List", self.kind),
                    "plural": self.plural,
                    "singular": singular,
                    "shortNames": self.short,
                    "categories": self.categories(),
                },
                "scope": if self.cluster_wide { "Cluster" } else { "Namespaced" },
                "versions": self.versions.iter().enumerate().map(|(at, name)| self.version(name, at == 0)).collect::<Vec<_>>(),
            },
        })
    }

    fn categories(&self) -> Value {
        match self.group {
            GATEWAY_API_GROUP => json!(["gateway-api"]),
            OWN_GROUP => json!(["dromon"]),
            _ => json!(["istio-io"]),
        }
    }

    fn version(&self, name: &str, stored: bool) -> Value {
        let any = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
        let spec = if self.kind == "RateLimit" { rate_limit::spec() } else { any.clone() };
        json!({
            "name": name,
            "served": true,
            "storage": stored,
            "schema": {"openAPIV3Schema": {
                "type": "object",
                "properties": {"spec": spec, "status": any},
            }},
            "subresources": {"status": {}},
            "additionalPrinterColumns": self.columns(),
        })
    }

    /// What `kubectl get` shows.
    fn columns(&self) -> Value {
        let column = |name: &str, path: &str| json!({"name": name, "type": "string", "jsonPath": path});
        let mut columns = match self.kind {
            "VirtualService" => vec![column("Gateways", ".spec.gateways"), column("Hosts", ".spec.hosts")],
            "DestinationRule" => vec![column("Host", ".spec.host")],
            "ServiceEntry" => {
                vec![column("Hosts", ".spec.hosts"), column("Resolution", ".spec.resolution")]
            }
            "PeerAuthentication" => vec![column("Mode", ".spec.mtls.mode")],
            "GatewayClass" => vec![
                column("Controller", ".spec.controllerName"),
                column("Accepted", ".status.conditions[?(@.type==\"Accepted\")].status"),
            ],
            "Gateway" if self.group == GATEWAY_API_GROUP => vec![
                column("Class", ".spec.gatewayClassName"),
                column("Address", ".status.addresses[*].value"),
                column("Programmed", ".status.conditions[?(@.type==\"Programmed\")].status"),
            ],
            "HTTPRoute" | "GRPCRoute" | "TLSRoute" => vec![column("Hostnames", ".spec.hostnames")],
            _ => Vec::new(),
        };
        columns.push(json!({"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}));
        json!(columns)
    }
}
