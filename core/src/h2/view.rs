//! HTTP/2 heads as decisions and access logs see them.

use http::HeaderMap;
use http::request::Parts;

use crate::exchange::RequestView;
use crate::telemetry::ResponseView;

/// An HTTP/2 request as decisions see it: its head, and a normalised path where it differs from the one sent.
#[derive(Clone, Copy, Debug)]
pub struct PartsRef<'a> {
    parts: &'a Parts,
    matched_path: Option<&'a [u8]>,
    scheme: &'a str,
    principal: &'a str,
}

impl<'a> PartsRef<'a> {
    /// `scheme` is the connection's (`http` or `https`): what the client says of it is not its to choose, as for HTTP/1.
    pub fn new(parts: &'a Parts, scheme: &'a str) -> PartsRef<'a> {
        PartsRef { parts, matched_path: None, scheme, principal: "" }
    }

    /// The same with the path and query that rules match, normalised by [`crate::h1::normalize`].
    pub fn with_path(self, matched_path: Option<&'a [u8]>) -> PartsRef<'a> {
        PartsRef { matched_path, ..self }
    }

    /// The same of a client that has proved this SPIFFE id.
    pub fn of(self, principal: &'a str) -> PartsRef<'a> {
        PartsRef { principal, ..self }
    }

    /// Path and query exactly as sent, for logs; `/` for a CONNECT without one.
    pub fn sent_path(&self) -> &'a [u8] {
        self.parts.uri.path_and_query().map_or(b"/", |path| path.as_str().as_bytes())
    }

    /// `:authority`, else Host (RFC 9113, 8.3.1).
    pub fn asked_authority(&self) -> &'a [u8] {
        match self.parts.uri.authority() {
            Some(authority) => authority.as_str().as_bytes(),
            None => self.parts.headers.get(http::header::HOST).map_or(b"", |host| host.as_bytes()),
        }
    }
}

impl RequestView for PartsRef<'_> {
    fn method(&self) -> &[u8] {
        self.parts.method.as_str().as_bytes()
    }

    fn principal(&self) -> &str {
        self.principal
    }

    fn path_and_query(&self) -> &[u8] {
        self.matched_path.unwrap_or_else(|| self.sent_path())
    }

    fn authority(&self) -> &[u8] {
        self.asked_authority()
    }

    fn scheme(&self) -> &[u8] {
        self.scheme.as_bytes()
    }

    fn header(&self, name: &str) -> Option<&[u8]> {
        self.parts.headers.get(name).map(|value| value.as_bytes())
    }

    fn header_all<'b>(&'b self, name: &'b str) -> impl Iterator<Item = &'b [u8]> {
        self.parts.headers.get_all(name).iter().map(|value| value.as_bytes())
    }
}

impl ResponseView for HeaderMap {
    fn header(&self, name: &str) -> Option<&[u8]> {
        self.get(name).map(|value| value.as_bytes())
    }
}
