//! What a proxy tells of the certificates that it uses: the body of its admin `/certs`, without any secret.

use rustls_pki_types::UnixTime;
use serde::{Deserialize, Serialize};

use crate::certificate::fingerprint;
use crate::identity::Identity;
use crate::roots::Roots;
use crate::verify::chain::verify_chain;

/// The certificates that a proxy uses.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// Its own identity, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<Held>,
    /// SHA-256 fingerprints of the roots that it believes.
    #[serde(default)]
    pub roots: Vec<String>,
    /// What is wrong with the files that it was given last, if they are not in use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// An identity in use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Held {
    /// Who it is.
    pub id: String,
    /// Serial number in hexadecimal digits.
    pub serial: String,
    /// The issuer's subject.
    pub issuer: String,
    /// First second of its life, since the Unix epoch.
    pub not_before: u64,
    /// Last second of its life, since the Unix epoch.
    pub not_after: u64,
    /// SHA-256 fingerprint of the leaf.
    pub fingerprint: String,
    /// Fingerprint of the root that vouches for it, if it is one of those believed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root: Option<String>,
}

impl Report {
    /// Of an identity in use.
    pub fn of(identity: &Identity) -> Report {
        let info = identity.info();
        let held = Held {
            id: identity.id().to_string(),
            serial: info.serial.clone(),
            issuer: info.issuer.clone(),
            not_before: info.not_before,
            not_after: info.not_after,
            fingerprint: info.fingerprint.clone(),
            root: root_of(identity),
        };
        let roots = identity.roots().fingerprints().iter().cloned().collect();
        Report { identity: Some(held), roots, error: None }
    }
}

/// The root that vouches for an identity: the one by which alone its chain is good.
fn root_of(identity: &Identity) -> Option<String> {
    let within = UnixTime::since_unix_epoch(std::time::Duration::from_secs(identity.info().not_after));
    identity.roots().certificates().iter().find_map(|root| {
        let alone = Roots::from_pem(crate::certificate::to_pem(root).as_bytes()).ok()?;
        verify_chain(identity.credential().chain(), &alone, within).ok()?;
        Some(fingerprint(root))
    })
}
