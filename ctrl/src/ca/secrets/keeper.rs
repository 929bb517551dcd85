//! Keeps the Secrets: every replica knows the authority and answers webhooks, the elected one renews, re-makes and removes.
//!
//! What stands in a Secret of somebody else's name is left alone. While the API server is away, what was issued lives on,
//! and so does the authority, which is remembered: were its Secret deleted by hand, it is put back as it was.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use dromon_auth::authority::Wanted;
use dromon_auth::plan::renewal;
use dromon_auth::{Identity, SpiffeId, TrustDomain};
use dromon_core::rng::Rng;
use dromon_k8s::diagnostic::Severity;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{DeleteParams, PostParams, Preconditions};
use kube::{Api, Client};
use rustls_pki_types::UnixTime;
use tokio::sync::watch;

use super::accounts::{Facts, Right, secret};
use super::state::State;
use super::{ACCOUNT_SECRET_TYPE, Account, secret_name};
use crate::ca::members::{CONTROLLER_ACCOUNT, CONTROLLER_NAMESPACE, Members};
use crate::ca::settings::Settings;
use crate::ca::status::Shared;
use crate::cluster::client;
use crate::feed::server::Log;

/// Tries of a write that meets another's.
const TRIES: usize = 5;
/// How long an answer about an account waits for the CA to be there.
const READY: Duration = Duration::from_secs(8);

/// Pods that use each account's Secret, with where they say what they use of it.
pub type Users = BTreeMap<Account, Vec<(String, Option<SocketAddr>)>>;

/// What a keeper needs.
pub struct Setup {
    /// The API server.
    pub client: Client,
    /// Our own namespace.
    pub system_namespace: String,
    /// A Secret of somebody else's with the authority, in our own namespace.
    pub ca_secret: Option<String>,
    /// How certificates are made.
    pub settings: Settings,
    /// Where lines go.
    pub log: Log,
    /// Where the state goes.
    pub shared: Shared,
    /// Where the controller's own identity goes.
    pub own: watch::Sender<Option<Identity>>,
    /// The trust domain; none before the first version.
    pub members: watch::Receiver<Option<Members>>,
    /// Who uses what.
    pub users: watch::Receiver<Users>,
    /// Whether this replica is the elected one.
    pub leads: watch::Receiver<bool>,
}

/// The keeper, as others speak to it. Cheap to clone.
#[derive(Clone)]
pub struct Keeper {
    pub(super) inner: Arc<Inner>,
}

pub(super) struct Inner {
    pub(super) setup: Setup,
    pub(super) state: watch::Sender<Option<State>>,
    pub(super) known: Mutex<Known>,
}

/// What is known of Secrets.
pub(super) struct Known {
    /// Accounts' Secrets, as they were seen last.
    pub(super) facts: BTreeMap<Account, Facts>,
    /// Accounts that exist; none before they were listed.
    pub(super) accounts: Option<BTreeSet<Account>>,
    /// Accounts for which somebody has asked, with when.
    pub(super) asked: BTreeMap<Account, f64>,
    /// Accounts that could not be served: how often in a row, until when nothing is tried, why.
    pub(super) failed: BTreeMap<Account, (u32, f64, String)>,
    pub(super) issued: u64,
    pub(super) failures: u64,
    pub(super) rotations_finished: u64,
    pub(super) rng: Rng,
}

/// Seconds since the Unix epoch.
pub(super) fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

pub(super) fn unix(now: f64) -> UnixTime {
    UnixTime::since_unix_epoch(Duration::from_secs_f64(now.max(0.0)))
}

impl Keeper {
    /// A keeper; `super::keep::run` makes it work.
    pub fn new(setup: Setup) -> Keeper {
        let seed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().subsec_nanos();
        let known = Known {
            facts: BTreeMap::new(),
            accounts: None,
            asked: BTreeMap::new(),
            failed: BTreeMap::new(),
            issued: 0,
            failures: 0,
            rotations_finished: 0,
            rng: Rng::new(u64::from(seed) ^ (u64::from(std::process::id()) << 32)),
        };
        let inner = Inner { setup, state: watch::channel(None).0, known: Mutex::new(known) };
        Keeper { inner: Arc::new(inner) }
    }

    /// Makes sure that an account has a Secret with a certificate that is good now: what a pod that is about to be created will
    /// mount. Returns at once where it is known to be there.
    ///
    /// # Errors
    /// There is none and none can be made; with what to do about it.
    pub async fn ensure_account_secret(&self, namespace: &str, account: &str) -> Result<(), String> {
        let account = (namespace.to_owned(), if account.is_empty() { "default" } else { account }.to_owned());
        let ready = async {
            let (mut members, mut states) = (self.inner.setup.members.clone(), self.inner.state.subscribe());
            let domain = members.wait_for(Option::is_some).await.ok()?.as_ref()?.domain();
            let state = states.wait_for(Option::is_some).await.ok()?.clone()?;
            Some((domain, state))
        };
        let ready = tokio::time::timeout(READY, ready).await.ok().flatten();
        let (domain, state) = ready.ok_or("the mesh's CA is not there yet: see the controller's log")?;
        let id = SpiffeId::new(&domain?, &account.0, &account.1).map_err(|error| error.to_string())?;
        {
            let mut known = self.inner.known();
            known.asked.insert(account.clone(), now());
            if known.facts.get(&account).is_some_and(|facts| facts.is_usable(&id, now())) {
                return Ok(());
            }
        }
        self.inner.put(&account, &id, &state, |facts| facts.is_usable(&id, now())).await
    }

    /// The authority in force, with each change of it; none before it is there.
    pub fn states(&self) -> watch::Receiver<Option<State>> {
        self.inner.state.subscribe()
    }
}

impl Inner {
    pub(super) fn known(&self) -> MutexGuard<'_, Known> {
        // Every section leaves the maps whole.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn log(&self, severity: Severity, line: String) {
        (self.setup.log)(severity, line);
    }

    pub(super) fn domain(&self) -> Option<Result<TrustDomain, String>> {
        self.setup.members.borrow().as_ref().map(Members::domain)
    }

    fn secrets(&self, namespace: &str) -> Api<Secret> {
        Api::namespaced(self.setup.client.clone(), namespace)
    }

    /// Puts a Secret with a fresh certificate where none is that `is_good`, however many do so at once.
    pub(super) async fn put(
        &self,
        account: &Account,
        id: &SpiffeId,
        state: &State,
        is_good: impl Fn(&Facts) -> bool,
    ) -> Result<(), String> {
        let (namespace, name) = (&account.0, secret_name(&account.1));
        let api = self.secrets(namespace);
        for _ in 0..TRIES {
            let found =
                api.get_opt(&name).await.map_err(|error| client::explain(&error, "get", "secrets"))?;
            let mut replaces = None;
            if let Some(found) = found {
                if found.type_.as_deref() != Some(ACCOUNT_SECRET_TYPE) {
                    return Err(format!(
                        "the Secret {namespace}/{name} is somebody else's: remove or rename it"
                    ));
                }
                if is_good(&self.note(account, &found)) {
                    return Ok(());
                }
                replaces = found.metadata.resource_version;
            }
            let fresh = self.issue(account, id, state, replaces.clone())?;
            let written = match replaces {
                None => api.create(&PostParams::default(), &fresh).await,
                Some(_) => api.replace(&name, &PostParams::default(), &fresh).await,
            };
            match written {
                Ok(written) => {
                    self.note(account, &written);
                    self.known().issued += 1;
                    self.log(
                        Severity::Info,
                        format!("the Secret {namespace}/{name} has a new certificate of {id}"),
                    );
                    return Ok(());
                }
                // Another was faster, or it is gone: what is there now?
                Err(error) if matches!(client::code(&error), Some(404 | 409)) && !is_of_namespace(&error) => {
                }
                Err(error) => {
                    let verb = if replaces_any(&fresh) { "update" } else { "create" };
                    return Err(client::explain(&error, verb, "secrets"));
                }
            }
        }
        Err(format!("the Secret {namespace}/{name} is changed by others all the time"))
    }

    fn issue(
        &self,
        account: &Account,
        id: &SpiffeId,
        state: &State,
        replaces: Option<String>,
    ) -> Result<Secret, String> {
        let settings = &self.setup.settings;
        let wanted = Wanted { id: id.clone(), key: settings.cert_key.kind(), life: settings.cert_ttl };
        let issued = state.issuer().issue(&wanted, unix(now())).map_err(|error| error.to_string())?;
        Ok(secret(account, &issued.chain, &issued.key, &state.bundle(), replaces))
    }

    /// Takes note of a Secret as it is.
    pub(super) fn note(&self, account: &Account, found: &Secret) -> Facts {
        let mut known = self.known();
        let before = known.facts.get(account);
        let is_known =
            before.filter(|it| Some(&it.resource_version) == found.metadata.resource_version.as_ref());
        let facts = match is_known {
            Some(facts) => facts.clone(),
            None => Facts::of(found, now(), &mut known.rng),
        };
        known.facts.insert(account.clone(), facts.clone());
        facts
    }

    /// Looks after all Secrets; returns when the next thing is due.
    pub(super) async fn look_after_all(&self) -> f64 {
        let (Some(Ok(domain)), Some(state)) = (self.domain(), self.state.borrow().clone()) else {
            return f64::MAX;
        };
        let right = Right::of(&state);
        let mut next = f64::MAX;
        let users: BTreeSet<Account> = self.setup.users.borrow().keys().cloned().collect();
        let (wanted, gone) = {
            let known = self.known();
            let exists = |account: &Account| known.accounts.as_ref().is_none_or(|all| all.contains(account));
            let kept = known.facts.keys().chain(known.asked.keys()).chain(&users);
            let (wanted, gone): (BTreeSet<Account>, BTreeSet<Account>) = kept.cloned().partition(exists);
            (wanted, gone)
        };
        for account in wanted {
            next = next.min(self.look_after(&account, &domain, &state, &right).await);
        }
        for account in gone {
            self.remove(&account).await;
        }
        next
    }

    async fn look_after(&self, account: &Account, domain: &TrustDomain, state: &State, right: &Right) -> f64 {
        let now = now();
        let done = match SpiffeId::new(domain, &account.0, &account.1) {
            Err(error) => Err(error.to_string()),
            Ok(id) => match self.due(account, &id, right, now) {
                Due::At(time) => return time,
                Due::Now(why) => {
                    let is_good = |facts: &Facts| facts.reason(&id, right, now).is_none();
                    let done = self.put(account, &id, state, is_good).await;
                    done.map_err(|error| format!("{error} (it is to be made because {why})"))
                }
            },
        };
        let mut known = self.known();
        let Err(error) = done else {
            known.failed.remove(account);
            let held = known.facts.get(account).and_then(|facts| facts.held.as_ref().ok());
            return held.map_or(now + 1.0, |held| held.renew_at);
        };
        known.failures += 1;
        let failures = known.failed.get(account).map_or(1, |(failures, ..)| failures + 1);
        let held = known.facts.get(account).and_then(|facts| facts.held.as_ref().ok());
        let until = held.and_then(|held| held.report.identity.as_ref()).map_or(0.0, |it| it.not_after as f64);
        let left = Duration::from_secs_f64((until - now).max(0.0));
        let pause = renewal::pause(failures, left, &mut known.rng).as_secs_f64();
        let is_news = known.failed.get(account).is_none_or(|(.., said)| *said != error);
        known.failed.insert(account.clone(), (failures, now + pause, error.clone()));
        drop(known);
        if is_news {
            self.log(
                Severity::Error,
                format!("error: no certificate for {}/{}: {error}", account.0, account.1),
            );
        }
        now + pause
    }

    /// When an account's Secret has to be made anew.
    fn due(&self, account: &Account, id: &SpiffeId, right: &Right, now: f64) -> Due {
        let known = self.known();
        let why = match known.facts.get(account) {
            None => "there is none".to_owned(),
            Some(facts) => match facts.reason(id, right, now) {
                Some(why) => why,
                None => return Due::At(facts.held.as_ref().map_or(f64::MAX, |held| held.renew_at)),
            },
        };
        match known.failed.get(account) {
            Some((_, until, _)) if *until > now => Due::At(*until),
            _ => Due::Now(why),
        }
    }

    /// Removes the Secret of an account that is gone.
    async fn remove(&self, account: &Account) {
        let version = {
            let mut known = self.known();
            known.asked.remove(account);
            known.failed.remove(account);
            known.facts.get(account).map(|facts| facts.resource_version.clone())
        };
        let Some(version) = version else { return };
        let preconditions = Preconditions { resource_version: Some(version), uid: None };
        let params = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
        match self.secrets(&account.0).delete(&secret_name(&account.1), &params).await {
            Ok(_) => {
                let line =
                    format!("the Secret of {}/{} is removed: the account is gone", account.0, account.1);
                self.log(Severity::Info, line);
            }
            Err(error) if matches!(client::code(&error), Some(404 | 409)) => {}
            Err(error) => {
                self.log(
                    Severity::Warning,
                    format!("warning: {}", client::explain(&error, "delete", "secrets")),
                );
                return;
            }
        }
        self.known().facts.remove(account);
    }

    /// Issues the controller's own identity; returns when it is to be renewed.
    pub(super) fn issue_own(&self) -> Result<f64, String> {
        let (Some(domain), Some(state)) = (self.domain(), self.state.borrow().clone()) else {
            return Ok(f64::MAX);
        };
        let id = SpiffeId::new(&domain?, CONTROLLER_NAMESPACE, CONTROLLER_ACCOUNT);
        let id = id.map_err(|error| error.to_string())?;
        let settings = &self.setup.settings;
        let wanted = Wanted { id, key: settings.cert_key.kind(), life: settings.cert_ttl };
        let issued = state.issuer().issue(&wanted, unix(now())).map_err(|error| error.to_string())?;
        let identity =
            Identity::from_pem(issued.chain.as_bytes(), issued.key.as_bytes(), state.bundle().as_bytes());
        let identity = identity.map_err(|error| error.to_string())?;
        let info = identity.info();
        let due = renewal::due(info.not_before, info.not_after, &mut self.known().rng);
        self.setup.own.send_replace(Some(identity));
        Ok(due)
    }
}

/// When something is to be done.
enum Due {
    /// Then.
    At(f64),
    /// At once, because of this.
    Now(String),
}

/// Whether a Secret is meant to take another's place.
fn replaces_any(secret: &Secret) -> bool {
    secret.metadata.resource_version.is_some()
}

/// Whether it is the namespace that is not there, or on its way out: no further try helps.
fn is_of_namespace(error: &kube::Error) -> bool {
    match error {
        kube::Error::Api(status) => {
            status.message.starts_with("namespaces ") || status.message.contains("being terminated")
        }
        _ => false,
    }
}
