//! gRPC as far as a proxy minds it: whether a request is one, its deadline, and its status in place of HTTP's.

use std::time::Duration;

use http::{HeaderMap, HeaderName};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

use crate::fault::Reason;

/// The header of a call's deadline.
pub const TIMEOUT: &str = "grpc-timeout";
/// The header or trailer of a call's status.
pub const STATUS: &str = "grpc-status";
/// The header or trailer of what a status is about.
pub const MESSAGE: &str = "grpc-message";
/// The same as names of fields, which are found without being parsed first.
pub const TIMEOUT_FIELD: HeaderName = HeaderName::from_static(TIMEOUT);
/// See [`STATUS`].
pub const STATUS_FIELD: HeaderName = HeaderName::from_static(STATUS);
/// See [`MESSAGE`].
pub const MESSAGE_FIELD: HeaderName = HeaderName::from_static(MESSAGE);

/// DEADLINE_EXCEEDED.
const DEADLINE_EXCEEDED: u8 = 4;
/// What must be escaped in a message (gRPC over HTTP/2, "Responses"): all but printable ASCII, and `%`.
const ESCAPED: &AsciiSet = &CONTROLS.add(b'%');
/// The protocol's most digits of a timeout.
const TIMEOUT_MAX: u128 = 99_999_999;

/// Whether a `content-type` is gRPC's: `application/grpc`, or that with a `+` or parameters behind; not gRPC-Web's.
pub fn is_grpc(content_type: Option<&[u8]>) -> bool {
    const TYPE: &[u8] = b"application/grpc";
    let Some(value) = content_type else { return false };
    let Some((start, rest)) = value.split_at_checked(TYPE.len()) else { return false };
    start.eq_ignore_ascii_case(TYPE) && matches!(rest.first(), None | Some(b'+' | b';'))
}

/// The status that a caller gets for an answer made here. A call whose time is over has missed its deadline; everything
/// else follows the HTTP status, as gRPC's own `http-grpc-status-mapping` and Envoy have it.
pub fn status_of(reason: Reason, http: u16) -> u8 {
    match (reason, http) {
        (Reason::RequestTimeout, _) => DEADLINE_EXCEEDED,
        (_, 400) => 13,
        (_, 401) => 16,
        (_, 403) => 7,
        (_, 404) => 12,
        (_, 429 | 502 | 503 | 504) => 14,
        _ => 2,
    }
}

/// A text as `grpc-message`.
pub fn message(text: &str) -> String {
    utf8_percent_encode(text, ESCAPED).to_string()
}

/// The status that headers or trailers tell; none where there is none or it is no number of gRPC's.
pub fn status(fields: &HeaderMap) -> Option<u8> {
    // Most heads have none: to look at the lengths of a few names costs less than to ask the map.
    let (_, value) =
        fields.iter().find(|(name, _)| name.as_str().len() == STATUS.len() && **name == STATUS_FIELD)?;
    match value.as_bytes() {
        [digit @ b'0'..=b'9'] => Some(digit - b'0'),
        [b'1', digit @ b'0'..=b'6'] => Some(10 + digit - b'0'),
        _ => None,
    }
}

/// Reads a `grpc-timeout`: at most eight digits and a unit. None where it is malformed, which means no deadline, as Envoy
/// has it.
pub fn timeout(value: &[u8]) -> Option<Duration> {
    let (unit, digits) = value.split_last()?;
    if digits.is_empty() || digits.len() > 8 || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number = digits.iter().fold(0u64, |sum, digit| sum * 10 + u64::from(digit - b'0'));
    Some(match unit {
        b'H' => Duration::from_secs(number * 3600),
        b'M' => Duration::from_secs(number * 60),
        b'S' => Duration::from_secs(number),
        b'm' => Duration::from_millis(number),
        b'u' => Duration::from_micros(number),
        b'n' => Duration::from_nanos(number),
        _ => return None,
    })
}

/// Writes a `grpc-timeout` in the finest unit that has room for it.
pub fn timeout_value(left: Duration) -> String {
    let units: [(u128, char); 5] = [
        (left.as_nanos(), 'n'),
        (left.as_micros(), 'u'),
        (left.as_millis(), 'm'),
        (u128::from(left.as_secs()), 'S'),
        (u128::from(left.as_secs() / 60), 'M'),
    ];
    let fitting = units.into_iter().find(|(number, _)| *number <= TIMEOUT_MAX);
    let (number, unit) = fitting.unwrap_or((TIMEOUT_MAX, 'H'));
    format!("{number}{unit}")
}

#[cfg(test)]
mod tests;
