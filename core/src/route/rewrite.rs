//! What is sent upstream instead of the client's path and authority, and where a redirect points.

use http::HeaderValue;
use regex::bytes::Regex;

use crate::config::model::{self, RedirectPort};
use crate::route::matcher::any_regex;
use crate::route::rank::Matched;

/// Changes to the path and authority sent upstream, compiled.
#[derive(Debug)]
pub struct Rewrite {
    /// Replaces the authority.
    pub authority: Option<HeaderValue>,
    uri: Option<Box<[u8]>>,
    regex: Option<Substitution>,
}

/// A regular expression and what replaces each of its matches.
#[derive(Debug)]
struct Substitution {
    regex: Regex,
    parts: Vec<Part>,
}

#[derive(Debug)]
enum Part {
    Text(Vec<u8>),
    Group(usize),
}

impl Rewrite {
    /// Compiles a rewrite.
    ///
    /// # Errors
    /// The text for the operator, with the field's name.
    pub fn compile(from: &model::Rewrite) -> Result<Rewrite, String> {
        let authority = from.authority.as_deref().map(HeaderValue::from_str).transpose();
        let authority = authority.map_err(|_| "rewrite.authority: not a header value".to_owned())?;
        if let Some(uri) = from.uri.as_deref().filter(|uri| !is_target(uri)) {
            return Err(format!("rewrite.uri: {uri:?} has a byte that may not stand in a path"));
        }
        let regex =
            from.uri_regex.as_ref().map(|(regex, with)| Substitution::compile(regex, with)).transpose();
        let regex = regex.map_err(|why| format!("rewrite.uriRegexRewrite: {why}"))?;
        Ok(Rewrite { authority, uri: from.uri.as_ref().map(|uri| uri.as_bytes().into()), regex })
    }

    /// Appends the path and query to send upstream to `out`. `path_and_query` is the client's, `matched` what the rule's
    /// condition took of its path. False: the path stays as it is, nothing was appended.
    pub fn path(&self, path_and_query: &[u8], matched: Matched, out: &mut Vec<u8>) -> bool {
        let at = memchr::memchr(b'?', path_and_query).unwrap_or(path_and_query.len());
        let (path, query) = path_and_query.split_at(at);
        let start = out.len();
        if let Some(substitution) = &self.regex {
            substitution.replace(path, out);
        } else if let Some(uri) = &self.uri {
            replace(path, uri, matched, out);
        } else {
            return false;
        }
        // What goes upstream must be a path (RFC 9112 section 3.2.1).
        if out.get(start) != Some(&b'/') {
            out.insert(start, b'/');
        }
        out.extend_from_slice(query);
        true
    }
}

/// Envoy's `prefix_rewrite`: what was matched is replaced, be it a prefix or the whole path. Gateway API's
/// `ReplacePrefixMatch`: slashes at the seam are neither doubled nor lost.
fn replace(path: &[u8], with: &[u8], matched: Matched, out: &mut Vec<u8>) {
    match matched {
        Matched::Whole => out.extend_from_slice(with),
        Matched::Prefix(bytes) => {
            out.extend_from_slice(with);
            out.extend_from_slice(path.get(bytes..).unwrap_or_default());
        }
        Matched::Segments(bytes) => {
            let rest = path.get(bytes..).unwrap_or_default();
            let with = if rest.starts_with(b"/") { with.strip_suffix(b"/").unwrap_or(with) } else { with };
            out.extend_from_slice(with);
            out.extend_from_slice(rest);
        }
    }
}

impl Substitution {
    fn compile(regex: &str, with: &str) -> Result<Substitution, String> {
        let regex = any_regex(regex)?;
        let mut parts = Vec::new();
        let mut text = Vec::new();
        let mut bytes = with.bytes();
        while let Some(byte) = bytes.next() {
            if byte != b'\\' {
                text.push(byte);
                continue;
            }
            match bytes.next() {
                Some(b'\\') => text.push(b'\\'),
                Some(digit @ b'0'..=b'9') => {
                    let group = usize::from(digit - b'0');
                    if group >= regex.captures_len() {
                        return Err(format!("\\{group} names a group that the expression does not have"));
                    }
                    parts.push(Part::Text(std::mem::take(&mut text)));
                    parts.push(Part::Group(group));
                }
                _ => return Err("a backslash is followed by neither a digit nor a backslash".to_owned()),
            }
        }
        parts.push(Part::Text(text));
        if parts.iter().any(|part| matches!(part, Part::Text(text) if !text.iter().all(is_target_byte))) {
            return Err(format!("{with:?} has a byte that may not stand in a path"));
        }
        Ok(Substitution { regex, parts })
    }

    fn replace(&self, path: &[u8], out: &mut Vec<u8>) {
        let mut copied = 0;
        for captures in self.regex.captures_iter(path) {
            let Some(whole) = captures.get(0) else { continue };
            out.extend_from_slice(path.get(copied..whole.start()).unwrap_or_default());
            for part in &self.parts {
                match part {
                    Part::Text(text) => out.extend_from_slice(text),
                    Part::Group(group) => {
                        out.extend_from_slice(captures.get(*group).map_or(&[], |it| it.as_bytes()));
                    }
                }
            }
            copied = whole.end();
        }
        out.extend_from_slice(path.get(copied..).unwrap_or_default());
    }
}

/// Bytes that may stand in a request target: visible ASCII and, as clients send them, bytes above it.
fn is_target_byte(byte: &u8) -> bool {
    *byte > b' ' && *byte != 0x7f && *byte != b'#'
}

pub(crate) fn is_target(text: &str) -> bool {
    text.bytes().all(|byte| is_target_byte(&byte))
}

/// The `Location` of a redirect.
pub fn location(
    redirect: &model::Redirect,
    scheme: &[u8],
    authority: &[u8],
    port: u16,
    path_and_query: &[u8],
    matched: Matched,
) -> String {
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    let from_scheme = text(scheme);
    let to_scheme = redirect.scheme.clone().unwrap_or_else(|| from_scheme.clone());
    let authority = redirect.authority.clone().unwrap_or_else(|| text(authority));
    let (host, named) = split_port(&authority);
    let default = default_port(&to_scheme);
    let port = match redirect.port {
        // A port that only spelled out the old scheme's default would be wrong with the new one.
        RedirectPort::Keep => named
            .filter(|_| redirect.authority.is_some() || to_scheme == from_scheme)
            .or_else(|| named.filter(|named| Some(*named) != default_port(&from_scheme))),
        RedirectPort::Number(number) => Some(number).filter(|number| Some(*number) != default),
        RedirectPort::ProtocolDefault => None,
        RedirectPort::RequestPort => Some(port).filter(|port| Some(*port) != default),
    };
    let port = port.map(|port| format!(":{port}")).unwrap_or_default();
    let (path, query) = match path_and_query.iter().position(|byte| *byte == b'?') {
        Some(at) => (text(&path_and_query[..at]), text(&path_and_query[at..])),
        None => (text(path_and_query), String::new()),
    };
    let target = match &redirect.uri {
        Some(uri) if uri.contains('?') => uri.clone(),
        Some(uri) => format!("{uri}{query}"),
        None => match &redirect.prefix {
            Some(prefix) => format!("{}{query}", replaced(path.as_bytes(), prefix, matched)),
            None => format!("{path}{query}"),
        },
    };
    format!("{to_scheme}://{host}{port}{target}")
}

/// The path with what was matched of it replaced; always one that begins with a slash.
fn replaced(path: &[u8], with: &str, matched: Matched) -> String {
    let mut out = Vec::with_capacity(path.len() + with.len());
    replace(path, with.as_bytes(), matched, &mut out);
    if out.first() != Some(&b'/') {
        out.insert(0, b'/');
    }
    String::from_utf8_lossy(&out).into_owned()
}

fn default_port(scheme: &str) -> Option<u16> {
    match scheme {
        "http" => Some(80),
        "https" => Some(443),
        _ => None,
    }
}

/// Splits `host:port`; the brackets of an IPv6 address stay.
fn split_port(authority: &str) -> (&str, Option<u16>) {
    match authority.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => match port.parse() {
            Ok(port) => (host, Some(port)),
            Err(_) => (authority, None),
        },
        _ => (authority, None),
    }
}

#[cfg(test)]
mod tests;
