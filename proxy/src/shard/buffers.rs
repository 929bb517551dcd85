//! A shard's spare body buffers, by size class, so that a body in motion takes one and an idle stream holds none.

use std::cell::RefCell;

use dromon_core::limits::{BODY_BUFFER_BYTES, BODY_BUFFER_BYTES_MAX, SPARE_BUFFER_BYTES_MAX};

use crate::sys::buffer::Buffer;

/// Sizes of body buffers, in bytes.
const CLASSES: [usize; 3] = [BODY_BUFFER_BYTES, 64 * 1024, BODY_BUFFER_BYTES_MAX];

/// Spare buffers. What comes back beyond the cap is freed.
#[derive(Default)]
pub struct Buffers {
    spare: RefCell<[Vec<Buffer>; CLASSES.len()]>,
}

impl Buffers {
    /// An empty buffer for `wanted` bytes: of the smallest class that holds them, or of the largest.
    pub fn take(&self, wanted: usize) -> Buffer {
        let class = CLASSES.iter().position(|size| *size >= wanted).unwrap_or(CLASSES.len() - 1);
        let spare = self.spare.borrow_mut().get_mut(class).and_then(Vec::pop);
        spare.unwrap_or_else(|| {
            Buffer::with_capacity(CLASSES.get(class).copied().unwrap_or(BODY_BUFFER_BYTES))
        })
    }

    /// Takes a buffer back. One of no class, which only grew for a moment, is freed.
    pub fn give(&self, mut buffer: Buffer) {
        let Some(class) = CLASSES.iter().position(|size| *size == buffer.capacity()) else { return };
        let mut spare = self.spare.borrow_mut();
        let Some(list) = spare.get_mut(class) else { return };
        if list.len() * buffer.capacity() < SPARE_BUFFER_BYTES_MAX {
            buffer.clear();
            list.push(buffer);
        }
    }

    /// Frees half of what is spare, so that a burst's memory goes back within a few calls.
    pub fn trim(&self) {
        for list in self.spare.borrow_mut().iter_mut() {
            list.truncate(list.len() / 2);
        }
    }
}
