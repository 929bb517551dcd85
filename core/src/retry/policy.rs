//! Which failures and answers ask for another try.

use crate::config::model::{Retries, RetryOn};
use crate::fault::{Reason, RetryClass};
use crate::limits::ATTEMPTS_MAX;

/// What retrying needs to know of a request's method and kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Method {
    /// Doing it twice is as doing it once (RFC 9110, 9.2.2).
    pub idempotent: bool,
    /// CONNECT or an upgrade: what follows the head cannot be replayed.
    pub tunnel: bool,
}

impl Method {
    /// Classifies a request.
    pub fn of(method: &[u8], upgrade: bool) -> Method {
        let idempotent = matches!(method, b"GET" | b"HEAD" | b"OPTIONS" | b"TRACE" | b"PUT" | b"DELETE");
        Method { idempotent, tunnel: upgrade || method == b"CONNECT" }
    }
}

/// A try that ended without an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Why.
    pub reason: Reason,
    /// Bytes of the request were written to the connection.
    pub request_bytes_sent: bool,
    /// The connection had served another request before.
    pub connection_reused: bool,
    /// The request can be sent again from its start. Without that there is no other try, even if nothing was sent.
    pub replayable: bool,
}

/// A rule's retry policy together with where it came from.
#[derive(Clone, Copy, Debug)]
pub struct Policy<'a> {
    /// The numbers and conditions.
    pub retries: &'a Retries,
    /// A rule asked for it; else it is the proxy's default.
    pub configured: bool,
}

impl Policy<'_> {
    /// Tries in all, the first included.
    pub fn tries_max(&self) -> u32 {
        self.retries.attempts.saturating_add(1).min(ATTEMPTS_MAX)
    }

    /// A try that ended without an answer asks for another one.
    pub fn after_failure(&self, failure: Failure, method: Method) -> bool {
        // That nothing was sent does not help where a part of the body is gone already, say into an earlier try's buffers.
        if !failure.replayable || (method.tunnel && failure.request_bytes_sent) {
            return false;
        }
        reuse_race(failure, method)
            || match self.configured {
                true => covers(&self.retries.on, failure.reason),
                false => failure.reason.facts().retry == RetryClass::NotProcessed,
            }
    }

    /// An answer asks for another try. Never so by default: an answer proves that the request was processed.
    pub fn after_response(
        &self,
        status: u16,
        grpc_status: Option<u8>,
        replayable: bool,
        method: Method,
    ) -> bool {
        if !self.configured || !replayable || method.tunnel {
            return false;
        }
        let on = &self.retries.on;
        let unnamed = unnamed(on);
        (on.server_error && (500..=599).contains(&status))
            || (on.gateway_error && (502..=504).contains(&status))
            || (on.retriable_4xx && status == 409)
            || on.statuses.contains(&status)
            || grpc_status.is_some_and(|grpc| on.grpc.contains(&grpc) || (unnamed && matches!(grpc, 1 | 14)))
    }
}

/// R40 (b): a pooled connection that the upstream closed just as it was used again. Nothing was wrong with the request.
fn reuse_race(failure: Failure, method: Method) -> bool {
    failure.reason == Reason::UpstreamReset
        && failure.connection_reused
        && (!failure.request_bytes_sent || method.idempotent)
}

/// No condition is named, which means Istio's default: connect-failure, refused-stream, unavailable, cancelled.
fn unnamed(on: &RetryOn) -> bool {
    *on == RetryOn::default()
}

/// The conditions cover a failure. As in Envoy's router, no answer at all counts as a 5xx and as a gateway error too, and a
/// try that timed out counts as reset.
fn covers(on: &RetryOn, reason: Reason) -> bool {
    let unanswered = on.server_error || on.gateway_error || on.reset;
    let unnamed = unnamed(on);
    match reason {
        Reason::ConnectFailed | Reason::ConnectTimeout | Reason::TlsFailed => {
            unanswered || unnamed || on.connect_failure
        }
        Reason::UpstreamRefused => unanswered || unnamed || on.refused_stream,
        Reason::UpstreamReset | Reason::UpstreamProtocol | Reason::PerTryTimeout => unanswered,
        _ => false,
    }
}
