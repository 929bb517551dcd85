//! What the proxy has been told, on its way to a table.
//!
//! What arrives is *held* until everything it refers to has arrived too, then taken into the snapshot, which refuses what
//! is wrong and keeps the last good object of that name. Removals are held with it: what is in force needs the old
//! destinations for as long as the new rules wait for theirs (make before break). A table is compiled of a copy of the snapshot; when every shard
//! has the table, that copy is *in force*. Generations count the snapshot's states, so that it is known which of them a
//! table in force has.

use std::collections::{BTreeMap, BTreeSet};

use dromon_core::config::model::{Destination, Discovery, Host, Kind, Resource, VirtualHost};
use dromon_core::config::snapshot::{Rejection, Snapshot, Update};

use super::feed::interest::{Interest, Known, Wanted, credential_of, default_destinations, destinations_of};

/// An object's kind and name.
pub type Key = (Kind, String);

/// The objects of one proxy. See the module's text.
#[derive(Debug, Default)]
pub struct Store {
    /// `None` is a removal.
    held: BTreeMap<Key, Option<Update>>,
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
        self.held.insert((update.resource.kind(), name), Some(update));
    }

    /// An object is gone, or never was.
    pub fn remove(&mut self, kind: Kind, name: String) {
        self.held.insert((kind, name), None);
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

    /// Interest has changed from `before` to `now`. What was said of the absence of names that are asked for anew was said
    /// when nothing referred to them; a controller that has them now sends them, and what refers to them waits for that.
    pub fn ask_anew(&mut self, before: &Interest, now: &Interest) {
        for kind in Kind::ALL {
            let Wanted::Named(names) = now.wanted(kind) else { continue };
            for name in names.iter().filter(|name| !before.wanted(kind).covers(name)) {
                self.snapshot.doubt_absence(kind, name);
                let key = (kind, name.clone());
                if self.held.get(&key).is_some_and(Option::is_none) {
                    self.held.remove(&key);
                }
            }
        }
    }

    /// Drops objects that are not wanted any more, once nothing waits that would replace them.
    pub fn forget_unwanted(&mut self, interest: &Interest) {
        if self.has_held() {
            return;
        }
        for kind in Kind::ALL {
            let stale = self.snapshot.absent(kind).filter(|name| !interest.wanted(kind).covers(name));
            for name in stale.map(str::to_owned).collect::<Vec<String>>() {
                self.snapshot.doubt_absence(kind, &name);
            }
        }
        for (kind, name) in self.keys() {
            if !interest.wanted(kind).covers(&name) && self.snapshot.forget(kind, &name) {
                self.generation += 1;
            }
        }
    }

    /// Takes what is held into the snapshot, except (unless `all`) what refers to objects that have not come yet. The
    /// answer: what is refused.
    pub fn take_held(&mut self, interest: &Interest, all: bool) -> Vec<Rejection> {
        let back = if all { BTreeSet::new() } else { self.incomplete(interest) };
        let (mut updates, mut removals) = (Vec::new(), Vec::new());
        for (key, change) in std::mem::take(&mut self.held) {
            let stays = match &change {
                Some(_) => back.contains(&key),
                None => !back.is_empty() && self.has(key.0, &key.1),
            };
            match change {
                change if stays => {
                    self.held.insert(key, change);
                }
                Some(update) => updates.push(update),
                None => removals.push(key),
            }
        }
        let applied = self.snapshot.apply(updates, removals);
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

    fn has(&self, kind: Kind, name: &str) -> bool {
        match kind {
            Kind::Proxy => self.snapshot.proxy().is_some(),
            Kind::Endpoints => self.snapshot.endpoints().contains_key(name),
            Kind::Destination => self.snapshot.destinations().contains_key(name),
            Kind::RateLimit => self.snapshot.rate_limits().contains_key(name),
            Kind::VirtualHost => self.snapshot.virtual_hosts().contains_key(name),
            Kind::Host => self.snapshot.hosts().contains_key(name),
            Kind::Credential => self.snapshot.credentials().contains_key(name),
        }
    }

    /// Here, known not to exist, or never asked for by name: nothing more will come for it.
    fn is_settled(&self, kind: Kind, name: &str, interest: &Interest) -> bool {
        *interest.wanted(kind) == Wanted::All
            || self.has(kind, name)
            || self.is_held(kind, name)
            || self.snapshot.is_absent(kind, name)
    }

    /// What refers to something that is still to come: rules to their destinations, destinations to their endpoints
    /// and credentials, an entry of the index that is in use to what its requests need once it is taken.
    fn incomplete(&self, interest: &Interest) -> BTreeSet<Key> {
        let mut back = BTreeSet::new();
        let updates = |kind: Kind| {
            let of_kind = self.held.iter().filter(move |(key, _)| key.0 == kind);
            of_kind.filter_map(|(key, change)| Some((key, &change.as_ref()?.resource)))
        };
        for (key, resource) in updates(Kind::Destination) {
            let Resource::Destination(destination) = resource else { continue };
            let endpoints = destination.discovery == Discovery::OriginalDestination
                || self.is_settled(Kind::Endpoints, &key.1, interest);
            let credential =
                credential_of(destination).is_none_or(|it| self.is_settled(Kind::Credential, it, interest));
            if !endpoints || !credential {
                back.insert(key.clone());
            }
        }
        let destination_is_here = |name: String, back: &BTreeSet<Key>| {
            self.is_settled(Kind::Destination, &name, interest) && !back.contains(&(Kind::Destination, name))
        };
        for (key, resource) in updates(Kind::VirtualHost) {
            let (Resource::VirtualHost(rules), Some(host)) = (resource, self.host(&key.1)) else { continue };
            if !destinations_of(rules, host).into_iter().all(|name| destination_is_here(name, &back)) {
                back.insert(key.clone());
            }
        }
        for (key, resource) in updates(Kind::Host) {
            let Resource::Host(host) = resource else { continue };
            let rules = (Kind::VirtualHost, key.1.clone());
            let is_in_use = self.snapshot.virtual_hosts().contains_key(key.1.as_str())
                || default_destinations(host)
                    .any(|name| self.snapshot.destinations().contains_key(name.as_str()));
            let complete = match host.routed {
                true => self.is_settled(rules.0, &rules.1, interest) && !back.contains(&rules),
                false => default_destinations(host)
                    .filter(|name| interest.wanted(Kind::Destination).covers(name))
                    .all(|name| destination_is_here(name, &back)),
            };
            if is_in_use && !complete {
                back.insert(key.clone());
            }
        }
        back
    }
}

impl Known for Store {
    fn host(&self, name: &str) -> Option<&Host> {
        match self.held.get(&(Kind::Host, name.to_owned())) {
            Some(Some(Update { resource: Resource::Host(host), .. })) => Some(host),
            Some(None) => None,
            _ => self.snapshot.hosts().get(name).map(|held| &**held.body()),
        }
    }

    fn virtual_host(&self, name: &str) -> Option<&VirtualHost> {
        match self.held.get(&(Kind::VirtualHost, name.to_owned())) {
            Some(Some(Update { resource: Resource::VirtualHost(rules), .. })) => Some(rules),
            Some(None) => None,
            _ => self.snapshot.virtual_hosts().get(name).map(|held| &**held.body()),
        }
    }

    fn destination(&self, name: &str) -> Option<&Destination> {
        match self.held.get(&(Kind::Destination, name.to_owned())) {
            Some(Some(Update { resource: Resource::Destination(destination), .. })) => Some(destination),
            Some(None) => None,
            _ => self.snapshot.destinations().get(name).map(|held| &**held.body()),
        }
    }
}

#[cfg(test)]
mod tests;
