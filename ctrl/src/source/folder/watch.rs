//! inotify: which paths were touched. Holds no knowledge of what the files are.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ffi::OsStr;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use inotify::{Event, EventMask, Inotify, WatchDescriptor, WatchMask};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::names;
use super::saves::Saves;

/// Halves of renames that wait for the other half.
const RENAMES_MAX: usize = 16;

/// What one reading brought.
#[derive(Default)]
pub(super) struct Events {
    /// Something was missed: every file has to be read again.
    pub(super) everything: bool,
    /// Something in the watched tree appeared, went or was swapped.
    pub(super) listing: bool,
    /// Paths whose content may be new.
    pub(super) touched: BTreeSet<PathBuf>,
    /// Files that were created and are still being written.
    pub(super) begun: BTreeSet<PathBuf>,
}

impl Events {
    /// Nothing to look at; a file that is still being written is nothing yet.
    pub(super) fn is_empty(&self) -> bool {
        !self.everything && !self.listing && self.touched.is_empty()
    }

    /// Takes in later ones; returns how many paths are new among them.
    pub(super) fn merge(&mut self, other: Events) -> usize {
        let before = self.len();
        self.everything |= other.everything;
        self.listing |= other.listing;
        self.touched.extend(other.touched);
        self.begun.extend(other.begun);
        self.len() - before
    }

    /// How many paths it is about.
    pub(super) fn len(&self) -> usize {
        self.touched.len() + self.begun.len()
    }
}

/// Why a directory is watched.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reason {
    /// It belongs to the folder.
    Inside,
    /// Links lead there, or the folder itself lies there: only names that we follow count.
    Outside,
}

/// The watch on a folder.
pub(super) struct Watch {
    inotify: Inotify,
    /// The paths by which each directory is reached: the kernel hands out one descriptor for all of them.
    directories: HashMap<WatchDescriptor, BTreeMap<PathBuf, Reason>>,
    watched: BTreeMap<PathBuf, WatchDescriptor>,
    followed: BTreeSet<PathBuf>,
    /// Names that were taken away, by the cookie under which they come back elsewhere.
    renames: Vec<(u32, PathBuf)>,
}

impl Watch {
    pub(super) fn new(root: &Path) -> io::Result<Watch> {
        let mut watch = Watch {
            inotify: Inotify::init()?,
            directories: HashMap::new(),
            watched: BTreeMap::new(),
            followed: BTreeSet::new(),
            renames: Vec::new(),
        };
        watch.directory(root)?;
        watch.follow(BTreeSet::from([root.to_owned()]));
        Ok(watch)
    }

    /// Watches a directory of the folder; harmless when it is watched already.
    pub(super) fn directory(&mut self, directory: &Path) -> io::Result<()> {
        self.add(directory, Reason::Inside)
    }

    /// Watches the directories that these paths lie in, for the sake of these paths alone; they take the place of those
    /// followed before.
    pub(super) fn follow(&mut self, paths: BTreeSet<PathBuf>) {
        let parents: BTreeSet<&Path> = paths.iter().filter_map(|path| path.parent()).collect();
        for parent in parents {
            // The tree works without, less promptly.
            let _ = self.add(parent, Reason::Outside);
        }
        self.followed = paths;
    }

    /// Forgets directories that are neither among these nor hold what is followed.
    pub(super) fn keep(&mut self, directories: &BTreeSet<PathBuf>) {
        let parents: BTreeSet<&Path> = self.followed.iter().filter_map(|path| path.parent()).collect();
        let needed = |path: &Path| directories.contains(path) || parents.contains(path);
        let stale: Vec<PathBuf> = self.watched.keys().filter(|path| !needed(path)).cloned().collect();
        for path in stale {
            if let Some(descriptor) = self.watched.remove(&path) {
                self.leave(&descriptor, &path);
            }
        }
    }

    fn add(&mut self, directory: &Path, reason: Reason) -> io::Result<()> {
        let mask = WatchMask::CLOSE_WRITE
            | WatchMask::CREATE
            | WatchMask::MOVED_TO
            | WatchMask::MOVED_FROM
            | WatchMask::DELETE
            | WatchMask::ATTRIB
            | WatchMask::ONLYDIR;
        // The kernel hands out one descriptor per inode, so asking again is how a replaced directory is noticed.
        let descriptor = self.inotify.watches().add(directory, mask)?;
        let paths = self.directories.entry(descriptor.clone()).or_default();
        let known = paths.entry(directory.to_owned()).or_insert(reason);
        if reason == Reason::Inside {
            *known = reason;
        }
        let before = self.watched.insert(directory.to_owned(), descriptor.clone());
        if let Some(before) = before.filter(|before| *before != descriptor) {
            self.leave(&before, directory);
        }
        Ok(())
    }

    /// A watched directory is not reached by this path any more.
    fn leave(&mut self, descriptor: &WatchDescriptor, path: &Path) {
        let Some(paths) = self.directories.get_mut(descriptor) else { return };
        paths.remove(path);
        if paths.is_empty() {
            self.directories.remove(descriptor);
            // It may be gone altogether, watch and all.
            let _ = self.inotify.watches().remove(descriptor.clone());
        }
    }

    /// Waits for events and reads all there are.
    pub(super) fn read(&mut self, wait: Duration, saves: &mut Saves) -> io::Result<Events> {
        let mut events = Events::default();
        let mut wait = wait;
        let mut buffer = [0u8; 16 * 1024];
        loop {
            if !self.readable(wait)? {
                return Ok(events);
            }
            wait = Duration::ZERO;
            let batch = match self.inotify.read_events(&mut buffer) {
                Ok(batch) => batch.map(|event| event.to_owned()).collect::<Vec<_>>(),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(events),
                Err(error) => return Err(error),
            };
            for event in batch {
                self.note(&event, &mut events, saves);
            }
        }
    }

    fn readable(&self, wait: Duration) -> io::Result<bool> {
        let mut descriptors = [PollFd::from_borrowed_fd(self.inotify.as_fd(), PollFlags::IN)];
        let wait = Timespec { tv_sec: wait.as_secs() as i64, tv_nsec: wait.subsec_nanos().into() };
        match poll(&mut descriptors, Some(&wait)) {
            Ok(ready) => Ok(ready > 0),
            Err(rustix::io::Errno::INTR) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    fn note(&mut self, event: &Event<std::ffi::OsString>, events: &mut Events, saves: &mut Saves) {
        if event.mask.contains(EventMask::Q_OVERFLOW) {
            events.everything = true;
            return;
        }
        let Some(paths) = self.directories.get(&event.wd).cloned() else { return };
        let is_inside = paths.values().any(|reason| *reason == Reason::Inside);
        if event.mask.contains(EventMask::IGNORED) {
            self.directories.remove(&event.wd);
            self.watched.retain(|_, watched| *watched != event.wd);
            events.listing |= is_inside;
            return;
        }
        let Some(name) = &event.name else {
            events.listing |= is_inside;
            return;
        };
        for (directory, reason) in paths {
            let path = directory.join(name);
            if self.counts(&path, name, reason) {
                self.note_path(path, event, events, saves);
            }
        }
    }

    fn counts(&self, path: &Path, name: &OsStr, reason: Reason) -> bool {
        let ours = reason == Reason::Inside && !name.to_str().is_some_and(names::hidden);
        ours || self.followed.contains(path)
    }

    fn note_path(
        &mut self,
        path: PathBuf,
        event: &Event<std::ffi::OsString>,
        events: &mut Events,
        saves: &mut Saves,
    ) {
        if event.mask.contains(EventMask::CREATE) && being_written(&path) {
            saves.begin(path.clone(), Instant::now());
            events.begun.insert(path);
            return;
        }
        // A mode or a time is set while the file is still open.
        if event.mask.contains(EventMask::ATTRIB) && saves.is_writing(&path) {
            return;
        }
        saves.end(&path);
        if event.mask.contains(EventMask::MOVED_FROM) {
            self.renames.truncate(RENAMES_MAX - 1);
            self.renames.insert(0, (event.cookie, path.clone()));
        }
        if event.mask.contains(EventMask::MOVED_TO) {
            let halves = self.renames.iter().filter(|(cookie, _)| *cookie == event.cookie);
            for (_, from) in halves.filter(|(_, from)| names::is_backup(&path, from)) {
                saves.put_aside(from.clone(), Instant::now());
            }
        }
        events.listing = true;
        events.touched.insert(path);
    }
}

/// Whether a file that just appeared will be followed by the event of its being closed: a new regular file is, a link
/// or a directory is not.
fn being_written(path: &Path) -> bool {
    std::fs::symlink_metadata(path).is_ok_and(|meta| meta.is_file() && meta.nlink() == 1)
}
