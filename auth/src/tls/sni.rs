//! Which of several things belongs to the name that a client asks for (RFC 6066, section 3).

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use crate::credential::Credential;

/// Things by server name: exact names first, then the longest wildcard (`*.example.com` covers every name below
/// example.com, as in Istio), then what `*` has.
#[derive(Clone, Debug)]
pub struct SniMap<T> {
    exact: HashMap<String, T>,
    below: HashMap<String, T>,
    any: Option<T>,
}

impl<T> Default for SniMap<T> {
    fn default() -> SniMap<T> {
        SniMap { exact: HashMap::new(), below: HashMap::new(), any: None }
    }
}

impl<T> SniMap<T> {
    /// Puts a thing under a host: `name`, `*.suffix` or `*`. The first one to have a name keeps it; the refused one is
    /// given back.
    ///
    /// # Errors
    /// The name is taken.
    pub fn insert(&mut self, host: &str, thing: T) -> Result<(), T> {
        let host = normal(host);
        if host == "*" {
            return match &self.any {
                Some(_) => Err(thing),
                None => {
                    self.any = Some(thing);
                    Ok(())
                }
            };
        }
        let (names, key) = match host.strip_prefix("*.") {
            Some(suffix) => (&mut self.below, suffix.to_owned()),
            None => (&mut self.exact, host),
        };
        if names.contains_key(&key) {
            return Err(thing);
        }
        names.insert(key, thing);
        Ok(())
    }

    /// What belongs to the name; without a name only what `*` has.
    pub fn get(&self, name: Option<&str>) -> Option<&T> {
        let Some(name) = name.map(normal) else { return self.any.as_ref() };
        if let Some(found) = self.exact.get(&name) {
            return Some(found);
        }
        let mut rest = name.as_str();
        while let Some((_, suffix)) = rest.split_once('.') {
            if let Some(found) = self.below.get(suffix) {
                return Some(found);
            }
            rest = suffix;
        }
        self.any.as_ref()
    }
}

/// Names are compared without case and without the root's dot.
fn normal(name: &str) -> String {
    name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase()
}

/// Shows the certificate of the name that the client asks for.
///
/// A host whose credential is missing or broken is entered with its reason: connections to it fail, those to other hosts
/// do not.
#[derive(Default)]
pub struct CredentialsBySni {
    hosts: SniMap<Result<Vec<Arc<CertifiedKey>>, String>>,
    fingerprint: Vec<u8>,
}

impl CredentialsBySni {
    /// Enters a host with its credential, or with what is wrong with it. A host that is there already stays as it is:
    /// returns false.
    pub fn insert(&mut self, host: &str, credential: Result<&Credential, String>) -> bool {
        self.insert_all(host, credential.map(std::slice::from_ref))
    }

    /// As [`CredentialsBySni::insert`], with several credentials of the host: a client is shown the first whose signatures it
    /// can check, so that one of ECDSA serves beside one of RSA.
    pub fn insert_all(&mut self, host: &str, credentials: Result<&[Credential], String>) -> bool {
        let shown = match &credentials {
            Ok(all) => all.iter().map(|it| it.info().fingerprint.as_str()).collect::<Vec<_>>().join(" "),
            Err(reason) => reason.clone(),
        };
        self.fingerprint.extend_from_slice(format!("{host} {shown}\n").as_bytes());
        let keys = credentials.map(|all| all.iter().map(Credential::certified_key).collect());
        self.hosts.insert(host, keys).is_ok()
    }

    /// Why a client that asks for this name gets no certificate; `None` if it gets one.
    pub fn missing(&self, name: Option<&str>) -> Option<String> {
        match self.hosts.get(name) {
            Some(Ok(_)) => None,
            Some(Err(reason)) => Some(reason.clone()),
            None => Some(match name {
                Some(name) => format!("no server of this port has the host {name}"),
                None => "the client names no host (SNI), and no server of this port takes any".to_owned(),
            }),
        }
    }

    /// Stands for all that is shown, to tell one set from another.
    pub(crate) fn fingerprint(&self) -> &[u8] {
        &self.fingerprint
    }
}

impl ResolvesServerCert for CredentialsBySni {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let keys = self.hosts.get(hello.server_name())?.as_ref().ok()?;
        let fits = |it: &&Arc<CertifiedKey>| it.key.choose_scheme(hello.signature_schemes()).is_some();
        // Where none fits the handshake fails, and says by the first why.
        keys.iter().find(fits).or(keys.first()).cloned()
    }
}

impl fmt::Debug for CredentialsBySni {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CredentialsBySni")
    }
}
