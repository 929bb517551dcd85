//! A response head: parsed in place, checked once, kept as offsets.

use std::mem::MaybeUninit;

use super::field::{Fields, Known, Span};
use super::hop::{self, Options};
use super::rule::{Reject, Rule};
use super::scan::Scan;
use super::{Body, Progress, Version, explain, framing};
use crate::limits::{FIELDS_MAX, LINE_BYTES_MAX};

/// A response head. Valid once [`ResponseHead::parse`] has returned [`Progress::Complete`]; holds offsets into the
/// bytes that were parsed, never the bytes.
#[derive(Clone, Debug, Default)]
pub struct ResponseHead {
    scan: Scan,
    fields: Fields,
    status: u16,
    version: Version,
    body: Body,
    options: Options,
    /// The status line may be sent on as it is.
    pub(super) plain_line: bool,
    pub(super) reason: Span,
}

impl ResponseHead {
    /// An empty head, to be filled by [`ResponseHead::parse`]; reuse it for all responses of a connection.
    pub fn new() -> ResponseHead {
        ResponseHead::default()
    }

    /// Parses on, as [`super::RequestHead::parse`] does. `to_head`: the request's method was HEAD (R30). Interim
    /// responses are heads of their own: parse again for the next.
    ///
    /// # Errors
    /// A [`Reject`] with [`crate::fault::Reason::UpstreamProtocol`]; the upstream connection must be closed.
    pub fn parse(&mut self, bytes: &[u8], to_head: bool) -> Result<Progress, Reject> {
        if self.scan.is_new() {
            // Most heads arrive whole, as for requests.
            if let Some(end) = self.parse_at_once(bytes) {
                return self.check(bytes, end?, to_head);
            }
        }
        let Some(end) = self.scan.advance(bytes).map_err(Reject::by_upstream)? else {
            return Ok(Progress::Incomplete);
        };
        if std::mem::take(&mut self.scan).start() > 0 {
            return Err(Reject::response(Rule::R2, "empty line before a response"));
        }
        let bytes = bytes.get(..end).unwrap_or_default();
        match self.split(bytes) {
            Some(split) => split?,
            None => return Err(explain::response(bytes)),
        };
        self.check(bytes, end, to_head)
    }

    /// Splits a head that is there as a whole and has nothing unusual about its lines; none leaves it to the scan.
    fn parse_at_once(&mut self, bytes: &[u8]) -> Option<Result<usize, Reject>> {
        let window = bytes.get(..bytes.len().min(LINE_BYTES_MAX)).unwrap_or_default();
        let split = window.starts_with(b"HTTP").then(|| self.split(window)).flatten()?;
        self.fields.lines_end_in_crlf(window).then_some(split)
    }

    /// Has the parser split a head into slots; none where it is incomplete or malformed.
    fn split(&mut self, bytes: &[u8]) -> Option<Result<usize, Reject>> {
        let mut storage = [const { MaybeUninit::uninit() }; FIELDS_MAX];
        let mut parsed = httparse::Response::new(&mut []);
        let config = httparse::ParserConfig::default();
        let end = match config.parse_response_with_uninit_headers(&mut parsed, bytes, &mut storage) {
            Ok(httparse::Status::Complete(end)) => end,
            Ok(httparse::Status::Partial) | Err(_) => return None,
        };
        self.status = parsed.code?;
        self.version = if parsed.version? == 0 { Version::Http10 } else { Version::Http11 };
        self.fields.end = Span::new(end.checked_sub(2)?, end).start() as u16;
        self.take_reason(parsed.reason.unwrap_or_default().as_bytes(), bytes);
        Some(self.fields.fill(parsed.headers, bytes).map(|()| end).map_err(Reject::by_upstream))
    }

    /// Everything that a head must fulfil beyond the grammar of its lines.
    fn check(&mut self, bytes: &[u8], end: usize, to_head: bool) -> Result<Progress, Reject> {
        if !(100..=599).contains(&self.status) {
            return Err(Reject::response(Rule::R33, "status out of range"));
        }
        self.take_fields(bytes, to_head)?;
        Ok(Progress::Complete(end))
    }

    /// The parser hands out an empty reason where it holds bytes outside ASCII (R33).
    fn take_reason(&mut self, reason: &[u8], bytes: &[u8]) {
        const PREFIX: usize = b"HTTP/1.1 200 ".len();
        self.reason = Span::of(reason, bytes, 0);
        let intact = self.reason.start() == PREFIX && bytes.get(self.reason.end()) == Some(&b'\r');
        self.plain_line = self.version == Version::Http11 && intact;
    }

    fn take_fields(&mut self, bytes: &[u8], to_head: bool) -> Result<(), Reject> {
        let present = self.fields.iter().fold(0, |seen, field| seen | field.known.bit());
        self.body = framing::response(&mut self.fields, bytes, self.version, self.status, to_head)?;
        self.options = match present & Known::Connection.bit() {
            0 => Options::default(),
            _ => hop::connection(&mut self.fields, bytes).map_err(Reject::by_upstream)?,
        };
        Ok(())
    }

    /// The fields in the order sent.
    pub fn fields(&self) -> &Fields {
        &self.fields
    }

    /// Status, 100 to 599.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// A 1xx other than 101: another head follows.
    pub fn is_interim(&self) -> bool {
        self.status < 200 && self.status != 101
    }

    /// HTTP version of the status line.
    pub fn version(&self) -> Version {
        self.version
    }

    /// How long the body is.
    pub fn body(&self) -> Body {
        self.body
    }

    /// The upstream connection may serve another request after this body (RFC 9112, 9.3; R32).
    pub fn keep_alive(&self) -> bool {
        let persistent = match self.version {
            Version::Http11 => !self.options.close,
            Version::Http10 => self.options.keep_alive && !self.options.close,
        };
        persistent && self.body != Body::UntilClose && self.status != 101
    }

    pub(super) fn options(&self) -> Options {
        self.options
    }

    /// The first value of a header; `name` is in lower case.
    pub fn header<'a>(&self, name: &str, bytes: &'a [u8]) -> Option<&'a [u8]> {
        self.fields.value(name, bytes)
    }

    /// The `grpc-status` of a response that consists of a head only.
    pub fn grpc_status(&self, bytes: &[u8]) -> Option<u8> {
        match self.header("grpc-status", bytes)? {
            [digit @ b'0'..=b'9'] => Some(digit - b'0'),
            [b'1', digit @ b'0'..=b'6'] => Some(10 + digit - b'0'),
            _ => None,
        }
    }
}

/// A response head with its bytes.
#[derive(Clone, Copy, Debug)]
pub struct ResponseRef<'a> {
    /// The head.
    pub head: &'a ResponseHead,
    /// The bytes it was parsed from.
    pub bytes: &'a [u8],
}
