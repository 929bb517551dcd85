//! The thread that holds the CA's key: issues, renews, and carries out a change of root.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::PathBuf;
use std::sync::PoisonError;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use dromon_auth::authority::Wanted;
use dromon_auth::plan::renewal;
use dromon_auth::plan::rotation::{InUse, Step};
use dromon_auth::report::Report;
use dromon_auth::{Identity, SpiffeId, TrustDomain};
use dromon_core::rng::Rng;
use dromon_k8s::diagnostic::Severity;
use rustls_pki_types::UnixTime;
use tokio::sync::{oneshot, watch};

use super::authority::Authorities;
use super::deliver::{Files, deliver, read};
use super::members::{CONTROLLER_ACCOUNT, CONTROLLER_NAMESPACE, DIRECTORY, Members, directory};
use super::poll::Asked;
use super::settings::Settings;
use super::status::{CertificateStatus, RotationStatus, Shared};
use crate::feed::server::Log;

/// The controller's own place among the proxies' directories.
pub const CONTROLLER: &str = "controller";
/// Longest sleep, so that a clock that was set is noticed.
const SLEEP: Duration = Duration::from_secs(30);
/// How long a step of a change of root stays in force before the next: handshakes begun before it may still be under way.
const SETTLE: Duration = Duration::from_secs(1);

/// What the keeper is told.
#[derive(Debug)]
pub enum Input {
    /// Who gets certificates.
    Members(Members),
    /// A change of root is asked for; answered once it has begun.
    Rotate(oneshot::Sender<Result<(), String>>),
    /// What proxies say that they use.
    InUse(Vec<InUse>),
}

/// What a keeper needs.
pub struct Setup {
    /// How certificates are made.
    pub settings: Settings,
    /// The CA's directory.
    pub ca_dir: PathBuf,
    /// The run directory.
    pub run_dir: PathBuf,
    /// Where lines go.
    pub log: Log,
    /// Where the state goes.
    pub shared: Shared,
    /// Where the controller's own identity goes.
    pub own: watch::Sender<Option<Identity>>,
    /// Whom to ask what they use; nobody while no root is changed.
    pub asked: watch::Sender<Asked>,
}

/// Starts a keeper.
///
/// # Errors
/// The thread cannot be started.
pub fn start(setup: Setup, inputs: Receiver<Input>) -> io::Result<()> {
    let mut keeper = Keeper::new(setup);
    std::thread::Builder::new().name("ca".into()).spawn(move || keeper.run(&inputs))?;
    Ok(())
}

/// What a proxy was given.
struct Given {
    id: SpiffeId,
    report: Report,
    renew_at: f64,
}

/// A proxy's place with the keeper.
#[derive(Default)]
struct Place {
    given: Option<Given>,
    failures: u32,
    not_before: f64,
    error: Option<String>,
}

/// The CA's state.
pub(super) struct Keeper {
    setup: Setup,
    authorities: Option<Authorities>,
    /// Not to be opened before this time, after so many failures.
    open_after: (f64, u32),
    error: Option<String>,
    members: Members,
    places: BTreeMap<String, Place>,
    in_force_since: Option<Instant>,
    waits_for: Vec<String>,
    counts: (u64, u64, u64),
    rng: Rng,
}

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

fn unix(now: f64) -> UnixTime {
    UnixTime::since_unix_epoch(Duration::from_secs_f64(now.max(0.0)))
}

impl Keeper {
    pub(super) fn new(setup: Setup) -> Keeper {
        let seed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().subsec_nanos();
        Keeper {
            setup,
            authorities: None,
            open_after: (0.0, 0),
            error: None,
            members: Members::default(),
            places: BTreeMap::new(),
            in_force_since: None,
            waits_for: Vec::new(),
            counts: (0, 0, 0),
            rng: Rng::new(u64::from(seed) ^ (u64::from(std::process::id()) << 32)),
        }
    }

    fn run(&mut self, inputs: &Receiver<Input>) {
        // Who gets certificates says which trust domain a new root is for.
        match inputs.recv() {
            Ok(first) => self.take(first),
            Err(_) => return,
        }
        loop {
            let wait = self.step(now());
            match inputs.recv_timeout(wait) {
                Ok(input) => self.take(input),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    pub(super) fn take(&mut self, input: Input) {
        match input {
            Input::Members(members) => self.members = members,
            Input::Rotate(answer) => {
                let _ = answer.send(self.begin_rotation());
            }
            Input::InUse(in_use) => self.advance(&in_use),
        }
    }

    /// Brings everything to what it should be; returns how long nothing is to be done unless something comes in.
    pub(super) fn step(&mut self, now: f64) -> Duration {
        let mut next = now + SLEEP.as_secs_f64();
        match self.members.domain() {
            Ok(domain) => {
                self.open(&domain, now);
                next = next.min(self.issue_due(&domain, now));
            }
            Err(error) => self.fail(format!("the mesh's trust domain: {error}")),
        }
        if self.authorities.is_none() {
            next = next.min(self.open_after.0);
        }
        self.remove_gone();
        self.tell();
        Duration::from_secs_f64((next - now).clamp(0.01, SLEEP.as_secs_f64()))
    }

    fn open(&mut self, domain: &TrustDomain, now: f64) {
        if self.authorities.is_some() || now < self.open_after.0 {
            return;
        }
        match Authorities::open(&self.setup.ca_dir, domain, unix(now)) {
            Ok(authorities) => {
                self.authorities = Some(authorities);
                self.error = None;
            }
            Err(error) => {
                let failures = self.open_after.1 + 1;
                // Certificates that are due now have half of their life left.
                let left = (SLEEP * 10).min(self.setup.settings.cert_ttl / 2);
                let pause = renewal::pause(failures, left, &mut self.rng);
                self.open_after = (now + pause.as_secs_f64(), failures);
                self.fail(format!("{error}; certificates that are there live on"));
            }
        }
    }

    fn fail(&mut self, text: String) {
        if self.error.as_ref() != Some(&text) {
            (self.setup.log)(Severity::Error, format!("error: no certificates can be issued: {text}"));
            self.error = Some(text);
        }
    }

    /// Issues what is due; returns when the next one is.
    fn issue_due(&mut self, domain: &TrustDomain, now: f64) -> f64 {
        let controller = SpiffeId::new(domain, CONTROLLER_NAMESPACE, CONTROLLER_ACCOUNT);
        let mut wanted: Vec<(String, Result<SpiffeId, String>)> =
            vec![(CONTROLLER.to_owned(), controller.map_err(|error| error.to_string()))];
        let proxies = self.members.proxies.iter();
        wanted.extend(proxies.map(|(proxy, member)| (proxy.clone(), member.id(domain))));
        let mut next = f64::MAX;
        for (proxy, id) in wanted {
            let mut place = self.places.remove(&proxy).unwrap_or_default();
            match id {
                Ok(id) => self.look_after(&proxy, id, &mut place, now),
                Err(error) => place.error = Some(error),
            }
            let due = place.given.as_ref().map_or(place.not_before, |given| given.renew_at);
            next = next.min(due.max(place.not_before));
            self.places.insert(proxy, place);
        }
        next
    }

    fn look_after(&mut self, proxy: &str, id: SpiffeId, place: &mut Place, now: f64) {
        let Some(authorities) = &self.authorities else {
            place.not_before = self.open_after.0;
            return;
        };
        let path = directory(&self.setup.run_dir, proxy);
        if place.given.is_none() && place.failures == 0 {
            // What an earlier controller issued is as good as if it were issued now.
            place.given = read(&path).filter(|found| found.check(unix(now)).is_ok()).map(|found| {
                let info = found.info();
                let renew_at = renewal::due(info.not_before, info.not_after, &mut self.rng);
                if proxy == CONTROLLER {
                    self.setup.own.send_replace(Some(found.clone()));
                }
                Given { id: found.id().clone(), report: Report::of(&found), renew_at }
            });
        }
        let issuer = authorities.issuer().root_fingerprint();
        let bundle: BTreeSet<String> = authorities.bundle_fingerprints().into_iter().collect();
        let is_right = |given: &Given| {
            let held = given.report.identity.as_ref();
            given.id == id
                && held.and_then(|held| held.root.as_ref()) == Some(&issuer)
                && given.report.roots.iter().cloned().collect::<BTreeSet<_>>() == bundle
        };
        let right = place.given.as_ref().is_some_and(is_right);
        let due = place.given.as_ref().is_none_or(|given| given.renew_at <= now);
        if (right && !due) || now < place.not_before {
            return;
        }
        match self.issue(authorities, proxy, &id, now) {
            Ok(identity) => {
                let info = identity.info();
                let renew_at = renewal::due(info.not_before, info.not_after, &mut self.rng);
                *place = Place {
                    given: Some(Given { id, report: Report::of(&identity), renew_at }),
                    ..Place::default()
                };
                self.counts.0 += 1;
                if proxy == CONTROLLER {
                    self.setup.own.send_replace(Some(identity));
                }
            }
            Err(error) => {
                self.counts.1 += 1;
                place.failures += 1;
                let held = place.given.as_ref().and_then(|given| given.report.identity.as_ref());
                let left = held.map_or(0.0, |held| held.not_after as f64 - now).max(0.0);
                let pause = renewal::pause(place.failures, Duration::from_secs_f64(left), &mut self.rng);
                place.not_before = now + pause.as_secs_f64();
                let line = format!("error: no certificate for {proxy} ({id}): {error}");
                if place.error.as_ref() != Some(&error) {
                    (self.setup.log)(Severity::Error, line);
                }
                place.error = Some(error);
            }
        }
    }

    fn issue(
        &self,
        authorities: &Authorities,
        proxy: &str,
        id: &SpiffeId,
        now: f64,
    ) -> Result<Identity, String> {
        let settings = &self.setup.settings;
        let wanted = Wanted { id: id.clone(), key: settings.cert_key.kind(), life: settings.cert_ttl };
        let issued = authorities.issuer().issue(&wanted, unix(now)).map_err(|error| error.to_string())?;
        let roots = authorities.bundle();
        let identity = Identity::from_pem(issued.chain.as_bytes(), issued.key.as_bytes(), roots.as_bytes())
            .map_err(|error| error.to_string())?;
        let path = directory(&self.setup.run_dir, proxy);
        let files = Files { chain: &issued.chain, key: &issued.key, roots: &roots };
        deliver(&path, &files).map_err(|error| format!("{}: {error}", path.display()))?;
        let (serial, until) = (&identity.info().serial, identity.info().not_after);
        (self.setup.log)(Severity::Info, format!("{proxy} has certificate {serial} of {id} until {until}"));
        Ok(identity)
    }

    /// Takes away what belonged to proxies that are gone: their keys, above all.
    fn remove_gone(&mut self) {
        let gone: Vec<String> = self
            .places
            .keys()
            .filter(|proxy| *proxy != CONTROLLER && !self.members.proxies.contains_key(*proxy))
            .cloned()
            .collect();
        for proxy in gone {
            self.places.remove(&proxy);
            let _ = std::fs::remove_dir_all(self.setup.run_dir.join(DIRECTORY).join(&proxy));
        }
    }

    fn begin_rotation(&mut self) -> Result<(), String> {
        let domain = self.members.domain()?;
        let Some(authorities) = &mut self.authorities else {
            return Err(self.error.clone().unwrap_or_else(|| "the CA is not there yet".to_owned()));
        };
        authorities.begin(&domain, UnixTime::now()).map_err(|error| error.to_string())?;
        self.in_force_since = None;
        let line = match authorities.rotation() {
            Some(_) => "a change of root has begun",
            None => {
                self.counts.2 += 1;
                "another CA below the same root is in force; certificates come from it as they are renewed"
            }
        };
        (self.setup.log)(Severity::Info, line.to_owned());
        Ok(())
    }

    /// Goes on with a change of root once its step is in force everywhere.
    fn advance(&mut self, in_use: &[InUse]) {
        let Some(authorities) = &mut self.authorities else { return };
        let Some(rotation) = authorities.rotation() else { return };
        self.waits_for = rotation.waits_for(in_use).into_iter().map(str::to_owned).collect();
        let known: BTreeSet<&str> = in_use.iter().map(|proxy| proxy.proxy.as_str()).collect();
        let unheard = self.members.proxies.keys().filter(|proxy| !known.contains(proxy.as_str()));
        self.waits_for.extend(unheard.cloned());
        if !self.waits_for.is_empty() {
            self.in_force_since = None;
            return;
        }
        if self.in_force_since.get_or_insert_with(Instant::now).elapsed() < SETTLE {
            return;
        }
        self.in_force_since = None;
        let next = rotation.clone().advance(in_use);
        let (step, number, what) = (next.step, next.step.number(), next.step.what());
        match authorities.step_to(next) {
            Ok(()) if step == Step::Done => {
                self.counts.2 += 1;
                (self.setup.log)(Severity::Info, "the change of root is done".to_owned());
            }
            Ok(()) => {
                self.waits_for = self.members.proxies.keys().cloned().collect();
                let line = format!("change of root, step {number} of 3: {what}");
                (self.setup.log)(Severity::Info, line);
            }
            Err(error) => {
                // What is on disk says where to go on.
                self.authorities = None;
                self.fail(error.to_string());
            }
        }
    }

    /// Publishes the state, and whom to ask.
    fn tell(&self) {
        let rotation = self.authorities.as_ref().and_then(Authorities::rotation);
        let asked: Asked = match rotation {
            None => Vec::new(),
            Some(_) => {
                let proxies = self.members.proxies.iter();
                proxies.map(|(proxy, member)| (proxy.clone(), member.admin)).collect()
            }
        };
        self.setup.asked.send_if_modified(|before| {
            let changed = *before != asked;
            *before = asked;
            changed
        });
        let mut status = self.setup.shared.lock().unwrap_or_else(PoisonError::into_inner);
        status.trust_domain = self.members.domain().map(|domain| domain.to_string()).unwrap_or_default();
        status.error.clone_from(&self.error);
        (status.issued, status.failed, status.rotations_finished) = self.counts;
        if let Some(authorities) = &self.authorities {
            let info = authorities.issuer().info();
            status.issuer.clone_from(&info.subject);
            status.issuer_not_after = info.not_after;
            status.roots = authorities.bundle_fingerprints();
        }
        status.rotation = rotation.map(|rotation| RotationStatus {
            step: rotation.step.number(),
            what: rotation.step.what().to_owned(),
            old: rotation.old.clone(),
            new: rotation.new.clone(),
            waits_for: self.waits_for.clone(),
        });
        status.certificates = self.places.iter().map(|(proxy, place)| certificate(proxy, place)).collect();
    }
}

fn certificate(proxy: &str, place: &Place) -> CertificateStatus {
    let mut status =
        CertificateStatus { proxy: proxy.to_owned(), error: place.error.clone(), ..Default::default() };
    if let Some(given) = &place.given {
        status.id = given.id.to_string();
        status.renew_at = given.renew_at as u64;
        if let Some(held) = &given.report.identity {
            status.serial.clone_from(&held.serial);
            status.issuer.clone_from(&held.issuer);
            (status.not_before, status.not_after) = (held.not_before, held.not_after);
        }
    }
    status
}
