//! The run directory and the socket in it.

use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use tokio::net::UnixListener;

/// Why the feed's socket cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// Another controller answers there.
    #[error("another controller already serves {0}: end it, or choose another --run-dir")]
    InUse(PathBuf),
    /// The run directory belongs to somebody else.
    #[error("the run directory {0} belongs to another user: choose another --run-dir")]
    Foreign(PathBuf),
    /// Others may look into the run directory, and it is not ours to close.
    #[error("the run directory {0} is open to other users: chmod 700 it, or choose another --run-dir")]
    Open(PathBuf),
    /// The system's word.
    #[error("{path}: {error}")]
    Io {
        /// What it is about.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
}

impl SocketError {
    fn io(path: &Path) -> impl FnOnce(io::Error) -> SocketError {
        let path = path.to_owned();
        move |error| SocketError::Io { path, error }
    }
}

/// Makes the run directory, closed to everyone else: who can reach the socket can ask for any proxy's view. One that is there
/// already is used if it is closed too, and never changed.
///
/// # Errors
/// It cannot be made, belongs to another user, or is open to others.
pub fn run_dir(path: &Path) -> Result<(), SocketError> {
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(SocketError::io(path))?;
    let meta = std::fs::metadata(path).map_err(SocketError::io(path))?;
    if meta.uid() != rustix::process::geteuid().as_raw() {
        return Err(SocketError::Foreign(path.to_owned()));
    }
    if meta.permissions().mode() & 0o077 != 0 {
        return Err(SocketError::Open(path.to_owned()));
    }
    Ok(())
}

/// Listens on a unix socket. One that a dead controller left behind is replaced.
///
/// # Errors
/// A living controller serves it, or the system refuses.
pub fn listen(path: &Path) -> Result<UnixListener, SocketError> {
    if UnixStream::connect(path).is_ok() {
        return Err(SocketError::InUse(path.to_owned()));
    }
    match std::fs::remove_file(path) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(SocketError::io(path)(error)),
    }
    UnixListener::bind(path).map_err(SocketError::io(path))
}
