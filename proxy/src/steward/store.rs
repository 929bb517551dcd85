//! What the proxy has been told: the objects in force, those being applied, and those that wait for their turn.
//!
//! An object goes from *waiting* to *applying* when a table is compiled of it, and to *in force* when every shard has
//! that table. One that is refused leaves the one in force before it where it was: a bad rule changes nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use dromon_core::config::model::{Discovery, Host, Kind, Resource, VirtualHost};

use super::disk::Object;
use super::feed::interest::{Interest, Known, Wanted, destinations_of};

type ByKind<T> = [T; Kind::ALL.len()];

/// An object's kind and name.
pub type Key = (Kind, String);

/// The objects of one proxy. See the module's text.
#[derive(Debug, Default)]
pub struct Store {
    in_force: ByKind<BTreeMap<String, Object>>,
    applying: ByKind<BTreeMap<String, Option<Object>>>,
    waiting: ByKind<BTreeMap<String, Option<Object>>>,
    /// Names that the controller has said do not exist.
    absent: ByKind<BTreeSet<String>>,
}

impl Store {
    /// An object has come. One equal to the newest in hand changes nothing but the version.
    pub fn put(&mut self, object: Object) {
        let kind = object.resource.kind();
        let name = object.resource.name().to_owned();
        self.absent[kind as usize].remove(&name);
        let object = match self.newest(kind, &name) {
            Some(held) if held.resource == object.resource => {
                Object { version: object.version, resource: held.resource.clone() }
            }
            _ => object,
        };
        self.waiting[kind as usize].insert(name, Some(object));
    }

    /// An object is gone, or never was.
    pub fn remove(&mut self, kind: Kind, name: String) {
        self.waiting[kind as usize].insert(name.clone(), None);
        self.absent[kind as usize].insert(name);
    }

    /// These are all the objects there are; what is not among them is gone.
    pub fn replace(&mut self, objects: Vec<Object>) {
        let mut named: BTreeSet<Key> = BTreeSet::new();
        for object in objects {
            named.insert((object.resource.kind(), object.resource.name().to_owned()));
            self.put(object);
        }
        for key in self.keys() {
            if !named.contains(&key) {
                self.waiting[key.0 as usize].insert(key.1, None);
            }
        }
    }

    /// Objects known to be good, from the copy on disk.
    pub fn seed(&mut self, objects: Vec<Object>) {
        for object in objects {
            let name = object.resource.name().to_owned();
            self.waiting[object.resource.kind() as usize].insert(name, Some(object));
        }
    }

    /// Drops objects that are not wanted any more. The answer tells whether there were any.
    pub fn forget_unwanted(&mut self, interest: &Interest) -> bool {
        let mut any = false;
        for (kind, name) in self.keys() {
            if !interest.wanted(kind).covers(&name) {
                any |= self.newest(kind, &name).is_some();
                self.waiting[kind as usize].insert(name, None);
            }
        }
        for kind in Kind::ALL {
            if let Wanted::Named(names) = interest.wanted(kind) {
                self.absent[kind as usize].retain(|name| names.contains(name));
            }
        }
        any
    }

    /// Whether something waits to be applied.
    pub fn has_waiting(&self) -> bool {
        self.waiting.iter().any(|of_kind| !of_kind.is_empty())
    }

    /// Whether something is being applied.
    pub fn has_applying(&self) -> bool {
        self.applying.iter().any(|of_kind| !of_kind.is_empty())
    }

    /// Starts to apply what waits, except what refers to objects that have not come yet (unless `all`): rules stay back
    /// until their destinations are here, destinations until their endpoints are. The answer: how many stay back.
    pub fn start_applying(&mut self, interest: &Interest, all: bool) -> usize {
        let held: BTreeSet<Key> = if all { BTreeSet::new() } else { self.held_back(interest) };
        for kind in Kind::ALL {
            let waiting = std::mem::take(&mut self.waiting[kind as usize]);
            for (name, change) in waiting {
                if held.contains(&(kind, name.clone())) {
                    self.waiting[kind as usize].insert(name, change);
                } else {
                    self.applying[kind as usize].insert(name, change);
                }
            }
        }
        held.len()
    }

    /// The objects that the next table is made of: those in force, with those being applied in their place.
    pub fn next_objects(&self) -> Vec<Arc<Resource>> {
        let mut objects = Vec::new();
        for kind in Kind::ALL {
            let (applying, in_force) = (&self.applying[kind as usize], &self.in_force[kind as usize]);
            let kept = in_force.iter().filter(|(name, _)| !applying.contains_key(*name)).map(|(_, held)| held);
            objects.extend(kept.chain(applying.values().flatten()).map(|held| held.resource.clone()));
        }
        objects
    }

    /// Takes refused objects out of what is being applied. The answer tells whether that changes the next table.
    pub fn withdraw(&mut self, refused: &[Key]) -> bool {
        let mut changed = false;
        for (kind, name) in refused {
            changed |= self.applying[*kind as usize].remove(name).is_some();
        }
        changed
    }

    /// The table of what was being applied is in force.
    pub fn settle(&mut self) {
        for kind in Kind::ALL {
            for (name, change) in std::mem::take(&mut self.applying[kind as usize]) {
                match change {
                    Some(object) => self.in_force[kind as usize].insert(name, object),
                    None => self.in_force[kind as usize].remove(&name),
                };
            }
        }
    }

    /// Objects in force.
    pub fn in_force(&self) -> impl Iterator<Item = &Object> {
        self.in_force.iter().flat_map(BTreeMap::values)
    }

    /// Names and versions in force, for a new stream.
    pub fn versions(&self, kind: Kind) -> impl Iterator<Item = (String, String)> {
        self.in_force[kind as usize].iter().map(|(name, held)| (name.clone(), held.version.to_string()))
    }

    /// Whether this object waits, so that what brought it cannot be acknowledged yet.
    pub fn is_waiting(&self, kind: Kind, name: &str) -> bool {
        self.waiting[kind as usize].contains_key(name)
    }

    /// Whether this object waits or is being applied.
    pub fn is_open(&self, kind: Kind, name: &str) -> bool {
        self.is_waiting(kind, name) || self.applying[kind as usize].contains_key(name)
    }

    /// Names that the controller says do not exist.
    pub fn all_absent(&self) -> Vec<Key> {
        let of_kind = |kind: Kind| self.absent[kind as usize].iter().map(move |name| (kind, name.clone()));
        Kind::ALL.into_iter().flat_map(of_kind).collect()
    }

    /// The newest of this name, in force or not.
    pub fn newest(&self, kind: Kind, name: &str) -> Option<&Object> {
        let at = kind as usize;
        match self.waiting[at].get(name).or_else(|| self.applying[at].get(name)) {
            Some(change) => change.as_ref(),
            None => self.in_force[at].get(name),
        }
    }

    fn keys(&self) -> BTreeSet<Key> {
        let mut keys = BTreeSet::new();
        for kind in Kind::ALL {
            let at = kind as usize;
            let names = self.in_force[at].keys().chain(self.applying[at].keys()).chain(self.waiting[at].keys());
            keys.extend(names.map(|name| (kind, name.clone())));
        }
        keys
    }

    /// Present, known to be absent, or not asked for: nothing more will come for it.
    fn is_settled(&self, kind: Kind, name: &str, interest: &Interest) -> bool {
        match interest.wanted(kind) {
            Wanted::All => true,
            Wanted::Named(_) => {
                self.newest(kind, name).is_some() || self.absent[kind as usize].contains(name)
            }
        }
    }

    fn held_back(&self, interest: &Interest) -> BTreeSet<Key> {
        let mut held = BTreeSet::new();
        for (name, change) in &self.waiting[Kind::Destination as usize] {
            let Some(Resource::Destination(destination)) = change.as_ref().map(|object| &*object.resource) else {
                continue;
            };
            let has_endpoints = destination.discovery != Discovery::OriginalDestination;
            if has_endpoints && !self.is_settled(Kind::Endpoints, name, interest) {
                held.insert((Kind::Destination, name.clone()));
            }
        }
        for (name, change) in &self.waiting[Kind::VirtualHost as usize] {
            let Some(Resource::VirtualHost(rules)) = change.as_ref().map(|object| &*object.resource) else {
                continue;
            };
            let Some(host) = self.host(name) else { continue };
            let complete = destinations_of(rules, host).iter().all(|destination| {
                self.is_settled(Kind::Destination, destination, interest)
                    && !held.contains(&(Kind::Destination, destination.clone()))
            });
            if !complete {
                held.insert((Kind::VirtualHost, name.clone()));
            }
        }
        held
    }
}

impl Known for Store {
    fn host(&self, name: &str) -> Option<&Host> {
        match &*self.newest(Kind::Host, name)?.resource {
            Resource::Host(host) => Some(host),
            _ => None,
        }
    }

    fn virtual_host(&self, name: &str) -> Option<&VirtualHost> {
        match &*self.newest(Kind::VirtualHost, name)?.resource {
            Resource::VirtualHost(rules) => Some(rules),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests;
