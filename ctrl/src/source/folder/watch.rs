//! inotify: which paths were touched. Holds no knowledge of what the files are.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use inotify::{EventMask, Inotify, WatchDescriptor, WatchMask};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// What one reading brought.
#[derive(Default)]
pub(super) struct Events {
    /// Something was missed: every file has to be read again.
    pub(super) everything: bool,
    /// Something in the watched tree appeared, went or was swapped.
    pub(super) listing: bool,
    /// Paths whose content may be new.
    pub(super) touched: BTreeSet<PathBuf>,
}

impl Events {
    pub(super) fn is_empty(&self) -> bool {
        !self.everything && !self.listing && self.touched.is_empty()
    }

    pub(super) fn merge(&mut self, other: Events) {
        self.everything |= other.everything;
        self.listing |= other.listing;
        self.touched.extend(other.touched);
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
    directories: HashMap<WatchDescriptor, (PathBuf, Reason)>,
    watched: BTreeMap<PathBuf, WatchDescriptor>,
    root: PathBuf,
    followed: BTreeSet<PathBuf>,
}

impl Watch {
    pub(super) fn new(root: &Path) -> io::Result<Watch> {
        let mut watch = Watch {
            inotify: Inotify::init()?,
            directories: HashMap::new(),
            watched: BTreeMap::new(),
            root: root.to_owned(),
            followed: BTreeSet::new(),
        };
        watch.directory(root)?;
        watch.outside(root);
        Ok(watch)
    }

    /// Watches a directory of the folder; harmless when it is watched already.
    pub(super) fn directory(&mut self, directory: &Path) -> io::Result<()> {
        self.add(directory, Reason::Inside)
    }

    /// Follows these files to where they really are, links included.
    pub(super) fn follow(&mut self, files: BTreeSet<PathBuf>) {
        for file in &files {
            self.outside(file);
        }
        self.followed = files;
    }

    /// Watches the directory that `path` lies in, for the sake of `path` alone. The tree works without, less promptly.
    fn outside(&mut self, path: &Path) {
        if let Some(parent) = path.parent()
            && !self.watched.contains_key(parent)
        {
            let _ = self.add(parent, Reason::Outside);
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
        let entry =
            self.directories.entry(descriptor.clone()).or_insert_with(|| (directory.to_owned(), reason));
        if reason == Reason::Inside {
            *entry = (directory.to_owned(), Reason::Inside);
        }
        self.watched.insert(directory.to_owned(), descriptor);
        Ok(())
    }

    /// Waits for events and reads all there are. Files that were created and are still being written go to `writing`.
    pub(super) fn read(
        &mut self,
        wait: Duration,
        writing: &mut BTreeMap<PathBuf, Instant>,
    ) -> io::Result<Events> {
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
                self.note(&event.wd, event.mask, event.name.as_deref(), &mut events, writing);
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

    fn note(
        &mut self,
        descriptor: &WatchDescriptor,
        mask: EventMask,
        name: Option<&std::ffi::OsStr>,
        events: &mut Events,
        writing: &mut BTreeMap<PathBuf, Instant>,
    ) {
        if mask.contains(EventMask::Q_OVERFLOW) {
            events.everything = true;
            return;
        }
        let Some((directory, reason)) = self.directories.get(descriptor).cloned() else { return };
        if mask.contains(EventMask::IGNORED) {
            self.directories.remove(descriptor);
            self.watched.retain(|_, watched| watched != descriptor);
            events.listing |= reason == Reason::Inside;
            return;
        }
        let Some(name) = name else {
            events.listing |= reason == Reason::Inside;
            return;
        };
        let path = directory.join(name);
        if reason == Reason::Outside && path != self.root && !self.followed.contains(&path) {
            return;
        }
        if mask.contains(EventMask::CREATE) && being_written(&path) {
            writing.insert(path, Instant::now());
            return;
        }
        writing.remove(&path);
        events.listing = true;
        events.touched.insert(path);
    }
}

/// Whether a file that just appeared will be followed by the event of its being closed: a new regular file is, a link
/// or a directory is not.
fn being_written(path: &Path) -> bool {
    std::fs::symlink_metadata(path).is_ok_and(|meta| meta.is_file() && meta.nlink() == 1)
}
