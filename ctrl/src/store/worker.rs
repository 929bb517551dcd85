//! Runs the store on a thread of its own: translation may take a while, and the feed has to answer meanwhile.
//!
//! Whatever has come in by the time a version is made becomes one version. Views are published proxy by proxy, connected ones
//! only; what is wrong across objects is looked for once nothing has come in for a while, so that it delays nothing.

use std::collections::{BTreeMap, HashSet};
use std::io;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use dromon_k8s::analyze::analyze;
use dromon_k8s::diagnostic::{Diagnostic, Severity};
use dromon_k8s::objects::Key;
use serde::Serialize;

use super::hold::Kept;
use super::{Store, local_of};
use crate::ca::members::Members;
use crate::feed::hub::Hub;
use crate::feed::server::Log;
use crate::local;
use crate::source::folder::Batch;

/// Nothing came in for so long: time to look for what is wrong across objects.
const QUIET: Duration = Duration::from_millis(200);

/// What the store is told.
#[derive(Debug)]
pub enum Input {
    /// Files of the folder changed.
    Folder(Batch),
    /// The run has a new word.
    Local(Batch),
    /// A proxy connected.
    Wanted(String),
}

/// What the store shows of itself.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Summary {
    /// The version in force.
    pub version: u64,
    /// The revision of the run's word in force.
    pub local_revision: u64,
    /// Objects in force.
    pub objects: usize,
    /// Routes that wait, with what they wait for.
    pub held: BTreeMap<String, Vec<String>>,
    /// Subsets in force although no DestinationRule defines them any more, with the routes that name them.
    pub kept: BTreeMap<String, Vec<String>>,
    /// Routes in force although what they name does not exist.
    pub unresolved: BTreeMap<String, Vec<String>>,
    /// What is wrong, in files and across objects.
    pub diagnostics: Vec<Diagnostic>,
}

/// The store's summary, shared with whoever asks.
pub type Shared = Arc<Mutex<Summary>>;

/// What a worker needs.
pub struct Setup {
    /// Where views go.
    pub hub: Arc<Hub>,
    /// Where lines go.
    pub log: Log,
    /// Where texts are kept that a restart needs.
    pub last_good: PathBuf,
    /// Where the summary goes.
    pub shared: Shared,
    /// Told who gets certificates.
    pub members: Box<dyn Fn(Members) + Send>,
}

/// A channel to a worker to be.
pub fn inputs() -> (Sender<Input>, Receiver<Input>) {
    channel()
}

/// Starts a worker. `folder` and `local` are what their sources hold at the start.
///
/// # Errors
/// The thread cannot be started.
pub fn start(setup: Setup, inputs: Receiver<Input>, folder: Batch, local: &Batch) -> io::Result<()> {
    let saved = std::fs::read(&setup.last_good).ok();
    let saved: BTreeMap<String, Arc<str>> =
        saved.and_then(|saved| serde_json::from_slice(&saved).ok()).unwrap_or_default();
    let (mut store, found) = Store::new(&folder, &saved);
    if let Some(local) = local_of(local) {
        store.apply_local(local);
    }
    let mut worker = Worker { setup, store, saved, told: HashSet::new() };
    worker.say(&found);
    std::thread::Builder::new().name("store".into()).spawn(move || worker.run(&inputs))?;
    Ok(())
}

struct Worker {
    setup: Setup,
    store: Store,
    /// What is on disk.
    saved: BTreeMap<String, Arc<str>>,
    /// What was said about objects and still holds.
    told: HashSet<String>,
}

impl Worker {
    fn run(&mut self, inputs: &Receiver<Input>) {
        self.store.rebuild();
        (self.setup.members)(self.store.members());
        self.publish(None);
        let mut analyzed = false;
        loop {
            let first = match analyzed {
                true => inputs.recv().map_err(|_| RecvTimeoutError::Disconnected),
                false => inputs.recv_timeout(QUIET),
            };
            match first {
                Ok(first) => analyzed &= !self.take(std::iter::once(first).chain(inputs.try_iter())),
                Err(RecvTimeoutError::Timeout) => {
                    self.look_over();
                    analyzed = true;
                }
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    /// Carries out what has come in; true if it made a version.
    fn take(&mut self, inputs: impl Iterator<Item = Input>) -> bool {
        let mut changed = false;
        let mut wanted = Vec::new();
        for input in inputs {
            match input {
                Input::Folder(batch) => {
                    let found = self.store.apply_folder(&batch);
                    self.say(&found);
                    changed = true;
                }
                Input::Local(batch) => {
                    if let Some(local) = local_of(&batch) {
                        self.store.apply_local(local);
                        changed = true;
                    }
                }
                Input::Wanted(proxy) => wanted.push(proxy),
            }
        }
        if changed {
            self.store.rebuild();
            (self.setup.members)(self.store.members());
        }
        self.publish((!changed).then_some(&wanted));
        changed
    }

    /// Publishes views, to some or to all.
    fn publish(&mut self, some: Option<&Vec<String>>) {
        let proxies = self.setup.hub.proxies();
        self.store.retain_views(&proxies);
        for proxy in some.unwrap_or(&proxies) {
            let view = self.store.view(proxy);
            self.setup.hub.publish(proxy, view);
        }
        if some.is_some() {
            return;
        }
        let texts = |map: &BTreeMap<Key, Vec<String>>| {
            map.iter().map(|(key, missing)| (key.to_string(), missing.clone())).collect()
        };
        let mut summary = self.setup.shared.lock().unwrap_or_else(PoisonError::into_inner);
        summary.version = self.store.version();
        summary.local_revision = self.store.local_revision();
        summary.objects = self.store.set().len();
        summary.held = texts(self.store.held());
        summary.unresolved = texts(self.store.broken());
        let routes = |kept: &Kept| kept.routes.iter().map(Key::to_string).collect();
        summary.kept = self.store.kept().iter().map(|kept| (kept.to_string(), routes(kept))).collect();
        drop(summary);
        self.save();
    }

    /// Looks for what is wrong across objects.
    fn look_over(&mut self) {
        let across = analyze(self.store.set());
        self.report(&across);
        let mut diagnostics = self.store.file_diagnostics();
        diagnostics.extend(across);
        self.setup.shared.lock().unwrap_or_else(PoisonError::into_inner).diagnostics = diagnostics;
    }

    fn say(&self, found: &[Diagnostic]) {
        for diagnostic in found {
            (self.setup.log)(diagnostic.severity, diagnostic.to_string());
        }
    }

    /// Says what is new across objects; what was said before and still holds is not repeated.
    fn report(&mut self, across: &[Diagnostic]) {
        let mut now: Vec<(Severity, String)> =
            across.iter().map(|found| (found.severity, found.to_string())).collect();
        now.extend(self.store.held().iter().map(|(key, missing)| {
            let missing = missing.join(", ");
            let line = format!("{key} waits for {missing}: it stays as it was until that exists");
            (Severity::Warning, format!("warning: {line}"))
        }));
        now.extend(self.store.kept().iter().map(|kept| {
            let routes: Vec<String> = kept.routes.iter().map(Key::to_string).collect();
            let line = format!(
                "{kept} is not defined any more, and {} routes to it: it stays as it was until no route names it",
                routes.join(", ")
            );
            (Severity::Warning, format!("warning: {line}"))
        }));
        for (severity, line) in now.iter().filter(|(_, line)| !self.told.contains(line)) {
            (self.setup.log)(*severity, line.clone());
        }
        self.told = now.into_iter().map(|(_, line)| line).collect();
    }

    fn warn(&self, line: String) {
        (self.setup.log)(Severity::Warning, format!("warning: {line}"));
    }

    fn save(&mut self) {
        let now = self.store.last_good();
        if now == self.saved {
            return;
        }
        let kept = serde_json::to_vec(&now)
            .map_err(io::Error::from)
            .and_then(|json| local::replace(&self.setup.last_good, &json));
        match kept {
            Ok(()) => self.saved = now,
            Err(error) => {
                let path = self.setup.last_good.display();
                self.warn(format!("the last good objects are not kept on disk: {path}: {error}"));
            }
        }
    }
}
