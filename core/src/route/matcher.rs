//! Conditions on a request, compiled from [`model::HttpMatch`].
//!
//! Regular expressions are RE2's dialect as far as the `regex` crate shares it (linear time in both), match the whole
//! string as Envoy's do, and are compiled without Unicode classes where the expression allows it, as RE2's `\d` and `\w` are
//! ASCII and the tables for the others are large.

use std::fmt;

use regex::bytes::{Regex, RegexBuilder};
use smallvec::SmallVec;

use crate::config::model;
use crate::exchange::RequestView;
use crate::limits::{REGEX_CACHE_BYTES_MAX, REGEX_PROGRAM_BYTES_MAX};

/// A request as conditions see it.
pub struct Subject<'a, R> {
    /// The request.
    pub request: &'a R,
    /// The path to match on, without query.
    pub path: &'a [u8],
    /// The port that the request came for.
    pub port: u16,
}

/// A condition on a string.
#[derive(Clone)]
pub enum StringMatcher {
    /// Equal.
    Exact(Box<[u8]>),
    /// Starts with.
    Prefix(Box<[u8]>),
    /// The whole string matches.
    Regex(Regex),
    /// A path prefix that ends at a segment's border; kept without a slash at its end.
    Segments(Box<[u8]>),
}

impl StringMatcher {
    /// Compiles a condition.
    ///
    /// # Errors
    /// The text for the operator, where a regular expression is not one or is too large.
    pub fn compile(from: &model::StringMatch) -> Result<StringMatcher, String> {
        Ok(match from {
            model::StringMatch::Exact(text) => StringMatcher::Exact(text.as_bytes().into()),
            model::StringMatch::Prefix(text) => StringMatcher::Prefix(text.as_bytes().into()),
            model::StringMatch::Regex(text) => StringMatcher::Regex(whole_regex(text)?),
            model::StringMatch::PathPrefix(text) => {
                StringMatcher::Segments(without_slash(text.as_bytes()).into())
            }
        })
    }

    /// The condition holds; letters' case is ignored where `ignore_case` says so (regular expressions have their own way).
    pub fn matches(&self, value: &[u8], ignore_case: bool) -> bool {
        match self {
            StringMatcher::Exact(text) => same(value, text, ignore_case),
            StringMatcher::Prefix(text) => {
                value.get(..text.len()).is_some_and(|start| same(start, text, ignore_case))
            }
            StringMatcher::Regex(regex) => regex.is_match(value),
            StringMatcher::Segments(text) => {
                value.get(..text.len()).is_some_and(|start| same(start, text, ignore_case))
                    && matches!(value.get(text.len()), None | Some(b'/'))
            }
        }
    }
}

impl fmt::Debug for StringMatcher {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, out)
    }
}

impl fmt::Display for StringMatcher {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StringMatcher::Exact(text) => write!(out, "exact {:?}", String::from_utf8_lossy(text)),
            StringMatcher::Prefix(text) => write!(out, "prefix {:?}", String::from_utf8_lossy(text)),
            StringMatcher::Regex(regex) => write!(out, "regex {:?}", inner(regex.as_str())),
            StringMatcher::Segments(text) => write!(out, "path prefix {:?}", String::from_utf8_lossy(text)),
        }
    }
}

/// A path prefix without the slash at its end; `/` becomes empty, which every path starts with.
pub(crate) fn without_slash(prefix: &[u8]) -> &[u8] {
    prefix.strip_suffix(b"/").unwrap_or(prefix)
}

fn same(a: &[u8], b: &[u8], ignore_case: bool) -> bool {
    if ignore_case { a.eq_ignore_ascii_case(b) } else { a == b }
}

fn inner(anchored: &str) -> &str {
    anchored.strip_prefix(r"\A(?:").and_then(|rest| rest.strip_suffix(r")\z")).unwrap_or(anchored)
}

/// Compiles an expression that must match a whole string.
///
/// # Errors
/// The text for the operator.
pub fn whole_regex(text: &str) -> Result<Regex, String> {
    any_regex(text)?;
    any_regex(&format!(r"\A(?:{text})\z"))
}

/// Compiles an expression that may match anywhere.
///
/// # Errors
/// The text for the operator.
pub fn any_regex(text: &str) -> Result<Regex, String> {
    let build = |unicode: bool| {
        RegexBuilder::new(text)
            .unicode(unicode)
            .size_limit(REGEX_PROGRAM_BYTES_MAX)
            .dfa_size_limit(REGEX_CACHE_BYTES_MAX)
            .build()
    };
    build(!text.is_ascii()).or_else(|_| build(true)).map_err(|error| match error {
        regex::Error::CompiledTooBig(limit) => {
            format!("regular expression {:?} needs more than {limit} bytes when compiled", inner(text))
        }
        other => format!("invalid regular expression: {}", other.to_string().replace('\n', " ")),
    })
}

/// A condition on a header or query parameter of a name.
#[derive(Clone, Debug)]
pub(crate) struct NamedMatcher {
    name: Box<str>,
    /// None: presence is enough.
    value: Option<StringMatcher>,
}

impl NamedMatcher {
    fn compile_all(
        from: &std::collections::BTreeMap<String, Option<model::StringMatch>>,
        field: &str,
    ) -> Result<Box<[NamedMatcher]>, String> {
        from.iter()
            .map(|(name, value)| {
                let value = value.as_ref().map(StringMatcher::compile).transpose();
                let value = value.map_err(|reason| format!("{field}.{name}: {reason}"))?;
                Ok(NamedMatcher { name: name.as_str().into(), value })
            })
            .collect()
    }

    fn header_matches<R: RequestView>(&self, request: &R) -> bool {
        let Some(first) = request.header(&self.name) else { return false };
        let Some(matcher) = &self.value else { return true };
        let mut values = request.header_all(&self.name);
        values.next();
        let Some(second) = values.next() else { return matcher.matches(first, false) };
        // Several lines are one comma-separated value (RFC 9110 section 5.3).
        let mut joined = SmallVec::<[u8; 512]>::from_slice(first);
        for value in std::iter::once(second).chain(values) {
            joined.push(b',');
            joined.extend_from_slice(value);
        }
        matcher.matches(&joined, false)
    }

    fn query_matches(&self, query: &[u8]) -> bool {
        let found = query.split(|byte| *byte == b'&').find_map(|pair| {
            let at = memchr::memchr(b'=', pair).unwrap_or(pair.len());
            (pair.get(..at)? == self.name.as_bytes()).then(|| pair.get(at + 1..).unwrap_or_default())
        });
        match (found, &self.value) {
            (None, _) => false,
            (Some(_), None) => true,
            (Some(value), Some(matcher)) => matcher.matches(value, false),
        }
    }
}

impl fmt::Display for NamedMatcher {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.value {
            None => write!(out, "{} present", self.name),
            Some(value) => write!(out, "{} {value}", self.name),
        }
    }
}

/// One alternative of a rule's condition; all parts present must hold.
#[derive(Clone, Debug, Default)]
pub struct Matcher {
    pub(crate) uri: Option<StringMatcher>,
    pub(crate) ignore_uri_case: bool,
    pub(crate) rest: Option<Box<Rest>>,
}

/// The parts other than the path's.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rest {
    scheme: Option<StringMatcher>,
    method: Option<StringMatcher>,
    authority: Option<StringMatcher>,
    headers: Box<[NamedMatcher]>,
    without_headers: Box<[NamedMatcher]>,
    query_params: Box<[NamedMatcher]>,
    port: Option<u16>,
}

impl Matcher {
    /// Compiles one alternative.
    ///
    /// # Errors
    /// The text for the operator, with the field's name.
    pub fn compile(from: &model::HttpMatch) -> Result<Matcher, String> {
        let string = |value: &Option<model::StringMatch>, field: &str| {
            value.as_ref().map(StringMatcher::compile).transpose().map_err(|why| format!("{field}: {why}"))
        };
        let rest = Rest {
            scheme: string(&from.scheme, "scheme")?,
            method: string(&from.method, "method")?,
            authority: string(&from.authority, "authority")?,
            headers: NamedMatcher::compile_all(&from.headers, "headers")?,
            without_headers: NamedMatcher::compile_all(&from.without_headers, "withoutHeaders")?,
            query_params: NamedMatcher::compile_all(&from.query_params, "queryParams")?,
            port: from.port,
        };
        let uri = string(&from.uri, "uri")?;
        Ok(Matcher {
            uri,
            ignore_uri_case: from.ignore_uri_case,
            rest: (!rest.is_empty()).then(|| Box::new(rest)),
        })
    }

    /// The whole condition holds.
    pub fn matches<R: RequestView>(&self, subject: &Subject<'_, R>) -> bool {
        self.uri_matches(subject.path) && self.rest_matches(subject)
    }

    /// The condition on the path holds.
    pub(crate) fn uri_matches(&self, path: &[u8]) -> bool {
        self.uri.as_ref().is_none_or(|uri| uri.matches(path, self.ignore_uri_case))
    }

    /// The other conditions hold.
    pub(crate) fn rest_matches<R: RequestView>(&self, subject: &Subject<'_, R>) -> bool {
        self.rest.as_ref().is_none_or(|rest| rest.first_failure(subject).is_none())
    }

    /// Why the condition does not hold: its first part that fails, none where it holds.
    pub fn why_not<R: RequestView>(&self, subject: &Subject<'_, R>) -> Option<String> {
        if !self.uri_matches(subject.path) {
            let case = if self.ignore_uri_case { " (case ignored)" } else { "" };
            let uri = self.uri.as_ref().map(ToString::to_string).unwrap_or_default();
            return Some(format!("path {:?} is not {uri}{case}", String::from_utf8_lossy(subject.path)));
        }
        let rest = self.rest.as_ref()?;
        Some(rest.explain(&rest.first_failure(subject)?, subject))
    }
}

/// The first part of a condition that does not hold.
pub(crate) enum Failure<'a> {
    Port(u16),
    Method(&'a StringMatcher),
    Scheme(&'a StringMatcher),
    Authority(&'a StringMatcher),
    Header(&'a NamedMatcher),
    WithoutHeader(&'a NamedMatcher),
    QueryParam(&'a NamedMatcher),
}

impl Rest {
    fn is_empty(&self) -> bool {
        self.scheme.is_none()
            && self.method.is_none()
            && self.authority.is_none()
            && self.headers.is_empty()
            && self.without_headers.is_empty()
            && self.query_params.is_empty()
            && self.port.is_none()
    }

    fn first_failure<R: RequestView>(&self, subject: &Subject<'_, R>) -> Option<Failure<'_>> {
        let request = subject.request;
        let fails = |matcher: &StringMatcher, value: &[u8]| !matcher.matches(value, false);
        if let Some(port) = self.port.filter(|port| *port != subject.port) {
            return Some(Failure::Port(port));
        }
        if let Some(it) = self.method.as_ref().filter(|it| fails(it, request.method())) {
            return Some(Failure::Method(it));
        }
        if let Some(it) = self.scheme.as_ref().filter(|it| fails(it, request.scheme())) {
            return Some(Failure::Scheme(it));
        }
        if let Some(it) = self.authority.as_ref().filter(|it| fails(it, request.authority())) {
            return Some(Failure::Authority(it));
        }
        if let Some(it) = self.headers.iter().find(|it| !it.header_matches(request)) {
            return Some(Failure::Header(it));
        }
        if let Some(it) = self.without_headers.iter().find(|it| it.header_matches(request)) {
            return Some(Failure::WithoutHeader(it));
        }
        if self.query_params.is_empty() {
            return None;
        }
        let query = query(request.path_and_query());
        self.query_params.iter().find(|it| !it.query_matches(query)).map(Failure::QueryParam)
    }

    fn explain<R: RequestView>(&self, failure: &Failure<'_>, subject: &Subject<'_, R>) -> String {
        let request = subject.request;
        let sent = |what: &str, value: &[u8], wanted: &dyn fmt::Display| {
            format!("{what} {:?} is not {wanted}", String::from_utf8_lossy(value))
        };
        match failure {
            Failure::Port(port) => format!("port {} is not {port}", subject.port),
            Failure::Method(it) => sent("method", request.method(), it),
            Failure::Scheme(it) => sent("scheme", request.scheme(), it),
            Failure::Authority(it) => sent("authority", request.authority(), it),
            Failure::Header(it) => match request.header(&it.name) {
                None => format!("header {} is absent, wanted: {it}", it.name),
                Some(value) => {
                    format!("header {} is {:?}, wanted: {it}", it.name, String::from_utf8_lossy(value))
                }
            },
            Failure::WithoutHeader(it) => format!("header {} is there, wanted: not {it}", it.name),
            Failure::QueryParam(it) => {
                format!("query parameter {} is not there or differs, wanted: {it}", it.name)
            }
        }
    }
}

/// The query of a target, without its question mark; empty without one.
pub(crate) fn query(path_and_query: &[u8]) -> &[u8] {
    match memchr::memchr(b'?', path_and_query) {
        Some(at) => path_and_query.get(at + 1..).unwrap_or_default(),
        None => &[],
    }
}
