//! Time as data: the caller reads the clock, this crate only compares.

use std::ops::{Add, Sub};
use std::time::Duration;

/// A moment on one process-wide monotonic clock, in nanoseconds since an arbitrary start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tick(pub u64);

impl Tick {
    /// The clock's start.
    pub const ZERO: Tick = Tick(0);
    /// A moment that never comes.
    pub const NEVER: Tick = Tick(u64::MAX);

    /// A moment this many milliseconds after the clock's start.
    pub const fn from_millis(millis: u64) -> Tick {
        Tick(millis.saturating_mul(1_000_000))
    }

    /// The time from `earlier` to `self`, zero if `earlier` is later.
    pub const fn since(self, earlier: Tick) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// This moment moved later by `millis` milliseconds; stays [`Tick::NEVER`] at the end of time.
    pub const fn plus_millis(self, millis: u64) -> Tick {
        Tick(self.0.saturating_add(millis.saturating_mul(1_000_000)))
    }
}

impl Add<Duration> for Tick {
    type Output = Tick;
    fn add(self, by: Duration) -> Tick {
        Tick(self.0.saturating_add(u64::try_from(by.as_nanos()).unwrap_or(u64::MAX)))
    }
}

impl Sub<Tick> for Tick {
    type Output = Duration;
    fn sub(self, earlier: Tick) -> Duration {
        self.since(earlier)
    }
}
