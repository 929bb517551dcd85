//! The set of objects that a mesh is made of, and the workloads behind its services.
//!
//! A set is plain data: whoever watches files, a cluster or processes inserts and removes; [`crate::mesh::Mesh`]
//! is built from it for reading.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry as MapEntry;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use dromon_core::config::model::Protocol;

use crate::api::{Kind, Object};
use crate::diagnostic::Diagnostic;
use crate::mesh::ROOT_NAMESPACE;
use crate::others::Whose;

mod lines;
#[cfg(test)]
mod tests;

pub(crate) use lines::FIELDS_MAX;
pub use lines::Lines;

/// What tells one object from another.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[allow(missing_docs)]
pub struct Key {
    pub kind: Kind,
    /// Empty for objects of the whole cluster.
    pub namespace: String,
    pub name: String,
}

impl fmt::Display for Key {
    /// `Kind/namespace/name`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.kind, self.namespace, self.name)
    }
}

/// An object, with where it came from.
#[derive(Clone, Debug)]
pub struct Sourced {
    /// Its key.
    pub key: Key,
    /// The object; cheap to clone.
    pub object: Object,
    /// File; empty for objects of a cluster.
    pub file: Arc<str>,
    /// Lines of its fields.
    pub lines: Arc<Lines>,
}

impl Sourced {
    /// An object from nowhere in particular (a cluster, a test).
    pub fn new(object: Object) -> Sourced {
        Sourced::from_file(object, Arc::from(""), Arc::default())
    }

    /// An object of a file.
    pub fn from_file(object: Object, file: Arc<str>, lines: Arc<Lines>) -> Sourced {
        let (namespace, name) = (object.namespace().to_owned(), object.name().to_owned());
        let key = Key { kind: object.kind(), namespace, name };
        Sourced { key, object, file, lines }
    }

    /// Completes a finding about this object: object, file, line.
    pub fn diagnostic(&self, diagnostic: Diagnostic) -> Diagnostic {
        let line = self.lines.of(&diagnostic.field);
        Diagnostic { object: self.key.to_string(), file: self.file.to_string(), line, ..diagnostic }
    }
}

/// Something that runs: a pod of a cluster, or a process of a local mesh. Services select it by its labels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Workload {
    /// Name of the pod or process.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// Name in metrics: the Deployment's, say; the pod's or process's where unknown.
    pub owner: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Where other proxies reach it (locally: its sidecar's address).
    pub address: IpAddr,
    /// Its addresses of the other family, where it has both.
    pub other_addresses: Vec<IpAddr>,
    /// Ports that it declares.
    pub ports: Vec<WorkloadPort>,
    /// `default` unless set.
    pub service_account: String,
    /// May get new requests.
    pub ready: bool,
    /// `region/zone/subzone`; may be empty.
    pub locality: String,
    /// It has a sidecar that takes mutual TLS.
    pub mtls: bool,
}

/// A port that a workload declares.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct WorkloadPort {
    /// May be empty; `targetPort` of a Service may name it.
    pub name: String,
    pub number: u16,
    /// Told by its name; a Service that selects it may know better.
    pub protocol: Protocol,
}

/// The objects of a kind and namespace, of each key those of several files.
type Named = BTreeMap<Key, Vec<Sourced>>;

/// The set. Objects of one key may stand in several files: the one of the last file, by name, is in force,
/// as if the files had been applied in order; the others come into their own when it goes.
#[derive(Clone, Debug, Default)]
pub struct ObjectSet {
    /// Each kind's and namespace's by themselves, so that copies of the set share those that do not change.
    objects: BTreeMap<Kind, Arc<BTreeMap<String, Arc<Named>>>>,
    workloads: Arc<BTreeMap<(String, String), Workload>>,
    whose: Arc<BTreeMap<Key, Whose>>,
    /// None: [`ROOT_NAMESPACE`].
    root_namespace: Option<Arc<str>>,
}

impl ObjectSet {
    /// An empty set.
    pub fn new() -> ObjectSet {
        ObjectSet::default()
    }

    /// An empty set of a mesh whose root namespace is another than [`ROOT_NAMESPACE`].
    pub fn with_root(root_namespace: &str) -> ObjectSet {
        ObjectSet { root_namespace: Some(Arc::from(root_namespace)), ..ObjectSet::default() }
    }

    /// The namespace whose rules hold for the whole mesh.
    pub fn root_namespace(&self) -> &str {
        self.root_namespace.as_deref().unwrap_or(ROOT_NAMESPACE)
    }

    /// Inserts an object, in place of the one of the same key and file.
    pub fn insert(&mut self, sourced: Sourced) {
        let of_kind = Arc::make_mut(self.objects.entry(sourced.key.kind).or_default());
        if !of_kind.contains_key(&sourced.key.namespace) {
            of_kind.insert(sourced.key.namespace.clone(), Arc::default());
        }
        let Some(of_namespace) = of_kind.get_mut(&sourced.key.namespace) else { return };
        // Mostly one: room for more of them would be most of what the set takes.
        let copies = Arc::make_mut(of_namespace).entry(sourced.key.clone());
        let copies = copies.or_insert_with(|| Vec::with_capacity(1));
        match copies.binary_search_by(|copy| copy.file.cmp(&sourced.file)) {
            Ok(at) => copies[at] = sourced,
            Err(at) => copies.insert(at, sourced),
        }
    }

    /// Removes what a file (empty: the cluster) says of a key; true if it said anything.
    pub fn remove(&mut self, key: &Key, file: &str) -> bool {
        if self.of_key(key).is_none() {
            return false;
        }
        let Some(of_kind) = self.objects.get_mut(&key.kind).map(Arc::make_mut) else { return false };
        let Some(of_namespace) = of_kind.get_mut(&key.namespace).map(Arc::make_mut) else { return false };
        let MapEntry::Occupied(mut entry) = of_namespace.entry(key.clone()) else { return false };
        let copies = entry.get_mut();
        let before = copies.len();
        copies.retain(|copy| &*copy.file != file);
        let removed = copies.len() < before;
        if copies.is_empty() {
            entry.remove();
        }
        if of_namespace.is_empty() {
            of_kind.remove(&key.namespace);
        }
        removed
    }

    /// Removes all that a file says.
    pub fn remove_file(&mut self, file: &str) {
        let says = |it: &Named| it.values().flatten().any(|copy| &*copy.file == file);
        for of_kind in self.objects.values_mut().filter(|it| it.values().any(|it| says(it))) {
            let of_kind = Arc::make_mut(of_kind);
            for of_namespace in of_kind.values_mut().filter(|it| says(it)) {
                Arc::make_mut(of_namespace).retain(|_, copies| {
                    copies.retain(|copy| &*copy.file != file);
                    !copies.is_empty()
                });
            }
            of_kind.retain(|_, of_namespace| !of_namespace.is_empty());
        }
    }

    /// The object in force.
    pub fn get(&self, key: &Key) -> Option<&Sourced> {
        self.of_key(key)?.last()
    }

    fn of_key(&self, key: &Key) -> Option<&Vec<Sourced>> {
        self.objects.get(&key.kind)?.get(&key.namespace)?.get(key)
    }

    /// All objects in force, by key.
    pub fn iter(&self) -> impl Iterator<Item = &Sourced> {
        self.copies().filter_map(|copies| copies.last())
    }

    /// The objects in force of one kind, by namespace and name.
    pub fn of_kind(&self, kind: Kind) -> impl Iterator<Item = &Sourced> {
        let of_kind = self.objects.get(&kind).into_iter().flat_map(|it| it.values());
        of_kind.flat_map(|it| it.values()).filter_map(|copies| copies.last())
    }

    /// The objects in force of one kind and namespace, by name.
    pub fn of_namespace(&self, kind: Kind, namespace: &str) -> impl Iterator<Item = &Sourced> {
        let of_namespace = self.objects.get(&kind).and_then(|it| it.get(namespace)).into_iter();
        of_namespace.flat_map(|it| it.values()).filter_map(|copies| copies.last())
    }

    fn copies(&self) -> impl Iterator<Item = &Vec<Sourced>> {
        self.objects.values().flat_map(|it| it.values()).flat_map(|it| it.values())
    }

    /// Objects that another file's copy hides, each with the one in force.
    pub fn hidden(&self) -> impl Iterator<Item = (&Sourced, &Sourced)> {
        self.copies()
            .filter_map(|copies| copies.split_last())
            .flat_map(|(in_force, hidden)| hidden.iter().map(move |copy| (copy, in_force)))
    }

    /// A finding that names its object, completed with that object's file and line.
    pub fn located(&self, diagnostic: Diagnostic) -> Diagnostic {
        match self.iter().find(|it| it.key.to_string() == diagnostic.object) {
            Some(sourced) if diagnostic.file.is_empty() => sourced.diagnostic(diagnostic),
            _ => diagnostic,
        }
    }

    /// Number of objects in force.
    pub fn len(&self) -> usize {
        self.copies().count()
    }

    /// No object at all.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Inserts a workload, in place of the one of the same namespace and name.
    pub fn insert_workload(&mut self, workload: Workload) {
        Arc::make_mut(&mut self.workloads)
            .insert((workload.namespace.clone(), workload.name.clone()), workload);
    }

    /// Notes what decides whose an object is of which not everything could be read, or nothing; none: it is as any other. True if
    /// that is news.
    pub fn note_whose(&mut self, key: &Key, whose: Option<Whose>) -> bool {
        if self.whose.get(key) == whose.as_ref() {
            return false;
        }
        let all = Arc::make_mut(&mut self.whose);
        match whose {
            Some(whose) => all.insert(key.clone(), whose),
            None => all.remove(key),
        };
        true
    }

    /// What was noted of an object.
    pub fn whose(&self, key: &Key) -> Option<&Whose> {
        self.whose.get(key)
    }

    /// Removes a workload; true if it was there.
    pub fn remove_workload(&mut self, namespace: &str, name: &str) -> bool {
        Arc::make_mut(&mut self.workloads).remove(&(namespace.to_owned(), name.to_owned())).is_some()
    }

    /// A workload that was inserted.
    pub fn workload(&self, namespace: &str, name: &str) -> Option<&Workload> {
        self.workloads.get(&(namespace.to_owned(), name.to_owned()))
    }

    /// The workloads that were inserted, by namespace and name. Those that Pod objects speak of are the mesh's matter.
    pub fn workloads(&self) -> impl Iterator<Item = &Workload> {
        self.workloads.values()
    }
}
