//! Which replica writes: the holder of a Lease, as Kubernetes' own components elect it.
//!
//! A holder renews every two seconds. Another takes over once the Lease has not changed for its whole duration by its own
//! clock: clocks of machines are not compared. A holder that cannot renew stops writing before others may begin. One that
//! ends gives the Lease back, so that the next need not wait.

use std::time::{Duration, Instant};

use dromon_k8s::diagnostic::Severity;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use k8s_openapi::jiff::Timestamp;
use kube::api::PostParams;
use kube::{Api, Client};
use tokio::sync::watch;
use tokio::time::timeout;

use super::client;
use crate::feed::server::Log;

/// The Lease's name.
pub const LEASE: &str = "dromon-controller";
/// How long a Lease holds without being renewed.
const DURATION: Duration = Duration::from_secs(15);
/// A holder that could not renew for so long writes no more.
const RENEW: Duration = Duration::from_secs(10);
/// How often it is tried.
const PERIOD: Duration = Duration::from_secs(2);
/// How long one request may take.
const REQUEST: Duration = Duration::from_secs(4);

/// A candidate.
pub struct Election {
    api: Api<Lease>,
    identity: String,
    log: Log,
    leads: watch::Sender<bool>,
    /// The Lease as it was seen last, and since when it has not changed.
    seen: Option<(Lease, Instant)>,
    renewed: Option<Instant>,
    said: Option<String>,
}

impl Election {
    /// A candidate of this name; the receiver says whether it is the one that writes.
    pub fn new(
        client: Client,
        namespace: &str,
        identity: String,
        log: Log,
    ) -> (Election, watch::Receiver<bool>) {
        let (leads, seen) = watch::channel(false);
        let api = Api::namespaced(client, namespace);
        (Election { api, identity, log, leads, seen: None, renewed: None, said: None }, seen)
    }

    /// Takes part until `stop` says to; then gives the Lease back.
    pub async fn run(mut self, mut stop: watch::Receiver<bool>) {
        loop {
            let done = timeout(REQUEST, self.step())
                .await
                .unwrap_or_else(|_| Err("no answer within 4 s".to_owned()));
            match done {
                Ok(()) => self.said = None,
                Err(why) if self.said.as_ref() != Some(&why) => {
                    (self.log)(Severity::Warning, format!("warning: the election: {why}"));
                    self.said = Some(why);
                }
                Err(_) => {}
            }
            if self.renewed.is_some_and(|renewed| renewed.elapsed() > RENEW) {
                self.renewed = None;
                self.lead(false);
            }
            tokio::select! {
                () = tokio::time::sleep(PERIOD) => {}
                _ = stop.wait_for(|stop| *stop) => break,
            }
        }
        if *self.leads.borrow() {
            self.lead(false);
            let _ = timeout(REQUEST, self.give_back()).await;
        }
    }

    /// Whether a Lease is ours.
    fn is_ours(&self, lease: &Lease) -> bool {
        lease.spec.as_ref().and_then(|spec| spec.holder_identity.as_ref()) == Some(&self.identity)
    }

    async fn step(&mut self) -> Result<(), String> {
        let found = self.api.get_opt(LEASE).await;
        let found = found.map_err(|error| client::explain(&error, "get", "leases.coordination.k8s.io"))?;
        let Some(lease) = found else {
            return self.write(None).await;
        };
        let unchanged =
            self.seen.as_ref().filter(|(seen, _)| seen.spec == lease.spec).map(|(_, since)| *since);
        let since = unchanged.unwrap_or_else(Instant::now);
        self.seen = Some((lease.clone(), since));
        let spec = lease.spec.clone().unwrap_or_default();
        let duration = spec.lease_duration_seconds.and_then(|it| u64::try_from(it).ok());
        let duration = duration.map_or(DURATION, Duration::from_secs);
        let is_free = spec.holder_identity.as_deref().unwrap_or_default().is_empty();
        if self.is_ours(&lease) || is_free || since.elapsed() > duration {
            return self.write(Some(lease)).await;
        }
        self.renewed = None;
        self.lead(false);
        Ok(())
    }

    /// Takes or renews the Lease; whoever has written since it was read wins.
    async fn write(&mut self, before: Option<Lease>) -> Result<(), String> {
        let now = MicroTime(Timestamp::now());
        let spec = before.as_ref().and_then(|lease| lease.spec.clone()).unwrap_or_default();
        let ours = before.as_ref().is_some_and(|lease| self.is_ours(lease));
        let spec = LeaseSpec {
            holder_identity: Some(self.identity.clone()),
            lease_duration_seconds: i32::try_from(DURATION.as_secs()).ok(),
            acquire_time: if ours { spec.acquire_time.clone() } else { Some(now.clone()) },
            renew_time: Some(now),
            lease_transitions: Some(
                spec.lease_transitions.unwrap_or(0) + i32::from(!ours && before.is_some()),
            ),
            ..spec
        };
        let metadata = before
            .as_ref()
            .map(|lease| lease.metadata.clone())
            .unwrap_or_else(|| ObjectMeta { name: Some(LEASE.to_owned()), ..ObjectMeta::default() });
        let lease = Lease { metadata, spec: Some(spec) };
        let asked = Instant::now();
        let written = match before {
            None => self.api.create(&PostParams::default(), &lease).await,
            Some(_) => self.api.replace(LEASE, &PostParams::default(), &lease).await,
        };
        match written {
            Ok(lease) => {
                self.seen = Some((lease, Instant::now()));
                self.renewed = Some(asked);
                self.lead(true);
                Ok(())
            }
            Err(error) if client::code(&error) == Some(409) => {
                self.renewed = None;
                self.lead(false);
                Ok(())
            }
            Err(error) => Err(client::explain(&error, "update", "leases.coordination.k8s.io")),
        }
    }

    fn lead(&self, leads: bool) {
        let changed = self.leads.send_if_modified(|before| std::mem::replace(before, leads) != leads);
        if changed {
            let line = if leads { "this replica writes from now on" } else { "this replica writes no more" };
            (self.log)(Severity::Info, line.to_owned());
        }
    }

    async fn give_back(&mut self) -> Result<(), kube::Error> {
        let Some(mut lease) = self.api.get_opt(LEASE).await?.filter(|lease| self.is_ours(lease)) else {
            return Ok(());
        };
        if let Some(spec) = &mut lease.spec {
            spec.holder_identity = Some(String::new());
        }
        self.api.replace(LEASE, &PostParams::default(), &lease).await.map(|_| ())
    }
}
