//! The exchange itself: what it holds, and what others may ask of it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use http::HeaderValue;

use super::flags::Flags;
use super::{Local, Target};
use crate::balance::{Avoid, give, take};
use crate::config::model::{Retries, RetryOn};
use crate::config::table::{Destination, Endpoint};
use crate::fault::Reason;
use crate::limits::TCP_TRIES_MAX;
use crate::retry::{Method, Policy, RetryToken};
use crate::route::rule::{Action, Changes, CompiledRule, HeaderOps};
use crate::time::Tick;

/// The policy where neither a rule nor the proxy has one: one more try, for what provably was not processed (R40 h).
static IMPLICIT: Retries = Retries {
    attempts: 1,
    per_try_timeout_ms: None,
    on: RetryOn {
        server_error: false,
        gateway_error: false,
        reset: false,
        connect_failure: false,
        refused_stream: false,
        retriable_4xx: false,
        statuses: Vec::new(),
        grpc: Vec::new(),
    },
    backoff_ms: None,
    allow_previous_hosts: false,
};

/// The policy of TCP connections: other endpoints while none has accepted.
static TCP: Retries = Retries {
    attempts: TCP_TRIES_MAX - 1,
    on: RetryOn { statuses: Vec::new(), grpc: Vec::new(), ..IMPLICIT.on },
    ..IMPLICIT
};

/// One request's or TCP connection's life. See the module's doc for how it is driven.
///
/// Whatever it has counted (requests in flight, retries) is returned when it is dropped.
#[derive(Debug)]
pub struct Exchange {
    pub(super) phase: Phase,
    pub(super) rule: Option<Arc<CompiledRule>>,
    pub(super) destination: Option<Arc<Destination>>,
    /// Where to go without picking an endpoint: an address or a name outside the index.
    pub(super) onward: Option<Target>,
    /// The path and query to send instead of the client's.
    pub(super) path: Option<Box<[u8]>>,
    /// What to answer once an injected delay is over.
    pub(super) held_answer: Option<Box<Local>>,
    pub(super) retry: Option<RetryToken>,
    pub(super) arrived: Tick,
    pub(super) finish_by: Tick,
    /// When the wait under way is over.
    pub(super) wake_at: Tick,
    pub(super) avoid: Avoid,
    pub(super) hold: Hold,
    /// Position of the endpoint of the latest try.
    pub(super) position: Option<u32>,
    pub(super) attempts: u32,
    pub(super) method: Method,
    pub(super) reason: Option<Reason>,
    /// One more than the place of the chosen destination in its rule; 0 for none.
    pub(super) choice: u16,
    pub(super) tcp: bool,
    /// Bytes are relayed as they are, after an upgrade or for TCP: how they end is the two sides' business.
    pub(super) relayed: bool,
    /// Towards the sidecar's own application: rules of the mesh do not reach there, but a pooled connection that the
    /// application has just closed is replaced all the same.
    pub(super) inbound: bool,
    pub(super) expose_reason: bool,
    pub(super) delayed: bool,
    pub(super) exhausted: bool,
}

/// Where an exchange stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Not yet routed.
    New,
    /// Waits for rules.
    Fetching,
    /// Waits out an injected delay.
    Delayed,
    /// A try is under way.
    Trying,
    /// Waits before another try.
    BackingOff,
    /// The response (TCP: the bytes of both sides) is on its way.
    Forwarding,
    /// Answered from here.
    Answered,
    /// Nothing left to do.
    Over,
}

/// What the try under way has counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Hold {
    /// One of the active requests of the endpoint at this position.
    pub endpoint: Option<u32>,
    /// One of the destination's capped requests.
    pub request: bool,
}

impl Exchange {
    pub(super) fn new(arrived: Tick, method: Method, expose_reason: bool) -> Exchange {
        Exchange {
            phase: Phase::New,
            rule: None,
            destination: None,
            onward: None,
            path: None,
            held_answer: None,
            retry: None,
            arrived,
            finish_by: Tick::NEVER,
            wake_at: Tick::NEVER,
            avoid: Avoid::default(),
            hold: Hold::default(),
            position: None,
            attempts: 0,
            method,
            reason: None,
            choice: 0,
            tcp: false,
            relayed: false,
            inbound: false,
            expose_reason,
            delayed: false,
            exhausted: false,
        }
    }

    /// The rule that took the request; none for hosts outside the index and for TCP.
    pub fn rule(&self) -> Option<&Arc<CompiledRule>> {
        self.rule.as_ref()
    }

    /// The route's name in logs, `-` without one.
    pub fn route_name(&self) -> &str {
        self.rule.as_ref().map(|rule| &*rule.name).unwrap_or_default()
    }

    /// The destination; none for hosts outside the index.
    pub fn destination(&self) -> Option<&Arc<Destination>> {
        self.destination.as_ref()
    }

    /// The endpoint of the latest try, where it has one of the destination's.
    pub fn endpoint(&self) -> Option<&Endpoint> {
        self.destination.as_ref()?.endpoints.get(self.position? as usize)
    }

    /// Where the latest try went, as far as that is known without asking DNS.
    pub fn upstream_address(&self) -> Option<SocketAddr> {
        match (self.endpoint(), &self.onward) {
            (Some(endpoint), _) => Some(endpoint.address),
            (None, Some(Target::Address(address))) => Some(*address),
            _ => None,
        }
    }

    /// Path and query to send upstream; none: as the client sent them.
    pub fn upstream_path(&self) -> Option<&[u8]> {
        self.path.as_deref()
    }

    /// Authority to send upstream; none: as the client sent it.
    pub fn upstream_authority(&self) -> Option<&HeaderValue> {
        let [by_rule, by_target] = self.request_changes();
        by_target
            .and_then(|changes| changes.authority.as_ref())
            .or_else(|| by_rule.and_then(|changes| changes.authority.as_ref()))
            .or_else(|| self.rule.as_ref()?.rewrite.as_ref()?.authority.as_ref())
    }

    /// Changes to the request's headers: the rule's, then the chosen destination's. Envoy carries out the most specific
    /// first, so the destination's come before the rule's.
    pub fn request_changes(&self) -> [Option<&Changes>; 2] {
        self.header_ops().map(|ops| ops.and_then(|ops| ops.request.get()))
    }

    /// Changes to the response's headers, as [`Exchange::request_changes`] gives those of the request.
    pub fn response_changes(&self) -> [Option<&Changes>; 2] {
        self.header_ops().map(|ops| ops.and_then(|ops| ops.response.get()))
    }

    fn header_ops(&self) -> [Option<&HeaderOps>; 2] {
        let Some(rule) = &self.rule else { return [None, None] };
        let own = match &rule.action {
            Action::Forward(targets) => usize::from(self.choice)
                .checked_sub(1)
                .and_then(|place| targets.entries.get(place))
                .map(|target| &target.headers),
            _ => None,
        };
        [Some(&rule.headers), own]
    }

    /// Responses made here carry `x-dromon-reason`.
    pub fn expose_reason(&self) -> bool {
        self.expose_reason
    }

    /// When the whole exchange must be over; [`Tick::NEVER`] without a limit.
    pub fn finish_by(&self) -> Tick {
        self.finish_by
    }

    /// Tries so far.
    pub fn attempts(&self) -> u32 {
        self.attempts
    }

    /// Why it was answered from here or broke off; none for an exchange that went well.
    pub fn reason(&self) -> Option<Reason> {
        self.reason
    }

    /// Its response flags, for logs and metrics.
    pub fn flags(&self) -> Flags {
        Flags { reason: self.reason, delayed: self.delayed, exhausted: self.exhausted }
    }

    /// Nothing is left to do.
    pub fn is_over(&self) -> bool {
        self.phase == Phase::Over
    }

    pub(super) fn policy(&self) -> Policy<'_> {
        match &self.rule {
            _ if self.tcp => Policy { retries: &TCP, configured: false },
            _ if self.inbound => Policy { retries: &IMPLICIT, configured: false },
            Some(rule) => Policy { retries: &rule.retries, configured: rule.retries_configured },
            None => Policy { retries: &IMPLICIT, configured: false },
        }
    }

    /// Counts one more request of the destination, where those are capped; false at the cap.
    pub(super) fn hold_request(&mut self) -> bool {
        let Some(destination) = &self.destination else { return true };
        let Some(cap) = destination.model.pool.http2_max_requests.filter(|_| !self.tcp) else { return true };
        self.hold.request = take(&destination.state.requests.0, cap);
        if !self.hold.request {
            destination.state.overflows_total.fetch_add(1, Relaxed);
        }
        self.hold.request
    }

    /// Counts one more active request of an endpoint.
    pub(super) fn hold_endpoint(&mut self, position: usize) {
        if let Some(endpoint) = self.destination.as_ref().and_then(|it| it.endpoints.get(position)) {
            endpoint.state.active.fetch_add(1, Relaxed);
            self.hold.endpoint = Some(position as u32);
        }
    }

    /// Returns what the try has counted; does nothing the second time.
    pub(super) fn release(&mut self) {
        let hold = std::mem::take(&mut self.hold);
        let Some(destination) = &self.destination else { return };
        if hold.request {
            give(&destination.state.requests.0);
        }
        if let Some(endpoint) =
            hold.endpoint.and_then(|position| destination.endpoints.get(position as usize))
        {
            give(&endpoint.state.active);
        }
    }

    /// Checks what must hold between any two steps; for tests and simulation.
    ///
    /// # Panics
    /// Where it does not hold.
    pub fn check_invariants(&self) {
        let busy = matches!(self.phase, Phase::Trying | Phase::Forwarding);
        assert!(busy || self.hold == Hold::default(), "{:?} counts {:?}", self.phase, self.hold);
        assert!(self.attempts <= self.policy().tries_max(), "{} tries", self.attempts);
        assert!(self.attempts > 0 || !busy, "{:?} without a try", self.phase);
        let retrying = matches!(self.phase, Phase::Trying | Phase::BackingOff);
        assert!(retrying || self.retry.is_none(), "{:?} holds a retry of the budget", self.phase);
        assert!(self.phase != Phase::BackingOff || self.wake_at <= self.finish_by);
        assert!(self.hold.endpoint.is_none() || self.hold.endpoint == self.position);
        assert!(self.phase != Phase::Answered || self.reason.is_some());
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        self.release();
    }
}
