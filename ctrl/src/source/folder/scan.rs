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

/// Lists everything below `root`, by path below it, and watches each directory before it is read, so that nothing
/// which appears meanwhile is missed.
pub(super) fn scan(
    root: &Path,
    watch: &mut Watch,
    notes: &mut Vec<String>,
) -> io::Result<BTreeMap<String, Found>> {
    let mut found = BTreeMap::new();
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
            Err(_) => continue,
        };
        for entry in entries.flatten() {
            let name = entry.file_name();
            let Some(name) = name.to_str() else { continue };
            if names::hidden(name) {
                continue;
            }
            let path = entry.path();
            let Ok(meta) = std::fs::metadata(&path) else { continue };
            if meta.is_dir() {
                if depth + 1 < limits::CONFIG_FOLDER_DEPTH_MAX {
                    directories.push((path, format!("{prefix}{name}/"), depth + 1));
                }
            } else if meta.is_file() && names::wanted(name) {
                if found.len() == limits::CONFIG_FILES_MAX {
                    notes.push(format!("only the first {} files are read", limits::CONFIG_FILES_MAX));
                    return Ok(found);
                }
                let target = std::fs::canonicalize(&path).ok().filter(|target| *target != path);
                let identity = (meta.dev(), meta.ino());
                found.insert(format!("{prefix}{name}"), Found { path, identity, target });
            }
        }
    }
    Ok(found)
}
