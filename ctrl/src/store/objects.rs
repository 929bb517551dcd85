//! Objects of a cluster → the set, with the last good ones kept: an object that is refused leaves its last good version in
//! force. Only its removal removes it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use dromon_k8s::api::Object;
use dromon_k8s::diagnostic::{Diagnostic, Severity};
use dromon_k8s::mesh::workloads::Labels;
use dromon_k8s::objects::{Key, ObjectSet};
use dromon_k8s::others::Whose;
use dromon_k8s::parse;

use super::shared::Shared;
use crate::source::kube::Change;

/// Groups whose objects the API server itself has checked against its own types, which may be newer than ours.
const CHECKED: [&str; 4] = ["", "discovery.k8s.io", "networking.k8s.io", "gateway.networking.k8s.io"];

/// What is known of a cluster's objects beside those in force.
#[derive(Debug, Default)]
pub struct Objects {
    /// What is wrong with each; only where something is.
    diagnostics: BTreeMap<Key, Vec<Diagnostic>>,
    /// Those of which the present version is refused.
    refused: BTreeSet<Key>,
    /// The objects that are new, gone or others since they were last asked for.
    changed: BTreeSet<Key>,
    /// So has whose some are, which only who judges them asks for.
    noted: bool,
    /// Labels of pods: those of one Deployment mostly have the same.
    labels: Shared<Labels>,
}

impl Objects {
    /// Takes in what changed, brings `set` up to date, and says what is wrong with the objects that changed.
    pub fn apply(&mut self, set: &mut ObjectSet, changes: Vec<Change>) -> Vec<Diagnostic> {
        let mut found = Vec::new();
        for Change { key, value } in changes {
            self.diagnostics.remove(&key);
            self.refused.remove(&key);
            let Some(value) = value else {
                self.noted |= set.note_whose(&key, None);
                if set.remove(&key, "") {
                    self.changed.insert(key.clone());
                }
                continue;
            };
            let whose = Whose::of(&value);
            let parsed = parse::json(value);
            let mut diagnostics = parsed.diagnostics;
            if CHECKED.contains(&key.kind.group()) {
                diagnostics.retain(|it| it.severity == Severity::Error || !is_of_unknown_field(it));
            }
            match parsed.objects.into_iter().next() {
                Some(mut object) => {
                    object.key = key.clone();
                    if let Object::Pod(pod) = &mut object.object {
                        self.labels.share(&mut Arc::make_mut(pod).labels);
                    }
                    if set.get(&key).is_none_or(|before| before.object != object.object) {
                        self.changed.insert(key.clone());
                        set.insert(object);
                    }
                }
                // Nothing of it is kept, as of a ConfigMap without settings.
                None if parsed.refused.is_empty() && !parsed.unreadable => {
                    if set.remove(&key, "") {
                        self.changed.insert(key.clone());
                    }
                }
                None => {
                    self.refused.insert(key.clone());
                    if set.get(&key).is_some() {
                        diagnostics
                            .push(Diagnostic::warning("", "its last good version stays in force").on(&key));
                    }
                }
            }
            self.noted |= set.note_whose(&key, whose.filter(|_| !diagnostics.is_empty()));
            if !diagnostics.is_empty() {
                found.push(key.clone());
                self.diagnostics.insert(key, diagnostics);
            }
        }
        // Classes that came with the objects count too.
        let ours = found.iter().filter(|key| is_ours(key, set));
        ours.filter_map(|key| self.diagnostics.get(key)).flatten().cloned().collect()
    }

    /// The objects that have come, gone or changed since this was last asked.
    pub fn take_changed(&mut self) -> BTreeSet<Key> {
        self.noted = false;
        std::mem::take(&mut self.changed)
    }

    /// Whether any object has come, gone or changed since [`Objects::take_changed`].
    pub fn has_changed(&self) -> bool {
        self.noted || !self.changed.is_empty()
    }

    /// What is wrong with the objects as they are, but for those that another controller's class makes not ours to judge.
    pub fn diagnostics<'a>(
        &'a self,
        set: &'a ObjectSet,
    ) -> impl Iterator<Item = (&'a Key, &'a Vec<Diagnostic>)> {
        self.diagnostics.iter().filter(|(key, _)| is_ours(key, set))
    }

    /// The objects of which the present version is refused.
    pub fn refused(&self) -> &BTreeSet<Key> {
        &self.refused
    }
}

fn is_ours(key: &Key, set: &ObjectSet) -> bool {
    !set.whose(key).is_some_and(|it| it.is_others(set))
}

fn is_of_unknown_field(diagnostic: &Diagnostic) -> bool {
    diagnostic.message.ends_with("is not known and has no effect")
}
