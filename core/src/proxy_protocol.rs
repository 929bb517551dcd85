//! The PROXY protocol (HAProxy's `proxy-protocol.txt`, versions 1 and 2): who a connection really comes from, told by
//! whoever passes it on, before its first byte.
//!
//! Any client could claim to be another with it, so only listeners that are told to expect it may ask here.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use thiserror::Error;

use crate::limits::PROXY_HEADER_BYTES_MAX;

/// Version 2 begins with this, which no other protocol does (section 2.2).
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// Version 1 begins with this (section 2.1).
const WORD: &[u8] = b"PROXY ";
/// Longest line of version 1, its end included (section 2.1).
const LINE_BYTES_MAX: usize = 107;
/// Bytes of version 2 before its addresses.
const FIXED_BYTES: usize = 16;

/// What a header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Its length in bytes.
    pub bytes: usize,
    /// Between whom the connection is; none where the sender speaks for itself or cannot tell.
    pub addresses: Option<Addresses>,
}

/// Between whom a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Addresses {
    /// Who has opened it.
    pub source: SocketAddr,
    /// What it was opened to.
    pub destination: SocketAddr,
}

/// Why bytes are no header.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum HeaderError {
    /// They begin otherwise.
    #[error("the connection does not begin with a PROXY protocol header")]
    Missing,
    /// They begin as one and break its rules.
    #[error("the PROXY protocol header is malformed")]
    Malformed,
    /// More than anybody has to say.
    #[error("the PROXY protocol header is too long")]
    TooLong,
}

/// Reads the header at the start of a connection; `Ok(None)` while it is not complete.
///
/// # Errors
/// It never will be one.
pub fn parse(bytes: &[u8]) -> Result<Option<Header>, HeaderError> {
    let begins = |word: &[u8]| bytes.iter().zip(word).all(|(have, want)| have == want);
    if bytes.len() >= WORD.len() && begins(WORD) {
        line(bytes)
    } else if bytes.len() >= SIGNATURE.len() && begins(SIGNATURE) {
        binary(bytes)
    } else if (bytes.len() < WORD.len() && begins(WORD))
        || (bytes.len() < SIGNATURE.len() && begins(SIGNATURE))
    {
        Ok(None)
    } else {
        Err(HeaderError::Missing)
    }
}

fn line(bytes: &[u8]) -> Result<Option<Header>, HeaderError> {
    let within = bytes.get(..bytes.len().min(LINE_BYTES_MAX)).unwrap_or_default();
    let Some(end) = within.windows(2).position(|pair| pair == b"\r\n") else {
        return if bytes.len() >= LINE_BYTES_MAX { Err(HeaderError::Malformed) } else { Ok(None) };
    };
    let text = within.get(WORD.len()..end).and_then(|text| std::str::from_utf8(text).ok());
    let text = text.ok_or(HeaderError::Malformed)?;
    let bytes = end + 2;
    let mut words = text.split(' ');
    let v6 = match words.next() {
        // Whatever follows is to be ignored.
        Some("UNKNOWN") => return Ok(Some(Header { bytes, addresses: None })),
        Some("TCP4") => false,
        Some("TCP6") => true,
        _ => return Err(HeaderError::Malformed),
    };
    let (source, destination) = (words.next(), words.next());
    let (source_port, destination_port) = (words.next(), words.next());
    let address = |ip: Option<&str>, port: Option<&str>| {
        let ip = ip?.parse::<IpAddr>().ok().filter(|ip| ip.is_ipv6() == v6)?;
        Some(SocketAddr::new(ip, decimal(port?)?))
    };
    let source = address(source, source_port).ok_or(HeaderError::Malformed)?;
    let destination = address(destination, destination_port).ok_or(HeaderError::Malformed)?;
    match words.next() {
        Some(_) => Err(HeaderError::Malformed),
        None => Ok(Some(Header { bytes, addresses: Some(Addresses { source, destination }) })),
    }
}

/// Digits only, with no zero before others (section 2.1).
fn decimal(text: &str) -> Option<u16> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit()) && (text.len() == 1 || !text.starts_with('0'));
    if plain { text.parse().ok() } else { None }
}

fn binary(bytes: &[u8]) -> Result<Option<Header>, HeaderError> {
    let Some([version_and_command, family, high, low]) = bytes.get(SIGNATURE.len()..FIXED_BYTES) else {
        return Ok(None);
    };
    let length = usize::from(u16::from_be_bytes([*high, *low]));
    if FIXED_BYTES + length > PROXY_HEADER_BYTES_MAX {
        return Err(HeaderError::TooLong);
    }
    let Some(body) = bytes.get(FIXED_BYTES..FIXED_BYTES + length) else { return Ok(None) };
    let addresses = match (version_and_command, family) {
        // LOCAL: the sender's own connection, a health check say; what follows means nothing.
        (0x20, _) => None,
        (0x21, 0x11) => Some(v4(body).ok_or(HeaderError::Malformed)?),
        (0x21, 0x21) => Some(v6(body).ok_or(HeaderError::Malformed)?),
        // Datagrams, unix sockets, unspecified: the receiver may ignore the addresses.
        (0x21, 0x00 | 0x12 | 0x22 | 0x31 | 0x32) => None,
        _ => return Err(HeaderError::Malformed),
    };
    Ok(Some(Header { bytes: FIXED_BYTES + length, addresses }))
}

fn v4(body: &[u8]) -> Option<Addresses> {
    let ip = |at: usize| Some(Ipv4Addr::from(<[u8; 4]>::try_from(body.get(at..at + 4)?).ok()?));
    Some(Addresses {
        source: SocketAddr::from((ip(0)?, port(body, 8)?)),
        destination: SocketAddr::from((ip(4)?, port(body, 10)?)),
    })
}

fn v6(body: &[u8]) -> Option<Addresses> {
    let ip = |at: usize| Some(Ipv6Addr::from(<[u8; 16]>::try_from(body.get(at..at + 16)?).ok()?));
    Some(Addresses {
        source: SocketAddr::from((ip(0)?, port(body, 32)?)),
        destination: SocketAddr::from((ip(16)?, port(body, 34)?)),
    })
}

fn port(body: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(body.get(at..at + 2)?.try_into().ok()?))
}

/// A version that can be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// A line of text.
    V1,
    /// Binary.
    V2,
}

/// The header for a connection between these, or for one whose ends cannot be told together (`UNKNOWN`, `LOCAL`).
pub fn encode(version: Version, addresses: Option<Addresses>) -> Vec<u8> {
    let same = addresses.filter(|it| it.source.is_ipv4() == it.destination.is_ipv4());
    match (version, same) {
        (Version::V1, None) => b"PROXY UNKNOWN\r\n".to_vec(),
        (Version::V1, Some(Addresses { source, destination })) => {
            let family = if source.is_ipv4() { "TCP4" } else { "TCP6" };
            let (from, to) = (source.ip(), destination.ip());
            format!("PROXY {family} {from} {to} {} {}\r\n", source.port(), destination.port()).into_bytes()
        }
        (Version::V2, None) => [&SIGNATURE[..], &[0x20, 0, 0, 0]].concat(),
        (Version::V2, Some(Addresses { source, destination })) => {
            let mut body = Vec::with_capacity(36);
            for address in [source, destination] {
                match address.ip() {
                    IpAddr::V4(ip) => body.extend(ip.octets()),
                    IpAddr::V6(ip) => body.extend(ip.octets()),
                }
            }
            body.extend(source.port().to_be_bytes());
            body.extend(destination.port().to_be_bytes());
            let family = if source.is_ipv4() { 0x11 } else { 0x21 };
            let length = (body.len() as u16).to_be_bytes();
            [&SIGNATURE[..], &[0x21, family], &length, &body].concat()
        }
    }
}

#[cfg(test)]
mod tests;
