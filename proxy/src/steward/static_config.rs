//! Configuration from a file in place of the feed: a JSON array of objects, read again when it changes.
//!
//! Polling the file's identity finds every way of changing it (writing, renaming over it, swapping a symbolic link).
//! A file that turns broken keeps the last good objects and says so.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use dromon_core::config::model::Resource;
use dromon_core::config::snapshot::Update;
use tokio::sync::mpsc;

use super::event::Event;

/// Time between two looks at the file.
const POLL: Duration = Duration::from_millis(40);

/// What a file says, or what is wrong with it.
pub type Loaded = Result<Vec<Update>, String>;

/// Tells a change of the file: device, inode, size, modification time.
type Stamp = (u64, u64, u64, i64, i64);

/// Sends the file's objects, now and whenever it changes.
pub async fn watch(path: PathBuf, events: mpsc::Sender<Event>) {
    let mut load_number = 0u64;
    let (mut told, mut doubtful) = (None, None);
    loop {
        let now = Some(stamp(&path));
        if now != told {
            load_number += 1;
            let loaded = load(&path, load_number);
            // A file caught in the middle of being written is looked at once more before anything is said of it.
            if loaded.is_ok() || told.is_none() || doubtful == now {
                told = now;
                if events.send(Event::Static(loaded)).await.is_err() {
                    return;
                }
            } else {
                doubtful = now;
            }
        }
        tokio::time::sleep(POLL).await;
    }
}

fn stamp(path: &Path) -> Option<Stamp> {
    let meta = std::fs::metadata(path).ok()?;
    Some((meta.dev(), meta.ino(), meta.size(), meta.mtime(), meta.mtime_nsec()))
}

/// Reads the file. Every object has the load's number for a version.
pub fn load(path: &Path, load_number: u64) -> Loaded {
    let text = std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let resources: Vec<Resource> =
        serde_json::from_slice(&text).map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(resources.into_iter().map(|resource| Update { version: load_number.to_string(), resource }).collect())
}

#[cfg(test)]
mod tests;
