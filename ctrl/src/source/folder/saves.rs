//! Saves under way: what a path holds at this moment is not what its writer means.
//!
//! A new file is whole when it is closed. An editor that saves by rename puts the old file aside under a backup's name
//! before it writes the new one, so for a moment nothing has the name: no removal, unless nothing follows.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Time after which a save that never ended counts as ended, in ms.
const SAVE_MS_MAX: u64 = 1_000;

/// The saves under way.
#[derive(Debug, Default)]
pub(super) struct Saves {
    /// Files created and not closed yet, with the time they were seen.
    writing: BTreeMap<PathBuf, Instant>,
    /// Files renamed to backups of themselves, with the time that was seen.
    aside: BTreeMap<PathBuf, Instant>,
}

impl Saves {
    /// A new file was created and will be closed.
    pub(super) fn begin(&mut self, path: PathBuf, now: Instant) {
        self.aside.remove(&path);
        self.writing.insert(path, now);
    }

    /// A file was renamed to a backup of itself.
    pub(super) fn put_aside(&mut self, path: PathBuf, now: Instant) {
        self.aside.insert(path, now);
    }

    /// What the path holds is meant.
    pub(super) fn end(&mut self, path: &Path) {
        self.writing.remove(path);
        self.aside.remove(path);
    }

    /// A file of this path is not whole yet.
    pub(super) fn is_writing(&self, path: &Path) -> bool {
        self.writing.contains_key(path)
    }

    /// A file of this path is missing only until its writer is done.
    pub(super) fn is_aside(&self, path: &Path) -> bool {
        self.aside.contains_key(path)
    }

    /// When the first of them has taken too long.
    pub(super) fn due(&self) -> Option<Instant> {
        let first = self.writing.values().chain(self.aside.values()).min()?;
        Some(*first + Duration::from_millis(SAVE_MS_MAX))
    }

    /// Ends those that have taken too long; their paths.
    pub(super) fn expire(&mut self, now: Instant) -> Vec<PathBuf> {
        let mut expired = Vec::new();
        for saves in [&mut self.writing, &mut self.aside] {
            saves.retain(|path, seen| {
                let late = now.saturating_duration_since(*seen) >= Duration::from_millis(SAVE_MS_MAX);
                if late {
                    expired.push(path.clone());
                }
                !late
            });
        }
        expired
    }
}
