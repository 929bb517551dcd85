//! What is known of accounts' Secrets, and what has to be done about each.

use std::collections::{BTreeMap, BTreeSet};

use dromon_auth::identity::{CHAIN_FILE, KEY_FILE, ROOTS_FILE};
use dromon_auth::plan::renewal;
use dromon_auth::report::Report;
use dromon_auth::{Identity, SpiffeId};
use dromon_core::rng::Rng;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use rustls_pki_types::UnixTime;

use super::state::State;
use super::{ACCOUNT_SECRET_PREFIX, ACCOUNT_SECRET_TYPE, Account, MANAGED, secret_name};

/// What a Secret holds: no secrets are kept.
#[derive(Clone, Debug, PartialEq)]
pub struct Facts {
    /// Its version, for whoever replaces it.
    pub resource_version: String,
    /// What it holds, or what is wrong with it.
    pub held: Result<Held, String>,
}

/// A certificate that is in a Secret.
#[derive(Clone, Debug, PartialEq)]
pub struct Held {
    /// Its leaf and roots.
    pub report: Report,
    /// When it is to be renewed, seconds since the Unix epoch.
    pub renew_at: f64,
}

/// What an account's Secret has to be.
#[derive(Clone, Debug, PartialEq)]
pub struct Right {
    /// The root that vouches for the leaf.
    pub issuer: String,
    /// The roots to believe.
    pub roots: BTreeSet<String>,
}

impl Right {
    /// As an authority would make it now.
    pub fn of(state: &State) -> Right {
        Right {
            issuer: state.issuer().root_fingerprint(),
            roots: state.bundle_fingerprints().into_iter().collect(),
        }
    }
}

/// The account that a Secret is for; none if its name is no account's.
pub fn account_of(secret: &Secret) -> Option<Account> {
    let name = secret.metadata.name.as_deref()?.strip_prefix(ACCOUNT_SECRET_PREFIX)?;
    Some((secret.metadata.namespace.clone()?, name.to_owned()))
}

impl Facts {
    /// Of a Secret.
    pub fn of(secret: &Secret, now: f64, rng: &mut Rng) -> Facts {
        let resource_version = secret.metadata.resource_version.clone().unwrap_or_default();
        Facts { resource_version, held: held(secret, now, rng) }
    }

    /// Why it has to be made anew; none if it is as it should be.
    pub fn reason(&self, id: &SpiffeId, right: &Right, now: f64) -> Option<String> {
        let held = match &self.held {
            Ok(held) => held,
            Err(why) => return Some(why.clone()),
        };
        let Some(identity) = &held.report.identity else { return Some("it holds no identity".to_owned()) };
        if identity.id != id.as_str() {
            return Some(format!("it is {}'s", identity.id));
        }
        if identity.root.as_ref() != Some(&right.issuer) {
            return Some("it is of another root".to_owned());
        }
        if held.report.roots.iter().cloned().collect::<BTreeSet<_>>() != right.roots {
            return Some("its roots are others".to_owned());
        }
        (held.renew_at <= now).then(|| "half of its life has passed".to_owned())
    }

    /// Whether a workload can go by it at present, be it that it is to be renewed.
    pub fn is_usable(&self, id: &SpiffeId, now: f64) -> bool {
        let Ok(held) = &self.held else { return false };
        let identity = held.report.identity.as_ref();
        identity.is_some_and(|it| it.id == id.as_str() && it.root.is_some() && it.not_after as f64 > now)
    }
}

fn held(secret: &Secret, now: f64, rng: &mut Rng) -> Result<Held, String> {
    let labels = secret.metadata.labels.as_ref();
    if labels.and_then(|it| it.get(MANAGED)).map(String::as_str) != Some("true") {
        return Err(format!("it has no label {MANAGED}=true"));
    }
    let empty = BTreeMap::new();
    let data = secret.data.as_ref().unwrap_or(&empty);
    let part = |name: &str| data.get(name).map(|it| it.0.as_slice()).ok_or(format!("it has no `{name}`"));
    let identity = Identity::from_pem(part(CHAIN_FILE)?, part(KEY_FILE)?, part(ROOTS_FILE)?);
    let identity = identity.map_err(|error| error.to_string())?;
    let unix = UnixTime::since_unix_epoch(std::time::Duration::from_secs_f64(now.max(0.0)));
    identity.check(unix).map_err(|error| error.to_string())?;
    let info = identity.info();
    let renew_at = renewal::due(info.not_before, info.not_after, rng);
    Ok(Held { report: Report::of(&identity), renew_at })
}

/// A Secret with a certificate.
pub fn secret(
    (namespace, account): &Account,
    chain: &str,
    key: &str,
    roots: &str,
    replaces: Option<String>,
) -> Secret {
    let text = |text: &str| ByteString(text.as_bytes().to_vec());
    let labels = [(MANAGED, "true"), ("app.kubernetes.io/managed-by", "dromon-controller")];
    Secret {
        metadata: ObjectMeta {
            name: Some(secret_name(account)),
            namespace: Some(namespace.clone()),
            labels: Some(
                labels.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
            ),
            resource_version: replaces,
            ..ObjectMeta::default()
        },
        type_: Some(ACCOUNT_SECRET_TYPE.to_owned()),
        data: Some(
            [(CHAIN_FILE, text(chain)), (KEY_FILE, text(key)), (ROOTS_FILE, text(roots))]
                .into_iter()
                .map(|(name, text)| (name.to_owned(), text))
                .collect(),
        ),
        ..Secret::default()
    }
}
