//! An HTTP/1 client's request on its way to an HTTP/2 upstream (R38), and the answer on its way back.

use std::io::Write as _;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, EXPECT, HOST, HeaderName, HeaderValue, TE};
use http::uri::{Authority, PathAndQuery, Scheme, Uri};
use http::{HeaderMap, Method, Request, Version, response};

use super::request::{REQUEST_ID, forwarding, keep_out_of_tables, write};
use crate::h1::encode::{counted_forwards, displaced};
use crate::h1::{self, Body, Known, Reject, RequestHead, RequestRewrite, Rule};

/// What a proxy may not send on to a client, wherever it comes from: the `h2` crate lets these pass in trailers and
/// answers where HTTP/1 gives them a meaning.
fn is_connection_field(name: &str) -> bool {
    match name.len() {
        7 => name == "upgrade",
        10 => name == "connection" || name == "keep-alive",
        16 => name == "proxy-connection",
        17 => name == "transfer-encoding",
        _ => false,
    }
}

/// Takes out of an answer's fields or trailers what belongs to a connection. Clients of HTTP/2 take offence at it.
pub fn end_here(fields: &mut HeaderMap) {
    // Hardly ever there.
    while let Some(name) = fields.keys().find(|name| is_connection_field(name.as_str())).cloned() {
        fields.remove(name);
    }
}

/// The request as HTTP/2 has it. `bytes` are those that `head` was parsed from; `scheme` is the connection's.
///
/// An authority that a URI has no place for goes as Host (RFC 9113, 8.3.1), and one that is not known does not go at all.
///
/// # Errors
/// R8 for a target with bytes that a URI has no place for, which HTTP/1 servers put up with.
pub fn request_from_h1(
    head: &RequestHead,
    bytes: &[u8],
    scheme: &str,
    rewrite: &RequestRewrite<'_>,
) -> Result<Request<()>, Reject> {
    // One copy for all values.
    let end = usize::from(head.fields().end);
    let shared = Bytes::copy_from_slice(bytes.get(..end).unwrap_or_default());
    let mut request = Request::new(());
    *request.method_mut() =
        Method::from_bytes(head.method().of_bytes(bytes)).map_err(|_| Reject::request(Rule::R7, "method"))?;
    let fields = fields(head, bytes, &shared, rewrite);
    *request.headers_mut() = fields;
    let target = target(head, &shared, rewrite)?;
    let authority = authority(head, bytes, rewrite);
    let mut parts = http::uri::Parts::default();
    parts.path_and_query = Some(target);
    match Authority::try_from(authority).ok() {
        Some(authority) => {
            parts.authority = Some(authority);
            parts.scheme = Some(if scheme == "https" { Scheme::HTTPS } else { Scheme::HTTP });
            *request.version_mut() = Version::HTTP_2;
        }
        None => {
            // What `h2` takes to mean a request without an authority.
            *request.version_mut() = Version::HTTP_11;
            if let (Ok(host), false) = (HeaderValue::from_bytes(authority), authority.is_empty()) {
                request.headers_mut().insert(HOST, host);
            }
        }
    }
    *request.uri_mut() = Uri::from_parts(parts).map_err(|_| Reject::request(Rule::R8, "target"))?;
    Ok(request)
}

fn target(head: &RequestHead, shared: &Bytes, rewrite: &RequestRewrite<'_>) -> Result<PathAndQuery, Reject> {
    let sent = head.path();
    let target = match rewrite.path {
        Some(path) => PathAndQuery::try_from(path),
        None if sent.is_empty() && head.method().of_bytes(shared) == b"OPTIONS" => {
            return Ok(PathAndQuery::from_static("*"));
        }
        None if sent.is_empty() => return Ok(PathAndQuery::from_static("/")),
        None if sent.end() > shared.len() => PathAndQuery::try_from(""),
        None => PathAndQuery::from_maybe_shared(shared.slice(sent.start()..sent.end())),
    };
    target.map_err(|_| Reject::request(Rule::R8, "target has bytes that HTTP/2 has no place for"))
}

fn authority<'a>(head: &RequestHead, bytes: &'a [u8], rewrite: &RequestRewrite<'a>) -> &'a [u8] {
    let set = rewrite.changes.iter().rev().find_map(|change| change.authority.as_ref());
    rewrite.authority.or(set.map(HeaderValue::as_bytes)).unwrap_or_else(|| head.authority().of_bytes(bytes))
}

/// The fields that go on, and those that are written anew.
fn fields(head: &RequestHead, bytes: &[u8], shared: &Bytes, rewrite: &RequestRewrite<'_>) -> HeaderMap {
    let mut fields = HeaderMap::with_capacity(head.fields().iter().len() + 4);
    let gone = displaced(head, rewrite) & !kept_for_forwarding();
    for field in head.fields().iter() {
        let ends_here = field.hop || field.known == Known::Host || gone & field.known.bit() != 0;
        let range = field.value.start()..field.value.end();
        if ends_here || range.end > shared.len() {
            continue;
        }
        let Ok(name) = HeaderName::from_bytes(field.name.of_bytes(bytes)) else { continue };
        let value = match field.known {
            Known::MaxForwards => HeaderValue::from_bytes(&counted_forwards(head, field, bytes)),
            _ => HeaderValue::from_maybe_shared(shared.slice(range)),
        };
        if let Ok(value) = value {
            let _ = fields.try_append(name, value);
        }
    }
    if head.accepts_trailers() {
        fields.insert(TE, HeaderValue::from_static("trailers"));
    }
    if head.body() == Body::Empty {
        // A request without a body has none to wait with (RFC 9110, 10.1.1).
        fields.remove(EXPECT);
    }
    forwarding(&mut fields, rewrite.forwarded, None);
    if let Some(id) = rewrite.request_id.and_then(|id| HeaderValue::from_bytes(id).ok()) {
        fields.insert(REQUEST_ID, id);
    }
    super::edit(&mut fields, rewrite.changes);
    for (name, value) in rewrite.extra {
        if let (Ok(name), Ok(value)) = (name.parse::<HeaderName>(), HeaderValue::from_bytes(value)) {
            fields.insert(name, value);
        }
    }
    keep_out_of_tables(&mut fields);
    fields
}

/// The addresses that came are needed to append to; [`forwarding`] replaces their lines.
const fn kept_for_forwarding() -> u32 {
    Known::XForwardedFor.bit()
}

/// Appends an answer's head as HTTP/1.1 has it, as a server of HTTP/1 would have sent it: to be parsed and checked like any
/// other. `ends`: no body follows. `to_head`: the request's method was HEAD.
pub fn response_to_h1(parts: &response::Parts, ends: bool, to_head: bool, out: &mut Vec<u8>) {
    let status = parts.status.as_u16();
    // Writing to a vector cannot fail.
    let _ = write!(out, "HTTP/1.1 {status} {}\r\n", h1::phrase(status));
    for (name, value) in &parts.headers {
        if !is_connection_field(name.as_str()) {
            write(out, name.as_str().as_bytes(), value.as_bytes());
        }
    }
    let bodiless = to_head || status < 200 || status == 204 || status == 304;
    if !bodiless && !parts.headers.contains_key(CONTENT_LENGTH) {
        out.extend_from_slice(match ends {
            true => b"content-length: 0\r\n",
            false => b"transfer-encoding: chunked\r\n",
        });
    }
    out.extend_from_slice(b"\r\n");
}
