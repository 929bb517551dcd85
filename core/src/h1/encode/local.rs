//! Responses made here.

use super::{Extra, decimal, line};
use crate::h1::{Version, status};

/// A response made here, with its whole body.
#[derive(Clone, Copy, Debug)]
pub struct LocalResponse<'a> {
    /// HTTP status, 200 to 599.
    pub status: u16,
    /// `content-type` of the body, where there is one; empty: said among the fields, or not at all.
    pub content_type: &'a str,
    /// The body; dropped for 204 and 304, counted but not sent for HEAD (R30).
    pub body: &'a [u8],
    /// Further fields (`location`, `retry-after`, `x-dromon-reason`): lower-case name, value without control bytes.
    pub fields: Extra<'a>,
    /// The request's version, [`Version::Http11`] where none could be read.
    pub client: Version,
    /// The connection stays open.
    pub keep_alive: bool,
    /// The request's method was HEAD.
    pub to_head: bool,
}

/// Appends the whole response.
pub fn local_response(response: &LocalResponse<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(b"HTTP/1.1 ");
    decimal(response.status.into(), out);
    out.push(b' ');
    out.extend_from_slice(status::phrase(response.status).as_bytes());
    out.extend_from_slice(b"\r\n");
    let bodiless = matches!(response.status, 204 | 304);
    if !bodiless {
        out.extend_from_slice(b"content-length: ");
        decimal(response.body.len() as u64, out);
        out.extend_from_slice(b"\r\n");
        if !response.body.is_empty() && !response.content_type.is_empty() {
            line(out, b"content-type", response.content_type.as_bytes());
        }
    }
    for (name, value) in response.fields {
        line(out, name.as_bytes(), value);
    }
    match (response.keep_alive, response.client) {
        (true, Version::Http11) => {}
        (true, Version::Http10) => out.extend_from_slice(b"connection: keep-alive\r\n"),
        (false, _) => out.extend_from_slice(b"connection: close\r\n"),
    }
    out.extend_from_slice(b"\r\n");
    if !bodiless && !response.to_head {
        out.extend_from_slice(response.body);
    }
}
