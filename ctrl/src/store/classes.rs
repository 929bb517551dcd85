//! Sidecars that see the same of the mesh, and what they see: made once, shared by all of them.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use dromon_core::config::model;
use dromon_k8s::mesh::Mesh;
use dromon_k8s::translate::{self, ProxyIdentity, shared};

use super::Moved;
use crate::feed::view::View;

/// What tells a class: its namespace, and its labels as far as rules ask for them.
type Key = (String, BTreeMap<String, String>);

/// A class.
#[derive(Clone, Debug)]
pub(super) struct Class {
    /// Tells it from others.
    pub(super) number: u64,
    /// What its sidecars see.
    pub(super) view: Arc<View>,
    /// Addresses of the hosts among it.
    pub(super) taken: Arc<HashSet<String>>,
    /// The version in which it was looked at last.
    checked: u64,
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Classes {
    classes: HashMap<Key, Class>,
    /// Who each proxy was when its view was made.
    identities: HashMap<String, ProxyIdentity>,
    next: u64,
    /// The labels by which rules choose, at a version.
    selecting: (u64, BTreeSet<String>),
}

impl Classes {
    /// The class of a sidecar at this version; none if it is no sidecar.
    pub(super) fn of(
        &mut self,
        identity: &ProxyIdentity,
        mesh: &Mesh,
        version: u64,
        moved: &Moved,
    ) -> Option<Class> {
        if self.selecting.0 != version {
            self.selecting = (version, shared::selecting_labels(mesh));
        }
        let of = shared::class_of(identity, &self.selecting.1)?;
        let key = (of.namespace.clone(), of.labels.clone());
        let known = self.classes.get(&key);
        if let Some(class) = known.filter(|class| class.checked == version) {
            return Some(class.clone());
        }
        let class = match known.filter(|class| class.checked >= moved.since) {
            Some(class) => patched(class, mesh, &of, version, moved)?,
            None => {
                let number = known.map(|class| class.number).unwrap_or_else(|| {
                    self.next += 1;
                    self.next
                });
                let (resources, _) = shared::shared(mesh, &of, &|_| false);
                let view = View::build(version, &resources, known.map(|class| class.view.as_ref())).ok()?;
                let taken = Arc::new(shared::addresses(&resources));
                Class { number, view: Arc::new(view), taken, checked: version }
            }
        };
        self.classes.insert(key, class.clone());
        Some(class)
    }

    /// Whether a proxy is who it was when its view was made.
    pub(super) fn is_same(&self, proxy: &str, identity: &ProxyIdentity) -> bool {
        self.identities.get(proxy) == Some(identity)
    }

    /// A proxy's view was made for this identity.
    pub(super) fn remember(&mut self, proxy: &str, identity: ProxyIdentity) {
        if !self.is_same(proxy, &identity) {
            self.identities.insert(proxy.to_owned(), identity);
        }
    }

    /// Forgets proxies that are not among these, and classes of which nobody has asked for long.
    pub(super) fn retain(&mut self, proxies: &BTreeSet<&String>) {
        self.identities.retain(|proxy, _| proxies.contains(proxy));
        let latest = self.selecting.0;
        self.classes.retain(|_, class| class.checked + 1 >= latest);
    }
}

/// A class at a version in which nothing but endpoints and VirtualServices is new.
fn patched(class: &Class, mesh: &Mesh, of: &ProxyIdentity, version: u64, moved: &Moved) -> Option<Class> {
    // The view may be older than its class: a version that changed nothing of it made no new one.
    let names: Vec<&str> = moved.names_since(&class.view, class.checked).collect();
    let endpoints = translate::destinations(mesh, of, names.into_iter());
    if class.checked >= moved.rules {
        let view = match endpoints.is_empty() {
            true => class.view.clone(),
            false => Arc::new(View::patch(version, &endpoints, &class.view).ok()?),
        };
        return Some(Class { view, checked: version, ..class.clone() });
    }
    let renewed: HashSet<&str> = endpoints.iter().map(|it| it.name()).collect();
    let known =
        |name: &str| !renewed.contains(name) && class.view.get(model::Kind::Destination, name).is_some();
    let (resources, kept) = shared::shared(mesh, of, &known);
    let view = View::build_on(version, &resources, Some(&class.view), &kept).ok()?;
    let taken = Arc::new(shared::addresses(&resources));
    Some(Class { number: class.number, view: Arc::new(view), taken, checked: version })
}

#[cfg(test)]
mod tests;
