//! Lists a folder: every file that holds objects, with what tells one file from another of the same name.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use dromon_core::limits;

use super::links::{self, Way};
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
    /// When it is reached through links: each of them, where they lead, and where it really is.
    pub(super) steps: BTreeSet<PathBuf>,
}

/// What a listing brought.
#[derive(Default)]
pub(super) struct Listing {
    /// The files, by path below the folder.
    pub(super) found: BTreeMap<String, Found>,
    /// Paths below the folder that are there and lead nowhere, or cannot be listed, with the reason: nothing is known of
    /// what lies there.
    pub(super) unknown: BTreeMap<String, String>,
    /// The directories that were listed, by the path they were reached by.
    pub(super) directories: BTreeSet<PathBuf>,
    /// Everything on the way to what was listed, found or not, that a swap would give another meaning.
    pub(super) steps: BTreeSet<PathBuf>,
}

impl Listing {
    /// Whether a file may lie where nothing is known.
    pub(super) fn may_hold(&self, file: &str) -> bool {
        self.unknown.keys().any(|path| {
            file.strip_prefix(path.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        })
    }
}

/// A directory still to be listed.
struct Directory {
    path: PathBuf,
    /// Before the names of its files.
    prefix: String,
    depth: usize,
    way: Way,
}

/// Lists everything below `root` and watches each directory before it is read, so that nothing
/// which appears meanwhile is missed.
pub(super) fn scan(root: &Path, watch: &mut Watch, notes: &mut Vec<String>) -> io::Result<Listing> {
    let mut listing = Listing::default();
    let top = Directory { path: root.to_owned(), prefix: String::new(), depth: 0, way: links::follow(root) };
    let mut directories = vec![top];
    while let Some(directory) = directories.pop() {
        let Directory { path, prefix, depth, way } = &directory;
        listing.steps.extend(way.steps.iter().cloned());
        let watched = watch.directory(path);
        let entries = match watched.and_then(|()| std::fs::read_dir(path)) {
            Ok(entries) => entries,
            Err(error) if *depth == 0 => return Err(error),
            // It went away between being listed and being read; the event that says so is on its way.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => {
                listing.unknown.insert(prefix.trim_end_matches('/').to_owned(), error.to_string());
                continue;
            }
        };
        listing.directories.insert(path.clone());
        for entry in entries.flatten() {
            let name = entry.file_name();
            let Some(name) = name.to_str().filter(|name| !names::hidden(name)) else { continue };
            let path = entry.path();
            let is_link = entry.file_type().is_ok_and(|kind| kind.is_symlink());
            let entry_way = if is_link { links::follow(&path) } else { below(way, name) };
            listing.steps.extend(entry_way.steps.iter().cloned());
            let meta = match std::fs::metadata(&path) {
                Ok(meta) => meta,
                Err(error) => {
                    // What is gone altogether is no link that leads nowhere.
                    if is_link && path.is_symlink() {
                        listing.unknown.insert(format!("{prefix}{name}"), error.to_string());
                    }
                    continue;
                }
            };
            if meta.is_dir() {
                if depth + 1 < limits::CONFIG_FOLDER_DEPTH_MAX {
                    let prefix = format!("{prefix}{name}/");
                    directories.push(Directory { path, prefix, depth: depth + 1, way: entry_way });
                }
            } else if meta.is_file() && names::wanted(name) {
                if listing.found.len() == limits::CONFIG_FILES_MAX {
                    notes.push(format!("only the first {} files are read", limits::CONFIG_FILES_MAX));
                    return Ok(listing);
                }
                let mut steps = entry_way.steps;
                if entry_way.end != path {
                    steps.insert(entry_way.end);
                }
                listing.steps.extend(steps.iter().cloned());
                let identity = (meta.dev(), meta.ino());
                listing.found.insert(format!("{prefix}{name}"), Found { path, identity, steps });
            }
        }
    }
    Ok(listing)
}

/// The way to what lies in a directory under this name and is no link.
fn below(directory: &Way, name: &str) -> Way {
    Way { steps: directory.steps.clone(), end: directory.end.join(name) }
}
