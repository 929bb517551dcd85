//! The proxy's own certificate: files in a directory, read again when they change.
//!
//! Whoever renews them (a controller, a mounted Secret, a person) replaces three files that belong together, perhaps one
//! after the other. So a set that does not fit is looked at again before anything is said of it, and the last good one
//! stays in use meanwhile.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use dromon_auth::Identity;
use dromon_auth::identity::{CHAIN_FILE, KEY_FILE, ROOTS_FILE};
use dromon_core::limits::PEM_BYTES_MAX;
use rustls::pki_types::UnixTime;
use tokio::sync::mpsc;
use zeroize::Zeroizing;

use super::event::Event;

/// Time between two looks at the files.
const POLL: Duration = Duration::from_millis(200);
/// Looks at files that do not fit before that is told.
const DOUBTS: u32 = 3;

/// What the files say, or what is wrong with them.
pub type Loaded = Result<Identity, String>;

/// Tells a change of a file: device, inode, size, modification time.
type Stamp = Option<(u64, u64, u64, i64, i64)>;

/// Sends the identity, now and whenever it changes.
pub async fn watch(dir: PathBuf, events: mpsc::Sender<Event>) {
    let mut told = None;
    let (mut doubtful, mut doubts) = (None, 0);
    loop {
        let now = Some([CHAIN_FILE, KEY_FILE, ROOTS_FILE].map(|name| stamp(&dir.join(name))));
        if now != told {
            let loaded = load(&dir, UnixTime::now());
            doubts = if doubtful == now { doubts + 1 } else { 0 };
            doubtful = now;
            if loaded.is_ok() || doubts >= DOUBTS {
                told = now;
                if events.send(Event::Certificates(loaded)).await.is_err() {
                    return;
                }
            }
        }
        tokio::time::sleep(POLL).await;
    }
}

fn stamp(path: &Path) -> Stamp {
    let meta = std::fs::metadata(path).ok()?;
    Some((meta.dev(), meta.ino(), meta.size(), meta.mtime(), meta.mtime_nsec()))
}

/// Reads the three files.
pub fn load(dir: &Path, now: UnixTime) -> Loaded {
    let chain = read(dir, CHAIN_FILE)?;
    let key = read(dir, KEY_FILE)?;
    let roots = read(dir, ROOTS_FILE)?;
    let identity = Identity::from_pem(&chain, &key, &roots)
        .and_then(|identity| identity.check(now).map(|()| identity))
        .map_err(|error| format!("{}: {error}", dir.display()))?;
    Ok(identity)
}

fn read(dir: &Path, name: &str) -> Result<Zeroizing<Vec<u8>>, String> {
    let path = dir.join(name);
    let told = |error: std::io::Error| format!("{}: {error}", path.display());
    let length = std::fs::metadata(&path).map_err(told)?.len();
    if length > PEM_BYTES_MAX as u64 {
        return Err(format!("{}: larger than {PEM_BYTES_MAX} bytes", path.display()));
    }
    std::fs::read(&path).map(Zeroizing::new).map_err(told)
}

#[cfg(test)]
mod tests;
