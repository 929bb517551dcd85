//! The objects in force, and every proxy's view of them.
//!
//! Owns what is known: files with their last good objects ([`files`]), the run's processes ([`crate::local`]), routes that
//! wait for what they name ([`hold`]). Pure: [`worker`] feeds it and publishes what comes out.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use dromon_core::config::model::{self, split_destination_name};
use dromon_k8s::api::Kind;
use dromon_k8s::diagnostic::Diagnostic;
use dromon_k8s::mesh::Mesh;
use dromon_k8s::objects::{Key, ObjectSet};
use dromon_k8s::translate;

use crate::ca::members::Members;
use crate::feed::view::{Pool, View};
use crate::local::Local;
use crate::source::folder::{Batch, Change, FileState};
use crate::source::kube;

mod classes;
pub mod files;
pub mod hold;
pub mod identity;
mod needs;
pub mod objects;
pub mod oversee;
pub mod pods;
mod shared;
#[cfg(test)]
mod tests;
pub mod worker;

use classes::Classes;
use files::Files;
use hold::{Before, Hold, Kept};
use objects::Objects;

/// The store.
#[derive(Debug, Default)]
pub struct Store {
    version: u64,
    files: Files,
    objects: Objects,
    /// What the files or the cluster say.
    base: ObjectSet,
    local: Option<Local>,
    /// The objects are a cluster's: proxies are its pods'.
    is_cluster: bool,
    hold: Hold,
    /// What is in force.
    set: Arc<ObjectSet>,
    mesh: Option<Arc<Mesh>>,
    views: BTreeMap<String, Arc<View>>,
    classes: Classes,
    view_diagnostics: BTreeMap<String, Vec<Diagnostic>>,
    /// The run has said more than which of its processes are ready.
    run_changed: bool,
    /// The run has said which of its processes are ready.
    run_moved: bool,
    moved: Moved,
    /// What views have in common.
    pool: Pool,
}

/// Hosts of which nothing but endpoints or rules changed: views that are no older are brought up to date, not made anew.
#[derive(Debug, Default)]
struct Moved {
    /// The version in which anything else changed last.
    since: u64,
    /// The version in which rules of any kind changed last.
    rules_since: u64,
    /// The version in which each host's endpoints changed last.
    endpoints: BTreeMap<String, u64>,
    /// The version in which each host's rules changed last.
    rules: BTreeMap<String, u64>,
}

impl Moved {
    /// The destinations of a view whose endpoints have changed since a version.
    fn names_since<'v>(&'v self, view: &'v View, since: u64) -> Vec<&'v str> {
        let hosts: BTreeSet<&str> = newer(&self.endpoints, since).collect();
        if hosts.is_empty() {
            return Vec::new();
        }
        let names = view.all(model::Kind::Destination).map(|(name, _)| name);
        let moved = |name: &&str| split_destination_name(name).is_some_and(|(host, ..)| hosts.contains(host));
        names.filter(moved).collect()
    }

    /// The hosts whose rules have changed since a version.
    fn rules_newer(&self, since: u64) -> impl Iterator<Item = &str> {
        newer(&self.rules, since)
    }
}

fn newer(hosts: &BTreeMap<String, u64>, since: u64) -> impl Iterator<Item = &str> {
    hosts.iter().filter(move |(_, version)| **version > since).map(|(host, _)| host.as_str())
}

/// Kinds that say where endpoints are.
const ENDPOINT_KINDS: [Kind; 6] =
    [Kind::Service, Kind::ServiceEntry, Kind::EndpointSlice, Kind::Endpoints, Kind::WorkloadEntry, Kind::Pod];

/// Kinds that say where endpoints are, and routes. What else they say is compared.
const MOVING_KINDS: [Kind; 11] = [
    Kind::Service,
    Kind::ServiceEntry,
    Kind::EndpointSlice,
    Kind::Endpoints,
    Kind::WorkloadEntry,
    Kind::Pod,
    Kind::VirtualService,
    Kind::HttpRoute,
    Kind::GrpcRoute,
    Kind::TlsRoute,
    Kind::TcpRoute,
];

impl Store {
    /// Starts from what the folder holds. `last_good` is an earlier store's [`Store::last_good`]: it stands in for files that are
    /// broken now, so that a restart changes nothing that is in force.
    pub fn new(folder: &Batch, last_good: &BTreeMap<String, Arc<str>>) -> (Store, Vec<Diagnostic>) {
        let mut store = Store::default();
        let mut folder = folder.clone();
        let mut earlier = folder.clone();
        for change in &mut earlier.changes {
            if let (Some(text), true) = (last_good.get(&change.file), change.state != FileState::Removed) {
                change.state = FileState::Text(text.clone());
            }
        }
        // What a file said may still be needed when the file itself is gone.
        for (file, text) in last_good {
            if folder.changes.iter().all(|change| change.file != *file) {
                let change = |state| Change { file: file.clone(), state };
                earlier.changes.push(change(FileState::Text(text.clone())));
                folder.changes.push(change(FileState::Removed));
            }
        }
        if earlier != folder {
            store.files.apply(&mut store.base, &earlier);
            store.rebuild();
        }
        let found = store.apply_folder(&folder);
        (store, found)
    }

    /// Takes in changed files; returns what is wrong with them. [`Store::rebuild`] puts them in force.
    pub fn apply_folder(&mut self, batch: &Batch) -> Vec<Diagnostic> {
        self.files.apply(&mut self.base, batch)
    }

    /// An empty store of a cluster's objects; the rules of `root_namespace` hold for the whole mesh.
    pub fn of_cluster(root_namespace: &str) -> Store {
        Store { base: ObjectSet::with_root(root_namespace), is_cluster: true, ..Store::default() }
    }

    /// Takes in changed objects; returns what is wrong with them. [`Store::rebuild`] puts them in force.
    pub fn apply_objects(&mut self, changes: Vec<kube::Change>) -> Vec<Diagnostic> {
        self.objects.apply(&mut self.base, changes)
    }

    /// Whether there is anything to put in force that objects say.
    pub fn has_changed_objects(&self) -> bool {
        self.objects.has_changed()
    }

    /// What is wrong with a cluster's objects as they are.
    pub fn told(&self) -> BTreeMap<Key, Vec<Diagnostic>> {
        let found = self.objects.diagnostics(&self.base);
        found.map(|(key, found)| (key.clone(), found.clone())).collect()
    }

    /// Those of which the present version is refused.
    pub fn refused(&self) -> &BTreeSet<Key> {
        self.objects.refused()
    }

    /// Takes in a run's word; [`Store::rebuild`] puts it in force.
    pub fn apply_local(&mut self, local: Local) {
        for gone in self.local.iter().flat_map(|before| &before.workloads) {
            self.base.remove_workload(&gone.namespace, &gone.name);
        }
        for told in &local.workloads {
            self.base.insert_workload(identity::workload(told));
        }
        self.run_moved = true;
        self.run_changed |= self.local.as_ref().is_none_or(|before| !local.differs_in_readiness(before));
        self.local = Some(local);
    }

    /// Puts in force what was taken in: a new version.
    pub fn rebuild(&mut self) -> u64 {
        self.version += 1;
        let mut changed = self.files.take_changed();
        changed.extend(self.objects.take_changed());
        let mut set = self.base.clone();
        let kept = self.hold.kept().to_vec();
        let before = self.mesh.as_deref().filter(|_| !self.run_changed && !self.run_moved);
        let before = before.map(|mesh| Before { set: &self.set, mesh, changed: &changed });
        let mesh = self.hold.apply(&mut set, &self.files, before);
        self.set = Arc::new(set);
        self.run_moved = false;
        // Which subsets are kept for routes is a matter of destinations.
        let is_moving =
            changed.iter().all(|key| MOVING_KINDS.contains(&key.kind)) && kept == self.hold.kept();
        let is_moving = !std::mem::take(&mut self.run_changed) && is_moving;
        let before = self.mesh.as_deref().filter(|_| is_moving);
        let version = self.version;
        match before.and_then(|before| mesh.since(before)) {
            Some(since) => {
                if !since.rules.is_empty() || changed.iter().any(|key| !ENDPOINT_KINDS.contains(&key.kind)) {
                    self.moved.rules_since = version;
                }
                self.moved.endpoints.extend(since.endpoints.into_iter().map(|host| (host, version)));
                self.moved.rules.extend(since.rules.into_iter().map(|host| (host, version)));
            }
            None => self.moved = Moved { since: version, rules_since: version, ..Moved::default() },
        }
        self.mesh = Some(Arc::new(mesh));
        self.pool.clean();
        version
    }

    /// A proxy's view of what is in force; none when nobody knows the proxy.
    pub fn view(&mut self, proxy: &str) -> Option<Arc<View>> {
        let mesh = self.mesh.as_deref()?;
        let previous = self.views.get(proxy);
        if let Some(view) = previous.filter(|view| view.version == self.version) {
            return Some(view.clone());
        }
        if self.is_cluster && proxy.starts_with("sidecar~") {
            return self.view_of_pod(proxy);
        }
        let identity = match self.is_cluster {
            true => pods::identity(proxy, mesh)?,
            false => identity::identity(proxy, self.local.as_ref(), mesh)?,
        };
        let view = match previous.filter(|view| view.version >= self.moved.since.max(self.moved.rules_since))
        {
            Some(previous) => {
                let names = self.moved.names_since(previous, previous.version);
                let resources = translate::destinations(mesh, &identity, names.into_iter());
                View::patch(self.version, &resources, &[], previous, &mut self.pool)
            }
            None => {
                let translated = translate::translate(mesh, &identity);
                self.view_diagnostics.insert(proxy.to_owned(), translated.diagnostics);
                let previous = previous.map(Arc::as_ref);
                View::build(self.version, &translated.resources, previous, &mut self.pool)
            }
        };
        let view = Arc::new(view.ok()?);
        self.views.insert(proxy.to_owned(), view.clone());
        Some(view)
    }

    /// The view of a pod's sidecar: what its class sees, and what is its own.
    fn view_of_pod(&mut self, proxy: &str) -> Option<Arc<View>> {
        let mesh = self.mesh.clone()?;
        let identity = self.classes.identity(proxy, &mesh)?;
        let now = (mesh.as_ref(), self.version);
        let (key, class) = self.classes.of(proxy, &identity, now, &self.moved, &mut self.pool)?;
        let previous = self.views.get_mut(proxy);
        let is_same = self.classes.is_same(proxy, &identity, &class);
        let known = previous.as_ref().filter(|it| it.version >= self.moved.since && is_same);
        let own = match known {
            Some(previous) => previous.at(self.version),
            None => {
                let (own, found) = translate::shared::own(&mesh, &identity, &class.taken);
                self.view_diagnostics.insert(proxy.to_owned(), found);
                let previous = previous.as_deref().map(Arc::as_ref);
                View::build(self.version, &own, previous, &mut self.pool).ok()?
            }
        };
        self.classes.remember(proxy, identity, key, &class);
        let view = Arc::new(own.with(class.number, class.view));
        match previous {
            Some(previous) => *previous = view.clone(),
            None => drop(self.views.insert(proxy.to_owned(), view.clone())),
        }
        Some(view)
    }

    /// Forgets the views of proxies that are not among these.
    pub fn retain_views(&mut self, proxies: &[String]) {
        let known: BTreeSet<&String> = proxies.iter().collect();
        self.views.retain(|proxy, _| known.contains(proxy));
        self.classes.retain_proxies(&known);
        self.view_diagnostics.retain(|proxy, _| known.contains(proxy));
    }

    /// Forgets what proxies had in common of which nobody has asked for long.
    pub fn retain_classes(&mut self) {
        self.classes.retain();
    }

    /// What is wrong with rules where single proxies are to carry them out: a credential that is not there for one of them,
    /// say. Of several proxies once.
    pub fn view_diagnostics(&self) -> Vec<Diagnostic> {
        let of_classes = self.classes.diagnostics();
        let mut found: Vec<Diagnostic> =
            self.view_diagnostics.values().flatten().chain(of_classes).cloned().collect();
        found.sort();
        found.dedup();
        found
    }

    /// The version in force.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// The proxies that get certificates, with the mesh's trust domain.
    pub fn members(&self) -> Members {
        let config = self.mesh.as_ref().map(|mesh| mesh.config.clone()).unwrap_or_default();
        let aliases = config.trust_domain_aliases.unwrap_or_default();
        if self.is_cluster {
            let trust_domain = config.trust_domain;
            return Members { trust_domain, aliases, ..Members::default() };
        }
        self.local
            .as_ref()
            .map(|local| Members::of(local, &config.trust_domain, &aliases))
            .unwrap_or_default()
    }

    /// The revision of the run's word in force.
    pub fn local_revision(&self) -> u64 {
        self.local.as_ref().map_or(0, |local| local.revision)
    }

    /// What is in force, indexed; none before the first version.
    pub fn mesh(&self) -> Option<&Arc<Mesh>> {
        self.mesh.as_ref()
    }

    /// The objects in force.
    pub fn set(&self) -> &Arc<ObjectSet> {
        &self.set
    }

    /// What is wrong with the files as they are.
    pub fn file_diagnostics(&self) -> Vec<Diagnostic> {
        let objects = self.objects.diagnostics(&self.base).flat_map(|(_, found)| found);
        self.files.diagnostics().chain(objects).cloned().collect()
    }

    /// What waits for something that does not exist yet, its last whole version being in force.
    pub fn held(&self) -> &BTreeMap<Key, Vec<String>> {
        self.hold.held()
    }

    /// What is in force although something that it names does not exist.
    pub fn broken(&self) -> &BTreeMap<Key, Vec<String>> {
        self.hold.broken()
    }

    /// What is in force although it was taken away, because a route names it.
    pub fn kept(&self) -> &[Kept] {
        self.hold.kept()
    }

    /// Texts of files that something in force depends on although the files say otherwise now; for [`Store::new`].
    pub fn last_good(&self) -> BTreeMap<String, Arc<str>> {
        let mut texts = self.files.last_good();
        texts.extend(self.hold.texts());
        texts
    }
}

/// The last word of a run in a batch from its directory, if it can be read.
pub fn local_of(batch: &Batch) -> Option<Local> {
    batch.changes.iter().rev().find_map(|Change { state, .. }| match state {
        FileState::Text(text) => Local::parse(text).ok(),
        FileState::Unreadable(_) | FileState::Removed => None,
    })
}
