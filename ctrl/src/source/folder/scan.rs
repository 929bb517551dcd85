//! Lists a folder: every file that holds objects, with what tells one file from another of the same name.

use std::collections::BTreeMap;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use dromon_core::limits;

use super::names;
use super::watch::Watch;

/// Device and inode: changes when another file is put in a file's place, however it is done.
pub(super) type Identity = (u64, u64);

/// A file that was found.
pub(super) struct Found {
    /// Absolute path, as reached.
    pub(super) path: PathBuf,
    /// What it is.
    pub(super) identity: Identity,
    /// Where it really is, when reached through a link.
    pub(super) target: Option<PathBuf>,
}

/// What a listing brought.
#[derive(Default)]
pub(super) struct Listing {
    /// The files, by path below the folder.
    pub(super) found: BTreeMap<String, Found>,
    /// Paths below the folder that are there and lead nowhere, or cannot be listed, with the reason: nothing is known of
    /// what lies there.
    pub(super) unknown: BTreeMap<String, String>,
}

impl Listing {
    /// Whether a file may lie where nothing is known.
    pub(super) fn may_hold(&self, file: &str) -> bool {
        self.unknown.keys().any(|path| {
            file.strip_prefix(path.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        })
    }
}

/// Lists everything below `root` and watches each directory before it is read, so that nothing
/// which appears meanwhile is missed.
pub(super) fn scan(root: &Path, watch: &mut Watch, notes: &mut Vec<String>) -> io::Result<Listing> {
    let mut listing = Listing::default();
    let mut directories = vec![(root.to_owned(), String::new(), 0usize)];
    while let Some((directory, prefix, depth)) = directories.pop() {
        if let Err(error) = watch.directory(&directory)
            && depth == 0
        {
            return Err(error);
        }
        let entries = match std::fs::read_dir(&directory) {
            Ok(entries) => entries,
            Err(error) if depth == 0 => return Err(error),
            // It went away between being listed and being read; the event that says so is on its way.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => {
                listing.unknown.insert(prefix.trim_end_matches('/').to_owned(), error.to_string());
                continue;
            }
        };
        for entry in entries.flatten() {
            let name = entry.file_name();
            let Some(name) = name.to_str() else { continue };
            if names::hidden(name) {
                continue;
            }
            let path = entry.path();
            let meta = match std::fs::metadata(&path) {
                Ok(meta) => meta,
                Err(error) => {
                    // What is gone altogether is no link that leads nowhere.
                    if path.is_symlink() {
                        listing.unknown.insert(format!("{prefix}{name}"), error.to_string());
                    }
                    continue;
                }
            };
            if meta.is_dir() {
                if depth + 1 < limits::CONFIG_FOLDER_DEPTH_MAX {
                    directories.push((path, format!("{prefix}{name}/"), depth + 1));
                }
            } else if meta.is_file() && names::wanted(name) {
                if listing.found.len() == limits::CONFIG_FILES_MAX {
                    notes.push(format!("only the first {} files are read", limits::CONFIG_FILES_MAX));
                    return Ok(listing);
                }
                let target = std::fs::canonicalize(&path).ok().filter(|target| *target != path);
                let identity = (meta.dev(), meta.ino());
                listing.found.insert(format!("{prefix}{name}"), Found { path, identity, target });
            }
        }
    }
    Ok(listing)
}
