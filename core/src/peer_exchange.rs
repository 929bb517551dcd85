//! Istio's exchange of peer metadata (`istio-peer-exchange`): each end of a TCP connection begins with a length and a message that
//! tells of its workload. Who the peer is stands in its certificate, so its message is only taken out of the way.

use thiserror::Error;

use crate::limits::PEER_METADATA_BYTES_MAX;

/// What a message begins with, the highest byte first.
const MAGIC: u32 = 0x3D23_0467;
/// The message's type: what it holds is an `Any` of this one.
const TYPE: &[u8] = b"type.googleapis.com/google.protobuf.Struct";
/// The tag of `Any`'s first field, a string.
const TYPE_TAG: u8 = 0x0A;

/// Bytes before a message.
pub const HEADER_BYTES: usize = 8;

/// Why bytes are no message.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum ExchangeError {
    /// They begin otherwise.
    #[error("the connection does not begin with peer metadata, which its ALPN has promised")]
    Missing,
    /// More than a workload has to say of itself.
    #[error("the peer metadata is too long")]
    TooLong,
}

/// The length of the message behind this header.
///
/// # Errors
/// There is none, or it is too long.
pub fn length(header: [u8; HEADER_BYTES]) -> Result<usize, ExchangeError> {
    let [a, b, c, d, rest @ ..] = header;
    if u32::from_be_bytes([a, b, c, d]) != MAGIC {
        return Err(ExchangeError::Missing);
    }
    let length = usize::try_from(u32::from_be_bytes(rest)).unwrap_or(usize::MAX);
    if length > PEER_METADATA_BYTES_MAX { Err(ExchangeError::TooLong) } else { Ok(length) }
}

/// What this end says: header and message, which tells nothing.
pub fn own() -> Vec<u8> {
    // The type is shorter than what one byte can say.
    let message = [&[TYPE_TAG, TYPE.len() as u8], TYPE].concat();
    [&MAGIC.to_be_bytes()[..], &(message.len() as u32).to_be_bytes(), &message].concat()
}

#[cfg(test)]
mod tests;
