//! The run directory: where it lies, who owns it, what is in it.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use crate::feed::socket::{SocketError, run_dir};

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
                base.join(format!("run-{}", std::process::id()))
            }
        };
        run_dir(&path)?;
        let lock_path = path.join("lock");
        let io = |error: io::Error| RunDirError::Io { path: lock_path.clone(), error };
        let lock = File::create(&lock_path).map_err(io)?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(RunDir { path, own: given.is_none(), _lock: lock }),
            Err(rustix::io::Errno::WOULDBLOCK) => Err(RunDirError::InUse(path)),
            Err(error) => Err(io(error.into())),
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
    let mut found: Vec<(std::time::SystemTime, PathBuf)> = children(&base())
        .filter(|path| alive(path))
        .filter_map(|path| Some((std::fs::metadata(&path).ok()?.modified().ok()?, path)))
        .collect();
    found.sort();
    found.into_iter().rev().map(|(_, path)| path).collect()
}

/// Whether a run lives in this directory.
pub fn alive(path: &Path) -> bool {
    let Ok(lock) = File::open(path.join("lock")) else { return false };
    matches!(flock(&lock, FlockOperation::NonBlockingLockShared), Err(rustix::io::Errno::WOULDBLOCK))
}

/// Removes what runs that were killed, guard and all, left behind.
fn sweep(base: &Path) {
    for path in children(base).filter(|path| path.join("lock").exists() && !alive(path)) {
        let _ = std::fs::remove_dir_all(path);
    }
}

fn children(base: &Path) -> impl Iterator<Item = PathBuf> {
    std::fs::read_dir(base)
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| entry.file_name().to_str().is_some_and(|name| name.starts_with("run-")))
        .map(|entry| entry.path())
}
