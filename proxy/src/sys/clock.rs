//! The monotonic clock, as the core counts time.

use dromon_core::time::Tick;

/// Now. The same clock for all threads of the process.
pub fn now() -> Tick {
    read(libc::CLOCK_MONOTONIC)
}

/// Now, or up to a kernel tick (some milliseconds) ago, on the same clock, for a fraction of the cost; for deadlines.
pub fn coarse() -> Tick {
    read(libc::CLOCK_MONOTONIC_COARSE)
}

fn read(clock: libc::clockid_t) -> Tick {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is to a live timespec; both clocks exist on every Linux, so the call cannot fail.
    unsafe { libc::clock_gettime(clock, &raw mut time) };
    Tick((time.tv_sec as u64).wrapping_mul(1_000_000_000).wrapping_add(time.tv_nsec as u64))
}

/// The wall clock, in ns since 1970; for logs only.
pub fn unix_ns() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_nanos()).unwrap_or(u64::MAX)
}
