//! Runs the store on a thread of its own: translation may take a while, and the feed has to answer meanwhile.
//!
//! Whatever has come in by the time a version is made becomes one version. Views are published proxy by proxy, connected ones
//! only; what is wrong across objects is looked for elsewhere ([`super::oversee`]), so that it delays nothing.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use dromon_k8s::diagnostic::{Diagnostic, Severity};
use dromon_k8s::mesh::Mesh;
use dromon_k8s::objects::Key;
use serde::Serialize;

use super::hold::Kept;
use super::oversee::{Overseer, Seen};
use super::{Store, local_of};
use crate::ca::members::Members;
use crate::feed::hub::Hub;
use crate::feed::pushes::Stage;
use crate::feed::server::Log;
use crate::local;
use crate::source::folder::Batch;
use crate::source::kube;

/// What the store is told.
#[derive(Debug)]
pub enum Input {
    /// Files of the folder changed.
    Folder(Batch),
    /// The run has a new word.
    Local(Batch),
    /// Objects of the cluster changed.
    Objects(kube::Batch),
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
    /// From the first change of the last version to its last view, in microseconds.
    pub took_us: u64,
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
    /// Where texts are kept that a restart needs, if anywhere.
    pub last_good: Option<PathBuf>,
    /// Where the summary goes.
    pub shared: Shared,
    /// Told who gets certificates.
    pub members: Box<dyn Fn(Members) + Send>,
    /// Where the index of the version in force goes, for whoever has to ask it at once.
    pub index: Option<Arc<Mutex<Option<Arc<Mesh>>>>>,
    /// Looks at each version in its own time.
    pub overseer: Overseer,
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
    let saved = setup.last_good.as_ref().and_then(|path| std::fs::read(path).ok());
    let saved: BTreeMap<String, Arc<str>> =
        saved.and_then(|saved| serde_json::from_slice(&saved).ok()).unwrap_or_default();
    let (mut store, found) = Store::new(&folder, &saved);
    if let Some(local) = local_of(local) {
        store.apply_local(local);
    }
    let mut worker = Worker { setup, store, saved, whole: true, since: None, proxies: Arc::default() };
    worker.say(&found);
    std::thread::Builder::new().name("store".into()).spawn(move || {
        worker.renew();
        worker.run(&inputs);
    })?;
    Ok(())
}

/// Starts a worker for a cluster's objects: there is no version before they are whole.
///
/// # Errors
/// The thread cannot be started.
pub fn start_cluster(setup: Setup, inputs: Receiver<Input>, root_namespace: &str) -> io::Result<()> {
    let store = Store::of_cluster(root_namespace);
    let saved = BTreeMap::new();
    let mut worker = Worker { setup, store, saved, whole: false, since: None, proxies: Arc::default() };
    std::thread::Builder::new().name("store".into()).spawn(move || worker.run(&inputs))?;
    Ok(())
}

struct Worker {
    setup: Setup,
    store: Store,
    /// What is on disk.
    saved: BTreeMap<String, Arc<str>>,
    /// Everything that the source has is known.
    whole: bool,
    /// When the first change was heard of that is in no version yet.
    since: Option<Instant>,
    /// The proxies of which views are kept.
    proxies: Arc<[String]>,
}

impl Worker {
    fn run(&mut self, inputs: &Receiver<Input>) {
        while let Ok(first) = inputs.recv() {
            self.take(std::iter::once(first).chain(inputs.try_iter()));
        }
    }

    /// Carries out what has come in.
    fn take(&mut self, inputs: impl Iterator<Item = Input>) {
        let mut changed = false;
        // Something may be wrong that was not, though nothing else is in force.
        let mut noted = false;
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
                Input::Objects(batch) => {
                    noted |= !batch.changes.is_empty();
                    let found = self.store.apply_objects(batch.changes);
                    self.say(&found);
                    let is_first = batch.whole && !std::mem::replace(&mut self.whole, batch.whole);
                    changed |= is_first || (self.whole && self.store.has_changed_objects());
                    if changed {
                        self.since = self.since.or(batch.since);
                    }
                    self.observe(Stage::Received, batch.since);
                }
                Input::Wanted(proxy) => wanted.push(proxy),
            }
        }
        if changed {
            self.renew();
        } else if self.whole {
            self.publish(Some(wanted.as_slice()));
            if noted || (!wanted.is_empty() && !self.store.view_diagnostics().is_empty()) {
                self.setup.overseer.see(Seen::of(&self.store));
            }
        }
    }

    /// Makes a version of what has come in.
    fn renew(&mut self) {
        self.store.rebuild();
        if let Some(index) = &self.setup.index {
            *index.lock().unwrap_or_else(PoisonError::into_inner) = self.store.mesh().cloned();
        }
        (self.setup.members)(self.store.members());
        self.publish(None);
        self.setup.overseer.see(Seen::of(&self.store));
    }

    /// Publishes views, to some or to all.
    fn publish(&mut self, some: Option<&[String]>) {
        let proxies = self.setup.hub.proxies();
        if !Arc::ptr_eq(&proxies, &self.proxies) {
            self.store.retain_views(&proxies);
            self.proxies = proxies.clone();
        }
        for proxy in some.unwrap_or(&proxies) {
            let view = self.store.view(proxy);
            self.setup.hub.publish(proxy, view, self.since);
        }
        if some.is_some() {
            return;
        }
        self.store.retain_classes();
        self.observe(Stage::Translated, self.since);
        let texts = |map: &BTreeMap<Key, Vec<String>>| {
            map.iter().map(|(key, missing)| (key.to_string(), missing.clone())).collect()
        };
        let mut summary = self.setup.shared.lock().unwrap_or_else(PoisonError::into_inner);
        summary.version = self.store.version();
        summary.local_revision = self.store.local_revision();
        summary.objects = self.store.set().len();
        if let Some(since) = self.since.take() {
            summary.took_us = u64::try_from(since.elapsed().as_micros()).unwrap_or(u64::MAX);
        }
        summary.held = texts(self.store.held());
        summary.unresolved = texts(self.store.broken());
        let routes = |kept: &Kept| kept.routes.iter().map(Key::to_string).collect();
        summary.kept = self.store.kept().iter().map(|kept| (kept.to_string(), routes(kept))).collect();
        drop(summary);
        self.save();
    }

    /// Notes how far what was heard of at a moment has come.
    fn observe(&self, stage: Stage, since: Option<Instant>) {
        if let Some(since) = since {
            self.setup.hub.pushes().observe(stage, since.elapsed());
        }
    }

    fn say(&self, found: &[Diagnostic]) {
        for diagnostic in found {
            (self.setup.log)(diagnostic.severity, diagnostic.to_string());
        }
    }

    fn warn(&self, line: String) {
        (self.setup.log)(Severity::Warning, format!("warning: {line}"));
    }

    fn save(&mut self) {
        let Some(path) = &self.setup.last_good else { return };
        let now = self.store.last_good();
        if now == self.saved {
            return;
        }
        let kept =
            serde_json::to_vec(&now).map_err(io::Error::from).and_then(|json| local::replace(path, &json));
        match kept {
            Ok(()) => self.saved = now,
            Err(error) => {
                let path = path.display();
                self.warn(format!("the last good objects are not kept on disk: {path}: {error}"));
            }
        }
    }
}
