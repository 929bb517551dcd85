//! TLS over owned buffers: rustls decides what the bytes mean, this adapter moves them.
//!
//! Ciphertext is received into one buffer that all connections of a shard share, decrypted there and copied into the
//! caller's buffer; what is written is encrypted into another shared buffer and leaves in one system call. So a connection
//! that idles holds the session's keys and nothing else: only the rest of an unfinished record, plaintext that
//! nobody has asked for yet, and ciphertext that the kernel has not taken are kept with it, for as long as they are there.
//!
//! [`session`] is the protocol without I/O; [`stream`] is a connection; [`handshake`] makes one.

mod handshake;
mod session;
mod sink;
mod stream;
#[cfg(test)]
mod tests;

use std::cell::RefCell;

use dromon_core::limits::TLS_STEP_BYTES_MAX;

pub use handshake::{Opening, accept, connect};
use sink::Sink;
pub use stream::TlsStream;

use crate::sys::buffer::Buffer;

/// Largest record with its header (RFC 8446, section 5.2), rounded up.
const RECORD_BYTES_MAX: usize = 17 * 1024;
/// Ciphertext received at once where little plaintext is asked for: a whole record behind the rest of another.
const SMALL_BYTES: usize = 2 * RECORD_BYTES_MAX;
/// Ciphertext received at once where much is asked for.
const LARGE_BYTES: usize = TLS_STEP_BYTES_MAX + SMALL_BYTES;

/// The buffers that a shard's TLS connections share: each is used between two waits and never across one.
#[derive(Default)]
pub struct Scratch {
    small: RefCell<Buffer>,
    large: RefCell<Buffer>,
    sealed: RefCell<Sink>,
}

impl Scratch {
    /// A cleared buffer to receive into, for a caller that can take `room` bytes of plaintext and has `ahead` bytes to put
    /// before what is received.
    fn incoming(&self, room: usize, ahead: usize) -> std::cell::RefMut<'_, Buffer> {
        let (which, capacity) = match room > RECORD_BYTES_MAX || ahead > RECORD_BYTES_MAX {
            true => (&self.large, LARGE_BYTES),
            false => (&self.small, SMALL_BYTES),
        };
        let mut buffer = which.borrow_mut();
        if buffer.capacity() == 0 {
            *buffer = Buffer::with_capacity(capacity);
        }
        buffer.clear();
        buffer
    }

    /// Frees the large buffers, which the next large body makes again.
    pub fn trim(&self) {
        *self.large.borrow_mut() = Buffer::default();
        self.sealed.borrow_mut().trim(SMALL_BYTES);
    }
}
