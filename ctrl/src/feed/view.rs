//! Everything that one proxy may have, at one version, serialized once and shared by all who read it.
//!
//! Versions of a view share what did not change: kinds whole, and names and bodies of those that did. Views that say the same
//! of a thing share its bytes too, if they are built with one [`Pool`].

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::hash::{DefaultHasher, Hasher};
use std::sync::Arc;

use bytes::Bytes;
use dromon_core::config::model::{Kind, Resource};

/// A resource, ready to travel. `Debug` does not show the value, which may hold a private key.
#[derive(Clone, PartialEq, Eq)]
pub struct Body {
    /// Hash of the value: equal bodies have equal versions, whichever controller made them, so that a proxy which
    /// reconnects elsewhere is sent only what differs.
    pub version: u64,
    /// JSON of the model's type.
    pub value: Bytes,
}

impl Body {
    /// Its version as it travels.
    pub fn tag(&self) -> String {
        format!("{:016x}", self.version)
    }
}

/// Reads a version as it travels; none for what is no version of ours.
pub fn version_of(tag: &str) -> Option<u64> {
    u64::from_str_radix(tag, 16).ok()
}

impl fmt::Debug for Body {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} ({} bytes)", self.tag(), self.value.len())
    }
}

/// The resources of one kind, by name.
type Bodies = BTreeMap<Arc<str>, Body>;

/// Names and bodies that views have in common. What no view has any more is forgotten now and then.
#[derive(Debug, Default)]
pub struct Pool {
    names: HashMap<Arc<str>, ()>,
    bodies: HashMap<u64, Bytes>,
    /// How many bodies there were after it was last cleaned.
    kept: usize,
}

impl Pool {
    fn name(&mut self, name: &str) -> Arc<str> {
        if let Some((known, ())) = self.names.get_key_value(name) {
            return known.clone();
        }
        let name: Arc<str> = Arc::from(name);
        self.names.insert(name.clone(), ());
        name
    }

    fn body(&mut self, resource: &Resource) -> Result<Body, serde_json::Error> {
        let value = serialize(resource)?;
        let version = fingerprint(&value);
        // The same hash is not yet the same text.
        if let Some(known) = self.bodies.get(&version).filter(|it| it.as_ref() == value.as_slice()) {
            return Ok(Body { version, value: known.clone() });
        }
        let value = Bytes::from(value.into_boxed_slice());
        self.bodies.insert(version, value.clone());
        Ok(Body { version, value })
    }

    /// Forgets what nobody else has, if much has come since that was last done.
    pub fn clean(&mut self) {
        if self.bodies.len() < 2 * self.kept + 64 {
            return;
        }
        self.bodies.retain(|_, it| !it.is_unique());
        self.names.retain(|it, ()| Arc::strong_count(it) > 1);
        self.kept = self.bodies.len();
    }
}

/// One proxy's resources, or those that several share.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct View {
    /// The store's version that this view belongs to.
    pub version: u64,
    kinds: [Arc<Bodies>; Kind::ALL.len()],
    /// What differs from the view before it.
    changes: Option<Changes>,
    /// What it shares with other views; its own resources come first.
    shared: Option<Shared>,
}

/// What a view shares with others.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Shared {
    /// Tells it from what others share.
    class: u64,
    view: Arc<View>,
}

/// What differs between two views.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Changes {
    /// The version of the earlier one.
    since: u64,
    names: Arc<[(Kind, Arc<str>)]>,
}

/// Which view somebody has in full; see [`View::changes_since`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    version: u64,
    shared: Option<(u64, u64)>,
}

impl View {
    /// Serializes resources. What is as it was in `previous`, or in any view of the pool, shares its bytes. Of two resources of
    /// one kind and name the first counts.
    ///
    /// # Errors
    /// A resource that cannot be written as JSON, which is a defect of ours.
    pub fn build(
        version: u64,
        resources: &[Resource],
        previous: Option<&View>,
        pool: &mut Pool,
    ) -> Result<View, serde_json::Error> {
        let mut kinds: [Bodies; Kind::ALL.len()] = Default::default();
        for resource in resources {
            let body = pool.body(resource)?;
            kinds[resource.kind() as usize].entry(pool.name(resource.name())).or_insert(body);
        }
        let mut view = View { version, kinds: kinds.map(Arc::new), ..View::default() };
        if let Some(previous) = previous {
            let names = view.differing(previous).into();
            view.changes = Some(Changes { since: previous.version, names });
        }
        Ok(view)
    }

    /// As `previous`, with these resources in place of those of their names, and without those that are gone.
    ///
    /// # Errors
    /// As of [`View::build`].
    pub fn patch(
        version: u64,
        resources: &[Resource],
        gone: &[(Kind, String)],
        previous: &View,
        pool: &mut Pool,
    ) -> Result<View, serde_json::Error> {
        let mut view = View { version, ..previous.clone() };
        let mut names = Vec::new();
        for (kind, name) in gone {
            if let Some((name, _)) = previous.kinds[*kind as usize].get_key_value(name.as_str()) {
                Arc::make_mut(&mut view.kinds[*kind as usize]).remove(name);
                names.push((*kind, name.clone()));
            }
        }
        for resource in resources {
            let (kind, body) = (resource.kind(), pool.body(resource)?);
            if view.kinds[kind as usize].get(resource.name()) != Some(&body) {
                let name = pool.name(resource.name());
                names.push((kind, name.clone()));
                Arc::make_mut(&mut view.kinds[kind as usize]).insert(name, body);
            }
        }
        view.changes = Some(Changes { since: previous.version, names: names.into() });
        Ok(view)
    }

    /// The same resources at a later version.
    pub fn at(&self, version: u64) -> View {
        let changes = Some(Changes { since: self.version, names: Arc::from([]) });
        View { version, changes, ..self.clone() }
    }

    /// These resources and those that others of its class have too.
    pub fn with(self, class: u64, view: Arc<View>) -> View {
        View { shared: Some(Shared { class, view }), ..self }
    }

    /// Which view this is.
    pub fn stamp(&self) -> Stamp {
        let shared = self.shared.as_ref().map(|it| (it.class, it.view.version));
        Stamp { version: self.version, shared }
    }

    /// The names of what may differ from a view that somebody has in full; none: it is not known.
    pub fn changes_since(&self, stamp: Stamp) -> Option<impl Iterator<Item = &(Kind, Arc<str>)>> {
        let own = self.own_changes_since(stamp.version)?;
        let shared = match (&self.shared, stamp.shared) {
            (None, None) => [].as_slice(),
            (Some(now), Some((class, version))) if now.class == class => {
                now.view.own_changes_since(version)?
            }
            _ => return None,
        };
        Some(own.iter().chain(shared))
    }

    fn own_changes_since(&self, version: u64) -> Option<&[(Kind, Arc<str>)]> {
        if version == self.version {
            return Some(&[]);
        }
        self.changes.as_ref().filter(|it| it.since == version).map(|it| &*it.names)
    }

    /// Names of its own that are new, gone or others than in an earlier view.
    fn differing(&self, before: &View) -> Vec<(Kind, Arc<str>)> {
        let mut names = Vec::new();
        for kind in Kind::ALL {
            let (now, before) = (&self.kinds[kind as usize], &before.kinds[kind as usize]);
            let new = now.iter().filter(|(name, body)| before.get(*name) != Some(*body));
            let gone = before.keys().filter(|name| !now.contains_key(*name));
            names.extend(new.map(|(name, _)| name).chain(gone).map(|name| (kind, name.clone())));
        }
        names
    }

    /// Whether nothing of a kind can differ between this view and another, told without looking at it.
    pub fn is_same_of(&self, kind: Kind, other: &View) -> bool {
        let same = |one: &View, two: &View| Arc::ptr_eq(&one.kinds[kind as usize], &two.kinds[kind as usize]);
        same(self, other)
            && match (&self.shared, &other.shared) {
                (None, None) => true,
                (Some(one), Some(two)) => same(&one.view, &two.view),
                _ => false,
            }
    }

    /// How many resources of a kind it has itself, what it shares aside.
    pub fn own_count(&self, kind: Kind) -> usize {
        self.kinds[kind as usize].len()
    }

    /// One resource.
    pub fn get(&self, kind: Kind, name: &str) -> Option<&Body> {
        self.entry(kind, name).map(|(_, body)| body)
    }

    /// One resource with its name.
    pub fn entry(&self, kind: Kind, name: &str) -> Option<(&Arc<str>, &Body)> {
        let shared = || self.shared.as_ref().and_then(|it| it.view.entry(kind, name));
        self.kinds[kind as usize].get_key_value(name).or_else(shared)
    }

    /// All resources of a kind with their names; those that it shares come last.
    pub fn entries(&self, kind: Kind) -> impl Iterator<Item = (&Arc<str>, &Body)> {
        let own = &self.kinds[kind as usize];
        let shared = self.shared.iter().flat_map(move |it| it.view.kinds[kind as usize].iter());
        own.iter().chain(shared.filter(|(name, _)| !own.contains_key(*name)))
    }

    /// All resources of a kind, by name; those that it shares come last.
    pub fn all(&self, kind: Kind) -> impl Iterator<Item = (&str, &Body)> {
        self.entries(kind).map(|(name, body)| (&**name, body))
    }

    /// Whether both hold the same resources; versions aside.
    pub fn same_as(&self, other: &View) -> bool {
        let of =
            |view: &View, kind| view.all(kind).map(|(name, body)| (name.to_owned(), body.clone())).collect();
        Kind::ALL.into_iter().all(|kind| {
            let (one, two): (BTreeMap<_, _>, BTreeMap<_, _>) = (of(self, kind), of(other, kind));
            one == two
        })
    }
}

fn serialize(resource: &Resource) -> Result<Vec<u8>, serde_json::Error> {
    match resource {
        Resource::Proxy(it) => serde_json::to_vec(it),
        Resource::Endpoints(it) => serde_json::to_vec(it),
        Resource::Destination(it) => serde_json::to_vec(it),
        Resource::RateLimit(it) => serde_json::to_vec(it),
        Resource::VirtualHost(it) => serde_json::to_vec(it),
        Resource::Host(it) => serde_json::to_vec(it),
        Resource::Credential(it) => serde_json::to_vec(it),
    }
}

/// A fixed-key hash. Were a later build to hash otherwise, proxies would be sent what they have once more: harmless.
fn fingerprint(value: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(value);
    hasher.finish()
}
