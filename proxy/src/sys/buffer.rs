//! Buffers that I/O owns while it runs.
//!
//! A read appends behind what is there, a write takes from the front, so one buffer serves a head that arrives in pieces,
//! a body that is passed on, and a write that the kernel takes only a part of, with no copy and no slice type.

use bytes::Bytes;
use monoio::buf::{IoBuf, IoBufMut};

/// A buffer of fixed capacity with a filled middle.
#[derive(Debug, Default)]
pub struct Buffer {
    data: Vec<u8>,
    start: usize,
}

impl Buffer {
    /// An empty buffer of this capacity in bytes.
    pub fn with_capacity(capacity: usize) -> Buffer {
        Buffer { data: Vec::with_capacity(capacity), start: 0 }
    }

    /// What is filled and not yet consumed.
    pub fn filled(&self) -> &[u8] {
        self.data.get(self.start..).unwrap_or_default()
    }

    /// The same, for work in place.
    pub fn filled_mut(&mut self) -> &mut [u8] {
        self.data.get_mut(self.start..).unwrap_or_default()
    }

    /// Bytes filled and not yet consumed.
    pub fn len(&self) -> usize {
        self.data.len() - self.start
    }

    /// Whether nothing is filled.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes that the next read may append.
    pub fn room(&self) -> usize {
        self.data.capacity() - self.data.len()
    }

    /// Capacity in bytes.
    pub fn capacity(&self) -> usize {
        self.data.capacity()
    }

    /// Forgets the first `count` bytes. Their place stays free for [`Buffer::prepend`] until the next
    /// [`Buffer::clear`] or [`Buffer::compact`].
    pub fn consume(&mut self, count: usize) {
        self.start = (self.start + count).min(self.data.len());
    }

    /// Forgets everything behind the first `length` bytes.
    pub fn truncate(&mut self, length: usize) {
        self.data.truncate(self.start + length);
    }

    /// Forgets everything; the capacity stays.
    pub fn clear(&mut self) {
        self.data.clear();
        self.start = 0;
    }

    /// Empties the buffer and keeps `bytes` free before what the next read fills, for [`Buffer::prepend`].
    pub fn clear_with_headroom(&mut self, bytes: usize) {
        self.data.clear();
        self.data.resize(bytes.min(self.data.capacity()), 0);
        self.start = self.data.len();
    }

    /// Puts `bytes` before what is filled, if there is room for it in front: consumed bytes or headroom.
    #[must_use]
    pub fn prepend(&mut self, bytes: &[u8]) -> bool {
        let Some(start) = self.start.checked_sub(bytes.len()) else { return false };
        let Some(place) = self.data.get_mut(start..self.start) else { return false };
        place.copy_from_slice(bytes);
        self.start = start;
        true
    }

    /// Moves what is filled to the front, so that all room is behind it.
    pub fn compact(&mut self) {
        if self.start > 0 {
            let start = self.start;
            self.data.copy_within(start.., 0);
            self.data.truncate(self.data.len() - start);
            self.start = 0;
        }
    }

    /// Makes the capacity at least `capacity`, keeping what is filled.
    pub fn grow(&mut self, capacity: usize) {
        self.compact();
        if capacity > self.data.capacity() {
            self.data.reserve_exact(capacity - self.data.len());
        }
    }

    /// Appends, growing where needed.
    pub fn extend(&mut self, bytes: &[u8]) {
        self.data.extend_from_slice(bytes);
    }

    /// What is filled, as shared bytes, without a copy.
    pub fn into_bytes(self) -> Bytes {
        Bytes::slice(&Bytes::from(self.data), self.start..)
    }

    /// The vector behind, for writers that append; what they append is filled.
    pub fn vec(&mut self) -> &mut Vec<u8> {
        &mut self.data
    }
}

// SAFETY: the vector's heap block does not move while the buffer is owned by an operation, and
// `start <= data.len()` always, so pointer and length describe initialised bytes of it.
unsafe impl IoBuf for Buffer {
    fn read_ptr(&self) -> *const u8 {
        self.filled().as_ptr()
    }

    fn bytes_init(&self) -> usize {
        self.len()
    }
}

// SAFETY: the pointer is to the vector's spare capacity, whose size `bytes_total` gives; `set_init(n)` is called after
// `n` bytes were written there, so they are initialised.
unsafe impl IoBufMut for Buffer {
    fn write_ptr(&mut self) -> *mut u8 {
        self.data.spare_capacity_mut().as_mut_ptr().cast()
    }

    fn bytes_total(&mut self) -> usize {
        self.room()
    }

    unsafe fn set_init(&mut self, count: usize) {
        let length = self.data.len() + count;
        debug_assert!(length <= self.data.capacity());
        // SAFETY: by the contract of `IoBufMut`, `count` bytes behind the old length are initialised.
        unsafe { self.data.set_len(length) };
    }
}

#[cfg(test)]
mod tests;
