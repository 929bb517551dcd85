//! The response head as it goes to the client.

use super::{Copier, Extra, decimal, is_replaced, write_added};
use crate::h1::field::Known;
use crate::h1::{Body, ResponseHead, Version, hop, status};
use crate::route::rule::Changes;

/// What changes about a response head, and what is known of the client.
#[derive(Clone, Copy, Debug, Default)]
pub struct ResponseRewrite<'a> {
    /// The request's version (R34).
    pub client: Version,
    /// The client's connection stays open for another request.
    pub keep_alive: bool,
    /// The client reads trailers (R18).
    pub accepts_trailers: bool,
    /// Header changes, in order: the destination's, then the rule's.
    pub changes: &'a [&'a Changes],
    /// Fields set by the proxy itself.
    pub extra: Extra<'a>,
}

/// How the response goes out, decided with its head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sent {
    /// How the body must be sent. [`Body::Chunked`] for an upstream body that is [`Body::UntilClose`] means that it
    /// must be framed ([`crate::h1::ChunkHeader`]); [`Body::UntilClose`] for a chunked one, that it must be unframed
    /// ([`crate::h1::Mode::Bare`]).
    pub body: Body,
    /// The client's connection stays open after it.
    pub keep_alive: bool,
}

/// Appends the head as it goes to the client. `bytes` are those that `head` was parsed from. Interim responses pass
/// with their fields; a 101 that was checked by [`crate::h1::check_switch`] passes with its `Upgrade`.
pub fn response(head: &ResponseHead, bytes: &[u8], rewrite: &ResponseRewrite<'_>, out: &mut Vec<u8>) -> Sent {
    out.reserve(usize::from(head.fields().end) + 256);
    let sent = framing(head, rewrite);
    let mut copier = Copier::new(bytes, out);
    status_line(head, &mut copier);
    let mut gone = hop::HOP_BY_HOP;
    if rewrite.accepts_trailers && sent.body == Body::Chunked {
        gone &= !Known::Trailer.bit();
    }
    if head.body() == Body::Chunked && rewrite.client == Version::Http10 {
        gone |= Known::Trailer.bit();
    }
    let edited = !rewrite.changes.is_empty() || !rewrite.extra.is_empty();
    for (index, field) in head.fields().iter().enumerate() {
        if field.hop || gone & field.known.bit() != 0 {
            continue;
        }
        if edited && is_replaced(field.known, field.name.of_bytes(bytes), rewrite.changes, rewrite.extra) {
            continue;
        }
        copier.keep(head.fields().line(index, field));
    }
    match head.status() {
        101 => switching_lines(head, &mut copier),
        100..=199 => {}
        _ => connection_lines(head, rewrite, sent, &mut copier),
    }
    write_added(&mut copier, rewrite.changes, rewrite.extra);
    copier.write(b"\r\n");
    sent
}

/// R30, R32, R34.
fn framing(head: &ResponseHead, rewrite: &ResponseRewrite<'_>) -> Sent {
    let body = match (head.body(), rewrite.client) {
        (Body::Chunked | Body::UntilClose, Version::Http10) => Body::UntilClose,
        (Body::Chunked | Body::UntilClose, Version::Http11) => Body::Chunked,
        (body, _) => body,
    };
    Sent { body, keep_alive: rewrite.keep_alive && body != Body::UntilClose }
}

fn status_line(head: &ResponseHead, copier: &mut Copier<'_>) {
    if head.plain_line {
        return copier.keep(0..head.reason.end() + b"\r\n".len());
    }
    let bytes = copier.bytes;
    copier.write(b"HTTP/1.1 ");
    decimal(head.status().into(), copier.out);
    copier.write(b" ");
    copier.write(match head.reason.of_bytes(bytes) {
        [] => status::phrase(head.status()).as_bytes(),
        reason => reason,
    });
    copier.write(b"\r\n");
}

fn switching_lines(head: &ResponseHead, copier: &mut Copier<'_>) {
    let bytes = copier.bytes;
    for protocol in head.fields().values("upgrade", bytes) {
        copier.line(b"upgrade", protocol);
    }
    copier.write(b"connection: upgrade\r\n");
}

fn connection_lines(head: &ResponseHead, rewrite: &ResponseRewrite<'_>, sent: Sent, copier: &mut Copier<'_>) {
    if sent.body == Body::Chunked {
        copier.write(b"transfer-encoding: chunked\r\n");
    }
    // A proxy that leaves 426 without its list of protocols would hide what the server asks for (RFC 9110, 15.5.22).
    if head.status() == 426 {
        let bytes = copier.bytes;
        for protocol in head.fields().values("upgrade", bytes) {
            copier.line(b"upgrade", protocol);
        }
    }
    match (sent.keep_alive, rewrite.client) {
        (true, Version::Http11) => {}
        (true, Version::Http10) => copier.write(b"connection: keep-alive\r\n"),
        (false, _) => copier.write(b"connection: close\r\n"),
    }
}
