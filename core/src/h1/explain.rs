//! Names the rule behind a head that the parser refused. Runs only on refused heads, so it may take its time.

use super::field::{is_token_byte, is_value_byte};
use super::rule::{Reject, Rule};
use crate::fault::Reason;
use crate::limits::METHOD_BYTES_MAX;

/// Why a request head, from its first byte to its empty line, was refused.
pub(super) fn request(head: &[u8]) -> Reject {
    bare_cr(head)
        .or_else(|| request_line(head.split(|byte| *byte == b'\r').next().unwrap_or_default()))
        .or_else(|| field_lines(head))
        .unwrap_or(Reject::request(Rule::R7, "malformed head"))
}

/// Why a response head was refused.
pub(super) fn response(head: &[u8]) -> Reject {
    bare_cr(head)
        .or_else(|| field_lines(head))
        .map_or(Reject::response(Rule::R33, "malformed status line"), Reject::by_upstream)
}

fn bare_cr(head: &[u8]) -> Option<Reject> {
    let bare = memchr::memchr_iter(b'\r', head).any(|at| head.get(at + 1) != Some(&b'\n'));
    bare.then_some(Reject::request(Rule::R1, "bare CR"))
}

fn request_line(line: &[u8]) -> Option<Reject> {
    let mut parts = line.split(|byte| *byte == b' ');
    let (Some(method), Some(target), Some(version), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Some(Reject::request(Rule::R7, "request line is not three parts with single spaces"));
    };
    if method.is_empty() || !method.iter().copied().all(is_token_byte) || method.len() > METHOD_BYTES_MAX {
        return Some(Reject::request(Rule::R7, "malformed method"));
    }
    if !target.iter().all(u8::is_ascii_graphic) || target.is_empty() {
        return Some(Reject::request(Rule::R8, "forbidden byte in the target"));
    }
    match version {
        b"HTTP/1.0" | b"HTTP/1.1" => None,
        [b'H', b'T', b'T', b'P', b'/', major, rest @ ..] if major.is_ascii_digit() && numeric_tail(rest) => {
            Some(Reject::with(Rule::R7, Reason::VersionNotSupported, "HTTP version not supported"))
        }
        _ => Some(Reject::request(Rule::R7, "malformed HTTP version")),
    }
}

fn numeric_tail(rest: &[u8]) -> bool {
    matches!(rest, [] | [b'.']) || matches!(rest, [b'.', minor @ ..] if minor.iter().all(u8::is_ascii_digit))
}

fn field_lines(head: &[u8]) -> Option<Reject> {
    let mut lines =
        head.split(|byte| *byte == b'\n').skip(1).map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    let first = lines.next()?;
    if matches!(first, [b' ' | b'\t', ..]) {
        return Some(Reject::request(Rule::R4, "white space before the first field"));
    }
    std::iter::once(first).chain(lines).take_while(|line| !line.is_empty()).find_map(field_line)
}

fn field_line(line: &[u8]) -> Option<Reject> {
    if matches!(line, [b' ' | b'\t', ..]) {
        return Some(Reject::request(Rule::R3, "obsolete line folding"));
    }
    let Some(colon) = line.iter().position(|byte| *byte == b':') else {
        return Some(Reject::request(Rule::R4, "field without a colon"));
    };
    let (name, value) = line.split_at(colon);
    match name {
        [] => Some(Reject::request(Rule::R4, "empty field name")),
        [.., b' ' | b'\t'] => Some(Reject::request(Rule::R4, "white space before a colon")),
        _ if !name.iter().copied().all(is_token_byte) => {
            Some(Reject::request(Rule::R5, "forbidden byte in a field name"))
        }
        _ if !value.iter().copied().all(is_value_byte) => {
            Some(Reject::request(Rule::R5, "control byte in a field value"))
        }
        _ => None,
    }
}
