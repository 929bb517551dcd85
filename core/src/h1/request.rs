//! A request head: parsed in place, checked once, kept as offsets so that it can wait across suspension points.

use std::mem::MaybeUninit;

use super::field::{Fields, Known, Span};
use super::hop::{self, Options};
use super::rule::{Reject, Rule};
use super::scan::Scan;
use super::target::{self, Form, PathPolicy};
use super::{Body, Progress, Version, expect, explain, framing};
use crate::exchange::RequestView;
use crate::fault::Reason;
use crate::limits::{FIELDS_MAX, LINE_BYTES_MAX, METHOD_BYTES_MAX};

/// What a port allows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PortRules {
    /// Clients use this port as their HTTP proxy: the authority of an absolute target replaces Host (RFC 9112, 3.2.2).
    /// Elsewhere both must be equal (R9).
    pub explicit_proxy: bool,
}

/// A request head. Valid once [`RequestHead::parse`] has returned [`Progress::Complete`]; holds offsets into the bytes
/// that were parsed, never the bytes.
#[derive(Clone, Debug, Default)]
pub struct RequestHead {
    scan: Scan,
    fields: Fields,
    method: Span,
    target: Span,
    path: Span,
    authority: Span,
    form: Form,
    version: Version,
    body: Body,
    options: Options,
    plain_path: bool,
    secure: bool,
    expects_continue: bool,
    accepts_trailers: bool,
    wants_upgrade: bool,
    pub(super) strip_proxy_authorization: bool,
}

impl RequestHead {
    /// An empty head, to be filled by [`RequestHead::parse`]; reuse it for all requests of a connection.
    pub fn new() -> RequestHead {
        RequestHead::default()
    }

    /// Parses on. `bytes` starts with the request and grows from call to call until the head is complete; what was
    /// searched is not searched again. The next call after a complete one starts with a new request.
    ///
    /// # Errors
    /// A [`Reject`] names the rule broken and what to answer; the connection must close after the answer.
    pub fn parse(&mut self, bytes: &[u8], port: PortRules) -> Result<Progress, Reject> {
        if self.scan.is_new() {
            // Most heads arrive whole: one pass of the parser then does what else needs a search for the end first.
            if let Some(end) = self.parse_at_once(bytes) {
                return self.check(bytes, end?, port);
            }
        }
        let Some(end) = self.scan.advance(bytes)? else { return Ok(Progress::Incomplete) };
        let start = std::mem::take(&mut self.scan).start();
        let bytes = bytes.get(..end).unwrap_or_default();
        match self.split(bytes, start) {
            Some(split) => split?,
            None => return Err(explain::request(bytes.get(start..).unwrap_or_default())),
        };
        self.check(bytes, end, port)
    }

    /// Splits a head that is there as a whole and has nothing unusual about its lines; none leaves it to the scan.
    fn parse_at_once(&mut self, bytes: &[u8]) -> Option<Result<usize, Reject>> {
        let start = if bytes.starts_with(b"\r\n") { 2 } else { 0 };
        let window = bytes.get(..bytes.len().min(LINE_BYTES_MAX)).unwrap_or_default();
        let end = match self.split(window, start)? {
            Ok(end) => end,
            Err(reject) => return self.fields.lines_end_in_crlf(window).then_some(Err(reject)),
        };
        let usual = self.method.start() == start && self.fields.lines_end_in_crlf(window);
        usual.then_some(Ok(end))
    }

    /// Has the parser split a head into slots; none where it is incomplete or malformed.
    fn split(&mut self, bytes: &[u8], start: usize) -> Option<Result<usize, Reject>> {
        let mut storage = [const { MaybeUninit::uninit() }; FIELDS_MAX];
        let mut parsed = httparse::Request::new(&mut []);
        let length = match parsed.parse_with_uninit_headers(bytes.get(start..)?, &mut storage) {
            Ok(httparse::Status::Complete(length)) => length,
            Ok(httparse::Status::Partial) | Err(_) => return None,
        };
        let end = start + length;
        self.version = if parsed.version? == 0 { Version::Http10 } else { Version::Http11 };
        self.method = Span::of(parsed.method?.as_bytes(), bytes, start);
        self.target = Span::of(parsed.path?.as_bytes(), bytes, start);
        self.fields.end = Span::new(end.checked_sub(2)?, end).start() as u16;
        Some(self.fields.fill(parsed.headers, bytes).map(|()| end))
    }

    /// Everything that a head must fulfil beyond the grammar of its lines.
    fn check(&mut self, bytes: &[u8], end: usize, port: PortRules) -> Result<Progress, Reject> {
        self.take_target(bytes)?;
        self.take_fields(bytes, port)?;
        Ok(Progress::Complete(end))
    }

    fn take_target(&mut self, bytes: &[u8]) -> Result<(), Reject> {
        let method = self.method.of_bytes(bytes);
        if method.len() > METHOD_BYTES_MAX {
            return Err(Reject::request(Rule::R7, "method too long"));
        }
        let parts = target::parse(method, self.target.of_bytes(bytes))?;
        match method {
            b"CONNECT" => return Err(Reject::with(Rule::R27, Reason::MethodNotAllowed, "CONNECT is off")),
            b"TRACE" => return Err(Reject::with(Rule::R36, Reason::MethodNotAllowed, "TRACE is off")),
            _ => {}
        }
        let within =
            |(start, end): (usize, usize)| Span::new(self.target.start() + start, self.target.start() + end);
        self.path = within(parts.path);
        self.authority = within(parts.authority);
        self.form = parts.form;
        self.secure = parts.secure;
        self.plain_path = parts.plain;
        Ok(())
    }

    /// Everything that follows from the fields: Host, framing, connection options, expectation.
    fn take_fields(&mut self, bytes: &[u8], port: PortRules) -> Result<(), Reject> {
        let mut present = 0;
        let mut host = None;
        for field in self.fields.iter() {
            if field.known == Known::Host && host.replace(field.value).is_some() {
                return Err(Reject::request(Rule::R9, "more than one Host"));
            }
            present |= field.known.bit();
        }
        let has = |known: Known| present & known.bit() != 0;
        self.take_host(host, bytes, port)?;
        self.body = match has(Known::ContentLength) || has(Known::TransferEncoding) {
            true => framing::request(&self.fields, bytes, self.version)?,
            false => Body::Empty,
        };
        self.options = match has(Known::Connection) {
            true => hop::connection(&mut self.fields, bytes)?,
            false => Options::default(),
        };
        self.expects_continue = false;
        self.accepts_trailers = false;
        self.wants_upgrade = false;
        self.strip_proxy_authorization = port.explicit_proxy;
        const RARE: u32 =
            Known::Expect.bit() | Known::Te.bit() | Known::Upgrade.bit() | Known::MaxForwards.bit();
        if present & RARE != 0 {
            self.take_rare_fields(bytes)?;
        }
        Ok(())
    }

    fn take_host(&mut self, host: Option<Span>, bytes: &[u8], port: PortRules) -> Result<(), Reject> {
        match host {
            Some(host) => {
                target::authority(host.of_bytes(bytes))?;
                if self.form != Form::Absolute {
                    self.authority = host;
                } else if !port.explicit_proxy
                    && !self.authority.of_bytes(bytes).eq_ignore_ascii_case(host.of_bytes(bytes))
                {
                    return Err(Reject::request(Rule::R9, "Host differs from the target's authority"));
                }
                Ok(())
            }
            None if self.version == Version::Http10 => Ok(()),
            None => Err(Reject::request(Rule::R9, "no Host")),
        }
    }

    fn take_rare_fields(&mut self, bytes: &[u8]) -> Result<(), Reject> {
        for field in self.fields.iter() {
            let value = field.value.of_bytes(bytes);
            match field.known {
                Known::Expect => self.expects_continue |= expect::expectation(value, self.version)?,
                Known::Te => self.accepts_trailers |= hop::accepts_trailers(value),
                Known::Upgrade => {
                    self.wants_upgrade |= self.options.upgrade
                        && self.version == Version::Http11
                        && self.body == Body::Empty
                        && hop::offered(value).next().is_some();
                }
                Known::MaxForwards if self.method.of_bytes(bytes) == b"OPTIONS" && value == b"0" => {
                    return Err(Reject::with(Rule::R36, Reason::MethodNotAllowed, "Max-Forwards used up"));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// The fields in the order sent.
    pub fn fields(&self) -> &Fields {
        &self.fields
    }

    /// HTTP version of the request line.
    pub fn version(&self) -> Version {
        self.version
    }

    /// How long the body is; never [`Body::UntilClose`].
    pub fn body(&self) -> Body {
        self.body
    }

    /// The form of the target.
    pub fn form(&self) -> Form {
        self.form
    }

    /// The client wants the connection kept: default of HTTP/1.1, on request in HTTP/1.0 (RFC 9112, 9.3).
    pub fn keep_alive(&self) -> bool {
        match self.version {
            Version::Http11 => !self.options.close,
            Version::Http10 => self.options.keep_alive && !self.options.close,
        }
    }

    /// The client waits for 100 (Continue) before it sends its body (R28).
    pub fn expects_continue(&self) -> bool {
        self.expects_continue
    }

    /// The client reads trailers (`TE: trailers`, R18).
    pub fn accepts_trailers(&self) -> bool {
        self.accepts_trailers
    }

    /// A proper request for an upgrade to something else than h2c: HTTP/1.1, `Connection: upgrade`, no body (R26).
    pub fn wants_upgrade(&self) -> bool {
        self.wants_upgrade
    }

    /// Method as sent.
    pub fn method(&self) -> Span {
        self.method
    }

    /// The whole target as sent.
    pub fn target(&self) -> Span {
        self.target
    }

    /// Path and query as sent; empty in absolute form without a path.
    pub fn path(&self) -> Span {
        self.path
    }

    /// The authority that governs: the absolute target's, else Host's; empty for HTTP/1.0 without either.
    pub fn authority(&self) -> Span {
        self.authority
    }

    /// The client's request id, if it sent one.
    pub fn request_id(&self) -> Option<Span> {
        self.fields.find(Known::XRequestId).filter(|field| !field.hop).map(|field| field.value)
    }

    /// The method is idempotent (RFC 9110, 9.2.2), so a try whose fate is unknown may be repeated (R40).
    pub fn is_idempotent(&self, bytes: &[u8]) -> bool {
        matches!(self.method.of_bytes(bytes), b"GET" | b"HEAD" | b"OPTIONS" | b"TRACE" | b"PUT" | b"DELETE")
    }

    /// The normal form of path and query, for matching (R8); `None` where it is what was sent (nearly always, and
    /// then at no cost). `scratch` is cleared and receives it.
    ///
    /// # Errors
    /// R8 where `policy` refuses an escaped slash.
    pub fn normalized_path<'a>(
        &self,
        bytes: &[u8],
        policy: PathPolicy,
        scratch: &'a mut Vec<u8>,
    ) -> Result<Option<&'a [u8]>, Reject> {
        if self.plain_path && !policy.merge_slashes {
            return Ok(None);
        }
        let sent = self.path.of_bytes(bytes);
        scratch.clear();
        target::normalize(sent, policy, scratch)?;
        Ok((scratch.as_slice() != sent).then_some(scratch.as_slice()))
    }
}

/// A request as decisions see it: a head with its bytes, and a normalised path where it differs from the one sent.
#[derive(Clone, Copy, Debug)]
pub struct RequestRef<'a> {
    head: &'a RequestHead,
    bytes: &'a [u8],
    matched_path: Option<&'a [u8]>,
    scheme: &'a str,
    principal: &'a str,
}

impl<'a> RequestRef<'a> {
    /// `bytes` are those that `head` was parsed from; `scheme` is the connection's (`http` or `https`).
    pub fn new(head: &'a RequestHead, bytes: &'a [u8], scheme: &'a str) -> RequestRef<'a> {
        RequestRef { head, bytes, matched_path: None, scheme, principal: "" }
    }

    /// The same with the path that rules match, from [`RequestHead::normalized_path`].
    pub fn with_path(self, matched_path: Option<&'a [u8]>) -> RequestRef<'a> {
        RequestRef { matched_path, ..self }
    }

    /// The same of a client that has proved this SPIFFE id.
    pub fn of(self, principal: &'a str) -> RequestRef<'a> {
        RequestRef { principal, ..self }
    }

    /// The head.
    pub fn head(&self) -> &'a RequestHead {
        self.head
    }

    /// Path and query exactly as sent, for logs.
    pub fn sent_path(&self) -> &'a [u8] {
        match self.head.path.of_bytes(self.bytes) {
            [] if self.head.form == Form::Absolute => b"/",
            path => path,
        }
    }
}

impl RequestView for RequestRef<'_> {
    fn method(&self) -> &[u8] {
        self.head.method.of_bytes(self.bytes)
    }

    fn path_and_query(&self) -> &[u8] {
        self.matched_path.unwrap_or_else(|| self.sent_path())
    }

    fn authority(&self) -> &[u8] {
        self.head.authority.of_bytes(self.bytes)
    }

    fn scheme(&self) -> &[u8] {
        match self.head.form {
            Form::Absolute if self.head.secure => b"https",
            Form::Absolute => b"http",
            _ => self.scheme.as_bytes(),
        }
    }

    fn principal(&self) -> &str {
        self.principal
    }

    fn header(&self, name: &str) -> Option<&[u8]> {
        self.head.fields.value(name, self.bytes)
    }

    fn header_all<'b>(&'b self, name: &'b str) -> impl Iterator<Item = &'b [u8]> {
        self.head.fields.values(name, self.bytes)
    }
}
