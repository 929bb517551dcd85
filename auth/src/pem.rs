//! PEM (RFC 7468) for private keys, without a copy that is left behind.
//!
//! Certificates are read by rustls-pki-types; its reader leaves the text of a key in a buffer that nobody wipes, so keys
//! are read and written here.

use dromon_core::limits::PEM_BYTES_MAX;
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs1KeyDer, PrivatePkcs8KeyDer, PrivateSec1KeyDer};
use zeroize::{Zeroize, Zeroizing};

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const LINE: usize = 64;

/// Why bytes are no private key. Says nothing of what is in them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// No key section.
    #[error("it has no private key (-----BEGIN PRIVATE KEY-----)")]
    None,
    /// More than one.
    #[error("it has more than one private key")]
    Several,
    /// Protected by a passphrase.
    #[error("its private key is encrypted: decrypt it first (openssl pkey -in KEY -out PLAIN)")]
    Encrypted,
    /// The section is cut off or no base64.
    #[error("its private key is cut off or garbled")]
    Broken,
    /// Of a kind that TLS here does not use.
    #[error(
        "its private key is of a kind that is not supported: ECDSA P-256 or P-384, RSA of 2048 bits or more, Ed25519"
    )]
    Unsupported,
    /// Too large a text.
    #[error("it is larger than 2 MiB")]
    TooLarge,
}

/// Whether a text is of a size and kind that is worth reading as PEM.
pub(crate) fn check(text: &[u8]) -> Result<(), String> {
    if text.len() > PEM_BYTES_MAX {
        return Err("it is larger than 2 MiB".to_owned());
    }
    if text.trim_ascii().is_empty() {
        return Err("it is empty".to_owned());
    }
    Ok(())
}

/// Reads the one private key of a PEM text: PKCS#8, SEC 1 or PKCS#1.
pub(crate) fn read_key(text: &[u8]) -> Result<Zeroizing<PrivateKeyDer<'static>>, KeyError> {
    if text.len() > PEM_BYTES_MAX {
        return Err(KeyError::TooLarge);
    }
    let mut found = None;
    let mut lines = text.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
    while let Some(line) = lines.next() {
        let Some(label) = line.strip_prefix(b"-----BEGIN ").and_then(|rest| rest.strip_suffix(b"-----"))
        else {
            continue;
        };
        let section = section(&mut lines, label)?;
        if label == b"ENCRYPTED PRIVATE KEY" || section.encrypted {
            return Err(KeyError::Encrypted);
        }
        if !label.ends_with(b"PRIVATE KEY") {
            continue;
        }
        let mut der = decode(&section.base64).ok_or(KeyError::Broken)?;
        let der = std::mem::take(&mut *der);
        let key = match label {
            b"PRIVATE KEY" => PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(der)),
            b"EC PRIVATE KEY" => PrivateKeyDer::Sec1(PrivateSec1KeyDer::from(der)),
            b"RSA PRIVATE KEY" => PrivateKeyDer::Pkcs1(PrivatePkcs1KeyDer::from(der)),
            _ => {
                Zeroizing::new(der).zeroize();
                return Err(KeyError::Unsupported);
            }
        };
        if found.replace(Zeroizing::new(key)).is_some() {
            return Err(KeyError::Several);
        }
    }
    found.ok_or(KeyError::None)
}

/// What stands between a section's first and last line.
struct Section {
    base64: Zeroizing<Vec<u8>>,
    /// It says so in headers of its own (RFC 1421).
    encrypted: bool,
}

fn section<'a>(lines: &mut impl Iterator<Item = &'a [u8]>, label: &[u8]) -> Result<Section, KeyError> {
    // Sized once, so that growing leaves no copy behind.
    let mut section = Section { base64: Zeroizing::new(Vec::with_capacity(16 * 1024)), encrypted: false };
    for line in lines {
        if let Some(end) = line.strip_prefix(b"-----END ") {
            let matches = end.strip_suffix(b"-----").is_some_and(|end| end == label);
            return if matches { Ok(section) } else { Err(KeyError::Broken) };
        }
        if line.contains(&b':') {
            section.encrypted |= line.starts_with(b"Proc-Type:") && line.ends_with(b"ENCRYPTED");
        } else if section.base64.len() + line.len() > section.base64.capacity() {
            return Err(KeyError::TooLarge);
        } else {
            section.base64.extend_from_slice(line);
        }
    }
    Err(KeyError::Broken)
}

/// Base64 of RFC 4648, section 4, padded.
fn decode(text: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    if text.is_empty() || !text.len().is_multiple_of(4) {
        return None;
    }
    let padding = text.iter().rev().take_while(|byte| **byte == b'=').count();
    let digits = text.get(..text.len().checked_sub(padding)?)?;
    if padding > 2 {
        return None;
    }
    let mut bytes = Zeroizing::new(Vec::with_capacity(text.len() / 4 * 3));
    let (mut held, mut bits) = (0u32, 0u32);
    for digit in digits {
        held = (held << 6) | value(*digit)?;
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            bytes.push((held >> bits) as u8);
            held &= (1 << bits) - 1;
        }
    }
    (held == 0).then_some(bytes)
}

/// A base64 digit's value, worked out rather than looked up: a table's cache lines would tell of the key.
fn value(digit: u8) -> Option<u32> {
    match digit {
        b'A'..=b'Z' => Some(u32::from(digit - b'A')),
        b'a'..=b'z' => Some(u32::from(digit - b'a') + 26),
        b'0'..=b'9' => Some(u32::from(digit - b'0') + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    }
}

/// The PEM text of some DER; wiped when dropped, as it may be a key's.
pub(crate) fn text(label: &str, der: &[u8]) -> Zeroizing<String> {
    let digits = der.len().div_ceil(3) * 4;
    let mut text = Zeroizing::new(String::with_capacity(digits + digits / LINE + 2 * label.len() + 64));
    text.push_str("-----BEGIN ");
    text.push_str(label);
    text.push_str("-----\n");
    let mut column = 0;
    for chunk in der.chunks(3) {
        let at = |index: usize| u32::from(chunk.get(index).copied().unwrap_or_default());
        let group = (at(0) << 16) | (at(1) << 8) | at(2);
        for place in 0..4 {
            let digit = (group >> (18 - 6 * place)) & 63;
            let padding = place > chunk.len();
            text.push(if padding { '=' } else { char::from(ALPHABET[digit as usize]) });
        }
        column += 4;
        if column == LINE {
            text.push('\n');
            column = 0;
        }
    }
    if column > 0 {
        text.push('\n');
    }
    text.push_str("-----END ");
    text.push_str(label);
    text.push_str("-----\n");
    text
}

#[cfg(test)]
mod tests;
