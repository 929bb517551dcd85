//! A folder of YAML files as a source: says which files changed, once per version.
//!
//! A version is what was saved together ([`settle`]). A file counts as saved when its writer closed it or when it was
//! renamed into place, so a half-written file is never read, nor one missed that its editor puts aside ([`saves`]). The
//! folder is watched with inotify, directories below it included; symbolic links are followed wherever they lead
//! ([`links`]), and a link that is swapped (as a mounted ConfigMap does it) counts as a change of every file reached
//! through it.
//!
//! This module reads bytes only. Whether a text is good, and what happens when it is not, is the store's business.

mod links;
mod names;
mod saves;
mod scan;
mod settle;
#[cfg(test)]
mod tests;
mod watch;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use dromon_core::limits;

use saves::Saves;
use scan::Found;
use settle::Settle;
use watch::{Events, Watch};

/// What happened to one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The file's path below the folder.
    pub file: String,
    /// Its new state.
    pub state: FileState,
}

/// A file's state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FileState {
    /// It holds this.
    Text(Arc<str>),
    /// It is there and cannot be read; why.
    Unreadable(String),
    /// It is gone.
    Removed,
}

/// Files that changed together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// By file name.
    pub changes: Vec<Change>,
    /// What an operator should know about the folder itself, one line each; told once.
    pub notes: Vec<String>,
}

/// A folder that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// It is a file.
    #[error(
        "{path} is a file, and a folder is wanted: give {}, of which every YAML file is read",
        parent(path)
    )]
    File {
        /// The file.
        path: PathBuf,
    },
    /// It does not exist, or cannot be listed.
    #[error("cannot read the folder {path}: {error}")]
    Unreadable {
        /// The folder.
        path: PathBuf,
        /// The system's word.
        error: std::io::Error,
    },
    /// The system gives no watch.
    #[error("cannot watch the folder {path}: {error}")]
    Unwatchable {
        /// The folder.
        path: PathBuf,
        /// The system's word.
        error: std::io::Error,
    },
}

/// The folder that a file lies in.
fn parent(file: &Path) -> String {
    file.parent().unwrap_or(file).display().to_string()
}

/// A watched folder.
pub struct Folder {
    root: PathBuf,
    watch: Watch,
    files: BTreeMap<String, Known>,
    saves: Saves,
    lost: bool,
    /// Paths of which nothing is known, as told.
    unknown: BTreeMap<String, String>,
}

/// A file as it was read last.
struct Known {
    path: PathBuf,
    identity: scan::Identity,
    state: FileState,
}

impl Folder {
    /// Opens a folder and reads what is in it.
    ///
    /// # Errors
    /// The folder cannot be listed or watched.
    pub fn open(root: &Path) -> Result<(Folder, Batch), FolderError> {
        let root = std::path::absolute(root)
            .map_err(|error| FolderError::Unreadable { path: root.to_owned(), error })?;
        if root.is_file() {
            return Err(FolderError::File { path: root });
        }
        std::fs::read_dir(&root).map_err(|error| FolderError::Unreadable { path: root.clone(), error })?;
        let watch =
            Watch::new(&root).map_err(|error| FolderError::Unwatchable { path: root.clone(), error })?;
        let mut folder = Folder {
            root,
            watch,
            files: BTreeMap::new(),
            saves: Saves::default(),
            lost: false,
            unknown: BTreeMap::new(),
        };
        let batch = folder.rescan(&Events { everything: true, ..Events::default() });
        Ok((folder, batch))
    }

    /// Waits for the next version; `None` when `wait` passed without one.
    ///
    /// # Errors
    /// The system's watch failed; a new [`Folder`] has to be opened.
    pub fn next(&mut self, wait: Duration) -> Result<Option<Batch>, FolderError> {
        let deadline = Instant::now() + wait;
        loop {
            let now = Instant::now();
            let until = self.saves.due().map_or(deadline, |due| due.min(deadline));
            let mut events = self.read_events(until.saturating_duration_since(now))?;
            events.touched.extend(self.saves.expire(Instant::now()));
            if !events.is_empty() {
                self.settle(&mut events)?;
                let batch = self.rescan(&events);
                if !batch.changes.is_empty() || !batch.notes.is_empty() {
                    return Ok(Some(batch));
                }
            }
            if Instant::now() >= deadline {
                return Ok(None);
            }
        }
    }

    /// Runs the folder on a thread of its own, until `deliver` returns false.
    pub fn spawn(mut self, mut deliver: impl FnMut(Batch) -> bool + Send + 'static) -> std::io::Result<()> {
        std::thread::Builder::new().name("folder".into()).spawn(move || {
            loop {
                match self.next(Duration::from_secs(3_600)) {
                    Ok(None) => {}
                    Ok(Some(batch)) => {
                        if !deliver(batch) {
                            return;
                        }
                    }
                    Err(error) => {
                        deliver(Batch { changes: Vec::new(), notes: vec![error.to_string()] });
                        return;
                    }
                }
            }
        })?;
        Ok(())
    }

    fn read_events(&mut self, wait: Duration) -> Result<Events, FolderError> {
        self.watch
            .read(wait, &mut self.saves)
            .map_err(|error| FolderError::Unwatchable { path: self.root.clone(), error })
    }

    /// Gathers further events until the version is complete.
    fn settle(&mut self, events: &mut Events) -> Result<(), FolderError> {
        let mut settle = Settle::new(Instant::now(), events.len());
        loop {
            let left = settle.left(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            let more = self.read_events(left)?;
            settle.more(Instant::now(), events.merge(more));
        }
    }

    /// Lists the folder, reads what may have changed, and says what did.
    fn rescan(&mut self, events: &Events) -> Batch {
        let mut batch = Batch::default();
        let listing = match scan::scan(&self.root, &mut self.watch, &mut batch.notes) {
            Ok(listing) => {
                self.lost = false;
                listing
            }
            Err(error) => {
                let mut way = links::follow(&self.root).steps;
                way.insert(self.root.clone());
                self.watch.follow(way);
                // An unmounted or replaced folder is no statement about its rules: what was good stays.
                if !self.lost {
                    self.lost = true;
                    batch.notes = vec![format!(
                        "the folder {} cannot be read ({error}): its last objects stay until it is back",
                        self.root.display()
                    )];
                }
                return batch;
            }
        };
        for (path, error) in &listing.unknown {
            if self.unknown.get(path) != Some(error) {
                let note = format!("{path} cannot be read ({error}): what it held last stays in force");
                batch.notes.push(note);
            }
        }
        let is_gone = |(name, known): &(&String, &Known)| {
            !listing.found.contains_key(*name) && !listing.may_hold(name) && !self.saves.is_aside(&known.path)
        };
        let gone: Vec<String> = self.files.iter().filter(is_gone).map(|(name, _)| name.clone()).collect();
        self.unknown = listing.unknown;
        for file in gone {
            self.files.remove(&file);
            batch.changes.push(Change { file, state: FileState::Removed });
        }
        for (file, found) in listing.found {
            let mut paths = std::iter::once(&found.path).chain(&found.steps);
            if paths.clone().any(|path| self.saves.is_writing(path)) {
                continue;
            }
            let known = self.files.get(&file);
            let fresh = known.is_none_or(|known| {
                events.everything
                    || known.identity != found.identity
                    || paths.any(|path| events.touched.contains(path))
            });
            if !fresh {
                continue;
            }
            let state = read(&found);
            let changed = known.is_none_or(|known| known.state != state);
            let Found { path, identity, .. } = found;
            self.files.insert(file.clone(), Known { path, identity, state: state.clone() });
            if changed {
                batch.changes.push(Change { file, state });
            }
        }
        let mut steps = listing.steps;
        steps.insert(self.root.clone());
        self.watch.follow(steps);
        self.watch.keep(&listing.directories);
        batch.changes.sort_by(|a, b| a.file.cmp(&b.file));
        batch
    }
}

fn read(found: &Found) -> FileState {
    match std::fs::metadata(&found.path) {
        Ok(meta) if meta.len() > limits::CONFIG_FILE_BYTES_MAX => {
            return FileState::Unreadable(format!(
                "it has {} bytes, more than the {} that a file may have",
                meta.len(),
                limits::CONFIG_FILE_BYTES_MAX
            ));
        }
        Ok(_) => {}
        Err(error) => return FileState::Unreadable(error.to_string()),
    }
    match std::fs::read(&found.path) {
        Ok(bytes) => match String::from_utf8(bytes) {
            Ok(text) => FileState::Text(text.into()),
            Err(error) => FileState::Unreadable(format!(
                "it is not UTF-8 text (byte {})",
                error.utf8_error().valid_up_to() + 1
            )),
        },
        Err(error) => FileState::Unreadable(error.to_string()),
    }
}
