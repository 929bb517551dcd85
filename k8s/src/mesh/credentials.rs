//! Secrets as credentials: certificate, key and CAs under the names that Istio and Kubernetes give them.

use std::collections::BTreeMap;

use dromon_core::config::model::{Credential, PrivateKey};
use k8s_openapi::api::core::v1::Secret;

use crate::api::{Kind, Object};
use crate::objects::{Key, ObjectSet};

/// Istio's ending of the Secret that holds the CA beside the one that holds certificate and key.
pub const CA_SUFFIX: &str = "-cacert";

/// The Secrets of a set.
#[derive(Clone, Debug, Default)]
pub struct Credentials {
    secrets: BTreeMap<(String, String), std::sync::Arc<Secret>>,
}

/// What is asked of a Secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Needs {
    /// A certificate with its key.
    pub certificate: bool,
    /// CAs to trust.
    pub ca: bool,
}

/// Why a Secret is of no use.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CredentialError {
    /// There is none.
    #[error("there is no Secret `{name}` in {}", namespaces.join(" or "))]
    Missing {
        /// Its name.
        name: String,
        /// Where it was looked for.
        namespaces: Vec<String>,
    },
    /// A part is not there.
    #[error("{key} has no {part}")]
    Incomplete {
        /// The Secret.
        key: Key,
        /// What is missing, with the names that it may have.
        part: &'static str,
    },
    /// A part is there and of no use.
    #[error("{key}: {reason}")]
    Broken {
        /// The Secret.
        key: Key,
        /// What is wrong.
        reason: String,
    },
}

impl Credentials {
    /// Gathers the Secrets of a set.
    pub fn new(set: &ObjectSet) -> Credentials {
        let secret = |sourced: &crate::objects::Sourced| match &sourced.object {
            Object::Secret(secret) => {
                Some(((sourced.key.namespace.clone(), sourced.key.name.clone()), secret.clone()))
            }
            _ => None,
        };
        Credentials { secrets: set.of_kind(Kind::Secret).filter_map(secret).collect() }
    }

    /// The credential that a name means, looked for in these namespaces in turn. Its own name is `NAMESPACE/NAME`.
    ///
    /// # Errors
    /// It is not there, or of no use; with the reason for the operator.
    pub fn find(&self, name: &str, namespaces: &[&str], needs: Needs) -> Result<Credential, CredentialError> {
        // `kubernetes://NAME` is how Istio's own resources spell it.
        let name = name.strip_prefix("kubernetes://").unwrap_or(name);
        let held = |namespace: &&str, name: &str| {
            self.secrets.get(&(namespace.to_string(), name.to_owned())).map(|it| (namespace.to_string(), it))
        };
        let ca_name = format!("{}{CA_SUFFIX}", name.strip_suffix(CA_SUFFIX).unwrap_or(name));
        let own = namespaces.iter().find_map(|it| held(it, name));
        let ca_only = namespaces.iter().find_map(|it| held(it, &ca_name));
        let Some((namespace, secret)) = own.clone().or(ca_only.clone().filter(|_| !needs.certificate)) else {
            let namespaces = namespaces.iter().map(|it| it.to_string()).collect();
            return Err(CredentialError::Missing { name: name.to_owned(), namespaces });
        };
        let key_of = |namespace: &str, secret: &Secret| Key {
            kind: Kind::Secret,
            namespace: namespace.to_owned(),
            name: secret.metadata.name.clone().unwrap_or_default(),
        };
        let key = key_of(&namespace, secret);
        let mut credential = Credential { name: format!("{namespace}/{name}"), ..Credential::default() };
        if needs.certificate {
            (credential.cert_chain, credential.key) = certificate(secret, &key)?;
        }
        // The Secret for CAs alone comes first, as in Istio.
        for (namespace, secret) in [ca_only, own].into_iter().flatten() {
            let key = key_of(&namespace, secret);
            match ca(secret, &key) {
                Ok(None) => {}
                Ok(Some((ca, crl))) => {
                    (credential.ca, credential.crl) = (ca, crl);
                    break;
                }
                Err(error) if needs.ca => return Err(error),
                // Nobody asked for it.
                Err(_) => {}
            }
        }
        if needs.ca && credential.ca.is_empty() {
            return Err(CredentialError::Incomplete { key, part: "CA (`ca.crt` or `cacert`)" });
        }
        Ok(credential)
    }
}

/// One entry of a Secret as text, under the first of its names that is there.
fn part(secret: &Secret, names: &[&str], key: &Key) -> Result<Option<String>, CredentialError> {
    for name in names {
        if let Some(text) = secret.string_data.as_ref().and_then(|it| it.get(*name)) {
            return Ok(Some(text.clone()));
        }
        if let Some(bytes) = secret.data.as_ref().and_then(|it| it.get(*name)) {
            let text = String::from_utf8(bytes.0.clone()).map_err(|_| CredentialError::Broken {
                key: key.clone(),
                reason: format!("`{name}` is not PEM: it is not even text"),
            })?;
            return Ok(Some(text).filter(|it| !it.trim().is_empty()));
        }
    }
    Ok(None)
}

/// Certificate chain and key.
fn certificate(secret: &Secret, key: &Key) -> Result<(String, PrivateKey), CredentialError> {
    let missing = |part| CredentialError::Incomplete { key: key.clone(), part };
    let chain = part(secret, &["tls.crt", "cert"], key)?
        .ok_or_else(|| missing("certificate (`tls.crt` or `cert`)"))?;
    let pem = part(secret, &["tls.key", "key"], key)?.ok_or_else(|| missing("key (`tls.key` or `key`)"))?;
    // Asked of the code that will have to serve it.
    dromon_auth::Credential::from_pem(chain.as_bytes(), pem.as_bytes())
        .map_err(|error| CredentialError::Broken { key: key.clone(), reason: error.to_string() })?;
    Ok((chain, PrivateKey::new(pem)))
}

/// CAs and revocation lists.
fn ca(secret: &Secret, key: &Key) -> Result<Option<(String, String)>, CredentialError> {
    let Some(ca) = part(secret, &["ca.crt", "cacert"], key)? else { return Ok(None) };
    dromon_auth::Roots::from_bundle(ca.as_bytes())
        .map_err(|error| CredentialError::Broken { key: key.clone(), reason: format!("CA: {error}") })?;
    Ok(Some((ca, part(secret, &["ca.crl", "crl"], key)?.unwrap_or_default())))
}

#[cfg(test)]
mod tests;
