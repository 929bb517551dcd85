//! Writing whole buffers.

use std::io;

use dromon_core::limits::WRITE_STALL_MS;
use thiserror::Error;

use super::alarm::Alarm;
use super::stream::Stream;
use crate::sys::buffer::Buffer;
use crate::sys::clock;

/// Why a write ended early.
#[derive(Debug, Error)]
pub enum Stalled {
    /// The connection broke.
    #[error("{0}")]
    Broken(#[from] io::Error),
    /// The peer took nothing for as long as was allowed.
    #[error("the peer took nothing for too long")]
    Timeout,
}

/// From this size on a write is tried at once rather than queued with others: what it saves in copies from memory that is
/// still in the cache outweighs the system call (measured with 100 KiB bodies).
const DIRECT_BYTES_MIN: usize = 8 * 1024;

/// Writes all of `buffer` and gives it back empty, with its capacity. On an error it comes back as far as it was written,
/// on a stall a fresh one does: the kernel may still hold the other.
pub async fn write_all(alarm: &Alarm, stream: &Stream, buffer: Buffer) -> (Result<(), Stalled>, Buffer) {
    write_all_within(alarm, stream, buffer, WRITE_STALL_MS).await
}

/// As [`write_all`], for a peer that may take nothing for `stall_ms`.
pub async fn write_all_within(
    alarm: &Alarm,
    stream: &Stream,
    mut buffer: Buffer,
    stall_ms: u64,
) -> (Result<(), Stalled>, Buffer) {
    if buffer.len() >= DIRECT_BYTES_MIN {
        match stream.try_write(buffer.filled()) {
            Ok(count) => buffer.consume(count),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return (Err(Stalled::Broken(error)), buffer),
        }
    }
    while !buffer.is_empty() {
        let deadline = clock::coarse().plus_millis(stall_ms);
        match alarm.within(deadline, stream.write(buffer)).await {
            Ok((Ok(0), back)) => return (Err(Stalled::Broken(io::ErrorKind::WriteZero.into())), back),
            Ok((Ok(count), back)) => {
                buffer = back;
                buffer.consume(count);
            }
            Ok((Err(error), back)) => return (Err(Stalled::Broken(error)), back),
            Err(_) => return (Err(Stalled::Timeout), Buffer::default()),
        }
    }
    (Ok(()), buffer)
}
