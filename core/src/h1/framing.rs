//! How long a body is (R10 to R14, R30, R31), decided once, when a head is complete.

use super::field::{Fields, Known};
use super::rule::{Reject, Rule};
use super::{Body, Version};
use crate::fault::Reason;

/// R13: more digits than any 64-bit length has are refused.
const LENGTH_DIGITS_MAX: usize = 19;

/// Codings that exist but that this proxy does not take apart (R12: 501 rather than 400).
const KNOWN_CODINGS: [&[u8]; 6] = [b"gzip", b"x-gzip", b"deflate", b"compress", b"x-compress", b"zstd"];

/// The body of a request.
pub(super) fn request(fields: &Fields, bytes: &[u8], version: Version) -> Result<Body, Reject> {
    let mut length = None;
    let mut chunked = false;
    for field in fields.iter() {
        match field.known {
            Known::ContentLength if length.is_some() => {
                return Err(Reject::request(Rule::R13, "more than one Content-Length"));
            }
            Known::ContentLength => length = Some(content_length(field.value.of_bytes(bytes))?),
            Known::TransferEncoding if chunked => {
                return Err(Reject::request(Rule::R12, "more than one Transfer-Encoding"));
            }
            Known::TransferEncoding => {
                transfer_encoding(field.value.of_bytes(bytes), version)?;
                chunked = true;
            }
            _ => {}
        }
    }
    match (length, chunked) {
        (Some(_), true) => Err(Reject::request(Rule::R10, "Transfer-Encoding beside Content-Length")),
        (None, true) => Ok(Body::Chunked),
        (None | Some(0), false) => Ok(Body::Empty),
        (Some(length), false) => Ok(Body::Length(length)),
    }
}

/// The body of a response to a request whose method was HEAD or not. Marks what must not be sent on.
pub(super) fn response(
    fields: &mut Fields,
    bytes: &[u8],
    version: Version,
    status: u16,
    to_head: bool,
) -> Result<Body, Reject> {
    let mut length = None;
    let mut chunked = false;
    let no_framing = status < 200 || status == 204;
    for field in &mut fields.slots {
        match field.known {
            Known::ContentLength => {
                let value = content_length(field.value.of_bytes(bytes)).map_err(Reject::by_upstream)?;
                match length.replace(value) {
                    Some(earlier) if earlier != value => {
                        return Err(Reject::response(Rule::R31, "differing Content-Length"));
                    }
                    Some(_) => field.hop = true,
                    None => field.hop |= no_framing,
                }
            }
            Known::TransferEncoding if chunked => {
                return Err(Reject::response(Rule::R31, "more than one Transfer-Encoding"));
            }
            Known::TransferEncoding => {
                transfer_encoding(field.value.of_bytes(bytes), version).map_err(Reject::by_upstream)?;
                chunked = true;
            }
            _ => {}
        }
    }
    match (length, chunked) {
        (Some(_), true) => Err(Reject::response(Rule::R31, "Transfer-Encoding beside Content-Length")),
        _ if no_framing || status == 304 || to_head => Ok(Body::Empty),
        (None, true) => Ok(Body::Chunked),
        (Some(0), false) => Ok(Body::Empty),
        (Some(length), false) => Ok(Body::Length(length)),
        (None, false) => Ok(Body::UntilClose),
    }
}

/// R13. Not `str::parse`, which takes `+5`.
pub(crate) fn content_length(value: &[u8]) -> Result<u64, Reject> {
    if value.is_empty() || value.len() > LENGTH_DIGITS_MAX || !value.iter().all(u8::is_ascii_digit) {
        return Err(Reject::request(Rule::R13, "malformed Content-Length"));
    }
    // 19 digits stay below 10^19, which fits.
    Ok(value.iter().fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0')))
}

/// R11, R12.
fn transfer_encoding(value: &[u8], version: Version) -> Result<(), Reject> {
    if version == Version::Http10 {
        return Err(Reject::request(Rule::R11, "Transfer-Encoding in HTTP/1.0"));
    }
    if value.eq_ignore_ascii_case(b"chunked") {
        return Ok(());
    }
    let first =
        value.split(|byte| matches!(byte, b',' | b';')).next().map(super::field::trim).unwrap_or_default();
    match KNOWN_CODINGS.iter().any(|coding| first.eq_ignore_ascii_case(coding)) {
        true => Err(Reject::with(Rule::R12, Reason::NotImplemented, "transfer coding not supported")),
        false => Err(Reject::request(Rule::R12, "malformed Transfer-Encoding")),
    }
}
