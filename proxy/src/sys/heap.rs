//! The allocator: the system's, with what a shard has freed kept within its own reach.
//!
//! The C library keeps seven freed blocks of a size for each thread; every further one goes through the arena, with its lock,
//! its lists and its merging of neighbours. An HTTP/2 connection frees dozens of the same size in one turn and asks for
//! them again in the next: more than half of its blocks went that way, a tenth of a request's instructions. So a shard
//! keeps more of them, in lists by size that nobody else touches. Other threads keep none here, and larger blocks are always the
//! system's. What is kept is bounded by [`HEAP_KEPT_BYTES_MAX`] for each size; what a burst has left goes back by [`trim`].

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::marker::PhantomData;
use std::ptr;

use dromon_core::limits::HEAP_KEPT_BYTES_MAX;

/// The process's allocator.
pub struct Heap;

/// Sizes that are kept: 24 bytes and then every 16, which is what blocks of the C library hold anyway.
const CLASSES: usize = 64;
/// What a block of the smallest size holds, in bytes.
const SMALLEST_BYTES: usize = 24;
/// Distance of sizes, in bytes; also the alignment that every block has.
const STEP_BYTES: usize = 16;
/// What a block of the largest size that is kept holds, in bytes.
const LARGEST_BYTES: usize = SMALLEST_BYTES + (CLASSES - 1) * STEP_BYTES;
/// The count of a list to which nothing is added.
const CLOSED: usize = usize::MAX;

/// A free block: where the next of its size is.
struct Free {
    next: *mut Free,
}

/// Free blocks of one size.
struct List {
    first: Cell<*mut Free>,
    count: Cell<usize>,
}

thread_local! {
    // Needs no destructor, so that it can be used for as long as the thread runs.
    static LISTS: [List; CLASSES] =
        const { [const { List { first: Cell::new(ptr::null_mut()), count: Cell::new(CLOSED) } }; CLASSES] };
}

/// Which list a block belongs to; none if it is not one to keep.
fn class(layout: Layout) -> Option<usize> {
    let small = layout.size() <= LARGEST_BYTES && layout.align() <= STEP_BYTES;
    small.then(|| layout.size().saturating_sub(SMALLEST_BYTES - STEP_BYTES + 1) / STEP_BYTES)
}

/// What blocks of a list hold, in bytes.
const fn block_bytes(class: usize) -> usize {
    SMALLEST_BYTES + class * STEP_BYTES
}

/// How the system is asked for a block of a list.
fn block(class: usize) -> Layout {
    Layout::from_size_align(block_bytes(class), STEP_BYTES).unwrap_or(Layout::new::<u8>())
}

impl List {
    fn take(&self) -> Option<*mut u8> {
        let first = self.first.get();
        if first.is_null() {
            return None;
        }
        // SAFETY: what a list holds was put there by `keep`: a block that nobody else knows, which begins with a `Free`.
        self.first.set(unsafe { (*first).next });
        self.count.set(self.count.get() - 1);
        Some(first.cast())
    }

    /// Keeps a free block; false if there are enough.
    ///
    /// # Safety
    /// The block must be of this list's size, aligned to [`STEP_BYTES`], and nobody else's.
    unsafe fn keep(&self, class: usize, freed: *mut u8) -> bool {
        if self.count.get() >= HEAP_KEPT_BYTES_MAX / block_bytes(class) {
            return false;
        }
        let freed: *mut Free = freed.cast();
        // SAFETY: by the contract; no block is smaller than a `Free`, and a `Free` is aligned like a pointer.
        unsafe { freed.write(Free { next: self.first.get() }) };
        self.first.set(freed);
        self.count.set(self.count.get() + 1);
        true
    }

    /// Gives blocks back to the system until so many are left.
    fn shrink(&self, class: usize, left: usize) {
        while self.count.get() > left
            && let Some(freed) = self.take()
        {
            // SAFETY: every block of a list came from the system by the same layout.
            unsafe { System.dealloc(freed, block(class)) };
        }
    }
}

// SAFETY: every block comes from `System` and goes back to it by one layout, which is made from size and alignment alone: that
// of its list for small ones, the caller's own for others. A block in a list is handed out once before it comes there again,
// and holds at least what its list's callers ask for, at the alignment of the system's blocks. Nothing here allocates or
// panics: the lists are constants that need no destructor.
unsafe impl GlobalAlloc for Heap {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let Some(class) = class(layout) else {
            // SAFETY: by the caller's contract.
            return unsafe { System.alloc(layout) };
        };
        let kept = LISTS.with(|lists| lists.get(class).and_then(List::take));
        // SAFETY: the layout of a list is not empty.
        kept.unwrap_or_else(|| unsafe { System.alloc(block(class)) })
    }

    #[inline]
    unsafe fn dealloc(&self, freed: *mut u8, layout: Layout) {
        let Some(class) = class(layout) else {
            // SAFETY: by the caller's contract; `alloc` has made it by the same layout.
            return unsafe { System.dealloc(freed, layout) };
        };
        // SAFETY: `alloc` has made it by this class's layout, and the caller gives it up.
        let kept =
            LISTS.with(|lists| lists.get(class).is_some_and(|list| unsafe { list.keep(class, freed) }));
        if !kept {
            // SAFETY: `alloc` has made it by this class's layout.
            unsafe { System.dealloc(freed, block(class)) };
        }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if class(layout).is_none() {
            // SAFETY: by the caller's contract.
            return unsafe { System.alloc_zeroed(layout) };
        }
        // SAFETY: by the caller's contract.
        let block = unsafe { self.alloc(layout) };
        if !block.is_null() {
            // SAFETY: the block holds what was asked for.
            unsafe { block.write_bytes(0, layout.size()) };
        }
        block
    }

    unsafe fn realloc(&self, old: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        // SAFETY: the caller guarantees that the new size is one that a layout can have.
        let wanted = unsafe { Layout::from_size_align_unchecked(new_size, layout.align()) };
        match (class(layout), class(wanted)) {
            // SAFETY: by the caller's contract; `alloc` has made it by the same layout.
            (None, None) => unsafe { System.realloc(old, layout, new_size) },
            (Some(had), Some(needs)) if had == needs => old,
            // SAFETY: by the caller's contract; the blocks are two, and what both hold is copied.
            _ => unsafe {
                let new = self.alloc(wanted);
                if !new.is_null() {
                    ptr::copy_nonoverlapping(old, new, layout.size().min(new_size));
                    self.dealloc(old, layout);
                }
                new
            },
        }
    }
}

/// A thread that keeps what it frees; dropped, it keeps nothing any more.
#[must_use]
pub struct Keeping {
    /// It is the thread's own.
    _thread: PhantomData<*const ()>,
}

/// Has this thread keep what it frees.
pub fn keep() -> Keeping {
    LISTS.with(|lists| {
        for list in lists.iter().filter(|list| list.count.get() == CLOSED) {
            list.count.set(0);
        }
    });
    Keeping { _thread: PhantomData }
}

/// Gives back half of what this thread keeps.
pub fn trim() {
    LISTS.with(|lists| {
        for (class, list) in lists.iter().enumerate().filter(|(_, list)| list.count.get() != CLOSED) {
            list.shrink(class, list.count.get() / 2);
        }
    });
}

impl Drop for Keeping {
    fn drop(&mut self) {
        LISTS.with(|lists| {
            for (class, list) in lists.iter().enumerate() {
                list.shrink(class, 0);
                list.count.set(CLOSED);
            }
        });
    }
}

#[cfg(test)]
mod tests;
