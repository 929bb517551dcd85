//! The proxy's own certificate: files in a directory, read again when they change.
//!
//! Whoever renews them (a controller, a mounted Secret, a person) replaces three files that belong together, perhaps one
//! after the other. So a set that does not fit is looked at again before anything is said of it, and the last good one
//! stays in use meanwhile. A set that fits together and is refused for its time only is good as soon as its time has come, or
//! the clock has been put right: it is kept in mind.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use dromon_auth::Identity;
use dromon_auth::identity::{CHAIN_FILE, IdentityError, KEY_FILE, ROOTS_FILE};
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
    watch_by(dir, events, UnixTime::now).await;
}

async fn watch_by(dir: PathBuf, events: mpsc::Sender<Event>, clock: impl Fn() -> UnixTime) {
    let mut told = None;
    let (mut doubtful, mut doubts) = (None, 0);
    let mut untimely: Option<Identity> = None;
    loop {
        let files = Some([CHAIN_FILE, KEY_FILE, ROOTS_FILE].map(|name| stamp(&dir.join(name))));
        let due = if files != told {
            doubts = if doubtful == files { doubts + 1 } else { 0 };
            doubtful = files;
            let loaded = look(&dir, clock());
            let certain = loaded.is_ok() || doubts >= DOUBTS;
            certain.then(|| {
                told = files;
                loaded.map_err(|refused| {
                    untimely = refused.untimely;
                    refused.text
                })
            })
        } else {
            untimely.take_if(|identity| identity.check(clock()).is_ok()).map(Ok)
        };
        if let Some(loaded) = due
            && events.send(Event::Certificates(loaded)).await.is_err()
        {
            return;
        }
        tokio::time::sleep(POLL).await;
    }
}

fn stamp(path: &Path) -> Stamp {
    let meta = std::fs::metadata(path).ok()?;
    Some((meta.dev(), meta.ino(), meta.size(), meta.mtime(), meta.mtime_nsec()))
}

/// Files that are of no use now.
#[derive(Debug)]
struct Refused {
    text: String,
    /// What they say, if nothing but their time is wrong with it.
    untimely: Option<Identity>,
}

impl From<String> for Refused {
    fn from(text: String) -> Refused {
        Refused { text, untimely: None }
    }
}

/// Reads the three files.
///
/// # Errors
/// They are of no use now; in words for an operator.
pub fn load(dir: &Path, now: UnixTime) -> Loaded {
    look(dir, now).map_err(|refused| refused.text)
}

fn look(dir: &Path, now: UnixTime) -> Result<Identity, Refused> {
    let chain = read(dir, CHAIN_FILE)?;
    let key = read(dir, KEY_FILE)?;
    let roots = read(dir, ROOTS_FILE)?;
    let named = |error: IdentityError| format!("{}: {error}", dir.display());
    let identity = Identity::from_pem(&chain, &key, &roots).map_err(named)?;
    match identity.check(now) {
        Ok(()) => Ok(identity),
        Err(error) => {
            let untimely = error.is_of_time().then_some(identity);
            Err(Refused { text: named(error), untimely })
        }
    }
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
