//! TLS and mutual TLS: what a listener serves, what a destination is spoken to with, and the credentials of both.

use std::fmt;

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::{Protocol, WeightedDestination};

/// Whether an inbound port takes mutual TLS from other sidecars, plaintext, or both (`PeerAuthentication`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum MtlsMode {
    /// No mutual TLS: whatever arrives goes to the application as it is, TLS of its own included.
    Disable,
    /// Mutual TLS where the client offers it, else as it is.
    #[default]
    Permissive,
    /// Mutual TLS only; anything else is refused.
    Strict,
}

/// How a gateway's server treats TLS connections (`Gateway` `servers[].tls.mode`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum TlsMode {
    /// Ended here; the client shows no certificate.
    #[default]
    Simple,
    /// Ended here; the client must show a certificate of the credential's CA.
    Mutual,
    /// As `Mutual`, but a client may show none.
    OptionalMutual,
    /// Ended here with the mesh's own certificate; the client must have one of the mesh's CA.
    IstioMutual,
    /// Passed on unread, by the server name of its ClientHello ([`TlsRule`]).
    Passthrough,
    /// Passed on unread to the destination that the server name spells ([`mesh_server_name`]), without TLS of our own
    /// around it: it is the mesh's already.
    AutoPassthrough,
}

impl TlsMode {
    /// TLS ends here: a certificate is needed.
    pub const fn terminates(self) -> bool {
        !matches!(self, TlsMode::Passthrough | TlsMode::AutoPassthrough)
    }

    /// The certificate is a [`Credential`]'s, not the mesh's own.
    pub const fn needs_credential(self) -> bool {
        matches!(self, TlsMode::Simple | TlsMode::Mutual | TlsMode::OptionalMutual)
    }
}

/// A TLS version that is spoken (RFC 5246, RFC 8446). Older ones are not (RFC 8996).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[allow(missing_docs)]
pub enum TlsVersion {
    #[serde(rename = "TLSV1_2")]
    V1_2,
    #[serde(rename = "TLSV1_3")]
    V1_3,
}

/// What a gateway's listener does with TLS connections for some server names.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ServerTls {
    /// Where it came from, e.g. `Gateway/default/shop spec.servers[1]`.
    pub origin: String,
    /// Server names: exact, `*.suffix`, or `*`, which also takes a ClientHello without a name. Of several entries of a
    /// listener the most specific counts.
    pub hosts: Vec<String>,
    /// What happens to the connection.
    pub mode: TlsMode,
    /// What is spoken inside, where TLS ends here: `Http` (HTTP/1.1 or HTTP/2, by ALPN) or `Tcp`.
    pub protocol: Protocol,
    /// Names of [`Credential`]s, one for each kind of key. Without any that is here no handshake is served: these hosts
    /// only are down.
    pub credentials: Vec<String>,
    /// None: TLS 1.2.
    pub min_version: Option<TlsVersion>,
    /// None: TLS 1.3.
    pub max_version: Option<TlsVersion>,
    /// Names as OpenSSL writes them; empty: the default set. Concern TLS 1.2 only, as in Envoy.
    pub cipher_suites: Vec<String>,
    /// Where clients show certificates: one of these must be among the certificate's alternative names; empty: any.
    pub subject_alt_names: Vec<String>,
}

impl ServerTls {
    /// Whether clients are asked and shown the same by both, whatever the hosts that they are for.
    pub fn asks_as(&self, other: &ServerTls) -> bool {
        let ServerTls { origin: _, hosts: _, mode, protocol, credentials, .. } = self;
        (mode, protocol, credentials) == (&other.mode, &other.protocol, &other.credentials)
            && (self.min_version, self.max_version) == (other.min_version, other.max_version)
            && self.cipher_suites == other.cipher_suites
            && self.subject_alt_names == other.subject_alt_names
    }
}

/// How a destination's endpoints are spoken to (`DestinationRule` `trafficPolicy.tls`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ClientTlsMode {
    /// Mutual TLS to endpoints that have a sidecar ([`Endpoint::mtls`](super::Endpoint::mtls)), plaintext to others.
    #[default]
    Auto,
    /// Plaintext.
    Disable,
    /// TLS; no certificate of our own is shown.
    Simple,
    /// TLS with the credential's certificate.
    Mutual,
    /// Mutual TLS with the mesh's own certificate.
    IstioMutual,
}

/// A destination's client TLS settings.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ClientTls {
    /// Where it came from, e.g. `DestinationRule/default/reviews spec.trafficPolicy.tls`; empty for automatic mutual TLS.
    pub origin: String,
    /// What is spoken.
    pub mode: ClientTlsMode,
    /// Server name to ask for. Empty: `Simple` and `Mutual` ask for the request's authority (HTTP) or the service's name,
    /// mutual TLS of the mesh for [`mesh_server_name`].
    pub sni: String,
    /// `Simple`, `Mutual`: one of these must be among the server certificate's alternative names. Empty: the server name
    /// asked for.
    pub subject_alt_names: Vec<String>,
    /// Name of a [`Credential`]: `Mutual`'s certificate and key, and the CAs to trust. Empty, or a credential without CAs:
    /// the system's roots.
    pub credential: String,
    /// `Simple`, `Mutual`: take any certificate.
    pub insecure_skip_verify: bool,
    /// Mutual TLS of the mesh: the SPIFFE ids of the accounts that run the service; the server must have one of them
    /// (secure naming). Empty: any of the mesh's trust domains.
    pub identities: Vec<String>,
}

/// The server name that a sidecar asks another for, as Istio writes it: `outbound_.PORT_.SUBSET_.HOST`.
pub fn mesh_server_name(port: u16, subset: &str, host: &str) -> String {
    format!("outbound_.{port}_.{subset}_.{host}")
}

/// A PROXY protocol header to send (HAProxy's `proxy-protocol.txt`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[allow(missing_docs)]
pub enum ProxyProtocol {
    V1,
    V2,
}

/// A rule for TLS connections that are passed on unread, or for what comes out of one that ends here as TCP.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
#[allow(missing_docs)]
pub struct TlsRule {
    pub origin: String,
    /// Alternatives; empty matches everything.
    pub matches: Vec<TlsMatch>,
    pub destinations: Vec<WeightedDestination>,
}

/// One alternative of a TLS rule's condition.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct TlsMatch {
    /// Server names: exact, `*.suffix` or `*`; lower case. Empty: any.
    pub sni_hosts: Vec<String>,
    /// The port that the connection came for.
    pub port: Option<u16>,
    /// CIDRs of the destination address.
    pub destination_subnets: Vec<String>,
    /// CIDR of the client's address.
    pub source_subnet: Option<String>,
}

/// A certificate with its key, as a Secret holds it. Sent to gateways, and to the sidecars whose destinations name it;
/// kept in memory only.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Credential {
    /// `NAMESPACE/NAME` of the Secret.
    pub name: String,
    /// Certificates in PEM, the leaf first; empty where only CAs are needed.
    pub cert_chain: String,
    /// The leaf's key in PEM.
    pub key: PrivateKey,
    /// CAs to trust in PEM; empty: none are given.
    pub ca: String,
    /// Revocation lists in PEM; empty: none are given.
    pub crl: String,
}

/// A private key in PEM. Wiped when dropped; `Debug` does not show it. Serialized as it is, because the feed carries it:
/// whatever writes configuration for people or to disk leaves [`Credential`]s out.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PrivateKey(Zeroizing<String>);

impl PrivateKey {
    /// Takes a key in PEM.
    pub fn new(pem: String) -> PrivateKey {
        PrivateKey(Zeroizing::new(pem))
    }

    /// The key in PEM.
    pub fn pem(&self) -> &str {
        &self.0
    }

    /// There is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(if self.is_empty() { "(none)" } else { "(redacted)" })
    }
}
