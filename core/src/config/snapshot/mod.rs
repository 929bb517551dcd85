//! The validated set of objects a proxy holds. It can only be built valid: an object that could not be carried out is
//! refused by name with the reason, the last good one of that name stays, and the rest of an update applies.

mod check;
mod diff;

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::config::model::{self, Discovery, Kind, Resource};
use crate::limits::RESOURCE_BYTES_MAX;

pub use diff::{Change, ChangeKind, diff};

/// One object at one version, as it travels and as the disk copy keeps it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Update {
    /// Version of this object; equal versions have equal bodies.
    pub version: String,
    /// The object.
    pub resource: Resource,
}

impl Update {
    /// Reads an object's JSON, as [`crate::config::wire::Any`] carries it.
    ///
    /// # Errors
    /// A [`Rejection`] where it is too large, not JSON of its kind, or named otherwise than announced.
    pub fn decode(kind: Kind, name: &str, version: &str, json: &[u8]) -> Result<Update, Rejection> {
        let refuse = |reason: String| Rejection { kind, name: name.to_owned(), origins: Vec::new(), reason };
        if json.len() > RESOURCE_BYTES_MAX {
            return Err(refuse(format!("{} bytes; at most {RESOURCE_BYTES_MAX}", json.len())));
        }
        let resource = match kind {
            Kind::Proxy => serde_json::from_slice(json).map(Resource::Proxy),
            Kind::Endpoints => serde_json::from_slice(json).map(Resource::Endpoints),
            Kind::Destination => serde_json::from_slice(json).map(Resource::Destination),
            Kind::RateLimit => serde_json::from_slice(json).map(Resource::RateLimit),
            Kind::VirtualHost => serde_json::from_slice(json).map(Resource::VirtualHost),
            Kind::Host => serde_json::from_slice(json).map(Resource::Host),
            Kind::Credential => serde_json::from_slice(json).map(Resource::Credential),
        };
        let resource = resource.map_err(|error| refuse(format!("not JSON of its kind: {error}")))?;
        if resource.name() != name {
            return Err(refuse(format!("its body is named {:?}", resource.name())));
        }
        Ok(Update { version: version.to_owned(), resource })
    }
}

/// An object that was refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{kind:?} {name}: {reason}")]
pub struct Rejection {
    /// Its kind.
    pub kind: Kind,
    /// Its name.
    pub name: String,
    /// Objects of the operator that it was made of, where it says.
    pub origins: Vec<String>,
    /// What is wrong with it, with the field's name.
    pub reason: String,
}

/// What came of an update.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// Objects taken over or removed.
    pub accepted: Vec<(Kind, String)>,
    /// Objects refused.
    pub rejected: Vec<Rejection>,
    /// Anything that a table is made of has changed.
    pub changed: bool,
}

/// A valid object with its version.
#[derive(Debug)]
pub struct Held<T> {
    version: Arc<str>,
    body: Arc<T>,
}

impl<T> Clone for Held<T> {
    fn clone(&self) -> Held<T> {
        Held { version: Arc::clone(&self.version), body: Arc::clone(&self.body) }
    }
}

impl<T> Held<T> {
    /// The object.
    pub fn body(&self) -> &Arc<T> {
        &self.body
    }

    /// Its version.
    pub fn version(&self) -> &str {
        &self.version
    }
}

/// Objects of one kind, by name.
pub type HeldMap<T> = BTreeMap<Arc<str>, Held<T>>;

/// Valid objects of all kinds. Clones share everything until one of them changes, so a clone is cheap, and what has not
/// changed between two is found by address.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    whole: bool,
    proxies: Arc<HeldMap<model::Proxy>>,
    endpoints: Arc<HeldMap<model::Endpoints>>,
    destinations: Arc<HeldMap<model::Destination>>,
    rate_limits: Arc<HeldMap<model::RateLimit>>,
    virtual_hosts: Arc<HeldMap<model::VirtualHost>>,
    hosts: Arc<HeldMap<model::Host>>,
    credentials: Arc<HeldMap<model::Credential>>,
    /// Names known not to exist, by kind.
    absent: [Arc<BTreeSet<Arc<str>>>; Kind::ALL.len()],
}

impl Snapshot {
    /// An empty set to which objects come as they are asked for: what is not there may exist.
    pub fn new() -> Snapshot {
        Snapshot::default()
    }

    /// Says whether the set is whole, so that what is not there does not exist: a file's, or a gateway's once all of it has
    /// come.
    pub fn set_whole(&mut self, whole: bool) {
        self.whole = whole;
    }

    /// Takes over updates and removals. A name that is removed without ever having been there is known not to exist.
    pub fn apply(
        &mut self,
        updates: impl IntoIterator<Item = Update>,
        removals: impl IntoIterator<Item = (Kind, String)>,
    ) -> Applied {
        let mut applied = Applied::default();
        for (kind, name) in removals {
            let there = self.remove(kind, &name);
            let news = !self.absent[kind as usize].contains(name.as_str());
            if news {
                Arc::make_mut(&mut self.absent[kind as usize]).insert(name.as_str().into());
            }
            applied.changed |= there || news;
            applied.accepted.push((kind, name));
        }
        for update in updates {
            let (kind, name) = (update.resource.kind(), update.resource.name().to_owned());
            match check::check(&update.resource) {
                Ok(()) => {
                    applied.changed |= self.insert(update) | self.no_longer_absent(kind, &name);
                    applied.accepted.push((kind, name));
                }
                Err(reason) => {
                    let origins = origins(&update.resource);
                    applied.rejected.push(Rejection { kind, name, origins, reason });
                }
            }
        }
        applied
    }

    /// Forgets an object that is no longer asked for: whether it exists is then unknown.
    pub fn forget(&mut self, kind: Kind, name: &str) -> bool {
        self.no_longer_absent(kind, name);
        self.remove(kind, name)
    }

    /// Names said not to exist.
    pub fn absent(&self, kind: Kind) -> impl Iterator<Item = &str> {
        self.absent[kind as usize].iter().map(|name| &**name)
    }

    /// Whether the name exists is unknown again: what was said about it is out of date.
    pub fn doubt_absence(&mut self, kind: Kind, name: &str) {
        self.no_longer_absent(kind, name);
    }

    fn no_longer_absent(&mut self, kind: Kind, name: &str) -> bool {
        let absent = &mut self.absent[kind as usize];
        absent.contains(name) && Arc::make_mut(absent).remove(name)
    }

    /// The same names of these kinds are known not to exist.
    pub(crate) fn same_absence(&self, other: &Snapshot, kinds: &[Kind]) -> bool {
        let same = |kind: &Kind| Arc::ptr_eq(&self.absent[*kind as usize], &other.absent[*kind as usize]);
        self.whole == other.whole && kinds.iter().all(same)
    }

    /// Names of the destinations that differ, or whose endpoints or credentials do.
    pub(crate) fn changed_destinations<'a>(&'a self, other: &'a Snapshot) -> impl Iterator<Item = &'a str> {
        let own = changed(&self.destinations, &other.destinations).into_iter();
        let credentials = changed(&self.credentials, &other.credentials);
        let renewed = other.destinations.iter().filter(move |(_, held)| {
            let tls = held.body.tls.as_ref();
            !credentials.is_empty() && tls.is_some_and(|tls| credentials.contains(&tls.credential.as_str()))
        });
        own.chain(changed(&self.endpoints, &other.endpoints)).chain(renewed.map(|(name, _)| &**name))
    }

    /// Names of the virtual hosts that differ, or whose hosts do.
    pub(crate) fn changed_virtual_hosts<'a>(&'a self, other: &'a Snapshot) -> impl Iterator<Item = &'a str> {
        changed(&self.virtual_hosts, &other.virtual_hosts)
            .into_iter()
            .chain(changed(&self.hosts, &other.hosts))
    }

    /// There is no such object, as far as the controller has said.
    pub fn is_absent(&self, kind: Kind, name: &str) -> bool {
        self.whole || self.absent[kind as usize].contains(name)
    }

    fn remove(&mut self, kind: Kind, name: &str) -> bool {
        fn take<T>(map: &mut Arc<HeldMap<T>>, name: &str) -> bool {
            map.contains_key(name) && Arc::make_mut(map).remove(name).is_some()
        }
        match kind {
            Kind::Proxy => take(&mut self.proxies, name),
            Kind::Endpoints => take(&mut self.endpoints, name),
            Kind::Destination => take(&mut self.destinations, name),
            Kind::RateLimit => take(&mut self.rate_limits, name),
            Kind::VirtualHost => take(&mut self.virtual_hosts, name),
            Kind::Host => take(&mut self.hosts, name),
            Kind::Credential => take(&mut self.credentials, name),
        }
    }

    /// True where the body is another one.
    fn insert(&mut self, update: Update) -> bool {
        let version = &update.version;
        match update.resource {
            Resource::Proxy(it) => {
                // Exactly one: a renamed one replaces the old.
                Arc::make_mut(&mut self.proxies).retain(|name, _| **name == *it.name);
                put(&mut self.proxies, it.name.as_str().into(), version, it)
            }
            Resource::Endpoints(it) => put(&mut self.endpoints, it.name.as_str().into(), version, it),
            Resource::Destination(it) => put(&mut self.destinations, it.name.as_str().into(), version, it),
            Resource::RateLimit(it) => put(&mut self.rate_limits, it.name.as_str().into(), version, it),
            Resource::VirtualHost(it) => put(&mut self.virtual_hosts, it.name.as_str().into(), version, it),
            Resource::Host(mut it) => {
                // Most of what a proxy has, thousands of them: reading leaves room for more in each of its lists.
                it.domains.shrink_to_fit();
                it.addresses.shrink_to_fit();
                it.ports.shrink_to_fit();
                put(&mut self.hosts, it.name.as_str().into(), version, it)
            }
            Resource::Credential(it) => put(&mut self.credentials, it.name.as_str().into(), version, it),
        }
    }

    /// The proxy's own object, once it has come.
    pub fn proxy(&self) -> Option<&Held<model::Proxy>> {
        self.proxies.values().next()
    }

    /// Endpoints, by the names of their destinations.
    pub fn endpoints(&self) -> &HeldMap<model::Endpoints> {
        &self.endpoints
    }

    /// Destinations.
    pub fn destinations(&self) -> &HeldMap<model::Destination> {
        &self.destinations
    }

    /// Rate limits.
    pub fn rate_limits(&self) -> &HeldMap<model::RateLimit> {
        &self.rate_limits
    }

    /// Rules.
    pub fn virtual_hosts(&self) -> &HeldMap<model::VirtualHost> {
        &self.virtual_hosts
    }

    /// The index.
    pub fn hosts(&self) -> &HeldMap<model::Host> {
        &self.hosts
    }

    /// Certificates with their keys.
    pub fn credentials(&self) -> &HeldMap<model::Credential> {
        &self.credentials
    }

    /// Names and versions of all objects of a kind: what a reconnecting proxy tells the controller.
    pub fn versions(&self, kind: Kind) -> Vec<(&str, &str)> {
        fn of<T>(map: &HeldMap<T>) -> Vec<(&str, &str)> {
            map.iter().map(|(name, held)| (&**name, &*held.version)).collect()
        }
        match kind {
            Kind::Proxy => of(&self.proxies),
            Kind::Endpoints => of(&self.endpoints),
            Kind::Destination => of(&self.destinations),
            Kind::RateLimit => of(&self.rate_limits),
            Kind::VirtualHost => of(&self.virtual_hosts),
            Kind::Host => of(&self.hosts),
            Kind::Credential => of(&self.credentials),
        }
    }

    /// All objects with their versions, for the disk copy; [`Snapshot::apply`] reads them back. Holds no private keys:
    /// credentials are not among them.
    pub fn saved(&self) -> Vec<Update> {
        fn of<'a, T: Clone>(
            map: &'a HeldMap<T>,
            wrap: impl Fn(T) -> Resource + 'a,
        ) -> impl Iterator<Item = Update> + 'a {
            map.values().map(move |held| Update {
                version: held.version.to_string(),
                resource: wrap(T::clone(&held.body)),
            })
        }
        of(&self.proxies, Resource::Proxy)
            .chain(of(&self.endpoints, Resource::Endpoints))
            .chain(of(&self.destinations, Resource::Destination))
            .chain(of(&self.rate_limits, Resource::RateLimit))
            .chain(of(&self.virtual_hosts, Resource::VirtualHost))
            .chain(of(&self.hosts, Resource::Host))
            .collect()
    }

    /// DNS names of endpoints, to be resolved for [`crate::config::compile`].
    pub fn dns_names(&self) -> BTreeSet<&str> {
        let endpoints = self.endpoints.values().flat_map(|held| &held.body.endpoints);
        let names = endpoints.map(|endpoint| endpoint.address.as_str());
        names.filter(|address| address.parse::<std::net::IpAddr>().is_err()).collect()
    }

    /// Those of them of which one answer is used at a time, so that it matters which comes first.
    pub fn dns_names_in_turn(&self) -> BTreeSet<&str> {
        let in_turn = |name: &str| {
            let destination = self.destinations.get(name);
            destination.is_some_and(|held| held.body.discovery == Discovery::DnsRoundRobin)
        };
        let endpoints = self.endpoints.iter().filter(|(name, _)| in_turn(name));
        let addresses = endpoints.flat_map(|(_, held)| &held.body.endpoints);
        addresses.map(|endpoint| endpoint.address.as_str()).collect()
    }
}

/// Names whose objects differ, in order.
fn changed<'a, T>(before: &'a Arc<HeldMap<T>>, after: &'a Arc<HeldMap<T>>) -> Vec<&'a str> {
    let mut names = Vec::new();
    if Arc::ptr_eq(before, after) {
        return names;
    }
    let (mut old, mut new) = (before.iter().peekable(), after.iter().peekable());
    loop {
        let order = match (old.peek(), new.peek()) {
            (None, None) => return names,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some((one, _)), Some((other, _))) if Arc::ptr_eq(one, other) => Ordering::Equal,
            (Some((one, _)), Some((other, _))) => one.cmp(other),
        };
        let one = if order.is_le() { old.next() } else { None };
        let other = if order.is_ge() { new.next() } else { None };
        match (one, other) {
            (Some((_, one)), Some((_, other))) if Arc::ptr_eq(&one.body, &other.body) => {}
            (one, other) => names.extend(one.or(other).map(|(name, _)| &**name)),
        }
    }
}

fn put<T: PartialEq>(map: &mut Arc<HeldMap<T>>, name: Arc<str>, version: &str, body: T) -> bool {
    let (map, version) = (Arc::make_mut(map), version.into());
    match map.get_mut(&name) {
        Some(held) if *held.body == body => {
            held.version = version;
            false
        }
        _ => {
            map.insert(name, Held { version, body: Arc::new(body) });
            true
        }
    }
}

fn origins(resource: &Resource) -> Vec<String> {
    match resource {
        Resource::Destination(it) => it.origins.clone(),
        Resource::VirtualHost(it) => it.origins.clone(),
        Resource::RateLimit(it) => vec![format!("RateLimit/{}", it.name)],
        Resource::Credential(it) => vec![format!("Secret/{}", it.name)],
        Resource::Proxy(_) | Resource::Endpoints(_) | Resource::Host(_) => Vec::new(),
    }
}

#[cfg(test)]
mod tests;
