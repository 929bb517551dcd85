//! The copy on disk: the last good objects and the hosts in use, so that a restart needs no controller.
//!
//! A copy is one file, replaced whole (written beside, synced, renamed, the directory synced), readable by its owner only.
//! Its first line names the format and the body's checksum; a copy that does not match is reported and ignored.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use dromon_core::config::snapshot::Update;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::feed::interest::InUse;

/// The file's name in the state directory.
pub const FILE_NAME: &str = "last-good.json";
/// The build that writes copies.
pub const BUILD: &str = env!("CARGO_PKG_VERSION");
/// A version that no controller gives: the object is sent again whatever its version is.
pub const FOREIGN_VERSION: &str = "of another build";
const FORMAT: &str = "dromon-state/1";

/// What a restart begins with.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Copy {
    /// The proxy it belongs to.
    pub id: String,
    /// The build that wrote it. Another build reads the objects but does not claim their versions, because it may
    /// read fields that the writer dropped.
    pub build: String,
    /// Rules and destinations that were in use.
    pub in_use: InUse,
    /// The objects in force.
    pub objects: Vec<Update>,
}

/// Why a copy could not be used.
#[derive(Debug, Error)]
pub enum LoadError {
    /// The file cannot be read.
    #[error("{path}: {error}; starting without a copy of the last configuration")]
    Io {
        /// Which file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// The file is not what was written.
    #[error("{path} is damaged ({reason}) and is ignored; starting without a copy of the last configuration")]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// In what way.
        reason: String,
    },
    /// The file belongs to another proxy.
    #[error(
        "{path} belongs to {found} and not to {wanted}; it is ignored (give each proxy its own --state-dir)"
    )]
    Foreign {
        /// Which file.
        path: PathBuf,
        /// Whose it is.
        found: String,
        /// Who reads it.
        wanted: String,
    },
}

/// Reads the copy of this proxy; `None` where there is none yet.
pub fn load(state_dir: &Path, id: &str) -> Result<Option<Copy>, LoadError> {
    let path = state_dir.join(FILE_NAME);
    let text = match fs::read(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(LoadError::Io { path, error }),
    };
    let copy = decode(&text).map_err(|reason| LoadError::Damaged { path: path.clone(), reason })?;
    if copy.id != id {
        return Err(LoadError::Foreign { path, found: copy.id, wanted: id.to_owned() });
    }
    Ok(Some(copy))
}

/// Replaces the copy. After a crash at any moment there is either the old copy or the new one.
pub fn save(state_dir: &Path, copy: &Copy) -> io::Result<()> {
    fs::create_dir_all(state_dir)?;
    let text = encode(copy)?;
    let beside = state_dir.join(format!("{FILE_NAME}.new"));
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
    file.write_all(&text)?;
    file.sync_all()?;
    drop(file);
    fs::rename(&beside, state_dir.join(FILE_NAME))?;
    File::open(state_dir)?.sync_all()
}

fn encode(copy: &Copy) -> io::Result<Vec<u8>> {
    let body = serde_json::to_vec(copy)?;
    let mut text = format!("{FORMAT} {:016x}\n", checksum(&body)).into_bytes();
    text.extend_from_slice(&body);
    Ok(text)
}

fn decode(text: &[u8]) -> Result<Copy, String> {
    let end = text.iter().position(|&byte| byte == b'\n').ok_or("it has no first line")?;
    let (head, body) = text.split_at(end);
    let body = body.get(1..).unwrap_or_default();
    let head = std::str::from_utf8(head).map_err(|_| "its first line is not text")?;
    let (format, sum) = head.split_once(' ').ok_or("its first line has no checksum")?;
    if format != FORMAT {
        return Err(format!("its format is {format:?} and not {FORMAT:?}"));
    }
    if sum != format!("{:016x}", checksum(body)) {
        return Err("its checksum does not match".into());
    }
    serde_json::from_slice(body).map_err(|error| error.to_string())
}

/// FNV-1a, 64 bits: tells damage, not malice; who can write the file can write anything.
fn checksum(body: &[u8]) -> u64 {
    body.iter()
        .fold(0xcbf2_9ce4_8422_2325, |sum, &byte| (sum ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3))
}

#[cfg(test)]
mod tests;
