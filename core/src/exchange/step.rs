//! Every step after the first: what happened → what to do next.

use super::state::Phase;
use super::{Attempt, End, Exchange, Input, Local, Step, Target};
use crate::balance;
use crate::fault::Reason;
use crate::health::{self, Outcome};
use crate::retry::{Failure, RetryToken, backoff_ms};
use crate::rng::Rng;
use crate::time::Tick;

/// Time to connect unless `connectTimeout` is set, in ms (Istio's 10 s).
const CONNECT_TIMEOUT_MS: u64 = 10_000;

impl Exchange {
    /// Takes in what happened and says what to do next. An input that does not fit the latest step ends the
    /// exchange; nothing it has counted leaks.
    pub fn handle(&mut self, input: Input, now: Tick, rng: &mut Rng) -> Step {
        match (self.phase, input) {
            (_, Input::Finished(end)) => self.finish(end, now),
            (Phase::Delayed | Phase::BackingOff, Input::Timer) if now < self.wake_at => {
                Step::Wait(self.wake_at)
            }
            (Phase::Delayed, Input::Timer) => match self.held_answer.take() {
                Some(answer) => self.respond(*answer),
                None => {
                    let timeout_ms = self.rule.as_ref().and_then(|rule| rule.timeout_ms);
                    self.finish_by = timeout_ms.map_or(Tick::NEVER, |ms| now.plus_millis(ms));
                    self.attempt(now, rng)
                }
            },
            (Phase::BackingOff, Input::Timer) => self.attempt(now, rng),
            (Phase::Fetching, Input::Timer) => {
                let detail =
                    "the controller has not sent the rules of this host in time; see \"dromonctl status\"";
                self.respond(Local::new(Reason::ConfigPending, detail))
            }
            (Phase::Fetching, Input::NoRoom) => {
                let detail = "too many requests wait for rules from the controller; see \"dromonctl status\"";
                self.respond(Local::new(Reason::ConfigPending, detail))
            }
            (
                Phase::Trying,
                Input::AttemptFailed { reason, request_bytes_sent, connection_reused, replayable },
            ) => {
                let failure = Failure { reason, request_bytes_sent, connection_reused, replayable };
                self.failed(failure, now, rng)
            }
            (Phase::Trying, Input::ResponseHead { status, grpc_status, replayable }) => {
                self.answered(status, grpc_status, replayable, now, rng)
            }
            (Phase::Trying, Input::Connected) => {
                self.account(Outcome::Connected, now);
                self.retry = None;
                self.relayed = true;
                self.phase = Phase::Forwarding;
                Step::Forward
            }
            _ => self.finish(End::Complete, now),
        }
    }

    /// Makes a try, or answers if none can be made.
    pub(super) fn attempt(&mut self, now: Tick, rng: &mut Rng) -> Step {
        if now >= self.finish_by {
            return self.give_up(Reason::RequestTimeout, now);
        }
        if !self.hold_request() {
            return self.give_up(Reason::UpstreamOverflow, now);
        }
        let Some(target) = self.target(now, rng) else {
            self.release();
            let answer = match &self.destination {
                Some(destination) => Local::no_endpoint(destination),
                None => self.failure(Reason::NoHealthyUpstream, now),
            };
            return self.respond(answer);
        };
        self.phase = Phase::Trying;
        self.attempts += 1;
        let pool = self.destination.as_ref().map(|destination| &destination.model.pool);
        let connect_ms = pool.and_then(|pool| pool.connect_timeout_ms).unwrap_or(CONNECT_TIMEOUT_MS);
        let per_try_ms = self.policy().retries.per_try_timeout_ms.filter(|ms| *ms > 0);
        Step::Attempt(Attempt {
            target,
            connect_by: now.plus_millis(connect_ms).min(self.finish_by),
            head_by: per_try_ms.map_or(self.finish_by, |ms| now.plus_millis(ms).min(self.finish_by)),
            finish_by: self.finish_by,
            number: self.attempts,
        })
    }

    /// Where the next try goes; counts it as an active request of its endpoint.
    fn target(&mut self, now: Tick, rng: &mut Rng) -> Option<Target> {
        if self.onward.is_some() {
            self.destination.iter().for_each(|it| it.state.note_use());
            return self.onward.clone();
        }
        let destination = self.destination.as_deref()?;
        destination.state.note_use();
        health::sweep(destination, now);
        let position = balance::pick(destination, &self.avoid, rng)?;
        let address = destination.endpoints.get(position)?.address;
        self.hold_endpoint(position);
        self.position = Some(position as u32);
        Some(Target::Endpoint(address))
    }

    fn failed(&mut self, failure: Failure, now: Tick, rng: &mut Rng) -> Step {
        // Time that went by in line for a connection says nothing about the endpoint.
        let in_line = failure.reason == Reason::PerTryTimeout && !failure.request_bytes_sent;
        let timed_out = now >= self.finish_by && failure.reason != Reason::DownstreamClosed;
        let failure = match timed_out {
            true => Failure { reason: Reason::RequestTimeout, ..failure },
            false => failure,
        };
        // A pooled connection that was closed in between says nothing about the endpoint's health.
        let stale = failure.connection_reused && failure.reason == Reason::UpstreamReset;
        match failure.reason {
            _ if in_line => {}
            Reason::ConnectTimeout | Reason::PerTryTimeout | Reason::RequestTimeout => {
                self.account(Outcome::TimedOut, now);
            }
            Reason::ConnectFailed | Reason::TlsFailed | Reason::UpstreamReset | Reason::UpstreamProtocol
                if !stale =>
            {
                self.account(Outcome::Broken, now);
            }
            _ => {}
        }
        self.end_try();
        let wanted =
            failure.reason != Reason::RequestTimeout && self.policy().after_failure(failure, self.method);
        match wanted && self.withdraw_retry() {
            true => self.try_again(stale, now, rng),
            false => self.give_up(failure.reason, now),
        }
    }

    fn answered(
        &mut self,
        status: u16,
        grpc_status: Option<u8>,
        replayable: bool,
        now: Tick,
        rng: &mut Rng,
    ) -> Step {
        self.account(Outcome::Status(grpc_status.map_or(status, |grpc| as_http(grpc, status))), now);
        self.retry = None;
        let wanted = self.policy().after_response(status, grpc_status, replayable, self.method);
        if wanted && now < self.finish_by && self.withdraw_retry() {
            self.release();
            return Step::Discard(Box::new(self.try_again(false, now, rng)));
        }
        self.relayed = status == 101;
        self.phase = Phase::Forwarding;
        Step::Forward
    }

    /// Another try may be made; takes it from the budget.
    fn withdraw_retry(&mut self) -> bool {
        if self.attempts >= self.policy().tries_max() {
            self.exhausted = self.attempts > 1;
            return false;
        }
        if let Some(destination) = &self.destination {
            self.retry = RetryToken::acquire(destination);
            self.exhausted = self.retry.is_none();
        }
        !self.exhausted
    }

    /// The step towards another try, which has been taken from the budget.
    fn try_again(&mut self, at_once: bool, now: Tick, rng: &mut Rng) -> Step {
        let retries = self.policy().retries;
        let (base_ms, keep_host) = (retries.backoff_ms, retries.allow_previous_hosts);
        if let Some(position) = self.position.filter(|_| !keep_host) {
            self.avoid.push(position as usize);
        }
        match if at_once { 0 } else { backoff_ms(base_ms, self.attempts, rng) } {
            0 => self.attempt(now, rng),
            pause_ms => {
                self.phase = Phase::BackingOff;
                self.wait(now.plus_millis(pause_ms))
            }
        }
    }

    pub(super) fn wait(&mut self, until: Tick) -> Step {
        self.wake_at = until.min(self.finish_by);
        Step::Wait(self.wake_at)
    }

    pub(super) fn respond(&mut self, answer: Local) -> Step {
        self.end_try();
        self.phase = Phase::Answered;
        self.reason = Some(answer.reason);
        Step::Respond(answer)
    }

    fn give_up(&mut self, reason: Reason, now: Tick) -> Step {
        let answer = self.failure(reason, now);
        self.respond(answer)
    }

    fn finish(&mut self, end: End, now: Tick) -> Step {
        match end {
            End::Complete => {}
            End::UpstreamAborted => {
                // A server may end what it speaks beside HTTP as it likes.
                if !self.relayed {
                    self.account(Outcome::Broken, now);
                }
                self.reason = Some(Reason::UpstreamReset);
            }
            End::TimedOut => {
                self.account(Outcome::TimedOut, now);
                self.reason = Some(Reason::RequestTimeout);
            }
            End::Idle => self.reason = Some(Reason::IdleTimeout),
            End::Refused(reason) => self.reason = Some(reason),
            End::DownstreamClosed => self.reason = Some(self.reason.unwrap_or(Reason::DownstreamClosed)),
        }
        self.end_try();
        self.phase = Phase::Over;
        Step::Done
    }

    /// Tells outlier detection how the try under way has gone.
    fn account(&self, outcome: Outcome, now: Tick) {
        if let (Some(destination), Some(position)) = (&self.destination, self.hold.endpoint) {
            health::record(destination, position as usize, outcome, now);
        }
    }

    fn end_try(&mut self) {
        self.release();
        self.retry = None;
    }
}

/// The HTTP status that outlier detection counts a gRPC status as (Envoy's `grpcToHttpStatus`).
fn as_http(grpc: u8, status: u16) -> u16 {
    match grpc {
        0 => status,
        1 => 499,
        3 | 9 | 11 => 400,
        4 => 504,
        5 => 404,
        6 | 10 => 409,
        7 => 403,
        8 => 429,
        12 => 501,
        14 => 503,
        16 => 401,
        _ => 500,
    }
}
