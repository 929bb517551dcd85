//! What makes a [`Keeper`] work: its watches, its clock, the change of root.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use dromon_auth::plan::rotation::{Rotation, Step};
use dromon_k8s::diagnostic::Severity;
use futures::StreamExt;
use k8s_openapi::api::core::v1::{Secret, ServiceAccount};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Api;
use kube::api::PostParams;
use kube::core::PartialObjectMeta;
use kube::runtime::watcher::{self, Event, watcher};
use tokio::time::timeout;

use super::accounts::account_of;
use super::keeper::{Inner, Keeper, now, unix};
use super::state::State;
use super::{Account, CA_SECRET, MANAGED, ROTATE, ROTATION_STATUS};
use crate::ca::poll;
use crate::ca::status::{CertificateStatus, RotationStatus};
use crate::cluster::client;
use crate::source::kube::watch::Troubles;

/// Longest pause between two looks, so that a clock that was set is noticed.
const SLEEP: Duration = Duration::from_secs(30);
/// Pause after something failed that is not an account's.
const AGAIN: Duration = Duration::from_secs(1);
/// How often pods are asked what they use while a root is changed.
const ASK: Duration = Duration::from_secs(2);
/// How long a step of a change of root stays in force before the next: handshakes begun before it may still be under way.
const SETTLE: Duration = Duration::from_secs(5);
/// Changes that arrive within this time are looked at together.
const GATHER: Duration = Duration::from_millis(20);

/// Works until the process ends.
pub async fn run(keeper: Keeper) {
    let inner = keeper.inner;
    let mut desk = Desk {
        inner: &inner,
        ca: None,
        listed: false,
        foreign: None,
        rotate: None,
        own_due: 0.0,
        in_force_since: None,
        ask_at: Instant::now(),
        waits_for: Vec::new(),
        error: None,
    };
    let client = inner.setup.client.clone();
    let all = |api, fields: String| watcher::<Secret>(api, watcher::Config::default().fields(&fields));
    let system: Api<Secret> = Api::namespaced(client.clone(), &inner.setup.system_namespace);
    let mut ca = all(system.clone(), format!("metadata.name={CA_SECRET}")).boxed();
    let mut foreign = match &inner.setup.ca_secret {
        Some(name) => all(system, format!("metadata.name={name}")).boxed(),
        None => futures::stream::pending().boxed(),
    };
    let managed = watcher::Config::default().labels(&format!("{MANAGED}=true"));
    let mut managed = watcher::<Secret>(Api::all(client.clone()), managed).boxed();
    let accounts = Api::<PartialObjectMeta<ServiceAccount>>::all(client);
    let mut accounts = watcher(accounts, watcher::Config::default().any_semantic()).boxed();
    let mut listing = (BTreeSet::new(), BTreeSet::new());
    let mut troubles =
        [(); 4].map(|()| Troubles::new("secrets or serviceaccounts".to_owned(), inner.setup.log.clone()));
    let (mut members, mut users, mut leads) =
        (inner.setup.members.clone(), inner.setup.users.clone(), inner.setup.leads.clone());
    let mut due = Instant::now();
    loop {
        let [of_ca, of_foreign, of_managed, of_accounts] = &mut troubles;
        tokio::select! {
            Some(event) = ca.next() => if let Some(event) = good(event, of_ca).await { desk.take_ca(event) },
            Some(event) = foreign.next() => if let Some(event) = good(event, of_foreign).await { desk.take_foreign(event) },
            Some(event) = managed.next() => if let Some(event) = good(event, of_managed).await { desk.take_managed(event, &mut listing.0) },
            Some(event) = accounts.next() => if let Some(event) = good(event, of_accounts).await { desk.take_account(event, &mut listing.1) },
            Ok(()) = members.changed() => {}
            Ok(()) = users.changed() => {}
            Ok(()) = leads.changed() => {}
            () = tokio::time::sleep_until(due.into()) => {
                due = desk.step().await;
                continue;
            }
        }
        due = due.min(Instant::now() + GATHER);
    }
}

async fn good<T>(event: watcher::Result<Event<T>>, troubles: &mut Troubles) -> Option<Event<T>> {
    match event {
        Ok(event) => {
            troubles.over();
            Some(event)
        }
        Err(error) => {
            // Short: the other watches wait for it.
            let _ = timeout(AGAIN, troubles.pause(&error)).await;
            None
        }
    }
}

/// What is under way.
struct Desk<'a> {
    inner: &'a Inner,
    /// The authority's Secret as it was seen last.
    ca: Option<Secret>,
    /// It is known whether there is one.
    listed: bool,
    /// Somebody else's Secret with an authority.
    foreign: Option<Secret>,
    /// A change of root is asked for, by this word.
    rotate: Option<String>,
    own_due: f64,
    in_force_since: Option<Instant>,
    ask_at: Instant,
    waits_for: Vec<String>,
    error: Option<String>,
}

impl Desk<'_> {
    fn take_ca(&mut self, event: Event<Secret>) {
        match event {
            Event::Init => self.ca = None,
            Event::InitApply(secret) | Event::Apply(secret) => self.ca = Some(secret),
            Event::Delete(_) => self.ca = None,
            Event::InitDone => self.listed = true,
        }
    }

    fn take_foreign(&mut self, event: Event<Secret>) {
        if let Event::InitApply(secret) | Event::Apply(secret) = event {
            self.foreign = Some(secret);
        }
    }

    fn take_managed(&mut self, event: Event<Secret>, listed: &mut BTreeSet<Account>) {
        match event {
            Event::Init => listed.clear(),
            Event::InitApply(secret) | Event::Apply(secret) => {
                if let Some(account) = account_of(&secret) {
                    self.inner.note(&account, &secret);
                    listed.insert(account);
                }
            }
            Event::Delete(secret) => {
                if let Some(account) = account_of(&secret) {
                    let mut known = self.inner.known();
                    known.facts.remove(&account);
                    known.failed.remove(&account);
                    // A deleted certificate is made again as long as its account is there.
                    known.asked.insert(account, now());
                }
            }
            Event::InitDone => self.inner.known().facts.retain(|account, _| listed.contains(account)),
        }
    }

    fn take_account(
        &mut self,
        event: Event<PartialObjectMeta<ServiceAccount>>,
        listed: &mut BTreeSet<Account>,
    ) {
        let of = |meta: &ObjectMeta| Some((meta.namespace.clone()?, meta.name.clone()?));
        let mut known = self.inner.known();
        match event {
            Event::Init => listed.clear(),
            Event::InitApply(object) => listed.extend(of(&object.metadata)),
            Event::Apply(object) => {
                if let Some(accounts) = &mut known.accounts {
                    accounts.extend(of(&object.metadata));
                }
            }
            Event::Delete(object) => {
                if let (Some(accounts), Some(account)) = (&mut known.accounts, of(&object.metadata)) {
                    accounts.remove(&account);
                }
            }
            Event::InitDone => known.accounts = Some(std::mem::take(listed)),
        }
    }

    /// Brings everything to what it should be; returns when to look again.
    async fn step(&mut self) -> Instant {
        let mut next = now() + SLEEP.as_secs_f64();
        match self.agree().await {
            Ok(()) => self.error = None,
            Err(error) => {
                next = next.min(now() + AGAIN.as_secs_f64());
                if self.error.as_ref() != Some(&error) {
                    self.inner.log(Severity::Error, format!("error: the CA: {error}"));
                }
                self.error = Some(error);
            }
        }
        if self.own_due <= now() {
            match self.inner.issue_own() {
                Ok(f64::MAX) => {}
                Ok(due) => self.own_due = due,
                Err(error) => self.error = Some(error),
            }
        }
        next = next.min(self.own_due.max(now() + 0.1));
        if *self.inner.setup.leads.borrow() {
            next = next.min(self.inner.look_after_all().await);
            if self.inner.state.borrow().as_ref().is_some_and(|state| state.rotation().is_some()) {
                self.advance().await;
                next = next.min(now() + ASK.as_secs_f64());
            }
        }
        self.tell();
        Instant::now() + Duration::from_secs_f64((next - now()).clamp(0.01, SLEEP.as_secs_f64()))
    }

    /// Agrees with the other replicas on the authority.
    async fn agree(&mut self) -> Result<(), String> {
        let Some(domain) = self.inner.domain() else { return Ok(()) };
        let domain = domain?;
        if !self.listed {
            return Ok(());
        }
        let held = self.inner.state.borrow().clone();
        let Some(secret) = &self.ca else {
            // Gone by somebody's hand, or not there yet; of several that put it there, one wins.
            let state = match (held, &self.foreign, &self.inner.setup.ca_secret) {
                (Some(held), ..) => held,
                (None, Some(foreign), _) => read(foreign)?,
                (None, None, Some(name)) => {
                    return Err(format!(
                        "there is no Secret `{name}` in {} (--ca-secret)",
                        self.inner.setup.system_namespace
                    ));
                }
                (None, None, None) => State::new(&domain, unix(now())).map_err(|error| error.to_string())?,
            };
            return self.write(&state, None).await;
        };
        let state = match read(secret) {
            Ok(state) => state,
            Err(error) if held.is_some() => return Err(format!("{error}; the one before stays in force")),
            Err(error) => return Err(error),
        };
        let asked = secret.metadata.annotations.as_ref().and_then(|it| it.get(ROTATE)).cloned();
        let changed = held.as_ref().is_none_or(|held| !held.is_same(&state));
        if changed {
            self.take_over(&state);
        }
        if *self.inner.setup.leads.borrow() {
            self.begin(&domain, &state, asked).await?;
        }
        Ok(())
    }

    /// Puts an authority in force here.
    fn take_over(&mut self, state: &State) {
        if let Some(before) = self.inner.state.borrow().as_ref() {
            if before.is_same(state) {
                return;
            }
            match (before.rotation(), state.rotation()) {
                (Some(_), None) => {
                    self.inner.known().rotations_finished += 1;
                    self.inner.log(Severity::Info, "the change of root is done".to_owned());
                }
                (_, Some(now)) => {
                    let line =
                        format!("change of root, step {} of 3: {}", now.step.number(), now.step.what());
                    self.inner.log(Severity::Info, line);
                }
                (None, None) if before.bundle_fingerprints() != state.bundle_fingerprints() => {
                    self.inner.log(Severity::Warning, "warning: the CA has another root".to_owned());
                }
                (None, None) => {}
            }
        }
        self.inner.state.send_replace(Some(state.clone()));
        self.in_force_since = None;
        self.own_due = 0.0;
    }

    /// Begins a change of root where one is asked for: by a word at the Secret, or by another Secret's new content.
    async fn begin(
        &mut self,
        domain: &dromon_auth::TrustDomain,
        state: &State,
        asked: Option<String>,
    ) -> Result<(), String> {
        if state.rotation().is_some() {
            return Ok(());
        }
        let next = match (&self.foreign, asked) {
            (Some(foreign), _) => {
                let theirs = read(foreign)?;
                let is_new = theirs.current().info().fingerprint != state.current().info().fingerprint;
                is_new.then(|| theirs.current().clone())
            }
            (None, Some(word)) if self.rotate.as_ref() != Some(&word) => {
                self.rotate = Some(word);
                let fresh = State::new(domain, unix(now())).map_err(|error| error.to_string())?;
                Some(fresh.current().clone())
            }
            _ => None,
        };
        match next {
            Some(next) => self.write(&state.begin(next), self.version()).await,
            None => Ok(()),
        }
    }

    fn version(&self) -> Option<String> {
        self.ca.as_ref().and_then(|secret| secret.metadata.resource_version.clone())
    }

    /// Writes the authority's Secret; a conflict is no error: what the other has written will be seen.
    async fn write(&mut self, state: &State, replaces: Option<String>) -> Result<(), String> {
        let api: Api<Secret> =
            Api::namespaced(self.inner.setup.client.clone(), &self.inner.setup.system_namespace);
        let mut annotations = std::collections::BTreeMap::new();
        if let Some(rotation) = state.rotation() {
            let text = serde_json::to_string(&self.rotation_status(rotation)).unwrap_or_default();
            annotations.insert(ROTATION_STATUS.to_owned(), text);
        }
        let secret = Secret {
            metadata: ObjectMeta {
                name: Some(CA_SECRET.to_owned()),
                namespace: Some(self.inner.setup.system_namespace.clone()),
                resource_version: replaces.clone(),
                annotations: (!annotations.is_empty()).then_some(annotations),
                ..ObjectMeta::default()
            },
            type_: Some("kubernetes.io/tls".to_owned()),
            data: Some(state.data()),
            ..Secret::default()
        };
        let written = match replaces {
            None => api.create(&PostParams::default(), &secret).await,
            Some(_) => api.replace(CA_SECRET, &PostParams::default(), &secret).await,
        };
        match written {
            Ok(written) => {
                self.ca = Some(written);
                self.take_over(state);
                Ok(())
            }
            Err(error) if matches!(client::code(&error), Some(404 | 409)) => Ok(()),
            Err(error) => {
                Err(client::explain(&error, if replaces.is_some() { "update" } else { "create" }, "secrets"))
            }
        }
    }

    /// Goes on with a change of root once its step is in force everywhere.
    async fn advance(&mut self) {
        if Instant::now() < self.ask_at {
            return;
        }
        self.ask_at = Instant::now() + ASK;
        let Some(state) = self.inner.state.borrow().clone() else { return };
        let Some(rotation) = state.rotation() else { return };
        let users = self.inner.setup.users.borrow().values().flatten().cloned().collect();
        let in_use = poll::round(users).await;
        let before = std::mem::take(&mut self.waits_for);
        self.waits_for = rotation.waits_for(&in_use).into_iter().map(str::to_owned).collect();
        self.waits_for.extend(self.behind(&state));
        if !self.waits_for.is_empty() {
            self.in_force_since = None;
            if self.waits_for != before
                && let Err(error) = self.write(&state, self.version()).await
            {
                self.inner.log(Severity::Warning, format!("warning: the change of root: {error}"));
            }
            return;
        }
        let since = *self.in_force_since.get_or_insert_with(Instant::now);
        if since.elapsed() < SETTLE {
            return;
        }
        let next = rotation.clone().advance(&in_use);
        if let Err(error) = self.write(&state.at(next), self.version()).await {
            self.inner.log(Severity::Error, format!("error: the change of root: {error}"));
        }
    }

    /// Secrets that are not as the step has them: whoever mounts one next would be behind.
    fn behind(&self, state: &State) -> Vec<String> {
        let right = super::accounts::Right::of(state);
        let Some(Ok(domain)) = self.inner.domain() else { return Vec::new() };
        let known = self.inner.known();
        let late = known.facts.iter().filter(|((namespace, account), facts)| {
            let id = dromon_auth::SpiffeId::new(&domain, namespace, account);
            // Half a life passed is not late.
            id.is_ok_and(|id| facts.reason(&id, &right, 0.0).is_some())
        });
        late.map(|((namespace, account), _)| format!("Secret {namespace}/{}", super::secret_name(account)))
            .collect()
    }

    fn rotation_status(&self, rotation: &Rotation) -> RotationStatus {
        RotationStatus {
            step: rotation.step.number().min(Step::Remove.number()),
            what: rotation.step.what().to_owned(),
            old: rotation.old.clone(),
            new: rotation.new.clone(),
            waits_for: self.waits_for.clone(),
        }
    }

    /// Publishes the state.
    fn tell(&self) {
        let known = self.inner.known();
        let mut status = self.inner.setup.shared.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        status.trust_domain =
            self.inner.domain().and_then(Result::ok).map(|domain| domain.to_string()).unwrap_or_default();
        status.error.clone_from(&self.error);
        (status.issued, status.failed, status.rotations_finished) =
            (known.issued, known.failures, known.rotations_finished);
        if let Some(state) = self.inner.state.borrow().as_ref() {
            let info = state.issuer().info();
            status.issuer.clone_from(&info.subject);
            status.issuer_not_after = info.not_after;
            status.roots = state.bundle_fingerprints();
            status.rotation = state.rotation().map(|rotation| self.rotation_status(rotation));
        }
        let certificate = |(account, facts): (&Account, &super::accounts::Facts)| {
            let mut certificate = CertificateStatus {
                proxy: format!("{}/{}", account.0, account.1),
                error: known.failed.get(account).map(|(.., why)| why.clone()),
                ..CertificateStatus::default()
            };
            if let Ok(held) = &facts.held {
                certificate.renew_at = held.renew_at as u64;
                if let Some(identity) = &held.report.identity {
                    certificate.id.clone_from(&identity.id);
                    certificate.serial.clone_from(&identity.serial);
                    certificate.issuer.clone_from(&identity.issuer);
                    (certificate.not_before, certificate.not_after) =
                        (identity.not_before, identity.not_after);
                }
            }
            certificate
        };
        status.certificates = known.facts.iter().map(certificate).collect();
    }
}

fn read(secret: &Secret) -> Result<State, String> {
    let name = secret.metadata.name.as_deref().unwrap_or_default();
    let data = secret.data.clone().unwrap_or_default();
    State::read(&data, unix(now())).map_err(|error| format!("the Secret `{name}`: {error}"))
}
