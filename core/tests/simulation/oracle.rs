//! What must hold, told without the engine's own code.

use std::collections::BTreeMap;
use std::sync::Arc;

use dromon_core::balance::{DestinationState, EndpointState};
use dromon_core::config::model::RetryOn;
use dromon_core::config::table::{Destination, Table};
use dromon_core::fault::Reason;
use dromon_core::limits::ATTEMPTS_MAX;

use crate::world::Flight;

/// All shared state that any table of the run has had.
#[derive(Default)]
pub struct Known {
    pub destinations: Vec<Arc<DestinationState>>,
    pub endpoints: Vec<Arc<EndpointState>>,
}

impl Known {
    pub fn learn(&mut self, table: &Table) {
        let inbound = table.listeners.iter().filter_map(|listener| listener.inbound.as_ref());
        for destination in table.destinations().chain(inbound) {
            if !self.destinations.iter().any(|known| Arc::ptr_eq(known, &destination.state)) {
                self.destinations.push(Arc::clone(&destination.state));
            }
            for endpoint in &destination.endpoints {
                if !self.endpoints.iter().any(|known| Arc::ptr_eq(known, &endpoint.state)) {
                    self.endpoints.push(Arc::clone(&endpoint.state));
                }
            }
        }
    }

    /// Every counter says exactly what the flights under way add up to.
    pub fn check_counters(&self, flights: &BTreeMap<usize, Flight>) {
        for state in &self.endpoints {
            let held = flights.values().filter(|it| it.holds_endpoint(state)).count();
            assert_eq!(state.active() as usize, held, "active requests of an endpoint");
        }
        for state in &self.destinations {
            let of = || flights.values().filter(|it| it.is_to(state));
            assert_eq!(state.requests() as usize, of().filter(|it| it.holds_request()).count(), "requests");
            assert_eq!(state.retries() as usize, of().filter(|it| it.holds_retry).count(), "retries");
        }
    }

    /// Nothing is in flight and nothing is counted.
    pub fn check_rest(&self) {
        for state in &self.destinations {
            let counts = [state.requests(), state.retries(), state.connections(), state.pending()];
            assert_eq!(counts, [0; 4], "counters of a destination at rest");
        }
        for state in &self.endpoints {
            assert_eq!(state.active(), 0, "active requests of an endpoint at rest");
        }
    }
}

/// What a destination looked like before a step.
pub struct Before {
    destination: Arc<Destination>,
    ejected: usize,
    retries: u32,
    active: u64,
}

impl Before {
    pub fn of(destination: &Arc<Destination>) -> Before {
        Before {
            destination: Arc::clone(destination),
            ejected: ejected(destination),
            retries: destination.state.retries(),
            active: destination.endpoints.iter().map(|endpoint| u64::from(endpoint.state.active())).sum(),
        }
    }

    /// A step took from caps, budget and ejections only what they allow.
    pub fn check(&self) {
        let model = &self.destination.model;
        let (count, now_ejected) = (self.destination.endpoints.len(), ejected(&self.destination));
        if now_ejected > self.ejected {
            let share =
                model.outlier.as_ref().expect("ejected without outlier detection").max_ejection_percent;
            assert!(
                now_ejected * 100 <= share as usize * count,
                "{now_ejected} of {count} ejected, {share} % may be"
            );
        }
        let retries = self.destination.state.retries();
        if retries > self.retries {
            let share = self.active * u64::from(model.retry_budget.percent) / 100;
            let budget = share.max(u64::from(model.retry_budget.min_concurrency));
            let most = budget.min(model.pool.max_retries.map_or(u64::MAX, u64::from));
            assert!(u64::from(retries) <= most, "{retries} retries in flight, {most} may be");
        }
    }
}

fn ejected(destination: &Destination) -> usize {
    destination.endpoints.iter().filter(|endpoint| endpoint.state.ejected()).count()
}

/// The failure or answer that a try followed on.
#[derive(Clone, Copy, Debug)]
pub enum Cause {
    Failure { reason: Reason, sent: bool, reused: bool, replayable: bool },
    Answer { status: u16, replayable: bool },
}

/// A further try was allowed after `cause`, by the rules as the documentation states them.
pub fn may_repeat(flight: &Flight, cause: Cause) -> bool {
    let policy = flight.exchange.rule().filter(|_| !flight.tcp && !flight.inbound);
    let configured = policy.filter(|rule| rule.retries_configured).map(|rule| &rule.retries.on);
    let safe = flight.idempotent;
    match cause {
        Cause::Failure { replayable: false, .. } | Cause::Answer { replayable: false, .. } => false,
        Cause::Failure { reason, sent, reused, .. } => {
            let race = reason == Reason::UpstreamReset && reused && (!sent || safe);
            let Some(on) = configured else {
                let unprocessed = [
                    Reason::ConnectFailed,
                    Reason::ConnectTimeout,
                    Reason::TlsFailed,
                    Reason::UpstreamRefused,
                ];
                return race || unprocessed.contains(&reason);
            };
            let plain = *on == RetryOn::default();
            let any = on.server_error || on.gateway_error || on.reset;
            race || match reason {
                Reason::ConnectFailed | Reason::ConnectTimeout | Reason::TlsFailed => {
                    any || plain || on.connect_failure
                }
                Reason::UpstreamRefused => any || plain || on.refused_stream,
                Reason::UpstreamReset | Reason::UpstreamProtocol | Reason::PerTryTimeout => any,
                _ => false,
            }
        }
        Cause::Answer { status, .. } => configured.is_some_and(|on| {
            (on.server_error && status >= 500)
                || (on.gateway_error && (502..=504).contains(&status))
                || (on.retriable_4xx && status == 409)
                || on.statuses.contains(&status)
        }),
    }
}

/// Tries that a flight may make in all.
pub fn tries_max(flight: &Flight) -> u32 {
    match flight.exchange.rule() {
        _ if flight.tcp => 3,
        Some(rule) if !flight.inbound => (rule.retries.attempts + 1).min(ATTEMPTS_MAX),
        _ => 2,
    }
}
