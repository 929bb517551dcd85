//! Interim answers: the client's expectation (R28) and 1xx responses on their way to it (R29, R34).

use super::Version;
use super::rule::{Reject, Rule};
use crate::fault::Reason;
use crate::limits::INTERIM_RESPONSES_MAX;

/// What to do with a 1xx response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interim {
    /// Send it on, then read the next head.
    Relay,
    /// The client cannot read it (HTTP/1.0): read the next head.
    Drop,
    /// 101: after [`super::check_switch`] the connection becomes a tunnel.
    Switch,
}

/// Decides about a 1xx response; `relayed` counts the ones before it.
///
/// # Errors
/// R29 for more than the cap of them.
pub fn interim(status: u16, client: Version, relayed: usize) -> Result<Interim, Reject> {
    match (status, client) {
        (101, _) => Ok(Interim::Switch),
        _ if relayed >= INTERIM_RESPONSES_MAX => {
            Err(Reject::response(Rule::R29, "too many interim responses"))
        }
        (_, Version::Http10) => Ok(Interim::Drop),
        _ => Ok(Interim::Relay),
    }
}

/// Whether the client waits for 100 before its body. An HTTP/1.0 client's expectation is ignored (RFC 9110, 10.1.1).
///
/// # Errors
/// R28 (417) for any other expectation.
pub(super) fn expectation(value: &[u8], version: Version) -> Result<bool, Reject> {
    match version {
        Version::Http10 => Ok(false),
        _ if value.eq_ignore_ascii_case(b"100-continue") => Ok(true),
        _ => Err(Reject::with(Rule::R28, Reason::ExpectationFailed, "unknown expectation")),
    }
}

/// The interim response that lets the client send its body (R28). Never sent to HTTP/1.0.
pub const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";
