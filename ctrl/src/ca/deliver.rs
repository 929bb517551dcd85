//! A proxy's certificates on disk, replaced as a whole.
//!
//! As Kubernetes mounts a Secret: the files lie in a directory of their own, `..data` is a link to it, and the names that
//! people use are links through `..data`. A new set is written beside the old one and the link is swapped, so whoever
//! resolves `..data` once and reads the three files there never sees a chain with another one's key.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use dromon_auth::identity::{CHAIN_FILE, Identity, KEY_FILE, ROOTS_FILE};
use zeroize::Zeroizing;

const DATA: &str = "..data";
const DATA_NEW: &str = "..data_new";

/// The three files.
pub struct Files<'a> {
    /// `cert-chain.pem`.
    pub chain: &'a str,
    /// `key.pem`.
    pub key: &'a str,
    /// `root-cert.pem`.
    pub roots: &'a str,
}

/// Makes a directory that is closed to everybody else, and those above it.
///
/// # Errors
/// The system refuses.
pub fn closed_directory(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Writes a file that is closed to everybody else, which is not there yet.
///
/// # Errors
/// It is there, or the system refuses.
pub fn closed_file(path: &Path, content: &[u8]) -> io::Result<()> {
    write_closed(path, content)?.sync_all()
}

fn write_closed(path: &Path, content: &[u8]) -> io::Result<File> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(content)?;
    Ok(file)
}

/// Replaces a file that is closed to everybody else as a whole, so that a crash leaves the old one or the new one.
///
/// # Errors
/// The system refuses.
pub fn replace_kept(path: &Path, content: &[u8]) -> io::Result<()> {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let new = path.with_file_name(format!(".{name}.new"));
    match std::fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => closed_file(&new, content)?,
    }
    std::fs::rename(&new, path)?;
    match path.parent() {
        Some(directory) => File::open(directory)?.sync_all(),
        None => Ok(()),
    }
}

/// Replaces a proxy's certificates.
///
/// # Errors
/// The system refuses; what was there is still there.
pub fn deliver(directory: &Path, files: &Files<'_>) -> io::Result<()> {
    closed_directory(directory)?;
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let name = format!("..{}", since.as_nanos());
    let set = directory.join(&name);
    let written = write_set(&set, files).and_then(|()| swap(directory, &name));
    if written.is_err() {
        let _ = std::fs::remove_dir_all(&set);
        return written;
    }
    for file in [CHAIN_FILE, KEY_FILE, ROOTS_FILE] {
        match symlink(Path::new(DATA).join(file), directory.join(file)) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
    }
    sweep(directory, &name);
    Ok(())
}

/// Nothing here waits for the disk: what a crash of the machine tears is no identity any more and is issued anew, and a busy
/// disk would hold up the renewals of all.
fn write_set(set: &Path, files: &Files<'_>) -> io::Result<()> {
    closed_directory(set)?;
    write_closed(&set.join(KEY_FILE), files.key.as_bytes())?;
    write_closed(&set.join(CHAIN_FILE), files.chain.as_bytes())?;
    write_closed(&set.join(ROOTS_FILE), files.roots.as_bytes()).map(drop)
}

fn swap(directory: &Path, name: &str) -> io::Result<()> {
    let new = directory.join(DATA_NEW);
    match std::fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => symlink(name, &new)?,
    }
    std::fs::rename(new, directory.join(DATA))
}

/// Removes earlier sets; one that cannot be removed now is removed the next time.
fn sweep(directory: &Path, current: &str) {
    for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        let is_old = entry
            .file_name()
            .to_str()
            .and_then(|name| name.strip_prefix(".."))
            .is_some_and(|name| name.bytes().all(|byte| byte.is_ascii_digit()));
        if is_old && entry.file_name() != current {
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}

/// Reads what a proxy has, if it is whole.
pub fn read(directory: &Path) -> Option<Identity> {
    let set: PathBuf = std::fs::canonicalize(directory.join(DATA)).ok()?;
    let read = |file: &str| std::fs::read(set.join(file)).ok();
    let key = Zeroizing::new(read(KEY_FILE)?);
    Identity::from_pem(&read(CHAIN_FILE)?, &key, &read(ROOTS_FILE)?).ok()
}
