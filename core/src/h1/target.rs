//! The request target and the authority (R8, R9), and the path as rules match it.

use super::rule::{Reject, Rule};

/// The four forms of a target (RFC 9112, 3.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Form {
    /// `/path?query`.
    #[default]
    Origin,
    /// `http://authority/path?query`.
    Absolute,
    /// `host:port`, of CONNECT.
    Authority,
    /// `*`, of OPTIONS.
    Asterisk,
}

/// A target taken apart; ranges are offsets into it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) form: Form,
    /// `https://` in absolute form.
    pub(super) secure: bool,
    /// Authority, empty but in absolute and authority form.
    pub(super) authority: (usize, usize),
    /// Path and query; empty in absolute form without a path.
    pub(super) path: (usize, usize),
    /// The path's normal form is the path itself under [`PathPolicy::default`].
    pub(super) plain: bool,
}

/// What normalisation does beyond RFC 3986, 6.2.2 (escapes of unreserved bytes decoded, others in upper case, dot
/// segments removed), which always happens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PathPolicy {
    /// `//` becomes `/` (Istio: `MERGE_SLASHES`; off by default).
    pub merge_slashes: bool,
    /// What happens to `%2F` and `%5C`.
    pub escaped_slash: EscapedSlash,
}

/// What happens to an escaped slash or backslash in a path.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EscapedSlash {
    /// It stays escaped and is data of its segment (Istio's default).
    #[default]
    Keep,
    /// It becomes a slash (Istio: `DECODE_AND_MERGE_SLASHES`).
    Decode,
    /// The request is refused.
    Reject,
}

const BAD: u8 = 1;
const ESCAPE: u8 = 2;
const DOT: u8 = 4;

/// What each byte means in a target: controls, space, `#`, `\`, DEL and non-ASCII are forbidden (R8).
const CLASS: [u8; 256] = {
    let mut table = [BAD; 256];
    let mut byte = 0x21;
    while byte < 0x7F {
        table[byte] = 0;
        byte += 1;
    }
    table[b'#' as usize] = BAD;
    table[b'\\' as usize] = BAD;
    table[b'%' as usize] = ESCAPE;
    table[b'.' as usize] = DOT;
    table
};

fn classes(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0, |seen, byte| seen | CLASS[usize::from(*byte)])
}

/// Takes a target apart.
pub(super) fn parse(method: &[u8], target: &[u8]) -> Result<Target, Reject> {
    const FORBIDDEN: Reject = Reject::request(Rule::R8, "forbidden byte in the target");
    let (path_end, query) = match memchr::memchr(b'?', target) {
        Some(at) => (at, classes(target.get(at..).unwrap_or_default())),
        None => (target.len(), 0),
    };
    let seen = classes(target.get(..path_end).unwrap_or_default());
    if (seen | query) & BAD != 0 {
        return Err(FORBIDDEN);
    }
    let plain = seen & (ESCAPE | DOT) == 0
        || seen & ESCAPE == 0
            && !target.get(..path_end).is_some_and(|path| path.windows(2).any(|two| two == b"/."));
    let whole = (0, target.len());
    match target {
        _ if method == b"CONNECT" => {
            authority(target)?;
            Ok(Target { form: Form::Authority, secure: false, authority: whole, path: (0, 0), plain: true })
        }
        [b'/', ..] => Ok(Target { form: Form::Origin, secure: false, authority: (0, 0), path: whole, plain }),
        b"*" if method == b"OPTIONS" => {
            Ok(Target { form: Form::Asterisk, secure: false, authority: (0, 0), path: whole, plain: true })
        }
        _ => absolute(target, plain),
    }
}

fn absolute(target: &[u8], plain: bool) -> Result<Target, Reject> {
    let starts = |scheme: &[u8]| target.get(..scheme.len()).is_some_and(|it| it.eq_ignore_ascii_case(scheme));
    let (start, secure) = match () {
        _ if starts(b"http://") => (7, false),
        _ if starts(b"https://") => (8, true),
        _ => return Err(Reject::request(Rule::R8, "the target has none of the known forms")),
    };
    let rest = target.get(start..).unwrap_or_default();
    let length = rest.iter().position(|byte| matches!(byte, b'/' | b'?')).unwrap_or(rest.len());
    let end = start + length;
    if target.get(end) == Some(&b'?') {
        return Err(Reject::request(Rule::R8, "absolute target with a query but no path"));
    }
    authority(target.get(start..end).unwrap_or_default())?;
    let path = (end, target.len());
    Ok(Target { form: Form::Absolute, secure, authority: (start, end), path, plain })
}

/// Checks a target that is all there is of a request line; its form, and whether its path is in normal form.
pub(crate) fn check_target(method: &[u8], target: &[u8]) -> Result<(Form, bool), Reject> {
    parse(method, target).map(|parsed| (parsed.form, parsed.plain))
}

/// A colon and five digits.
const PORT_BYTES_MAX: usize = 6;

/// Checks `host`, `host:port`, `[v6]` or `[v6]:port` (R9; RFC 3986, 3.2). No userinfo, port 1 to 65535.
pub(crate) fn authority(authority: &[u8]) -> Result<(), Reject> {
    const MALFORMED: Reject = Reject::request(Rule::R9, "malformed host");
    let (host_good, port) = match authority {
        [b'[', rest @ ..] => {
            let close = memchr::memchr(b']', rest).ok_or(MALFORMED)?;
            let (literal, after) = rest.split_at(close);
            let good = !literal.is_empty()
                && literal.iter().all(|byte| byte.is_ascii_hexdigit() || b":.".contains(byte));
            (good, after.get(1..).unwrap_or_default())
        }
        _ => {
            // A port is short, so its colon is near the end; one further left is no byte of a name.
            let colon = authority.iter().rev().take(PORT_BYTES_MAX).position(|byte| *byte == b':');
            let end = colon.map_or(authority.len(), |back| authority.len() - 1 - back);
            let (host, port) = authority.split_at(end);
            (
                !host.is_empty() && host.iter().fold(0, |bad, byte| bad | NOT_HOST[usize::from(*byte)]) == 0,
                port,
            )
        }
    };
    if !host_good {
        return Err(MALFORMED);
    }
    match port {
        [] => Ok(()),
        [b':', digits @ ..] if (1..=5).contains(&digits.len()) && digits.iter().all(u8::is_ascii_digit) => {
            let number = digits.iter().fold(0u32, |sum, digit| sum * 10 + u32::from(digit - b'0'));
            match number {
                1..=65_535 => Ok(()),
                _ => Err(Reject::request(Rule::R9, "port out of range")),
            }
        }
        _ => Err(Reject::request(Rule::R9, "malformed port")),
    }
}

/// Not 0 for all but the bytes of a registered name (RFC 3986, 3.2.2), without the comma, by which lists of hosts are smuggled.
const NOT_HOST: [u8; 256] = {
    let mut table = [1; 256];
    let allowed = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~%!$&'()*+;=";
    let mut at = 0;
    while at < allowed.len() {
        table[allowed[at] as usize] = 0;
        at += 1;
    }
    table
};

/// Appends the normal form of `path_and_query` for matching; the query stays as it is.
///
/// # Errors
/// R8 where the policy refuses an escaped slash.
pub fn normalize(path_and_query: &[u8], policy: PathPolicy, out: &mut Vec<u8>) -> Result<(), Reject> {
    let end = memchr::memchr(b'?', path_and_query).unwrap_or(path_and_query.len());
    let (path, query) = path_and_query.split_at(end);
    let base = out.len();
    decode(path, policy, out)?;
    remove_dot_segments(out, base, policy.merge_slashes);
    out.extend_from_slice(query);
    Ok(())
}

/// Decodes escapes of unreserved bytes, writes the others in upper case; a `%` that starts no escape stays.
fn decode(path: &[u8], policy: PathPolicy, out: &mut Vec<u8>) -> Result<(), Reject> {
    let mut rest = path;
    while let Some(at) = memchr::memchr(b'%', rest) {
        let (before, escape) = rest.split_at(at);
        out.extend_from_slice(before);
        let digits = match escape {
            [_, high, low, ..] => hex(*high).zip(hex(*low)),
            _ => None,
        };
        let Some((high, low)) = digits else {
            out.push(b'%');
            rest = escape.get(1..).unwrap_or_default();
            continue;
        };
        match high << 4 | low {
            byte if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) => out.push(byte),
            b'/' | b'\\' if policy.escaped_slash == EscapedSlash::Decode => out.push(b'/'),
            b'/' | b'\\' if policy.escaped_slash == EscapedSlash::Reject => {
                return Err(Reject::request(Rule::R8, "escaped slash in the path"));
            }
            _ => out.extend(escape.iter().take(3).map(u8::to_ascii_uppercase)),
        }
        rest = escape.get(3..).unwrap_or_default();
    }
    out.extend_from_slice(rest);
    Ok(())
}

fn hex(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

/// RFC 3986, 5.2.4, in place on `out[base..]`; never climbs above the root.
fn remove_dot_segments(out: &mut Vec<u8>, base: usize, merge: bool) {
    let path = out.split_off(base);
    let mut segments = path.split(|byte| *byte == b'/');
    // What stands before the first slash: nothing in a path that starts with one.
    out.extend_from_slice(segments.next().unwrap_or_default());
    let mut segments = segments.peekable();
    while let Some(segment) = segments.next() {
        let last = segments.peek().is_none();
        match segment {
            b"." if last => out.push(b'/'),
            b"." => {}
            b".." => {
                let parent = out.get(base..).and_then(|done| memchr::memrchr(b'/', done)).unwrap_or(0);
                out.truncate(base + parent);
                if last {
                    out.push(b'/');
                }
            }
            b"" if merge && !last => {}
            _ => {
                let doubled =
                    merge && segment.is_empty() && out.get(base..).is_some_and(|done| done.ends_with(b"/"));
                if !doubled {
                    out.push(b'/');
                    out.extend_from_slice(segment);
                }
            }
        }
    }
}
