//! The run directory: where it lies, who owns it, what is in it.

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};

use crate::feed::socket::{SocketError, run_dir};

/// The file in a run directory that is locked for as long as its run lives.
const LOCK: &str = "lock";
/// How the names of run directories begin.
const RUN: &str = "run-";
/// How the names of those begin that are being removed.
const SWEPT: &str = "swept-";
/// How long somebody who only looks may hold a lock: a moment, but other work may keep it from running.
const LOOK_MAX: Duration = Duration::from_secs(1);
/// Time between two tries.
const LOOK_PAUSE: Duration = Duration::from_millis(2);

/// A run directory in use.
#[derive(Debug)]
pub struct RunDir {
    path: PathBuf,
    /// It was made for this run and goes with it.
    own: bool,
    _lock: File,
}

/// Why there is no run directory.
#[derive(Debug, thiserror::Error)]
pub enum RunDirError {
    /// Another run lives in it.
    #[error("another `dromonctl run` uses {0}: end it, or choose another --run-dir")]
    InUse(PathBuf),
    /// It cannot be used.
    #[error(transparent)]
    Socket(#[from] SocketError),
    /// It cannot be locked.
    #[error("{path}: {error}")]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's word.
        error: io::Error,
    },
}

/// The directory that holds this user's run directories.
pub fn base() -> PathBuf {
    match std::env::var_os("XDG_RUNTIME_DIR").filter(|directory| Path::new(directory).is_dir()) {
        Some(directory) => Path::new(&directory).join("dromon"),
        None => std::env::temp_dir().join(format!("dromon-{}", rustix::process::geteuid().as_raw())),
    }
}

impl RunDir {
    /// Takes the given directory, or a fresh one.
    ///
    /// # Errors
    /// It is in use, or the system refuses it.
    pub fn take(given: Option<&Path>) -> Result<RunDir, RunDirError> {
        let path = match given {
            Some(given) => std::path::absolute(given)
                .map_err(|error| RunDirError::Io { path: given.to_owned(), error })?,
            None => {
                let base = base();
                run_dir(&base)?;
                sweep(&base);
                base.join(format!("{RUN}{}", std::process::id()))
            }
        };
        match lock(&path)? {
            Some(lock) => Ok(RunDir { path, own: given.is_none(), _lock: lock }),
            None => Err(RunDirError::InUse(path)),
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The directory, if it has to go with the run.
    pub fn removed_at_end(&self) -> Option<&Path> {
        self.own.then_some(self.path.as_path())
    }
}

/// The run directories of this user's living runs, newest first.
pub fn living() -> Vec<PathBuf> {
    let mut found: Vec<(std::time::SystemTime, PathBuf)> = children(&base(), RUN)
        .filter(|path| alive(path))
        .filter_map(|path| Some((std::fs::metadata(&path).ok()?.modified().ok()?, path)))
        .collect();
    found.sort();
    found.into_iter().rev().map(|(_, path)| path).collect()
}

/// Whether a run lives in this directory.
pub fn alive(path: &Path) -> bool {
    let Ok(lock) = File::open(path.join(LOCK)) else { return false };
    matches!(flock(&lock, FlockOperation::NonBlockingLockShared), Err(rustix::io::Errno::WOULDBLOCK))
}

/// Makes a run directory and locks it; none when another run lives there.
///
/// Others look whether somebody lives there by locking it for a moment, which is waited for, or to remove what is left of a
/// dead run: then what was locked is the lock of a directory that is gone, and it is made again.
fn lock(path: &Path) -> Result<Option<File>, RunDirError> {
    let lock_path = path.join(LOCK);
    let io = |error: io::Error| RunDirError::Io { path: lock_path.clone(), error };
    let patience = Instant::now() + LOOK_MAX;
    // What is swept between two steps was there for the first and is gone for the second.
    let swept = |error: &io::Error| {
        matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::AlreadyExists)
            && Instant::now() < patience
    };
    loop {
        match run_dir(path) {
            Ok(()) => {}
            Err(SocketError::Io { error, .. }) if swept(&error) => {
                std::thread::sleep(LOOK_PAUSE);
                continue;
            }
            Err(error) => return Err(error.into()),
        }
        let lock = match File::create(&lock_path) {
            Ok(lock) => lock,
            Err(error) if swept(&error) => continue,
            Err(error) => return Err(io(error)),
        };
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) if is_at(&lock, &lock_path) => return Ok(Some(lock)),
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) if Instant::now() < patience => {
                std::thread::sleep(LOOK_PAUSE);
            }
            Err(rustix::io::Errno::WOULDBLOCK) => return Ok(None),
            Err(error) => return Err(io(error.into())),
        }
    }
}

/// Removes what runs that were killed, guard and all, left behind.
///
/// A directory is first renamed, at one stroke and under its lock: a run that begins meanwhile finds the whole of what was
/// there or nothing of it, and nothing that it makes is removed with the rest.
fn sweep(base: &Path) {
    for path in children(base, RUN) {
        let lock_path = path.join(LOCK);
        let Ok(lock) = File::open(&lock_path) else { continue };
        if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_ok() && is_at(&lock, &lock_path) {
            let identity = lock.metadata().map_or(0, |meta| meta.ino());
            let _ = std::fs::rename(path, base.join(format!("{SWEPT}{}-{identity}", std::process::id())));
        }
    }
    for path in children(base, SWEPT) {
        let _ = std::fs::remove_dir_all(path);
    }
}

/// Whether an open file is still the one of this path.
fn is_at(file: &File, path: &Path) -> bool {
    let identity = |meta: std::fs::Metadata| (meta.dev(), meta.ino());
    match (file.metadata(), std::fs::metadata(path)) {
        (Ok(open), Ok(there)) => identity(open) == identity(there),
        _ => false,
    }
}

fn children(base: &Path, prefix: &'static str) -> impl Iterator<Item = PathBuf> {
    std::fs::read_dir(base)
        .into_iter()
        .flatten()
        .flatten()
        .filter(move |entry| entry.file_name().to_str().is_some_and(|name| name.starts_with(prefix)))
        .map(|entry| entry.path())
}

#[cfg(test)]
mod tests;
