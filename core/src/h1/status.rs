//! Reason phrases, which HTTP/1.1 still carries (RFC 9110, 15).

/// The phrase of a status; empty where none is registered.
pub(crate) fn phrase(status: u16) -> &'static str {
    http::StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason()).unwrap_or_default()
}
