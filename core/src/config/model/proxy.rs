//! What one proxy is, and what it listens on.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use super::{ConnectionPool, MtlsMode, Retries, ServerTls, TlsVersion};

/// What one proxy is and listens on.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Proxy {
    /// The proxy's id: `sidecar~NAME.NAMESPACE` or `gateway~NAME.NAMESPACE`.
    pub name: String,
    /// Sidecar or gateway.
    pub role: Role,
    /// The workload it stands for.
    pub workload: Workload,
    /// What it listens on.
    pub listeners: Vec<Listener>,
    /// What happens to hosts that the index does not know.
    pub outbound_policy: OutboundPolicy,
    /// Access log; off when absent.
    pub access_log: Option<AccessLog>,
    /// Retry policy of routes that name none (Istio: 2 on connect-failure, refused-stream, unavailable, cancelled).
    pub default_retries: Option<Retries>,
    /// Send `x-dromon-reason` with responses made here (true inside the mesh, false at gateways).
    pub expose_reason: bool,
    /// The domain of the mesh's SPIFFE ids; empty: [`TRUST_DOMAIN`]. See [`Proxy::trust_domain`].
    pub trust_domain: String,
    /// Domains whose ids count as this one's (a mesh that changes its domain, or trusts another's).
    pub trust_domain_aliases: Vec<String>,
    /// Oldest TLS version spoken with other sidecars; 1.3 when absent.
    pub mesh_min_version: Option<TlsVersion>,
}

/// Istio's default trust domain.
pub const TRUST_DOMAIN: &str = "cluster.local";

impl Proxy {
    /// The trust domain in force.
    pub fn trust_domain(&self) -> &str {
        if self.trust_domain.is_empty() { TRUST_DOMAIN } else { &self.trust_domain }
    }
}

/// Which side of the mesh a proxy serves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub enum Role {
    #[default]
    Sidecar,
    Gateway,
}

/// A workload as metrics and logs name it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
#[allow(missing_docs)]
pub struct Workload {
    pub name: String,
    pub namespace: String,
    pub app: String,
    pub version: String,
    pub canonical_service: String,
    pub canonical_revision: String,
    pub cluster: String,
    pub service_account: String,
}

/// What happens to a request for a host that the index does not know.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum OutboundPolicy {
    /// It goes where it was going: to its original destination, or to what DNS says of its host.
    #[default]
    AllowAny,
    /// It is answered 502 (HTTP) or reset (TCP).
    RegistryOnly,
}

/// Access-log settings.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct AccessLog {
    /// `/dev/stdout` or a file's path.
    pub path: String,
    /// Text in Envoy's format operators, or JSON.
    pub encoding: LogEncoding,
    /// The text format; Istio's default when empty.
    pub format: String,
    /// JSON fields, name → format operators; Istio's default set when empty.
    pub json: BTreeMap<String, String>,
}

/// How access-log records are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[allow(missing_docs)]
pub enum LogEncoding {
    #[default]
    Text,
    Json,
}

/// One address that a proxy listens on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Listener {
    /// Unique within the proxy, e.g. `gateway/8080`, `inbound/9080`, `outbound`, `service/mongodb.default…:27017`.
    pub name: String,
    /// Where it listens.
    pub address: SocketAddr,
    /// The port that rules name (80 where a Gateway's 80 is served on 8080).
    pub logical_port: u16,
    /// What it does with a connection.
    pub kind: ListenerKind,
    /// A gateway's TLS settings by server name; empty: plaintext. What comes out of a server of `Http` meets the HTTP
    /// rules of the listener's [`VirtualHost`](super::VirtualHost)s, anything else their TLS and TCP rules.
    #[serde(default)]
    pub tls: Vec<ServerTls>,
    /// Connections begin with a PROXY protocol header, version 1 or 2; one without is refused.
    #[serde(default)]
    pub proxy_protocol: bool,
    /// The object and field that say what an inbound listener takes; empty: nobody does. For people.
    #[serde(default)]
    pub mtls_origin: String,
    /// Nobody opens `address`: netfilter brings its connections to a listener of [`ListenerKind::InboundCapture`].
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub captured: bool,
}

impl Listener {
    /// A listener without TLS.
    pub fn new(
        name: impl Into<String>,
        address: SocketAddr,
        logical_port: u16,
        kind: ListenerKind,
    ) -> Listener {
        Listener {
            name: name.into(),
            address,
            logical_port,
            kind,
            tls: Vec::new(),
            proxy_protocol: false,
            mtls_origin: String::new(),
            captured: false,
        }
    }
}

/// What a listener does with a connection.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "camelCase", rename_all_fields = "camelCase")]
// A proxy has few listeners, and a sidecar's are mostly of the largest kind.
#[allow(clippy::large_enum_variant)]
pub enum ListenerKind {
    /// A sidecar's side towards its own application, for one of the workload's ports.
    Inbound {
        /// Protocol declared for the port.
        protocol: Protocol,
        /// The application's own address.
        target: SocketAddr,
        /// FQDN of the service that selects this port (the first by name where several do); for metrics and limits.
        #[serde(default)]
        service: Option<ServiceRef>,
        /// `connectionPool` and the like for the application's side; name of a [`Destination`] is not needed.
        #[serde(default)]
        pool: ConnectionPool,
        /// What it takes from clients.
        #[serde(default)]
        mtls: MtlsMode,
    },
    /// Where netfilter brings whatever arrives for the workload ([`crate::capture`]): to the [`ListenerKind::Inbound`] of the
    /// port that it was for, or else to that port of the application as it is.
    InboundCapture {
        /// What is taken from clients of ports that have no listener of their own.
        #[serde(default)]
        mtls: MtlsMode,
    },
    /// A sidecar's side towards the mesh: original destination, or absolute-form requests (explicit proxying).
    Outbound,
    /// A per-client listener for one service port: everything that arrives goes to that service.
    Service {
        /// The service's FQDN: name of a [`Host`].
        host: String,
        /// Its port.
        port: u16,
        /// The port's protocol.
        protocol: Protocol,
    },
    /// A gateway's HTTP or HTTPS port; its [`VirtualHost`]s name this listener. Where TLS is passed on for some server
    /// names and ends here for others, it is of this kind too.
    GatewayHttp,
    /// A gateway's TCP port; the one [`VirtualHost`] that names this listener has TCP rules. With TLS: a port of which
    /// nothing is HTTP; a [`VirtualHost`] for each server name has TLS rules.
    GatewayTcp,
}

/// A service as metrics name it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
#[allow(missing_docs)]
pub struct ServiceRef {
    /// FQDN: label `destination_service`.
    pub host: String,
    pub name: String,
    pub namespace: String,
}

/// What is spoken on a port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[allow(missing_docs)]
pub enum Protocol {
    Http,
    Http2,
    Grpc,
    Tcp,
    Tls,
    /// Not declared: whichever side speaks first decides.
    #[default]
    Auto,
}
