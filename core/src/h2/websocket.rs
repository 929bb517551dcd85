//! A WebSocket that a client of HTTP/1 asks for, over HTTP/2 (RFC 8441, 5): an extended CONNECT up, a switch back.

use http::header::{SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY};
use http::{Method, Request, response};

use super::request::write;
use crate::h1::{RequestHead, phrase};

/// The protocol's name, in `upgrade` as in `:protocol`.
pub const WEBSOCKET: &str = "websocket";

/// The key by which the head asks for a WebSocket and nothing else; none where it asks for something else.
pub fn websocket_key<'a>(head: &RequestHead, bytes: &'a [u8]) -> Option<&'a [u8]> {
    let mut asked = head.fields().values("upgrade", bytes);
    let only = asked.next().is_some_and(|it| it.trim_ascii().eq_ignore_ascii_case(WEBSOCKET.as_bytes()));
    let is_asked = head.wants_upgrade() && only && asked.next().is_none();
    is_asked.then(|| head.fields().value("sec-websocket-key", bytes)).flatten()
}

/// Makes the request an extended CONNECT, but for its `:protocol`. The key has no use there: what it proves, that the other end
/// has understood, HTTP/2 says by itself.
pub fn websocket_connect(request: &mut Request<()>) {
    *request.method_mut() = Method::CONNECT;
    request.headers_mut().remove(SEC_WEBSOCKET_KEY);
}

/// Appends the head that tells a client of HTTP/1 that its WebSocket stands; `accept` proves it.
pub fn websocket_switch(parts: &response::Parts, accept: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(b"HTTP/1.1 101 ");
    out.extend_from_slice(phrase(101).as_bytes());
    out.extend_from_slice(b"\r\n");
    for (name, value) in [("connection", "upgrade"), ("upgrade", WEBSOCKET)] {
        write(out, name.as_bytes(), value.as_bytes());
    }
    write(out, SEC_WEBSOCKET_ACCEPT.as_str().as_bytes(), accept);
    for (name, value) in &parts.headers {
        if goes_on(name.as_str()) {
            write(out, name.as_str().as_bytes(), value.as_bytes());
        }
    }
    out.extend_from_slice(b"\r\n");
}

/// It is no field of the connection, none of a body, and not the proof that is written here.
fn goes_on(name: &str) -> bool {
    let ends_here =
        ["connection", "upgrade", "keep-alive", "proxy-connection", "transfer-encoding", "content-length"];
    !ends_here.contains(&name) && name != SEC_WEBSOCKET_ACCEPT.as_str()
}
