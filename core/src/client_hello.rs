//! What a TLS client says first: the server name that it asks for and the protocols that it offers.
//!
//! This reads just enough of a ClientHello (RFC 8446, section 4.1.2) to choose what to do with the connection. Whoever ends
//! TLS here parses it again, fully; whoever passes it on sends the bytes as they came.

use thiserror::Error;

use crate::limits::CLIENT_HELLO_BYTES_MAX;

/// Type of a record that carries handshake messages (RFC 8446, section 5.1).
const HANDSHAKE_RECORD: u8 = 22;
/// Type of the handshake message (RFC 8446, section 4).
const CLIENT_HELLO: u8 = 1;
/// Extension `server_name` (RFC 6066, section 3).
const SERVER_NAME: u16 = 0;
/// Extension `application_layer_protocol_negotiation` (RFC 7301).
const ALPN: u16 = 16;
/// Longest record before encryption (RFC 8446, section 5.1).
const RECORD_BYTES_MAX: usize = 16 * 1024;

/// What a client has said first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientHello {
    /// The name asked for (SNI), in lower case; none if it asks for none.
    pub server_name: Option<Box<str>>,
    /// Protocol names offered (ALPN), best first.
    pub alpn: Vec<Box<[u8]>>,
}

impl ClientHello {
    /// Whether this is offered.
    pub fn offers(&self, protocol: &[u8]) -> bool {
        self.alpn.iter().any(|offered| **offered == *protocol)
    }
}

/// Why bytes are no ClientHello.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum HelloError {
    /// Not TLS at all.
    #[error("what came is not TLS")]
    NotTls,
    /// TLS that breaks its rules.
    #[error("the ClientHello is malformed")]
    Malformed,
    /// Larger than any sound client's.
    #[error("the ClientHello is too long")]
    TooLong,
}

/// Whether a connection that begins with these bytes speaks TLS; none while that is open.
pub fn is_tls(bytes: &[u8]) -> Option<bool> {
    match bytes {
        [] => None,
        [HANDSHAKE_RECORD] => None,
        // The record's version is 3.1 for the sake of old servers, 3.0 to 3.3 is seen.
        [HANDSHAKE_RECORD, 3, ..] => Some(true),
        _ => Some(false),
    }
}

/// Reads a ClientHello from the first bytes of a connection; `Ok(None)` while it is not complete.
///
/// # Errors
/// It never will be one.
pub fn parse(bytes: &[u8]) -> Result<Option<ClientHello>, HelloError> {
    let mut message = Vec::new();
    let mut rest = bytes;
    loop {
        if is_tls(rest) == Some(false) {
            return Err(if message.is_empty() { HelloError::NotTls } else { HelloError::Malformed });
        }
        if let [CLIENT_HELLO, high, middle, low, body @ ..] = message.as_slice() {
            let length = usize::from(*high) << 16 | usize::from(*middle) << 8 | usize::from(*low);
            if length > CLIENT_HELLO_BYTES_MAX {
                return Err(HelloError::TooLong);
            }
            if let Some(body) = body.get(..length) {
                return hello(&mut Reader(body)).map(Some).ok_or(HelloError::Malformed);
            }
        } else if message.first().is_some_and(|kind| *kind != CLIENT_HELLO) {
            return Err(HelloError::Malformed);
        }
        let mut record = Reader(rest);
        let Some(length) = record.take(3).and_then(|_| record.u16()) else { return Ok(None) };
        let length = usize::from(length);
        // A record without content could go on for ever (RFC 8446, section 5.1, forbids it).
        if length == 0 || length > RECORD_BYTES_MAX {
            return Err(HelloError::Malformed);
        }
        let Some(fragment) = record.take(length) else { return Ok(None) };
        message.extend_from_slice(fragment);
        rest = record.0;
    }
}

fn hello(body: &mut Reader<'_>) -> Option<ClientHello> {
    let mut hello = ClientHello::default();
    // Version and random.
    body.take(2 + 32)?;
    // Session id, cipher suites, compression methods.
    body.vector8()?;
    body.vector16()?;
    body.vector8()?;
    if body.0.is_empty() {
        return Some(hello);
    }
    let mut extensions = Reader(body.vector16()?);
    while !extensions.0.is_empty() {
        let kind = extensions.u16()?;
        let mut data = Reader(extensions.vector16()?);
        match kind {
            SERVER_NAME => hello.server_name = server_name(&mut Reader(data.vector16()?))?,
            ALPN => {
                let mut names = Reader(data.vector16()?);
                while !names.0.is_empty() {
                    hello.alpn.push(names.vector8()?.into());
                }
            }
            _ => {}
        }
    }
    Some(hello)
}

/// The one name of type `host_name`.
fn server_name(list: &mut Reader<'_>) -> Option<Option<Box<str>>> {
    while !list.0.is_empty() {
        let kind = list.take(1)?;
        let name = list.vector16()?;
        if kind == [0] {
            let name = std::str::from_utf8(name).ok()?;
            return Some(Some(name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase().into()));
        }
    }
    Some(None)
}

/// Bytes not read yet.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn u16(&mut self) -> Option<u16> {
        Some(u16::from_be_bytes(self.take(2)?.try_into().ok()?))
    }

    /// A vector with its length in one byte before it.
    fn vector8(&mut self) -> Option<&'a [u8]> {
        let length = *self.take(1)?.first()?;
        self.take(usize::from(length))
    }

    /// A vector with its length in two bytes before it.
    fn vector16(&mut self) -> Option<&'a [u8]> {
        let length = self.u16()?;
        self.take(usize::from(length))
    }
}

#[cfg(test)]
mod tests;
