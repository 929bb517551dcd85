//! Everything that one proxy may have, at one version, serialized once and shared by all who read it.

use std::collections::{BTreeMap, BTreeSet};
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
    pub version: String,
    /// JSON of the model's type.
    pub value: Bytes,
}

impl fmt::Debug for Body {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} ({} bytes)", self.version, self.value.len())
    }
}

/// One proxy's resources, or those that several share.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct View {
    /// The store's version that this view belongs to.
    pub version: u64,
    kinds: [BTreeMap<String, Body>; Kind::ALL.len()],
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
    names: Arc<[(Kind, String)]>,
}

/// Which view somebody has in full; see [`View::changes_since`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    version: u64,
    shared: Option<(u64, u64)>,
}

impl View {
    /// Serializes resources. Where one is as it was in `previous`, its bytes are shared. Of two resources of one kind
    /// and name the first counts.
    ///
    /// # Errors
    /// A resource that cannot be written as JSON, which is a defect of ours.
    pub fn build(
        version: u64,
        resources: &[Resource],
        previous: Option<&View>,
    ) -> Result<View, serde_json::Error> {
        View::build_on(version, resources, previous, &BTreeSet::new())
    }

    /// As [`View::build`], with the destinations of these names and all credentials as they are in `previous`.
    ///
    /// # Errors
    /// As of [`View::build`].
    pub fn build_on(
        version: u64,
        resources: &[Resource],
        previous: Option<&View>,
        kept: &BTreeSet<String>,
    ) -> Result<View, serde_json::Error> {
        let mut view = View { version, ..View::default() };
        for resource in resources {
            let kind = resource.kind();
            let value = serialize(resource)?;
            let known = previous
                .and_then(|previous| previous.kinds[kind as usize].get(resource.name()))
                .filter(|body| body.value.as_ref() == value.as_slice())
                .cloned();
            let body = known.unwrap_or_else(|| Body { version: fingerprint(&value), value: value.into() });
            view.kinds[kind as usize].entry(resource.name().to_owned()).or_insert(body);
        }
        let Some(previous) = previous else { return Ok(view) };
        if !kept.is_empty() {
            for kind in [Kind::Destination, Kind::Endpoints] {
                let before = &previous.kinds[kind as usize];
                let bodies = kept.iter().filter_map(|name| Some((name.clone(), before.get(name)?.clone())));
                view.kinds[kind as usize].extend(bodies);
            }
            let credentials = previous.kinds[Kind::Credential as usize].clone();
            view.kinds[Kind::Credential as usize].extend(credentials);
        }
        let names = view.differing(previous).into();
        view.changes = Some(Changes { since: previous.version, names });
        Ok(view)
    }

    /// As `previous`, with these resources in place of those of their names.
    ///
    /// # Errors
    /// As of [`View::build`].
    pub fn patch(version: u64, resources: &[Resource], previous: &View) -> Result<View, serde_json::Error> {
        let mut view = View { version, ..previous.clone() };
        let mut names = Vec::new();
        for resource in resources {
            let value = serialize(resource)?;
            let bodies = &mut view.kinds[resource.kind() as usize];
            if bodies.get(resource.name()).is_none_or(|body| body.value.as_ref() != value.as_slice()) {
                let body = Body { version: fingerprint(&value), value: value.into() };
                bodies.insert(resource.name().to_owned(), body);
                names.push((resource.kind(), resource.name().to_owned()));
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
    pub fn changes_since(&self, stamp: Stamp) -> Option<impl Iterator<Item = &(Kind, String)>> {
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

    fn own_changes_since(&self, version: u64) -> Option<&[(Kind, String)]> {
        if version == self.version {
            return Some(&[]);
        }
        self.changes.as_ref().filter(|it| it.since == version).map(|it| &*it.names)
    }

    /// Names of its own that are new, gone or others than in an earlier view.
    fn differing(&self, before: &View) -> Vec<(Kind, String)> {
        let mut names = Vec::new();
        for kind in Kind::ALL {
            let (now, before) = (&self.kinds[kind as usize], &before.kinds[kind as usize]);
            let new = now.iter().filter(|(name, body)| before.get(*name) != Some(*body));
            let gone = before.keys().filter(|name| !now.contains_key(*name));
            names.extend(new.map(|(name, _)| name).chain(gone).map(|name| (kind, name.clone())));
        }
        names
    }

    /// One resource.
    pub fn get(&self, kind: Kind, name: &str) -> Option<&Body> {
        let shared = || self.shared.as_ref().and_then(|it| it.view.get(kind, name));
        self.kinds[kind as usize].get(name).or_else(shared)
    }

    /// All resources of a kind, by name; those that it shares come last.
    pub fn all(&self, kind: Kind) -> impl Iterator<Item = (&str, &Body)> {
        let own = &self.kinds[kind as usize];
        let shared = self.shared.iter().flat_map(move |it| &it.view.kinds[kind as usize]);
        let shared = shared.filter(|(name, _)| !own.contains_key(*name));
        own.iter().chain(shared).map(|(name, body)| (name.as_str(), body))
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
fn fingerprint(value: &[u8]) -> String {
    let mut hasher = DefaultHasher::new();
    hasher.write(value);
    format!("{:016x}", hasher.finish())
}
