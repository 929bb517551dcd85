//! What a gateway shows and asks of its clients, for each set of server names.

use std::sync::Arc;

use dromon_auth::options::{Options, Version};
use dromon_auth::roots::SYSTEM_BUNDLES;
use dromon_auth::tls::server::{gateway_server, mesh_server};
use dromon_auth::tls::sni::CredentialsBySni;
use dromon_auth::verify::clients::Clients;
use dromon_auth::{Credential, Roots, alpn};
use dromon_core::config::model::{self, Protocol, TlsMode, TlsVersion};
use dromon_core::config::table::ServerTls;
use rustls::ServerConfig;

use super::TlsTable;

/// A gateway's configuration for some server names.
pub struct Served {
    model: model::ServerTls,
    credentials: Vec<Arc<model::Credential>>,
    config: Result<Arc<ServerConfig>, String>,
}

impl Served {
    /// The configuration, or why these hosts are down.
    pub fn config(&self) -> Result<&Arc<ServerConfig>, &str> {
        self.config.as_ref().map_err(String::as_str)
    }

    /// What is wrong, with where it was written.
    pub(super) fn problem(&self) -> Option<String> {
        let reason = self.config.as_ref().err()?;
        let hosts = self.model.hosts.join(", ");
        Some(format!("{}: TLS for {hosts} is down: {reason}", self.model.origin))
    }

    fn is_of(&self, tls: &ServerTls) -> bool {
        let same = |(old, new): (&Arc<_>, &Arc<_>)| Arc::ptr_eq(old, new);
        self.model == tls.model
            && self.credentials.len() == tls.credentials.len()
            && self.credentials.iter().zip(&tls.credentials).all(same)
    }
}

impl TlsTable {
    /// The configuration of one setting; what was made before of the same stays.
    pub(super) fn serve(&self, tls: &ServerTls, old: Option<&Served>, before: &TlsTable) -> Served {
        let own = tls.model.mode == TlsMode::IstioMutual;
        let same = |old: &&Served| old.is_of(tls) && (!own || self.has_identity_of(before));
        let kept = old.filter(|old| old.config.is_ok()).filter(same);
        let config = match kept {
            Some(kept) => kept.config.clone(),
            None => self.config(tls),
        };
        Served { model: tls.model.clone(), credentials: tls.credentials.clone(), config }
    }

    fn config(&self, tls: &ServerTls) -> Result<Arc<ServerConfig>, String> {
        let model = &tls.model;
        if !model.mode.terminates() {
            return Err("it is passed through".to_owned());
        }
        let names = if model.protocol == Protocol::Tcp { &[] } else { alpn::HTTP_SERVER };
        let options = Options {
            min_version: model.min_version.map_or(Version::Tls12, version),
            max_version: model.max_version.map_or(Version::Tls13, version),
            cipher_suites: model.cipher_suites.clone(),
            ..Options::public(names)
        };
        if model.mode == TlsMode::IstioMutual {
            let identity = self.identity.as_ref().ok_or("this proxy has no certificate of the mesh")?;
            let trust = self.trust.as_ref().ok_or("the mesh's trust domain is no trust domain")?;
            let options = Options { alpn: alpn::list(alpn::MESH_SERVER), ..options };
            return mesh_server(identity, trust, &options, &self.sessions).map_err(|error| error.to_string());
        }
        let (credentials, source) = shown(tls)?;
        let clients = match model.mode {
            TlsMode::Mutual | TlsMode::OptionalMutual => Clients::Known {
                roots: revoking(source)?,
                names: model.subject_alt_names.clone(),
                optional: model.mode == TlsMode::OptionalMutual,
            },
            _ => Clients::Anyone,
        };
        let mut by_name = CredentialsBySni::default();
        // The table has chosen these settings by the name already.
        by_name.insert_all("*", Ok(&credentials));
        gateway_server(Arc::new(by_name), &clients, &options, &self.sessions)
            .map_err(|error| error.to_string())
    }
}

/// The credentials that can be used, and where the first of them is from: its CA is the one that clients are checked by.
fn shown(tls: &ServerTls) -> Result<(Vec<Credential>, &model::Credential), String> {
    let mut reason = match tls.model.credentials.as_slice() {
        [] => "it names no credential".to_owned(),
        names => format!("there is no credential {}", names.join(" or ")),
    };
    let (mut usable, mut first) = (Vec::new(), None);
    for source in &tls.credentials {
        match Credential::from_pem(source.cert_chain.as_bytes(), source.key.pem().as_bytes()) {
            Ok(credential) => {
                usable.push(credential);
                first.get_or_insert(&**source);
            }
            Err(error) => reason = format!("credential {}: {error}", source.name),
        }
    }
    first.map(|source| (usable, source)).ok_or(reason)
}

/// Whom a credential believes, and whom of theirs it does not.
pub(super) fn revoking(credential: &model::Credential) -> Result<Roots, String> {
    if credential.ca.is_empty() {
        return Err(format!("credential {} has no CA (ca.crt) to check clients by", credential.name));
    }
    Roots::from_bundle(credential.ca.as_bytes())
        .and_then(|roots| roots.with_revocations(credential.crl.as_bytes()))
        .map_err(|error| format!("credential {}: {error}", credential.name))
}

/// The version that a rule names.
pub(super) fn version(version: TlsVersion) -> Version {
    match version {
        TlsVersion::V1_2 => Version::Tls12,
        TlsVersion::V1_3 => Version::Tls13,
    }
}

/// The system's bundle of public roots.
pub(super) fn public_roots() -> Result<Roots, String> {
    let found = SYSTEM_BUNDLES.iter().find_map(|path| Some((path, std::fs::read(path).ok()?)));
    let (path, pem) = found.ok_or("this system has no bundle of public roots (ca-certificates)")?;
    Roots::from_bundle(&pem).map_err(|error| format!("{path}: {error}"))
}
