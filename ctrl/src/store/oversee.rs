//! Looks at versions in its own time, on a thread of its own: for what is wrong across objects, and for whoever else wants to
//! know (statuses, accounts). Only the latest version counts; it is looked at once nothing has come for a moment, and after a
//! second whatever comes, so that a mesh which changes all the time is looked at too. A look at a large mesh takes long, and
//! nobody waits for it: it yields to the threads that feed proxies, and takes a thirtieth of a processor's time at most.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use dromon_k8s::analyze::{analyze, analyze_indexed};
use dromon_k8s::diagnostic::{Diagnostic, Severity};
use dromon_k8s::mesh::Mesh;
use dromon_k8s::objects::{Key, ObjectSet};

use super::Store;
use super::hold::Kept;
use super::worker::Shared;
use crate::background;
use crate::feed::server::Log;

/// Nothing came for so long: time to look.
const QUIET: Duration = Duration::from_millis(200);
/// A version waits no longer than this to be looked at, …
const BUSY: Duration = Duration::from_secs(1);
/// … or so many times as long as the last look took.
const REST: u32 = 30;

/// A version as it is looked at.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Its number.
    pub version: u64,
    /// The objects in force.
    pub set: Arc<ObjectSet>,
    /// The same, indexed.
    pub mesh: Option<Arc<Mesh>>,
    /// What is wrong in each object or file.
    pub own: Vec<Diagnostic>,
    /// What is wrong in each object of a cluster.
    pub told: BTreeMap<Key, Vec<Diagnostic>>,
    /// What is wrong with them where single proxies are to carry them out.
    pub of_views: Vec<Diagnostic>,
    /// Objects of which the present version is refused.
    pub refused: BTreeSet<Key>,
    /// Routes that wait, with what they wait for.
    pub held: BTreeMap<Key, Vec<String>>,
    /// Routes in force although what they name does not exist.
    pub broken: BTreeMap<Key, Vec<String>>,
    /// What is in force although it was taken away.
    pub kept: Vec<Kept>,
}

impl Seen {
    /// A store's version in force.
    pub fn of(store: &Store) -> Seen {
        Seen {
            version: store.version(),
            set: store.set().clone(),
            mesh: store.mesh().cloned(),
            own: store.file_diagnostics(),
            told: store.told(),
            of_views: store.view_diagnostics(),
            refused: store.refused().clone(),
            held: store.held().clone(),
            broken: store.broken().clone(),
            kept: store.kept().to_vec(),
        }
    }
}

/// Told of each version that was looked at, with what is wrong across objects.
pub type Observe = Box<dyn FnMut(&Seen, &[Diagnostic]) + Send>;

/// Where versions are handed in.
#[derive(Clone, Debug)]
pub struct Overseer(Sender<Seen>);

impl Overseer {
    /// Starts one.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub fn start(log: Log, shared: Shared, observers: Vec<Observe>) -> io::Result<Overseer> {
        let (versions, seen) = channel();
        let mut eyes = Eyes { log, shared, observers, told: HashSet::new(), took: Duration::ZERO };
        std::thread::Builder::new().name("oversee".into()).spawn(move || eyes.run(&seen))?;
        Ok(Overseer(versions))
    }

    /// Hands a version in.
    pub fn see(&self, seen: Seen) {
        // The thread ends only with the process.
        let _ = self.0.send(seen);
    }
}

struct Eyes {
    log: Log,
    shared: Shared,
    observers: Vec<Observe>,
    /// What was said about objects and still holds.
    told: HashSet<String>,
    /// How long the last look took.
    took: Duration,
}

impl Eyes {
    fn run(&mut self, versions: &Receiver<Seen>) {
        background::yield_to_others();
        while let Ok(mut latest) = versions.recv() {
            let until = Instant::now() + BUSY.max(self.took * REST);
            loop {
                let left = until.saturating_duration_since(Instant::now());
                match versions.recv_timeout(QUIET.min(left)) {
                    Ok(newer) => latest = newer,
                    Err(RecvTimeoutError::Timeout) => break,
                    Err(RecvTimeoutError::Disconnected) => return,
                }
            }
            let began = Instant::now();
            self.look(&latest);
            self.took = began.elapsed();
        }
    }

    fn look(&mut self, seen: &Seen) {
        let mut across = match &seen.mesh {
            Some(mesh) => analyze_indexed(&seen.set, mesh),
            None => analyze(&seen.set),
        };
        // Views do not know in which file an object stands: the same words about the same field are the same finding.
        let words = |it: &Diagnostic| (it.object.clone(), it.field.clone(), it.message.clone());
        let said: HashSet<_> = across.iter().map(words).collect();
        let of_views: Vec<_> =
            seen.of_views.iter().filter(|found| !said.contains(&words(found))).cloned().collect();
        across.extend(of_views);
        self.report(seen, &across);
        let mut diagnostics = seen.own.clone();
        diagnostics.extend(across.iter().cloned());
        self.shared.lock().unwrap_or_else(PoisonError::into_inner).diagnostics = diagnostics;
        for observe in &mut self.observers {
            observe(seen, &across);
        }
    }

    /// Says what is new across objects; what was said before and still holds is not repeated.
    fn report(&mut self, seen: &Seen, across: &[Diagnostic]) {
        let mut now: Vec<(Severity, String)> =
            across.iter().map(|found| (found.severity, found.to_string())).collect();
        now.extend(seen.held.iter().map(|(key, missing)| {
            let missing = missing.join(", ");
            let line = format!("{key} waits for {missing}: it stays as it was until that exists");
            (Severity::Warning, format!("warning: {line}"))
        }));
        now.extend(seen.kept.iter().map(|kept| {
            let routes: Vec<String> = kept.routes.iter().map(Key::to_string).collect();
            let line = format!(
                "{kept} is not defined any more, and {} routes to it: it stays as it was until no route names it",
                routes.join(", ")
            );
            (Severity::Warning, format!("warning: {line}"))
        }));
        for (severity, line) in now.iter().filter(|(_, line)| !self.told.contains(line)) {
            (self.log)(*severity, line.clone());
        }
        self.told = now.into_iter().map(|(_, line)| line).collect();
    }
}
