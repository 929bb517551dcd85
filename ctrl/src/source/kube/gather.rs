//! What the watches tell → batches for the store, without what changed nothing.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::hash::{DefaultHasher, Hasher};
use std::time::Instant;

use dromon_k8s::objects::Key;
use serde_json::Value;

use super::referenced::{self, Wanted};
use super::references::{self, Holder, Reference};
use super::resources::{self, ALL, Resource, Served};
use super::trim::Trimmed;
use super::watch::{Name, Told};
use super::{Batch, Change};
use crate::cluster::live::{Live, LiveObject};

/// One kind as it is known.
#[derive(Default)]
struct Known {
    /// Each object's fingerprint.
    objects: HashMap<Name, u64>,
    /// What the list under way has had so far.
    seen: Option<HashSet<Name>>,
    /// It was listed once, or is not served.
    listed: bool,
    /// It is expected to be listed before there is a version.
    expected: bool,
}

/// Gathers what is told.
pub struct Gather {
    kinds: Vec<Known>,
    held: BTreeMap<Holder, HashMap<Name, u64>>,
    /// What each object names.
    references: HashMap<Key, BTreeSet<Reference>>,
    /// How many objects name each.
    named: BTreeMap<Reference, usize>,
    wanted: Wanted,
    wanted_changed: bool,
    settled: BTreeMap<Holder, u64>,
    defined: bool,
    whole: bool,
    homes: Vec<String>,
    live: Live,
    batch: Batch,
    /// When what is being taken in was told.
    heard: Option<Instant>,
}

impl Gather {
    /// Nothing is known. `homes` are namespaces in which gateways run.
    pub fn new(homes: Vec<String>, live: Live) -> Gather {
        let kinds = ALL.iter().map(|it| Known {
            expected: it.served == Served::Always && it.kind().is_some(),
            ..Known::default()
        });
        Gather {
            kinds: kinds.collect(),
            held: BTreeMap::new(),
            references: HashMap::new(),
            named: BTreeMap::new(),
            wanted: Wanted { number: 1, ..Wanted::default() },
            wanted_changed: true,
            settled: BTreeMap::new(),
            defined: false,
            whole: false,
            homes,
            live,
            batch: Batch::default(),
            heard: None,
        }
    }

    /// A kind has to be listed before there is a version.
    pub fn expect(&mut self, place: usize) {
        if let Some(known) = self.kinds.get_mut(place) {
            known.expected = true;
        }
    }

    /// It is known which kinds are defined.
    pub fn definitions_listed(&mut self) {
        self.defined = true;
    }

    /// Takes in what a watch has told at that moment.
    pub fn take(&mut self, place: usize, told: Told, at: Instant) {
        self.heard = Some(at);
        let (Some(resource), Some(known)) = (ALL.get(place), self.kinds.get_mut(place)) else { return };
        match told {
            Told::Began => known.seen = Some(HashSet::new()),
            Told::Object(name, trimmed) => {
                if let Some(seen) = &mut known.seen {
                    seen.insert(name.clone());
                }
                self.object(place, resource, name, *trimmed);
            }
            Told::Gone(name) => self.gone(place, resource, &name),
            Told::Listed => {
                known.listed = true;
                let seen = known.seen.take().unwrap_or_default();
                let gone: Vec<Name> =
                    known.objects.keys().filter(|it| !seen.contains(*it)).cloned().collect();
                for name in gone {
                    self.gone(place, resource, &name);
                }
            }
            Told::Unserved => known.listed = true,
        }
    }

    /// A kind is not defined any more: its objects are gone.
    pub fn undefined(&mut self, place: usize) {
        let (Some(resource), Some(known)) = (ALL.get(place), self.kinds.get_mut(place)) else { return };
        self.heard = Some(Instant::now());
        known.expected = false;
        known.listed = false;
        known.seen = None;
        let names: Vec<Name> = known.objects.keys().cloned().collect();
        for name in names {
            self.gone(place, resource, &name);
        }
    }

    /// Takes in what was told of a Secret or ConfigMap at that moment.
    pub fn take_referenced(&mut self, told: referenced::Told, at: Instant) {
        self.heard = Some(at);
        match told {
            referenced::Told::Object(holder, name, trimmed) => {
                // What was wanted a moment ago may not be any more.
                if !self.wanted.names.contains(&(holder, name.0.clone(), name.1.clone())) {
                    return;
                }
                let Some(key) = holder_key(holder, &name) else { return };
                let print = fingerprint(&trimmed.value);
                if self.held.entry(holder).or_default().insert(name, print) != Some(print) {
                    self.change(key, Some(trimmed.value));
                }
            }
            referenced::Told::Gone(holder, name) => {
                let was_there = self.held.entry(holder).or_default().remove(&name).is_some();
                if let (true, Some(key)) = (was_there, holder_key(holder, &name)) {
                    self.change(key, None);
                }
            }
            referenced::Told::Settled(holder, number) => {
                self.settled.insert(holder, number);
            }
        }
    }

    /// What is wanted, if that has changed since this was last asked.
    pub fn take_wanted(&mut self) -> Option<Wanted> {
        if !std::mem::take(&mut self.wanted_changed) {
            return None;
        }
        let names: BTreeSet<Reference> = self.named.keys().cloned().collect();
        if names != self.wanted.names {
            self.wanted = Wanted { number: self.wanted.number + 1, names };
        }
        Some(self.wanted.clone())
    }

    /// What has changed since this was last asked; none if nothing has.
    pub fn take_batch(&mut self) -> Option<Batch> {
        let is_first = !self.whole && self.is_whole();
        self.whole |= is_first;
        if self.batch.changes.is_empty() && !is_first {
            return None;
        }
        self.batch.whole = self.whole;
        Some(std::mem::take(&mut self.batch))
    }

    /// How many changes wait.
    pub fn pending(&self) -> usize {
        self.batch.changes.len()
    }

    /// Kinds that have to be listed before there is a version and are not.
    pub fn missing(&self) -> Vec<String> {
        let missing = self.kinds.iter().zip(ALL).filter(|(known, _)| known.expected && !known.listed);
        missing.map(|(_, resource)| resource.full_name()).collect()
    }

    fn is_whole(&self) -> bool {
        let settled = |holder| self.settled.get(&holder).is_some_and(|number| *number == self.wanted.number);
        self.defined
            && self.kinds.iter().all(|known| !known.expected || known.listed)
            && !self.wanted_changed
            && settled(Holder::Secret)
            && settled(Holder::ConfigMap)
    }

    fn object(&mut self, place: usize, resource: &'static Resource, name: Name, mut trimmed: Trimmed) {
        let Some(key) = key(resource, &name) else { return };
        if keeps_status(resource) {
            let Trimmed { status, resource_version, uid, value, version } = &mut trimmed;
            let generation =
                value.pointer("/metadata/generation").and_then(Value::as_i64).unwrap_or_default();
            let live = LiveObject {
                resource,
                version,
                status: status.take(),
                resource_version: std::mem::take(resource_version),
                uid: std::mem::take(uid),
                generation,
            };
            self.live.set(key.clone(), live);
        }
        let print = fingerprint(&trimmed.value);
        let Some(known) = self.kinds.get_mut(place) else { return };
        match known.objects.entry(name) {
            Entry::Occupied(mut entry) => {
                if std::mem::replace(entry.get_mut(), print) == print {
                    return;
                }
            }
            Entry::Vacant(entry) => {
                entry.insert(print);
            }
        }
        let found = references::of(resource, &key.namespace, &trimmed.value, &self.homes);
        self.refer(&key, found);
        self.change(key, Some(trimmed.value));
    }

    fn gone(&mut self, place: usize, resource: &Resource, name: &Name) {
        let was_there = self.kinds.get_mut(place).is_some_and(|known| known.objects.remove(name).is_some());
        if let (true, Some(key)) = (was_there, key(resource, name)) {
            self.live.remove(&key);
            self.refer(&key, BTreeSet::new());
            self.change(key, None);
        }
    }

    fn refer(&mut self, key: &Key, found: BTreeSet<Reference>) {
        let before = match found.is_empty() {
            true => self.references.remove(key),
            false => self.references.insert(key.clone(), found.clone()),
        };
        let before = before.unwrap_or_default();
        if before == found {
            return;
        }
        for name in found {
            *self.named.entry(name).or_default() += 1;
        }
        for name in before {
            if let Some(count) = self.named.get_mut(&name) {
                *count -= 1;
                if *count == 0 {
                    self.named.remove(&name);
                }
            }
        }
        self.wanted_changed = true;
    }

    fn change(&mut self, key: Key, value: Option<Value>) {
        self.batch.since = self.batch.since.or(self.heard);
        self.batch.changes.push(Change { key, value });
    }
}

/// Whether anybody writes the status of objects of a kind, or Events about them.
fn keeps_status(resource: &Resource) -> bool {
    !matches!(resource.group, "" | "discovery.k8s.io") || resource.kind == "Service"
}

fn key(resource: &Resource, (namespace, name): &Name) -> Option<Key> {
    Some(Key { kind: resource.kind()?, namespace: namespace.clone(), name: name.clone() })
}

fn holder_key(holder: Holder, (namespace, name): &Name) -> Option<Key> {
    let kind = match holder {
        Holder::Secret => "Secret",
        Holder::ConfigMap => "ConfigMap",
    };
    Some(Key { kind: resources::kind("", kind)?, namespace: namespace.clone(), name: name.clone() })
}

/// A hash of an object's text; two versions of one object with the same hash are the same.
fn fingerprint(value: &Value) -> u64 {
    struct Sink(DefaultHasher);
    impl std::io::Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.write(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let mut sink = Sink(DefaultHasher::new());
    // Neither a tree of JSON nor the sink can fail.
    let _ = serde_json::to_writer(&mut sink, value);
    sink.0.finish()
}
