//! The request head as it goes upstream.

use std::borrow::Cow;
use std::io::Write as _;
use std::net::IpAddr;

use super::{Copier, Extra, is_replaced, write_added};
use crate::h1::field::{Field, Known, list};
use crate::h1::{Body, Form, RequestHead, Version, hop};
use crate::route::rule::Changes;

/// What becomes of `X-Forwarded-*` and `Forwarded` (R35).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Forwarded {
    /// They pass: sidecars.
    #[default]
    Keep,
    /// The client's address is appended to the addresses that came, whose truth the service judges by the last ones. The
    /// protocol is this connection's, whatever the client says: the hop before is not trusted (Envoy with
    /// `use_remote_address` and no `xff_num_trusted_hops`, Istio's default for gateways).
    Append {
        /// The client.
        client: IpAddr,
        /// It came by TLS.
        secure: bool,
    },
    /// What came is dropped and written anew: a gateway at the edge that trusts nobody.
    Overwrite {
        /// The client.
        client: IpAddr,
        /// It came by TLS.
        secure: bool,
    },
}

/// What changes about a request head. The default changes only what HTTP demands of a proxy.
#[derive(Clone, Copy, Debug, Default)]
pub struct RequestRewrite<'a> {
    /// Path and query in place of those sent. Must be a checked path (no control byte, no space).
    pub path: Option<&'a [u8]>,
    /// Host in place of the one sent.
    pub authority: Option<&'a [u8]>,
    /// Header changes, in order: the destination's, then the rule's.
    pub changes: &'a [&'a Changes],
    /// `x-request-id` in place of the client's; pass one where [`RequestHead::request_id`] is none.
    pub request_id: Option<&'a [u8]>,
    /// Forwarding fields.
    pub forwarded: Forwarded,
    /// Pass on a proper wish for an upgrade (R26); without, the request is sent as an ordinary one.
    pub upgrade: bool,
    /// The upstream connection serves this request only.
    pub close: bool,
    /// Fields set by the proxy itself.
    pub extra: Extra<'a>,
}

/// Appends the head as it goes upstream, always as HTTP/1.1. `bytes` are those that `head` was parsed from.
/// A chunked body must follow as chunked, one with a length as it is.
pub fn request(head: &RequestHead, bytes: &[u8], rewrite: &RequestRewrite<'_>, out: &mut Vec<u8>) {
    out.reserve(usize::from(head.fields().end) + 256);
    let mut copier = Copier::new(bytes, out);
    request_line(head, rewrite, &mut copier);
    let gone = host(head, rewrite, &mut copier) | displaced(head, rewrite);
    let edited = !rewrite.changes.is_empty() || !rewrite.extra.is_empty();
    for (index, field) in head.fields().iter().enumerate() {
        if field.hop || gone & field.known.bit() != 0 {
            continue;
        }
        if edited && is_replaced(field.known, field.name.of_bytes(bytes), rewrite.changes, rewrite.extra) {
            continue;
        }
        if field.known == Known::MaxForwards {
            max_forwards(head, field, &mut copier);
            continue;
        }
        copier.keep(head.fields().line(index, field));
    }
    connection_lines(head, rewrite, &mut copier);
    forwarding_lines(head, rewrite, &mut copier);
    if let Some(id) = rewrite.request_id {
        copier.line(b"x-request-id", id);
    }
    write_added(&mut copier, rewrite.changes, rewrite.extra);
    copier.write(b"\r\n");
}

fn request_line(head: &RequestHead, rewrite: &RequestRewrite<'_>, copier: &mut Copier<'_>) {
    let as_sent =
        rewrite.path.is_none() && head.version() == Version::Http11 && head.form() != Form::Absolute;
    if as_sent {
        return copier.keep(head.method().start()..head.target().end() + b" HTTP/1.1\r\n".len());
    }
    let bytes = copier.bytes;
    copier.write(head.method().of_bytes(bytes));
    copier.write(b" ");
    let sent = head.path().of_bytes(bytes);
    copier.write(match rewrite.path {
        Some(path) => path,
        // RFC 9112, 3.2.4: OPTIONS for an absolute target without a path asks about the server.
        None if sent.is_empty() && head.method().of_bytes(bytes) == b"OPTIONS" => b"*",
        None if sent.is_empty() => b"/",
        None => sent,
    });
    copier.write(b" HTTP/1.1\r\n");
}

/// Writes Host where it is not the one sent, right after the request line; the set of fields it displaces.
fn host(head: &RequestHead, rewrite: &RequestRewrite<'_>, copier: &mut Copier<'_>) -> u32 {
    let set = rewrite.changes.iter().rev().find_map(|change| change.authority.as_ref());
    let authority = match rewrite.authority.or(set.map(http::HeaderValue::as_bytes)) {
        Some(authority) => authority,
        None if head.form() != Form::Absolute && !head.authority().is_empty() => return 0,
        None => head.authority().of_bytes(copier.bytes),
    };
    copier.line(b"host", authority);
    Known::Host.bit()
}

/// Known fields that do not pass as they are.
pub(crate) fn displaced(head: &RequestHead, rewrite: &RequestRewrite<'_>) -> u32 {
    const FORWARDING: u32 = Known::XForwardedFor.bit()
        | Known::XForwardedProto.bit()
        | Known::XForwardedHost.bit()
        | Known::XForwardedPort.bit()
        | Known::Forwarded.bit();
    let mut gone = hop::HOP_BY_HOP;
    if rewrite.request_id.is_some() {
        gone |= Known::XRequestId.bit();
    }
    if head.strip_proxy_authorization {
        gone |= Known::ProxyAuthorization.bit();
    }
    if head.version() == Version::Http10 {
        // Ignored here (RFC 9110, 10.1.1), it must not come to mean something by the version that the request goes on with.
        gone |= Known::Expect.bit();
    }
    gone | match rewrite.forwarded {
        Forwarded::Keep => 0,
        Forwarded::Append { .. } => Known::XForwardedFor.bit() | Known::XForwardedProto.bit(),
        Forwarded::Overwrite { .. } => FORWARDING,
    }
}

fn max_forwards(head: &RequestHead, field: &Field, copier: &mut Copier<'_>) {
    let counted = counted_forwards(head, field, copier.bytes);
    copier.line(b"max-forwards", &counted);
}

/// RFC 9110, 7.6.2: counts down for OPTIONS, passes for everything else.
pub(crate) fn counted_forwards<'a>(head: &RequestHead, field: &Field, bytes: &'a [u8]) -> Cow<'a, [u8]> {
    let value = field.value.of_bytes(bytes);
    let number = std::str::from_utf8(value).ok().filter(|_| value.iter().all(u8::is_ascii_digit));
    let counted = number.and_then(|digits| digits.parse::<u32>().ok()).map(|left| left.saturating_sub(1));
    match counted {
        Some(left) if head.method().of_bytes(bytes) == b"OPTIONS" => left.to_string().into_bytes().into(),
        _ => value.into(),
    }
}

/// What this hop says of its own connection: framing, upgrade, TE, close.
fn connection_lines(head: &RequestHead, rewrite: &RequestRewrite<'_>, copier: &mut Copier<'_>) {
    if head.body() == Body::Chunked {
        copier.write(b"transfer-encoding: chunked\r\n");
    }
    let upgrade = rewrite.upgrade && head.wants_upgrade();
    if upgrade {
        let bytes = copier.bytes;
        let mut separator: &[u8] = b"upgrade: ";
        for protocol in head.fields().values("upgrade", bytes).flat_map(list) {
            if !protocol.eq_ignore_ascii_case(b"h2c") {
                copier.write(separator);
                copier.write(protocol);
                separator = b", ";
            }
        }
        copier.write(b"\r\n");
    }
    match (upgrade, head.accepts_trailers()) {
        (true, true) => copier.write(b"te: trailers\r\nconnection: upgrade, te\r\n"),
        (true, false) => copier.write(b"connection: upgrade\r\n"),
        (false, true) if rewrite.close => copier.write(b"te: trailers\r\nconnection: te, close\r\n"),
        (false, true) => copier.write(b"te: trailers\r\nconnection: te\r\n"),
        (false, false) if rewrite.close => copier.write(b"connection: close\r\n"),
        (false, false) => {}
    }
}

fn forwarding_lines(head: &RequestHead, rewrite: &RequestRewrite<'_>, copier: &mut Copier<'_>) {
    let (client, secure, keep) = match rewrite.forwarded {
        Forwarded::Keep => return,
        Forwarded::Append { client, secure } => (client, secure, true),
        Forwarded::Overwrite { client, secure } => (client, secure, false),
    };
    copier.write(b"x-forwarded-for: ");
    let bytes = copier.bytes;
    if keep {
        for field in head.fields().iter().filter(|field| field.known == Known::XForwardedFor && !field.hop) {
            copier.write(field.value.of_bytes(bytes));
            copier.write(b", ");
        }
    }
    address(client, copier.out);
    copier.write(b"\r\n");
    copier.write(if secure { b"x-forwarded-proto: https\r\n" } else { b"x-forwarded-proto: http\r\n" });
}

/// Appends an address. The common kind goes without the machinery of formatting, which takes a thousand instructions.
fn address(address: IpAddr, out: &mut Vec<u8>) {
    let IpAddr::V4(v4) = address else {
        // Writing to a vector cannot fail.
        let _ = write!(out, "{address}");
        return;
    };
    for (at, octet) in v4.octets().into_iter().enumerate() {
        if at > 0 {
            out.push(b'.');
        }
        let digits = [octet / 100, octet / 10 % 10, octet % 10].map(|digit| b'0' + digit);
        let leading = usize::from(octet < 100) + usize::from(octet < 10);
        out.extend_from_slice(digits.get(leading..).unwrap_or_default());
    }
}
