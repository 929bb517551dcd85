//! What an error of a stream or of its connection means for the try.

use dromon_core::fault::Reason as Failure;
use h2::{Error, Reason};

/// Why a stream got no answer, or no whole one.
///
/// A GOAWAY reaches only streams above the last one that the peer has looked at, and a stream can only be refused before
/// anything was done with it (RFC 9113, 6.8 and 8.7): both say that the request was not processed (R40 c).
pub fn reason_of(error: &Error) -> Failure {
    match error.reason() {
        Some(_) if error.is_go_away() && error.is_remote() => Failure::UpstreamRefused,
        Some(Reason::REFUSED_STREAM) if error.is_remote() => Failure::UpstreamRefused,
        // The peer has broken the protocol, or we are told that we have.
        Some(_) if error.is_library() => Failure::UpstreamProtocol,
        Some(Reason::PROTOCOL_ERROR | Reason::FRAME_SIZE_ERROR | Reason::COMPRESSION_ERROR) => {
            Failure::UpstreamProtocol
        }
        _ => Failure::UpstreamReset,
    }
}
