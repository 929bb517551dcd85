//! Make before break: what traffic flows by stays until what takes its place is there.
//!
//! Files of one change often arrive apart, a route before the subset that it names, or a subset taken away before the route
//! that names it has changed. Were each put in force at once, requests would fail until the rest is there. So:
//!
//! - the last version of a VirtualService that had all it names goes on in place of a newer one that has not; one that never
//!   had is put in force as it is;
//! - a subset that is taken away, alone or with its whole DestinationRule, stays as it was last for as long as a route in
//!   force names it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use dromon_k8s::api::destination_rule::DestinationRule;
use dromon_k8s::api::{Kind, Object, Rule};
use dromon_k8s::mesh::Mesh;
use dromon_k8s::objects::{Key, ObjectSet, Sourced};

use super::files::Files;
use super::needs::{self, Missing, SubsetName, Unmet};

/// Remembers what was whole and says what is held back.
#[derive(Debug, Default)]
pub struct Hold {
    /// The last whole version of each VirtualService, with the text of the file that it stood in.
    whole: BTreeMap<Key, (Sourced, Option<Arc<str>>)>,
    /// The DestinationRule that each subset which routes name was defined by last, with the text of its file.
    defined: BTreeMap<SubsetName, (Sourced, Option<Arc<str>>)>,
    /// What is missing for those whose last whole version is in force.
    held: BTreeMap<Key, Vec<String>>,
    /// What is missing for those that are in force all the same.
    broken: BTreeMap<Key, Vec<String>>,
    /// What was missing for the objects as they came.
    unmet: Unmet,
    kept: Vec<Kept>,
}

/// A subset that is in force although no DestinationRule defines it any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// The DestinationRule that defined it last.
    pub rule: Key,
    /// The subset's name.
    pub subset: String,
    /// Its host.
    pub host: String,
    /// The VirtualServices that name it.
    pub routes: BTreeSet<Key>,
    name: SubsetName,
}

impl fmt::Display for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: subset {} of {}", self.rule, self.subset, self.host)
    }
}

/// A version to go on from.
#[derive(Clone, Copy)]
pub struct Before<'a> {
    /// Its objects.
    pub set: &'a ObjectSet,
    /// The same, indexed.
    pub mesh: &'a Mesh,
    /// The objects that have changed since.
    pub changed: &'a BTreeSet<Key>,
}

/// Kinds of which no change makes anything exist that routes name, or not exist any more.
const IRRELEVANT: [Kind; 9] = [
    Kind::EndpointSlice,
    Kind::Endpoints,
    Kind::Pod,
    Kind::Node,
    Kind::WorkloadEntry,
    Kind::HttpRoute,
    Kind::GrpcRoute,
    Kind::TlsRoute,
    Kind::TcpRoute,
];

impl Hold {
    /// Replaces what has to wait by its last whole version and puts back what was taken away too early, in place; returns
    /// the index of the result.
    ///
    /// `before` is the version before, with the objects that have changed since: nothing else need be indexed.
    pub fn apply(&mut self, set: &mut ObjectSet, files: &Files, before: Option<Before<'_>>) -> Mesh {
        // Where something was held back or put back, the index before is of other objects than those that were told.
        let before = before.filter(|_| self.held.is_empty() && self.kept.is_empty());
        let mut mesh = match &before {
            Some(before) => before.mesh.renewed(set, before.set, before.changed),
            None => Mesh::new(set),
        };
        // What routes name exists or not whatever endpoints there are, and Gateway API's name no subsets.
        if before.is_some_and(|it| it.changed.iter().all(|key| IRRELEVANT.contains(&key.kind))) {
            return mesh;
        }
        let is_rule = |key: &Key| key.kind == Kind::VirtualService || IRRELEVANT.contains(&key.kind);
        let rules = before.map(|it| it.changed).filter(|it| it.iter().all(is_rule));
        let missing = match rules {
            // Thousands of others name what they named, and it is there or not as it was.
            Some(changed) => needs::unmet_since(&mesh, &self.unmet, changed),
            None => needs::unmet(&mesh),
        };
        let newer = self.turn_back(set, &mut mesh, &missing);
        let kept = self.put_back(set, &mut mesh);
        let still = match newer.is_empty() && kept.is_empty() {
            true => missing.clone(),
            false => needs::unmet(&mesh),
        };
        let texts = |missing: &BTreeSet<Missing>| missing.iter().map(Missing::to_string).collect();
        self.held = newer.iter().filter_map(|key| Some((key.clone(), texts(missing.get(key)?)))).collect();
        self.broken = still.iter().map(|(key, missing)| (key.clone(), texts(missing))).collect();
        self.remember(set, &mesh, files, &kept, rules);
        self.unmet = missing;
        self.kept = kept;
        mesh
    }

    /// What waits, with what it waits for.
    pub fn held(&self) -> &BTreeMap<Key, Vec<String>> {
        &self.held
    }

    /// What is in force with destinations missing.
    pub fn broken(&self) -> &BTreeMap<Key, Vec<String>> {
        &self.broken
    }

    /// What is in force although it was taken away.
    pub fn kept(&self) -> &[Kept] {
        &self.kept
    }

    /// The texts that the earlier versions now in force came from, by file.
    pub fn texts(&self) -> BTreeMap<String, Arc<str>> {
        let whole = self.held.keys().filter_map(|key| self.whole.get(key));
        let defined = self.kept.iter().filter_map(|kept| self.defined.get(&kept.name));
        whole
            .chain(defined)
            .filter_map(|(sourced, text)| Some((sourced.file.to_string(), text.clone()?)))
            .collect()
    }

    /// Puts the last whole version of VirtualServices in the place of newer ones that name what does not exist; returns
    /// those that are held back so.
    fn turn_back(
        &self,
        set: &mut ObjectSet,
        mesh: &mut Mesh,
        missing: &BTreeMap<Key, BTreeSet<Missing>>,
    ) -> Vec<Key> {
        let mut newer: Vec<Sourced> = Vec::new();
        for (key, missing) in missing {
            let (Some(current), Some((whole, _))) = (set.get(key), self.whole.get(key)) else { continue };
            if current.object != whole.object && !self.can_put_back(missing) {
                newer.push(current.clone());
                let file = current.file.clone();
                set.insert(Sourced { file, ..whole.clone() });
            }
        }
        if newer.is_empty() {
            return Vec::new();
        }
        *mesh = Mesh::new(set);
        let still = needs::unmet(mesh);
        let in_vain = |it: &Sourced| still.get(&it.key).is_some_and(|missing| !self.can_put_back(missing));
        let (in_vain, held): (Vec<Sourced>, Vec<Sourced>) = newer.into_iter().partition(in_vain);
        if !in_vain.is_empty() {
            // What the old version needs is gone too: then the new one is no worse.
            for sourced in in_vain {
                set.insert(sourced);
            }
            *mesh = Mesh::new(set);
        }
        held.into_iter().map(|it| it.key).collect()
    }

    /// Whether all of this is subsets of which the last definition is known.
    fn can_put_back(&self, missing: &BTreeSet<Missing>) -> bool {
        missing.iter().all(|it| matches!(it, Missing::Subset(name) if self.defined.contains_key(name)))
    }

    /// Puts back the subsets that routes name and that were taken away.
    fn put_back(&self, set: &mut ObjectSet, mesh: &mut Mesh) -> Vec<Kept> {
        let mut kept = Vec::new();
        for (name, routes) in needs::subsets(mesh) {
            let policy = needs::policy(mesh, &name);
            if policy.is_some_and(|policy| policy.subset(&name.subset).is_some()) {
                continue;
            }
            let Some((last, _)) = self.defined.get(&name) else { continue };
            // Where other rules speak of the host, the subset is laid over what they say now.
            let of_host = policy.filter(|policy| policy.host == name.host);
            let target = of_host.and_then(|policy| policy.parts.first()).and_then(|(key, _)| set.get(key));
            if let Some(rule) = with_subset(set, target.cloned(), last, &name.subset) {
                set.insert(rule);
                let (rule, subset, host) = (last.key.clone(), name.subset.clone(), name.host.clone());
                kept.push(Kept { rule, subset, host, routes, name });
            }
        }
        if !kept.is_empty() {
            *mesh = Mesh::new(set);
        }
        kept
    }

    /// Notes what is whole now; only these objects are looked at, if any are given.
    fn remember(
        &mut self,
        set: &ObjectSet,
        mesh: &Mesh,
        files: &Files,
        kept: &[Kept],
        only: Option<&BTreeSet<Key>>,
    ) {
        let looked_at: Vec<&Sourced> = match only {
            Some(only) => {
                only.iter().filter(|key| set.get(key).is_none()).for_each(|key| _ = self.whole.remove(key));
                let rules = only.iter().filter(|key| key.kind == Kind::VirtualService);
                rules.filter_map(|key| set.get(key)).collect()
            }
            None => {
                self.whole.retain(|key, _| set.get(key).is_some());
                set.of_kind(Kind::VirtualService).collect()
            }
        };
        for sourced in looked_at {
            let known = self.whole.get(&sourced.key).is_some_and(|(whole, _)| is_same(whole, sourced));
            if !known && !self.broken.contains_key(&sourced.key) {
                self.whole.insert(sourced.key.clone(), (sourced.clone(), files.text(&sourced.file)));
            }
        }
        let named = needs::subsets(mesh);
        self.defined.retain(|name, _| named.contains_key(name));
        let kept: BTreeSet<&SubsetName> = kept.iter().map(|it| &it.name).collect();
        for name in named.into_keys().filter(|name| !kept.contains(name)) {
            let defined = needs::policy(mesh, &name).and_then(|policy| policy.subset(&name.subset));
            let Some(rule) = defined.and_then(|(key, _)| set.get(key)) else { continue };
            let known = self.defined.get(&name).is_some_and(|(last, _)| is_same(last, rule));
            if !known {
                self.defined.insert(name, (rule.clone(), files.text(&rule.file)));
            }
        }
    }
}

/// Whether both say the same; mostly they are the same.
fn is_same(one: &Sourced, two: &Sourced) -> bool {
    one.object.is(&two.object) || one.object == two.object
}

/// A DestinationRule with a subset as `last` defined it: `target` where there is one, else `last` itself with no other subsets
/// than those put back already.
fn with_subset(set: &ObjectSet, target: Option<Sourced>, last: &Sourced, subset: &str) -> Option<Sourced> {
    let Object::DestinationRule(before) = &last.object else { return None };
    let definition = before.spec.subsets.iter().find(|it| it.name == subset)?.clone();
    let mut base = target.unwrap_or_else(|| {
        let spec = DestinationRule { subsets: Vec::new(), ..before.spec.clone() };
        let rule = Rule { spec, ..Rule::clone(before) };
        // No object of a file has such a name, so one that has this rule's name for another host stays as it is.
        let key = Key { name: format!("{}~kept", last.key.name), ..last.key.clone() };
        let emptied =
            Sourced { key: key.clone(), object: Object::DestinationRule(Arc::new(rule)), ..last.clone() };
        set.get(&key).cloned().unwrap_or(emptied)
    });
    let Object::DestinationRule(rule) = &mut base.object else { return None };
    let subsets = &mut Arc::make_mut(rule).spec.subsets;
    // Clients of several namespaces may name the same one.
    if subsets.iter().all(|it| it.name != subset) {
        subsets.push(definition);
    }
    Some(base)
}
