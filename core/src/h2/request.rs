//! A request that came by HTTP/2: what it must fulfil beyond what the `h2` crate checks, and its way on.
//!
//! `h2` refuses malformed pseudo-header fields, upper-case names, connection-specific fields, a `te` that is not
//! `trailers` and bodies whose length is not the one told (RFC 9113, 8). The rest of R37 is here.

use std::io::Write as _;
use std::net::IpAddr;

use http::header::{CONTENT_LENGTH, COOKIE, EXPECT, Entry, HOST, HeaderName, HeaderValue, TE};
use http::request::Parts;
use http::{HeaderMap, Method};

use crate::fault::Reason;
use crate::h1::{self, Form, Forwarded, Reject, Rule, content_length};
use crate::limits::{FIELDS_MAX, LINE_BYTES_MAX, METHOD_BYTES_MAX};
use crate::route::rule::Changes;

/// What a checked request is about, beside its head.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Checked {
    /// The length that the client has told.
    pub length: Option<u64>,
    /// The client waits for 100 (Continue) before it sends its body (R28).
    pub expects_continue: bool,
    /// The path is in normal form as it was sent.
    pub plain_path: bool,
    /// It has an `x-request-id`.
    pub has_request_id: bool,
}

/// Checks a request's head (R37). `protocol`: it is an extended CONNECT (RFC 8441).
///
/// # Errors
/// The rule broken and what to answer.
pub fn check(parts: &Parts, protocol: Option<&str>) -> Result<Checked, Reject> {
    let method = parts.method.as_str().as_bytes();
    if method.len() > METHOD_BYTES_MAX {
        return Err(Reject::request(Rule::R7, "method too long"));
    }
    match (&parts.method, protocol) {
        (&Method::CONNECT, None) => {
            return Err(Reject::with(Rule::R27, Reason::MethodNotAllowed, "CONNECT is off"));
        }
        (&Method::TRACE, _) => {
            return Err(Reject::with(Rule::R36, Reason::MethodNotAllowed, "TRACE is off"));
        }
        _ => {}
    }
    let fields = &parts.headers;
    if fields.len() > FIELDS_MAX {
        return Err(Reject::with(Rule::R20, Reason::HeadTooLarge, "too many fields"));
    }
    let plain_path = check_path(parts)?;
    let seen = Seen::of(fields)?;
    check_authority(parts, &seen)?;
    let length = seen.length.map(|value| content_length(value.as_bytes())).transpose()?;
    let expects_continue = match seen.expect.map(|value| value.as_bytes()) {
        None => false,
        Some(value) if value.eq_ignore_ascii_case(b"100-continue") => true,
        Some(_) => {
            return Err(Reject::with(Rule::R28, Reason::ExpectationFailed, "unknown expectation"));
        }
    };
    Ok(Checked { length, expects_continue, plain_path, has_request_id: seen.request_id })
}

/// What a look at all fields has found, so that none of these is looked for by itself.
#[derive(Default)]
struct Seen<'a> {
    host: Option<&'a HeaderValue>,
    length: Option<&'a HeaderValue>,
    /// The first of them.
    expect: Option<&'a HeaderValue>,
    request_id: bool,
}

impl<'a> Seen<'a> {
    fn of(fields: &'a HeaderMap) -> Result<Seen<'a>, Reject> {
        let mut seen = Seen::default();
        for (name, value) in fields {
            let edge = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
            let bytes = value.as_bytes();
            if edge(bytes.first()) || edge(bytes.last()) {
                return Err(Reject::request(Rule::R37, "white space around a value"));
            }
            match *name {
                HOST if seen.host.replace(value).is_some() => {
                    return Err(Reject::request(Rule::R9, "more than one Host"));
                }
                CONTENT_LENGTH if seen.length.replace(value).is_some() => {
                    return Err(Reject::request(Rule::R13, "more than one Content-Length"));
                }
                EXPECT => seen.expect = seen.expect.or(Some(value)),
                _ => {
                    let name = name.as_str().as_bytes();
                    seen.request_id |= name == REQUEST_ID.as_str().as_bytes();
                    if name.contains(&b'_') && h1::is_framing_look_alike(name) {
                        return Err(Reject::request(Rule::R6, "underscore look-alike of a framing field"));
                    }
                }
            }
        }
        Ok(seen)
    }
}

fn check_path(parts: &Parts) -> Result<bool, Reject> {
    let Some(path) = parts.uri.path_and_query() else {
        return Err(Reject::request(Rule::R37, "no :path"));
    };
    let path = path.as_str().as_bytes();
    if path.len() > LINE_BYTES_MAX {
        return Err(Reject::with(Rule::R20, Reason::UriTooLong, "path too long"));
    }
    // An extended CONNECT has an ordinary path.
    let method: &[u8] = if parts.method == Method::OPTIONS { b"OPTIONS" } else { b"GET" };
    match h1::check_target(method, path)? {
        (Form::Origin | Form::Asterisk, plain) => Ok(plain),
        _ => Err(Reject::request(Rule::R37, ":path starts with no slash")),
    }
}

/// The authority governs, Host must say the same or be absent (RFC 9113, 8.3.1).
fn check_authority(parts: &Parts, seen: &Seen<'_>) -> Result<(), Reject> {
    match (parts.uri.authority(), seen.host) {
        (None, None) => Err(Reject::request(Rule::R9, "neither :authority nor Host")),
        (None, Some(host)) => h1::check_authority(host.as_bytes()),
        (Some(authority), host) => {
            let authority = authority.as_str().as_bytes();
            match host {
                Some(host) if !host.as_bytes().eq_ignore_ascii_case(authority) => {
                    Err(Reject::request(Rule::R37, "Host differs from :authority"))
                }
                _ => h1::check_authority(authority),
            }
        }
    }
}

/// What changes about a request's fields on its way on, whatever protocol it goes by.
#[derive(Clone, Copy, Debug, Default)]
pub struct Onward<'a> {
    /// Header changes, in order: the destination's, then the rule's.
    pub changes: &'a [&'a Changes],
    /// `x-request-id` for a request that has none.
    pub request_id: Option<&'a [u8]>,
    /// Forwarding fields.
    pub forwarded: Forwarded,
    /// The client's address as [`client_value`] has it, where there is one made before.
    pub client: Option<&'a HeaderValue>,
    /// Fields set by the proxy itself, replacing the client's; one without a value only takes the client's away.
    pub extra: &'a [(HeaderName, &'a [u8])],
}

/// The field that names a request.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// The field that tells an application of its client's certificate.
pub const CLIENT_CERT: HeaderName = HeaderName::from_static("x-forwarded-client-cert");
/// The field that counts tries.
pub const ATTEMPT_COUNT: HeaderName = HeaderName::from_static("x-envoy-attempt-count");

/// The fields of a request as they go on: without Host, whose place the authority takes.
pub fn fields(parts: &Parts, onward: &Onward<'_>) -> HeaderMap {
    let mut fields = parts.headers.clone();
    // One pass over the names costs less than to ask the map for one of them.
    if fields.keys().any(|name| *name == HOST) {
        fields.remove(HOST);
    }
    forwarding(&mut fields, onward.forwarded, onward.client);
    if let Some(id) = onward.request_id.and_then(|id| HeaderValue::from_bytes(id).ok()) {
        fields.insert(REQUEST_ID, id);
    }
    super::edit(&mut fields, onward.changes);
    for (name, value) in onward.extra {
        if value.is_empty() {
            fields.remove(name);
        } else if let Ok(value) = HeaderValue::from_bytes(value) {
            fields.insert(name.clone(), value);
        }
    }
    keep_out_of_tables(&mut fields);
    fields
}

/// Has the values that differ with every message go as literals that no table keeps (RFC 7541, 6.2.3). Kept, they would
/// push out of it what comes again, and the `h2` crate compares a value with all that it has of the same name (measured: a
/// tenth of a request's cost for `x-request-id` alone).
pub fn keep_out_of_tables(fields: &mut HeaderMap) {
    for (name, value) in fields.iter_mut() {
        let differs = match name.as_str().len() {
            2 => name == "b3",
            11 => name == "traceparent" || name == "x-b3-spanid",
            12 => name == "x-request-id" || name == "x-b3-traceid" || name == "grpc-timeout",
            15 => name == "x-amzn-trace-id",
            17 => name == "x-b3-parentspanid",
            18 => name == "x-datadog-trace-id",
            21 => name == "x-cloud-trace-context",
            _ => false,
        };
        if differs {
            value.set_sensitive(true);
        }
    }
}

/// A client's address as `x-forwarded-for` has it; none never comes.
pub fn client_value(client: IpAddr) -> Option<HeaderValue> {
    HeaderValue::try_from(client.to_string()).ok()
}

/// R35. `ready` is [`client_value`] of the client, where that was made before.
pub(super) fn forwarding(fields: &mut HeaderMap, forwarded: Forwarded, ready: Option<&HeaderValue>) {
    const FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
    const PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
    let (client, secure, keep) = match forwarded {
        Forwarded::Keep => return,
        Forwarded::Append { client, secure } => (client, secure, true),
        Forwarded::Overwrite { client, secure } => (client, secure, false),
    };
    if !keep {
        for name in ["x-forwarded-host", "x-forwarded-port", "forwarded"] {
            fields.remove(name);
        }
    }
    match fields.try_entry(FOR) {
        Ok(Entry::Vacant(place)) => {
            if let Some(told) = ready.cloned().or_else(|| client_value(client)) {
                // A head at the limit of the map keeps what it has.
                let _ = place.try_insert(told);
            }
        }
        Ok(Entry::Occupied(mut place)) => {
            let mut told = Vec::new();
            for before in place.iter().filter(|_| keep) {
                told.extend_from_slice(before.as_bytes());
                told.extend_from_slice(b", ");
            }
            // Writing to a vector cannot fail.
            let _ = write!(told, "{client}");
            if let Ok(told) = HeaderValue::from_bytes(&told) {
                place.insert(told);
            }
        }
        Err(_) => {}
    }
    fields.insert(PROTO, HeaderValue::from_static(if secure { "https" } else { "http" }));
}

/// How the body of a request goes on by HTTP/1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sending {
    /// There is none.
    Empty,
    /// So many bytes as they are.
    Length(u64),
    /// In chunks.
    Chunked,
}

/// The start line and routing of a request that goes on by HTTP/1.
#[derive(Clone, Copy, Debug)]
pub struct Line<'a> {
    /// Method.
    pub method: &'a [u8],
    /// Path and query.
    pub path: &'a [u8],
    /// Host.
    pub authority: &'a [u8],
    /// The body's framing.
    pub body: Sending,
    /// The protocol to upgrade to: an extended CONNECT on its way to a server of HTTP/1.
    pub upgrade: Option<&'a [u8]>,
    /// The upstream connection serves this request only.
    pub close: bool,
}

/// Appends a request's head as HTTP/1.1. `fields` are those of [`fields`].
pub fn to_h1(line: &Line<'_>, fields: &HeaderMap, out: &mut Vec<u8>) {
    out.extend_from_slice(line.method);
    out.push(b' ');
    out.extend_from_slice(line.path);
    out.extend_from_slice(b" HTTP/1.1\r\n");
    write(out, b"host", line.authority);
    let mut cookie = false;
    for (name, value) in fields {
        match *name {
            HOST | CONTENT_LENGTH | TE => {}
            COOKIE => cookie = true,
            _ => write(out, name.as_str().as_bytes(), value.as_bytes()),
        }
    }
    if cookie {
        crumbs(fields, out);
    }
    match line.body {
        Sending::Empty => {}
        Sending::Length(length) => {
            // Writing to a vector cannot fail.
            let _ = write!(out, "content-length: {length}\r\n");
        }
        Sending::Chunked => out.extend_from_slice(b"transfer-encoding: chunked\r\n"),
    }
    let trailers = fields.contains_key(TE);
    if let Some(protocol) = line.upgrade {
        write(out, b"upgrade", protocol);
    }
    if trailers {
        out.extend_from_slice(b"te: trailers\r\n");
    }
    let options: [(&[u8], bool); 3] =
        [(b"upgrade", line.upgrade.is_some()), (b"te", trailers), (b"close", line.close)];
    let mut separator: &[u8] = b"connection: ";
    for (option, _) in options.into_iter().filter(|(_, wanted)| *wanted) {
        out.extend_from_slice(separator);
        out.extend_from_slice(option);
        separator = b", ";
    }
    if separator == b", " {
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"\r\n");
}

/// The crumbs of a cookie are one again (RFC 9113, 8.2.3).
fn crumbs(fields: &HeaderMap, out: &mut Vec<u8>) {
    let mut separator: &[u8] = b"cookie: ";
    for crumb in fields.get_all(COOKIE) {
        out.extend_from_slice(separator);
        out.extend_from_slice(crumb.as_bytes());
        separator = b"; ";
    }
    out.extend_from_slice(b"\r\n");
}

pub(super) fn write(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests;
