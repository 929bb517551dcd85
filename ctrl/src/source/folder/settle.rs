//! When a version is complete: files saved together are one, and one file saved alone waits for nobody.
//!
//! A version waits while further files keep coming, each soon after the one before. A file that is saved again and again
//! counts once, so that it cannot put others off. Once a few files have come a copy is evidently under way, and what comes
//! may be further apart: copying is slow where the disk or the machine is.

use std::time::{Duration, Instant};

/// Quiet time after a file before a version is taken, in ms: longer than the gap between two files of one copy, short enough
/// that a rule is in force well before a person looks.
const QUIET_MS: u64 = 20;
/// Quiet time once [`COPY_FILES`] have come, in ms. The last file of a copy is in force within 100 ms all the same.
const COPY_QUIET_MS: u64 = 50;
/// So many different files are a copy.
const COPY_FILES: usize = 4;
/// Longest time that further files may put a version off, in ms.
const WAIT_MS_MAX: u64 = 2_000;

/// A version that is being gathered.
#[derive(Debug)]
pub(super) struct Settle {
    began: Instant,
    last: Instant,
    files: usize,
}

impl Settle {
    /// So many files have come.
    pub(super) fn new(now: Instant, files: usize) -> Settle {
        Settle { began: now, last: now, files }
    }

    /// So many files came that had not come before.
    pub(super) fn more(&mut self, now: Instant, files: usize) {
        if files > 0 {
            self.last = now;
            self.files += files;
        }
    }

    /// How long the version has to wait still.
    pub(super) fn left(&self, now: Instant) -> Duration {
        let quiet = if self.files < COPY_FILES { QUIET_MS } else { COPY_QUIET_MS };
        let quiet_at = self.last + Duration::from_millis(quiet);
        let latest = self.began + Duration::from_millis(WAIT_MS_MAX);
        quiet_at.min(latest).saturating_duration_since(now)
    }
}
