//! What people are told when files were saved: one line for each version, so that they see that it was taken.

use std::collections::BTreeSet;

use dromon_k8s::objects::{Key, ObjectSet};

use crate::source::folder::Batch;

/// Most objects, and most files, that a line names.
const NAMED_MAX: usize = 3;

/// What files saved together have brought; nothing where no object is other than it was.
pub fn told(batch: &Batch, changed: &BTreeSet<Key>, before: &ObjectSet, after: &ObjectSet) -> Option<String> {
    let what = |key: &Key| match (before.get(key), after.get(key)) {
        (None, None) => None,
        (None, Some(_)) => Some(format!("{key} is new")),
        (Some(_), None) => Some(format!("{key} is gone")),
        (Some(old), Some(new)) => (old.object != new.object).then(|| format!("{key} has changed")),
    };
    let objects: Vec<String> = changed.iter().filter_map(what).collect();
    let files: Vec<String> = batch.changes.iter().map(|change| change.file.clone()).collect();
    (!objects.is_empty()).then(|| format!("{}: {}", some_of(&files), some_of(&objects)))
}

fn some_of(all: &[String]) -> String {
    match all.get(NAMED_MAX..) {
        Some(rest) if !rest.is_empty() => {
            format!("{} and {} more", all.get(..NAMED_MAX).unwrap_or_default().join(", "), rest.len())
        }
        _ => all.join(", "),
    }
}
