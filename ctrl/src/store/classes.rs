//! Sidecars that see the same of the mesh, and what they see: made once, shared by all of them.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use dromon_core::config::model::{Kind, Resource};
use dromon_k8s::diagnostic::Diagnostic;
use dromon_k8s::mesh::Mesh;
use dromon_k8s::mesh::workloads::Workloads;
use dromon_k8s::translate::shared::{Part, Seen};
use dromon_k8s::translate::{self, ProxyIdentity, shared};

use super::{Moved, pods};
use crate::feed::view::{Pool, View};

/// What tells a class: its namespace, and its labels as far as rules ask for them.
pub(super) type Key = (String, BTreeMap<String, String>);

/// A class, as a view of one of its sidecars needs it.
#[derive(Clone, Debug)]
pub(super) struct Class {
    /// Tells it from others.
    pub(super) number: u64,
    /// What its sidecars see.
    pub(super) view: Arc<View>,
    /// Addresses of the hosts among it.
    pub(super) taken: Arc<HashSet<String>>,
}

/// A class, with what it takes to bring it up to date.
#[derive(Debug)]
struct Held {
    class: Class,
    /// The version in which it was looked at last.
    checked: u64,
    /// What is seen of each host.
    parts: BTreeMap<String, Part>,
    /// How many entries of the index and rules these are.
    own: usize,
    /// Addresses of entries of the index.
    addresses: BTreeMap<String, Vec<String>>,
    /// How many parts use each destination.
    uses: HashMap<String, usize>,
    /// What came up with destinations.
    diagnostics: BTreeMap<String, Vec<Diagnostic>>,
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Classes {
    classes: HashMap<Arc<Key>, Held>,
    /// Who each proxy was when its view was made.
    known: HashMap<String, Who>,
    next: u64,
    /// The labels by which rules choose, at a version.
    selecting: (u64, BTreeSet<String>),
    /// How often these labels have changed.
    selections: u64,
    /// The workloads by which proxies were told last, and how often these have changed.
    workloads: (u64, Option<Arc<Workloads>>),
}

/// Who a proxy was when its view was made.
#[derive(Debug)]
struct Who {
    identity: Arc<ProxyIdentity>,
    /// The addresses that were taken.
    taken: Arc<HashSet<String>>,
    /// Its class, by the labels that rules chose by then.
    class: (u64, Arc<Key>),
    /// It was the same by these workloads.
    workloads: u64,
}

impl Classes {
    /// Who a proxy is; the same by address for as long as it does not change.
    pub(super) fn identity(&mut self, proxy: &str, mesh: &Mesh) -> Option<Arc<ProxyIdentity>> {
        let (number, workloads) = &mut self.workloads;
        if !workloads.as_ref().is_some_and(|it| Arc::ptr_eq(it, &mesh.workloads)) {
            *number += 1;
            *workloads = Some(mesh.workloads.clone());
        }
        // A sidecar's identity is its pod's word and nothing else.
        let known = self.known.get_mut(proxy);
        if let Some(who) = known.as_ref().filter(|who| who.workloads == *number) {
            return Some(who.identity.clone());
        }
        let identity = pods::identity(proxy, mesh)?;
        match known.filter(|who| *who.identity == identity) {
            Some(who) => {
                who.workloads = *number;
                Some(who.identity.clone())
            }
            None => Some(Arc::new(identity)),
        }
    }

    /// The class of a sidecar at this version, and what it is known by; none if it is no sidecar.
    pub(super) fn of(
        &mut self,
        proxy: &str,
        identity: &Arc<ProxyIdentity>,
        (mesh, version): (&Mesh, u64),
        moved: &Moved,
        pool: &mut Pool,
    ) -> Option<(Arc<Key>, Class)> {
        if self.selecting.0 == 0 || self.selecting.0 < moved.since.max(moved.rules_since) {
            let now = shared::selecting_labels(mesh);
            if now != self.selecting.1 {
                self.selections += 1;
                self.selecting.1 = now;
            }
        }
        self.selecting.0 = version;
        let known = self.known.get(proxy).filter(|who| Arc::ptr_eq(&who.identity, identity));
        let key = match known.filter(|who| who.class.0 == self.selections) {
            Some(who) => who.class.1.clone(),
            None => Arc::new(key_of(&shared::class_of(identity, &self.selecting.1)?)),
        };
        let held = self.classes.get_mut(&key);
        if let Some(held) = held.as_ref().filter(|held| held.checked == version) {
            return Some((key, held.class.clone()));
        }
        let of = shared::class_of(identity, &self.selecting.1)?;
        let number = held.as_ref().map(|held| held.class.number);
        if let Some(held) = held.filter(|held| held.checked >= moved.since)
            && held.patch(mesh, &of, version, moved, pool).is_some()
        {
            return Some((key, held.class.clone()));
        }
        let number = number.unwrap_or_else(|| {
            self.next += 1;
            self.next
        });
        let before = self.classes.get(&key).map(|held| held.class.view.as_ref());
        let held = Held::new(number, shared::whole(mesh, &of), before, version, pool)?;
        let class = held.class.clone();
        self.classes.insert(key.clone(), held);
        Some((key, class))
    }

    /// What came up in all of them.
    pub(super) fn diagnostics(&self) -> impl Iterator<Item = &Diagnostic> {
        self.classes.values().flat_map(|held| held.diagnostics.values().flatten())
    }

    /// Whether a proxy is who it was when its view was made, and sees the same addresses.
    pub(super) fn is_same(&self, proxy: &str, identity: &Arc<ProxyIdentity>, class: &Class) -> bool {
        let same = |who: &Who| Arc::ptr_eq(&who.identity, identity) && Arc::ptr_eq(&who.taken, &class.taken);
        self.known.get(proxy).is_some_and(same)
    }

    /// A proxy's view was made for this identity, as one of this class.
    pub(super) fn remember(
        &mut self,
        proxy: &str,
        identity: Arc<ProxyIdentity>,
        key: Arc<Key>,
        class: &Class,
    ) {
        let taken = class.taken.clone();
        let who = Who { identity, taken, class: (self.selections, key), workloads: self.workloads.0 };
        match self.known.get_mut(proxy) {
            Some(known) => *known = who,
            None => drop(self.known.insert(proxy.to_owned(), who)),
        }
    }

    /// Forgets proxies that are not among these.
    pub(super) fn retain_proxies(&mut self, proxies: &BTreeSet<&String>) {
        self.known.retain(|proxy, _| proxies.contains(proxy));
    }

    /// Forgets classes of which nobody has asked for long.
    pub(super) fn retain(&mut self) {
        let latest = self.selecting.0;
        self.classes.retain(|_, held| held.checked + 1 >= latest);
    }
}

fn key_of(class: &ProxyIdentity) -> Key {
    (class.namespace.clone(), class.labels.clone())
}

impl Held {
    fn new(number: u64, seen: Seen, before: Option<&View>, version: u64, pool: &mut Pool) -> Option<Held> {
        let view = Arc::new(View::build(version, &seen.resources, before, pool).ok()?);
        let addresses: BTreeMap<String, Vec<String>> = addresses(&seen.resources).collect();
        let taken = Arc::new(addresses.values().flatten().cloned().collect());
        let (parts, diagnostics) = (seen.parts, seen.diagnostics);
        let mut uses: HashMap<String, usize> = HashMap::new();
        for name in parts.values().flat_map(|part| &part.uses) {
            *uses.entry(name.clone()).or_default() += 1;
        }
        let own = parts.values().map(|part| part.own.len()).sum();
        let class = Class { number, view, taken };
        Some(Held { class, checked: version, parts, own, uses, addresses, diagnostics })
    }

    /// Brings it to a version in which nothing but endpoints and rules of single hosts is new; none where that cannot be done,
    /// and it is to be made anew.
    fn patch(
        &mut self,
        mesh: &Mesh,
        of: &ProxyIdentity,
        version: u64,
        moved: &Moved,
        pool: &mut Pool,
    ) -> Option<()> {
        let view = self.class.view.clone();
        // The view may be older than its class: a version that changed nothing of it made no new one.
        let names = moved.names_since(&view, self.checked);
        let mut resources = translate::destinations(mesh, of, names.into_iter());
        let hosts: Vec<&str> = moved.rules_newer(self.checked).collect();
        let mut gone = Vec::new();
        if !hosts.is_empty() {
            let is_known = |name: &str| view.get(Kind::Destination, name).is_some();
            let seen = shared::of_hosts(mesh, of, hosts.into_iter(), &is_known);
            let is_credential = |it: &Resource| it.kind() == Kind::Credential;
            // What several destinations say of one credential is joined, in the order of all.
            if view.all(Kind::Credential).next().is_some() || seen.resources.iter().any(is_credential) {
                return None;
            }
            self.diagnostics.extend(seen.diagnostics);
            gone = self.replace(seen.parts);
            self.readdress(&seen.resources, &gone);
            resources.extend(seen.resources);
        }
        self.checked = version;
        if resources.is_empty() && gone.is_empty() {
            return Some(());
        }
        let patched = View::patch(version, &resources, &gone, &view, pool).ok()?;
        // Of one name that two hosts have the first counts, in the order of all.
        if patched.own_count(Kind::Host) + patched.own_count(Kind::VirtualHost) != self.own {
            return None;
        }
        self.class.view = Arc::new(patched);
        Some(())
    }

    /// Puts parts in the place of earlier ones; returns the names of what is gone with these.
    fn replace(&mut self, parts: BTreeMap<String, Part>) -> Vec<(Kind, String)> {
        for name in parts.values().flat_map(|part| &part.uses) {
            *self.uses.entry(name.clone()).or_default() += 1;
        }
        let mut gone = Vec::new();
        for (host, part) in parts {
            self.own += part.own.len();
            let before = self.parts.insert(host, part.clone()).unwrap_or_default();
            self.own -= before.own.len();
            gone.extend(before.own.into_iter().filter(|it| !part.own.contains(it)));
            for name in before.uses {
                let Some(count) = self.uses.get_mut(&name) else { continue };
                *count -= 1;
                if *count == 0 {
                    self.uses.remove(&name);
                    self.diagnostics.remove(&name);
                    gone.extend([Kind::Endpoints, Kind::Destination].map(|kind| (kind, name.clone())));
                }
            }
        }
        gone
    }

    /// Notes the addresses of hosts as they are now.
    fn readdress(&mut self, resources: &[Resource], gone: &[(Kind, String)]) {
        let mut is_new = false;
        for (name, now) in addresses(resources) {
            is_new |= self.addresses.get(&name) != Some(&now);
            self.addresses.insert(name, now);
        }
        for (_, name) in gone.iter().filter(|(kind, _)| *kind == Kind::Host) {
            is_new |= self.addresses.remove(name).is_some();
        }
        if is_new {
            self.class.taken = Arc::new(self.addresses.values().flatten().cloned().collect());
        }
    }
}

/// The addresses of hosts among resources, by name.
fn addresses(resources: &[Resource]) -> impl Iterator<Item = (String, Vec<String>)> {
    resources.iter().filter_map(|it| match it {
        Resource::Host(host) => Some((host.name.clone(), host.addresses.clone())),
        _ => None,
    })
}

#[cfg(test)]
mod tests;
