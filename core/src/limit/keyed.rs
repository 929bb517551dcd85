//! Many buckets by key in one table of fixed capacity.
//!
//! Set-associative, like a processor's cache: a key's hash names a set of [`WAYS`] slots, and it lives in one of them. A
//! bucket that is full again tells nothing about its client's past, so its slot is free to take, with no clean-up
//! anywhere. A slot is two words, the key's hash and the bucket; a taken-over slot needs no reset, because a full
//! bucket's word is a moment gone by.
//!
//! **At capacity**, when all slots of a set are busy with other clients, the newcomer takes over the slot that is
//! nearest to full *with its debt*, and that is counted. So memory is bounded, what the whole table admits is bounded by
//! its slots whatever keys clients make up, and the cost of crowding is that a newcomer may be refused early, never
//! that a flood of made-up keys is let through.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed, Ordering::SeqCst};

use super::bucket::{Bucket, Rate};
use crate::limits::KEYED_BUCKETS_MAX;
use crate::time::Tick;

/// Slots that a key may live in.
const WAYS: usize = 8;
/// Sets allocated together; a table that is hardly used stays small.
const SETS_PER_PAGE: usize = 64;
const PAGES: usize = KEYED_BUCKETS_MAX / (WAYS * SETS_PER_PAGE);
/// Tries at settling a race for a slot before its neighbour's bucket is shared.
const RACES_MAX: usize = 8;

const _: () = assert!(PAGES * SETS_PER_PAGE * WAYS == KEYED_BUCKETS_MAX);
const _: () = assert!(PAGES.is_power_of_two() && SETS_PER_PAGE.is_power_of_two());

#[derive(Debug, Default)]
struct Slot {
    /// The key's hash, never 0; 0 while unused.
    key: AtomicU64,
    bucket: Bucket,
}

type Set = [Slot; WAYS];
type Page = Box<[Set]>;

/// Buckets by key. See the module's doc for what happens at capacity.
#[derive(Debug)]
pub struct KeyedBuckets {
    pages: Box<[OnceLock<Page>]>,
    shared_total: AtomicU64,
}

impl Default for KeyedBuckets {
    fn default() -> KeyedBuckets {
        KeyedBuckets {
            pages: std::iter::repeat_with(OnceLock::new).take(PAGES).collect(),
            shared_total: AtomicU64::new(0),
        }
    }
}

impl KeyedBuckets {
    /// Takes one request's share from `key`'s bucket, or says how many nanoseconds from `now` one would be there.
    pub fn take(&self, key: u64, rate: Rate, now: Tick) -> Result<(), u64> {
        let key = key.max(1);
        let set = self.set(key);
        for _ in 0..RACES_MAX {
            let Some(slot) = find(set, key).or_else(|| self.claim(set, key, now)) else { continue };
            let taken = slot.bucket.take(rate, now);
            // The slot may have gone to another client between the look and the take: then the share was not theirs
            // to pay.
            if slot.key.load(SeqCst) == key {
                return taken;
            }
            if taken.is_ok() {
                slot.bucket.give_back(rate);
            }
        }
        self.shared_total.fetch_add(1, Relaxed);
        nearest_full(set).bucket.take(rate, now)
    }

    /// Gives one share back to `key`'s bucket, if it still has one.
    pub fn give_back(&self, key: u64, rate: Rate) {
        let key = key.max(1);
        if let Some(slot) = find(self.set(key), key) {
            slot.bucket.give_back(rate);
        }
    }

    /// Requests that found all slots busy and took over another client's bucket with its debt.
    pub fn shared_total(&self) -> u64 {
        self.shared_total.load(Relaxed)
    }

    fn set(&self, key: u64) -> &Set {
        let number = (key >> 32) as usize;
        let page = self.pages[number % PAGES]
            .get_or_init(|| std::iter::repeat_with(Set::default).take(SETS_PER_PAGE).collect());
        &page[number / PAGES % SETS_PER_PAGE]
    }

    /// Makes a slot of `set` the key's own; none if another thread was faster, then look again.
    fn claim<'s>(&self, set: &'s Set, key: u64, now: Tick) -> Option<&'s Slot> {
        // The key is read before the bucket: whoever takes the slot in between changes the key, and the exchange fails.
        let free = set
            .iter()
            .map(|slot| (slot, slot.key.load(SeqCst)))
            .find(|(slot, owner)| *owner == 0 || slot.bucket.idle(now));
        let (slot, owner) = free.unwrap_or_else(|| {
            let slot = nearest_full(set);
            (slot, slot.key.load(SeqCst))
        });
        slot.key.compare_exchange(owner, key, SeqCst, SeqCst).ok()?;
        // Two threads may have claimed different slots for one key: whoever then sees the other's lets go.
        let twins = set.iter().filter(|other| other.key.load(SeqCst) == key).count();
        if twins > 1 {
            let _ = slot.key.compare_exchange(key, 0, SeqCst, SeqCst);
            return None;
        }
        if free.is_none() {
            self.shared_total.fetch_add(1, Relaxed);
        }
        Some(slot)
    }
}

fn find(set: &Set, key: u64) -> Option<&Slot> {
    set.iter().find(|slot| slot.key.load(SeqCst) == key)
}

fn nearest_full(set: &Set) -> &Slot {
    set.iter().min_by_key(|slot| slot.bucket.debt()).unwrap_or(&set[0])
}
