//! What the proxy has been told, on its way to a table.
//!
//! What arrives is *held* until everything it refers to has arrived too, then taken into the snapshot, which refuses what
//! is wrong and keeps the last good object of that name. A table is compiled of a copy of the snapshot; when every shard
//! has the table, that copy is *in force*. Generations count the snapshot's states, so that it is known which of them a
//! table in force has.

use std::collections::{BTreeMap, BTreeSet};

use dromon_core::config::model::{Discovery, Host, Kind, Resource, VirtualHost};
use dromon_core::config::snapshot::{Rejection, Snapshot, Update};

use super::feed::interest::{Interest, Known, Wanted, destinations_of};

/// An object's kind and name.
pub type Key = (Kind, String);

/// The objects of one proxy. See the module's text.
#[derive(Debug, Default)]
pub struct Store {
    held: BTreeMap<Key, Update>,
    snapshot: Snapshot,
    generation: u64,
    applying: Option<(u64, Snapshot)>,
    in_force: (u64, Snapshot),
}

impl Store {
    /// Says that what is not here does not exist.
    pub fn set_whole(&mut self) {
        self.snapshot.set_whole(true);
    }

    /// An object has come.
    pub fn put(&mut self, update: Update) {
        let name = update.resource.name().to_owned();
        self.held.insert((update.resource.kind(), name), update);
    }

    /// An object is gone, or never was.
    pub fn remove(&mut self, kind: Kind, name: String) {
        self.held.remove(&(kind, name.clone()));
        if self.snapshot.apply([], [(kind, name)]).changed {
            self.generation += 1;
        }
    }

    /// These are all the objects there are; what is not among them is gone.
    pub fn replace(&mut self, updates: Vec<Update>) {
        let named: BTreeSet<Key> =
            updates.iter().map(|it| (it.resource.kind(), it.resource.name().to_owned())).collect();
        self.held.clear();
        for (kind, name) in self.keys() {
            if !named.contains(&(kind, name.clone())) {
                self.remove(kind, name);
            }
        }
        updates.into_iter().for_each(|update| self.put(update));
    }

    /// Drops objects that are not wanted any more.
    pub fn forget_unwanted(&mut self, interest: &Interest) {
        self.held.retain(|(kind, name), _| interest.wanted(*kind).covers(name));
        for (kind, name) in self.keys() {
            if !interest.wanted(kind).covers(&name) && self.snapshot.forget(kind, &name) {
                self.generation += 1;
            }
        }
    }

    /// Takes what is held into the snapshot, except (unless `all`) what refers to objects that have not come yet: rules
    /// stay back until their destinations are here, destinations until their endpoints are. The answer: what is refused.
    pub fn take_held(&mut self, interest: &Interest, all: bool) -> Vec<Rejection> {
        let back = if all { BTreeSet::new() } else { self.incomplete(interest) };
        let (stay, go) = std::mem::take(&mut self.held).into_iter().partition(|(key, _)| back.contains(key));
        self.held = stay;
        let go: BTreeMap<Key, Update> = go;
        let applied = self.snapshot.apply(go.into_values(), []);
        if applied.changed {
            self.generation += 1;
        }
        applied.rejected
    }

    /// Whether something is held.
    pub fn has_held(&self) -> bool {
        !self.held.is_empty()
    }

    /// Whether this object is held.
    pub fn is_held(&self, kind: Kind, name: &str) -> bool {
        self.held.contains_key(&(kind, name.to_owned()))
    }

    /// Whether the snapshot differs from what is in force.
    pub fn has_news(&self) -> bool {
        self.generation != self.in_force.0
    }

    /// The snapshot's state.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// A copy of the snapshot for the next table.
    pub fn start_applying(&mut self) -> Snapshot {
        self.applying = Some((self.generation, self.snapshot.clone()));
        self.snapshot.clone()
    }

    /// The table of the last copy is in force.
    pub fn settle(&mut self) {
        if let Some(applied) = self.applying.take() {
            self.in_force = applied;
        }
    }

    /// What is in force, and its generation.
    pub fn in_force(&self) -> (u64, &Snapshot) {
        (self.in_force.0, &self.in_force.1)
    }

    /// The newest objects that are not refused.
    pub fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    fn keys(&self) -> Vec<Key> {
        let of_kind =
            |kind| self.snapshot.versions(kind).into_iter().map(move |(name, _)| (kind, name.to_owned()));
        Kind::ALL.into_iter().flat_map(of_kind).collect()
    }

    /// Here, known not to exist, or never asked for by name: nothing more will come for it.
    fn is_settled(&self, kind: Kind, name: &str, interest: &Interest) -> bool {
        let here = || match kind {
            Kind::Endpoints => self.snapshot.endpoints().contains_key(name),
            Kind::Destination => self.snapshot.destinations().contains_key(name),
            _ => true,
        };
        *interest.wanted(kind) == Wanted::All
            || here()
            || self.is_held(kind, name)
            || self.snapshot.is_absent(kind, name)
    }

    fn incomplete(&self, interest: &Interest) -> BTreeSet<Key> {
        let mut back = BTreeSet::new();
        for (key, update) in &self.held {
            if let Resource::Destination(destination) = &update.resource
                && destination.discovery != Discovery::OriginalDestination
                && !self.is_settled(Kind::Endpoints, &destination.name, interest)
            {
                back.insert(key.clone());
            }
        }
        for (key, update) in &self.held {
            let Resource::VirtualHost(rules) = &update.resource else { continue };
            let Some(host) = self.host(&rules.name) else { continue };
            let complete = destinations_of(rules, host).into_iter().all(|name| {
                self.is_settled(Kind::Destination, &name, interest)
                    && !back.contains(&(Kind::Destination, name))
            });
            if !complete {
                back.insert(key.clone());
            }
        }
        back
    }
}

impl Known for Store {
    fn host(&self, name: &str) -> Option<&Host> {
        match self.held.get(&(Kind::Host, name.to_owned())).map(|update| &update.resource) {
            Some(Resource::Host(host)) => Some(host),
            _ => self.snapshot.hosts().get(name).map(|held| &**held.body()),
        }
    }

    fn virtual_host(&self, name: &str) -> Option<&VirtualHost> {
        match self.held.get(&(Kind::VirtualHost, name.to_owned())).map(|update| &update.resource) {
            Some(Resource::VirtualHost(rules)) => Some(rules),
            _ => self.snapshot.virtual_hosts().get(name).map(|held| &**held.body()),
        }
    }
}

#[cfg(test)]
mod tests;
