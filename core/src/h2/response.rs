//! An HTTP/1 response on its way to an HTTP/2 client.

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, HeaderName, HeaderValue, TRAILER};
use http::{HeaderMap, Response, StatusCode};

use crate::h1::{self, Body, ResponseHead};

/// The head as HTTP/2 has it: without what belongs to the connection it came by, names in lower case. `bytes` are those
/// that `head` was parsed from. None for a status that HTTP/2 has no place for (101; RFC 9113, 8.6).
pub fn from_h1(head: &ResponseHead, bytes: &[u8]) -> Option<Response<()>> {
    let mut response = Response::new(());
    *response.status_mut() =
        StatusCode::from_u16(head.status()).ok().filter(|status| status.as_u16() != 101)?;
    *response.headers_mut() = fields(head, bytes);
    if matches!(head.body(), Body::Chunked | Body::UntilClose) {
        response.headers_mut().remove(CONTENT_LENGTH);
    }
    Some(response)
}

fn fields(head: &ResponseHead, bytes: &[u8]) -> HeaderMap {
    // One copy for all values.
    let shared = Bytes::copy_from_slice(bytes.get(..usize::from(head.fields().end)).unwrap_or_default());
    let mut fields = HeaderMap::with_capacity(head.fields().iter().len());
    for field in head.fields().iter().filter(|field| !field.hop && !h1::is_hop_by_hop(field.known)) {
        let Ok(name) = HeaderName::from_bytes(field.name.of_bytes(bytes)) else { continue };
        let range = field.value.start()..field.value.end();
        if range.end > shared.len() {
            continue;
        }
        let Ok(value) = HeaderValue::from_maybe_shared(shared.slice(range)) else { continue };
        let _ = fields.try_append(name, value);
    }
    fields
}

/// A 101 as the answer to an extended CONNECT (RFC 8441, 5): a 200 without what HTTP/1 says of the switch. None where it
/// switches to another protocol than was asked for (R26).
pub fn from_switch(head: &ResponseHead, bytes: &[u8], protocol: &str) -> Option<Response<()>> {
    let mut chosen = head.fields().values("upgrade", bytes);
    let same = chosen.next().is_some_and(|it| it.eq_ignore_ascii_case(protocol.as_bytes()));
    if !same || chosen.next().is_some() {
        return None;
    }
    let mut response = Response::new(());
    *response.headers_mut() = fields(head, bytes);
    response.headers_mut().remove("sec-websocket-accept");
    Some(response)
}

/// Trailers as HTTP/2 has them, from a trailer section of HTTP/1: those that may go on (R18).
pub fn trailers_from_h1(section: &[u8]) -> HeaderMap {
    let mut lines = Vec::new();
    h1::trailers(section, true, &mut lines);
    let mut fields = HeaderMap::new();
    for line in lines.split(|byte| *byte == b'\n') {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let Some(colon) = memchr::memchr(b':', line) else { continue };
        let (name, value) = line.split_at(colon);
        let value = value.get(1..).unwrap_or_default().trim_ascii();
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name), HeaderValue::from_bytes(value)) {
            let _ = fields.try_append(name, value);
        }
    }
    fields
}

/// Appends trailers as HTTP/1 has them, and the empty line that ends the body: those that may go on (R18).
pub fn trailers_to_h1(fields: &HeaderMap, accepted: bool, out: &mut Vec<u8>) {
    let mut section = Vec::new();
    for (name, value) in fields.iter().filter(|(name, _)| **name != TRAILER) {
        super::request::write(&mut section, name.as_str().as_bytes(), value.as_bytes());
    }
    h1::trailers(&section, accepted, out);
}

#[cfg(test)]
mod tests;
