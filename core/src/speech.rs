//! What a connection speaks, as far as its client's first bytes tell.

use crate::client_hello::is_tls;
use crate::limits::METHOD_BYTES_MAX;

/// First bytes that always tell: a method, a space and the start of a target.
pub const SPEECH_BYTES: usize = METHOD_BYTES_MAX + 8;

/// What a client begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Speech {
    /// A request line of HTTP/1, or the preface of HTTP/2.
    Http,
    /// A TLS handshake.
    Tls,
    /// Neither.
    Other,
}

impl Speech {
    /// What bytes begin; none while that is open.
    pub fn of(bytes: &[u8]) -> Option<Speech> {
        match (is_tls(bytes), starts_http(bytes)) {
            (Some(true), _) => Some(Speech::Tls),
            (_, Some(true)) => Some(Speech::Http),
            (Some(false), Some(false)) => Some(Speech::Other),
            _ => None,
        }
    }
}

/// Whether bytes start an HTTP/1 request: a method, a space and a target; none while that is open.
fn starts_http(bytes: &[u8]) -> Option<bool> {
    let is_method = |byte: &u8| byte.is_ascii_uppercase() || *byte == b'-' || *byte == b'_';
    let method = bytes.iter().take_while(|byte| is_method(byte)).count();
    let rest = bytes.get(method..).unwrap_or_default();
    match rest {
        _ if method > METHOD_BYTES_MAX => Some(false),
        [] => None,
        [b' ', ..] if method == 0 => Some(false),
        // The preface of HTTP/2 with prior knowledge.
        [b' ', b'*', ..] if bytes.starts_with(b"PRI ") => Some(true),
        [b' '] => None,
        [b' ', b'/' | b'*', ..] => Some(true),
        [b' ', target @ ..] => {
            let scheme: &[u8] = b"http";
            let length = target.len().min(scheme.len());
            let same = target.iter().zip(scheme).all(|(have, want)| have.eq_ignore_ascii_case(want));
            match same {
                true if length == scheme.len() => Some(true),
                true => None,
                false => Some(false),
            }
        }
        _ => Some(false),
    }
}

#[cfg(test)]
mod tests;
