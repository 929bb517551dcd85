//! One object of any kind that the mesh knows.

use std::fmt;
use std::sync::{Arc, LazyLock};

use k8s_openapi::api::core::v1 as core;
use k8s_openapi::api::discovery::v1 as discovery;
use k8s_openapi::api::networking::v1 as networking;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::destination_rule::DestinationRule;
use super::gateway::Gateway;
use super::gateway_api as gwapi;
use super::mesh_config::MeshConfig;
use super::peer_authentication::PeerAuthentication;
use super::pod::Pod;
use super::process::Process;
use super::rate_limit::RateLimit;
use super::service_entry::{ServiceEntry, WorkloadEntry};
use super::sidecar::Sidecar;
use super::telemetry::Telemetry;
use super::virtual_service::VirtualService;

/// An object's `metadata`.
pub type Meta = ObjectMeta;

/// A rule: `metadata` and `spec`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rule<T> {
    /// `metadata`, with the namespace filled in.
    pub meta: Meta,
    /// `spec`.
    pub spec: T,
}

macro_rules! kinds {
    ($($name:ident($type:ty) = $api:literal, $kind:literal;)+) => {
        /// The kinds that the mesh keeps.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[allow(missing_docs)]
        pub enum Kind { $($name,)+ }

        impl Kind {
            /// All of them.
            pub const ALL: &'static [Kind] = &[$(Kind::$name,)+];

            /// Name, as `kind:` has it.
            pub fn name(self) -> &'static str {
                match self { $(Kind::$name => $kind,)+ }
            }

            /// API group; empty for Kubernetes' core.
            pub fn group(self) -> &'static str {
                match self { $(Kind::$name => $api,)+ }
            }
        }

        /// One object of any kind that the mesh knows; cheap to clone.
        #[derive(Clone, Debug, PartialEq)]
        #[allow(missing_docs)]
        pub enum Object { $($name(Arc<$type>),)+ }

        impl Object {
            /// Its kind.
            pub fn kind(&self) -> Kind {
                match self { $(Object::$name(_) => Kind::$name,)+ }
            }

            /// Whether both are one and the same, without a look at what they say.
            pub fn is(&self, other: &Object) -> bool {
                match (self, other) {
                    $((Object::$name(one), Object::$name(two)) => Arc::ptr_eq(one, two),)+
                    _ => false,
                }
            }

            /// Its `metadata`; nothing of a pod's is kept as such.
            pub fn meta(&self) -> &Meta {
                match self { $(Object::$name(it) => it.meta_of(),)+ }
            }

            /// Its name; empty where it has none.
            pub fn name(&self) -> &str {
                match self { $(Object::$name(it) => it.name_of(),)+ }
            }

            /// Its namespace; empty where it has none.
            pub fn namespace(&self) -> &str {
                match self { $(Object::$name(it) => it.namespace_of(),)+ }
            }

            /// Gives it the namespace that was left out.
            pub fn set_namespace(&mut self, namespace: Option<String>) {
                match self { $(Object::$name(it) => Arc::make_mut(it).set_namespace_of(namespace),)+ }
            }
        }
    };
}

trait HasMeta {
    fn meta_of(&self) -> &Meta;
    fn set_namespace_of(&mut self, namespace: Option<String>);

    fn name_of(&self) -> &str {
        self.meta_of().name.as_deref().unwrap_or_default()
    }

    fn namespace_of(&self) -> &str {
        self.meta_of().namespace.as_deref().unwrap_or_default()
    }
}

impl<T> HasMeta for Rule<T> {
    fn meta_of(&self) -> &Meta {
        &self.meta
    }

    fn set_namespace_of(&mut self, namespace: Option<String>) {
        self.meta.namespace = namespace;
    }
}

impl HasMeta for Pod {
    fn meta_of(&self) -> &Meta {
        static NONE: LazyLock<Meta> = LazyLock::new(Meta::default);
        &NONE
    }

    fn set_namespace_of(&mut self, namespace: Option<String>) {
        self.namespace = namespace.unwrap_or_default();
    }

    fn name_of(&self) -> &str {
        &self.name
    }

    fn namespace_of(&self) -> &str {
        &self.namespace
    }
}

macro_rules! metas {
    ($($type:ty),+) => { $(impl HasMeta for $type {
        fn meta_of(&self) -> &Meta { &self.metadata }
        fn set_namespace_of(&mut self, namespace: Option<String>) { self.metadata.namespace = namespace; }
    })+ };
}
metas!(
    core::Service,
    core::Endpoints,
    core::Namespace,
    core::Node,
    core::Secret,
    core::ServiceAccount,
    core::ConfigMap,
    discovery::EndpointSlice,
    networking::Ingress,
    networking::IngressClass
);

kinds! {
    Namespace(core::Namespace) = "", "Namespace";
    Node(core::Node) = "", "Node";
    Service(core::Service) = "", "Service";
    Endpoints(core::Endpoints) = "", "Endpoints";
    EndpointSlice(discovery::EndpointSlice) = "discovery.k8s.io", "EndpointSlice";
    Pod(Pod) = "", "Pod";
    Secret(core::Secret) = "", "Secret";
    ServiceAccount(core::ServiceAccount) = "", "ServiceAccount";
    MeshConfig(Rule<MeshConfig>) = "", "ConfigMap";
    ConfigMap(core::ConfigMap) = "", "ConfigMap";
    Ingress(networking::Ingress) = "networking.k8s.io", "Ingress";
    IngressClass(networking::IngressClass) = "networking.k8s.io", "IngressClass";
    GatewayClass(Rule<gwapi::GatewayClass>) = "gateway.networking.k8s.io", "GatewayClass";
    KubeGateway(Rule<gwapi::KubeGateway>) = "gateway.networking.k8s.io", "Gateway";
    HttpRoute(Rule<gwapi::HttpRoute>) = "gateway.networking.k8s.io", "HTTPRoute";
    GrpcRoute(Rule<gwapi::GrpcRoute>) = "gateway.networking.k8s.io", "GRPCRoute";
    TlsRoute(Rule<gwapi::TlsRoute>) = "gateway.networking.k8s.io", "TLSRoute";
    TcpRoute(Rule<gwapi::TcpRoute>) = "gateway.networking.k8s.io", "TCPRoute";
    ReferenceGrant(Rule<gwapi::ReferenceGrant>) = "gateway.networking.k8s.io", "ReferenceGrant";
    BackendTlsPolicy(Rule<gwapi::BackendTlsPolicy>) = "gateway.networking.k8s.io", "BackendTLSPolicy";
    Process(Rule<Process>) = "run.dromon.io", "Process";
    VirtualService(Rule<VirtualService>) = "networking.istio.io", "VirtualService";
    DestinationRule(Rule<DestinationRule>) = "networking.istio.io", "DestinationRule";
    Gateway(Rule<Gateway>) = "networking.istio.io", "Gateway";
    ServiceEntry(Rule<ServiceEntry>) = "networking.istio.io", "ServiceEntry";
    WorkloadEntry(Rule<WorkloadEntry>) = "networking.istio.io", "WorkloadEntry";
    Sidecar(Rule<Sidecar>) = "networking.istio.io", "Sidecar";
    PeerAuthentication(Rule<PeerAuthentication>) = "security.istio.io", "PeerAuthentication";
    Telemetry(Rule<Telemetry>) = "telemetry.istio.io", "Telemetry";
    RateLimit(Rule<RateLimit>) = "policy.dromon.io", "RateLimit";
}

impl Kind {
    /// Whether its objects belong to no namespace.
    pub fn is_cluster_wide(self) -> bool {
        matches!(self, Kind::Namespace | Kind::Node | Kind::GatewayClass | Kind::IngressClass)
    }

    /// The name of its collection in the API, e.g. `httproutes`.
    pub fn plural(self) -> String {
        let name = self.name().to_ascii_lowercase();
        match name.strip_suffix('y') {
            _ if name == "endpoints" => name,
            Some(stem) if !stem.ends_with(['a', 'e', 'o']) => format!("{stem}ies"),
            _ if name.ends_with('s') => format!("{name}es"),
            _ => format!("{name}s"),
        }
    }

    /// The version in which it is asked for and written; [`crate::parse`] reads earlier ones too.
    pub fn version(self) -> &'static str {
        "v1"
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
