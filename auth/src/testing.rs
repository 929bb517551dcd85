//! Authorities, identities and handshakes for tests: no sockets, the two ends are fed by hand.

use std::sync::Arc;
use std::time::Duration;

use rustls::{ClientConfig, ClientConnection, ServerConfig, ServerConnection};
use rustls_pki_types::{ServerName, UnixTime};

use crate::authority::{Authority, Issued, KeyKind, Wanted};
use crate::credential::Credential;
use crate::identity::Identity;
use crate::roots::Roots;
use crate::spiffe::{SpiffeId, Trust, TrustDomain};

/// The mesh's trust domain in tests.
pub fn domain() -> TrustDomain {
    TrustDomain::new("cluster.local").expect("a trust domain")
}

/// A mesh without aliases.
pub fn trust() -> Trust {
    Trust::new(domain(), Vec::new())
}

/// The identity of an account in the namespace `default`.
pub fn id(account: &str) -> SpiffeId {
    SpiffeId::new(&domain(), "default", account).expect("an id")
}

/// A new CA.
pub fn authority() -> Authority {
    Authority::new_root(&domain(), UnixTime::now()).expect("a root")
}

/// This many seconds before (negative) or after now.
pub fn seconds_from_now(seconds: i64) -> UnixTime {
    let now = UnixTime::now().as_secs();
    UnixTime::since_unix_epoch(Duration::from_secs(now.saturating_add_signed(seconds)))
}

/// A leaf of an hour.
pub fn issue(authority: &Authority, id: SpiffeId, now: UnixTime) -> Issued {
    let wanted = Wanted { id, key: KeyKind::EcdsaP256, life: Duration::from_secs(3_600) };
    authority.issue(&wanted, now).expect("a leaf")
}

/// A workload whose leaf and roots come from the same CA.
pub fn identity(authority: &Authority, account: &str) -> Identity {
    let leaf = issue(authority, id(account), UnixTime::now());
    identity_of(&leaf, &authority.root_pem())
}

/// A workload that shows `leaf` and believes `roots`.
pub fn identity_of(leaf: &Issued, roots: &str) -> Identity {
    Identity::from_pem(leaf.chain.as_bytes(), leaf.key.as_bytes(), roots.as_bytes()).expect("an identity")
}

/// A CA and certificates that the authority would never make.
pub struct Forge {
    issuer: rcgen::Issuer<'static, rcgen::KeyPair>,
    /// The CA's certificate, PEM.
    pub root: String,
}

impl Forge {
    /// A new CA.
    pub fn new() -> Forge {
        let key = rcgen::KeyPair::generate().expect("a key");
        let mut params = rcgen::CertificateParams::default();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        params.key_usages = vec![rcgen::KeyUsagePurpose::KeyCertSign, rcgen::KeyUsagePurpose::CrlSign];
        let root = params.self_signed(&key).expect("a root").pem();
        Forge { issuer: rcgen::Issuer::new(params, key), root }
    }

    /// The CA's root as a bundle.
    pub fn roots(&self) -> Roots {
        Roots::from_pem(self.root.as_bytes()).expect("a bundle")
    }

    /// A leaf; `change` says what is special about it.
    pub fn leaf(&self, change: impl FnOnce(&mut rcgen::CertificateParams)) -> (String, String) {
        let key = rcgen::KeyPair::generate().expect("a key");
        let mut params = rcgen::CertificateParams::default();
        params.extended_key_usages =
            vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth, rcgen::ExtendedKeyUsagePurpose::ClientAuth];
        change(&mut params);
        let leaf = params.signed_by(&key, &self.issuer).expect("a leaf");
        (leaf.pem(), key.serialize_pem())
    }

    /// A revocation list of these serial numbers, PEM, that holds until so many seconds from now.
    pub fn revoke(&self, serials: &[u64], until_seconds: i64) -> String {
        let at = |seconds| {
            let seconds = seconds_from_now(seconds).as_secs() as i64;
            time::OffsetDateTime::from_unix_timestamp(seconds).expect("a date")
        };
        let revoked = |serial: &u64| rcgen::RevokedCertParams {
            serial_number: (*serial).into(),
            revocation_time: at(-600),
            reason_code: None,
            invalidity_date: None,
        };
        let list = rcgen::CertificateRevocationListParams {
            this_update: at(-600),
            next_update: at(until_seconds),
            crl_number: 1.into(),
            issuing_distribution_point: None,
            revoked_certs: serials.iter().map(revoked).collect(),
            key_identifier_method: rcgen::KeyIdMethod::Sha256,
        };
        list.signed_by(&self.issuer).expect("a list").pem().expect("PEM")
    }

    /// A server's credential for these DNS names.
    pub fn credential(&self, names: &[&str]) -> Credential {
        let (chain, key) = self.leaf(|params| params.subject_alt_names = dns(names));
        Credential::from_pem(chain.as_bytes(), key.as_bytes()).expect("a credential")
    }
}

/// Names of kind DNS.
pub fn dns(names: &[&str]) -> Vec<rcgen::SanType> {
    names.iter().map(|name| rcgen::SanType::DnsName((*name).try_into().expect("a name"))).collect()
}

/// A name of kind URI.
pub fn uri(text: &str) -> rcgen::SanType {
    rcgen::SanType::URI(text.try_into().expect("a URI"))
}

/// Both ends of a finished or failed handshake.
pub struct Ends {
    /// The client.
    pub client: ClientConnection,
    /// The server.
    pub server: ServerConnection,
    /// Why the client gave up.
    pub client_error: Option<rustls::Error>,
    /// Why the server gave up.
    pub server_error: Option<rustls::Error>,
}

/// Lets two ends shake hands, and goes on until neither has anything to say.
pub fn shake(client: &Arc<ClientConfig>, server: &Arc<ServerConfig>, name: &str) -> Ends {
    let name = ServerName::try_from(name.to_owned()).expect("a server name");
    let client = ClientConnection::new(client.clone(), name).expect("a client");
    let server = ServerConnection::new(server.clone()).expect("a server");
    let mut ends = Ends { client, server, client_error: None, server_error: None };
    for _ in 0..20 {
        let mut bytes = Vec::new();
        while ends.client.wants_write() {
            ends.client.write_tls(&mut bytes).expect("writes into memory");
        }
        if ends.server_error.is_none() {
            ends.server.read_tls(&mut bytes.as_slice()).expect("reads from memory");
            ends.server_error = ends.server.process_new_packets().err();
        }
        let mut bytes = Vec::new();
        while ends.server.wants_write() {
            ends.server.write_tls(&mut bytes).expect("writes into memory");
        }
        if ends.client_error.is_none() {
            ends.client.read_tls(&mut bytes.as_slice()).expect("reads from memory");
            ends.client_error = ends.client.process_new_packets().err();
        }
    }
    ends
}

impl Ends {
    /// Both ends are content.
    pub fn is_done(&self) -> bool {
        self.client_error.is_none()
            && self.server_error.is_none()
            && !self.client.is_handshaking()
            && !self.server.is_handshaking()
    }

    /// Why the server refused.
    pub fn refused_by_server(&self) -> crate::Failure {
        crate::Failure::of(self.server_error.as_ref().expect("the server refuses"))
    }

    /// Why the client refused.
    pub fn refused_by_client(&self) -> crate::Failure {
        crate::Failure::of(self.client_error.as_ref().expect("the client refuses"))
    }
}
