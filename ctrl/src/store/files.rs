//! Files → objects, with the last good ones kept: a file that turns broken or empty, or an object that is refused, leaves
//! what was in force in force. Only removing a file removes its objects.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use dromon_k8s::diagnostic::Diagnostic;
use dromon_k8s::objects::{Key, ObjectSet, Sourced};
use dromon_k8s::parse;

use crate::source::folder::{Batch, FileState};

/// All files of a source.
#[derive(Debug, Default)]
pub struct Files {
    entries: BTreeMap<String, Entry>,
    /// Kinds of the objects that are new, gone or others since they were last asked for.
    changed: BTreeSet<Key>,
}

#[derive(Debug, Default)]
struct Entry {
    /// What it stands for now, by key.
    objects: BTreeMap<Key, Sourced>,
    /// Its text, as far as it can be read.
    text: Option<Arc<str>>,
    /// The last text without a fault.
    good: Option<Arc<str>>,
    /// The present text has one.
    faulty: bool,
    diagnostics: Vec<Diagnostic>,
}

impl Files {
    /// Takes in what changed, brings `set` up to date, and says what is wrong with the files that changed.
    pub fn apply(&mut self, set: &mut ObjectSet, batch: &Batch) -> Vec<Diagnostic> {
        let mut found: Vec<Diagnostic> =
            batch.notes.iter().map(|note| Diagnostic::warning("", note)).collect();
        for change in &batch.changes {
            let file = change.file.as_str();
            if change.state == FileState::Removed {
                if let Some(entry) = self.entries.remove(file) {
                    set.remove_file(file);
                    self.changed.extend(entry.objects.keys().cloned());
                }
                continue;
            }
            let known = self.entries.contains_key(file);
            let entry = self.entries.entry(file.to_owned()).or_default();
            let before = entry.objects.clone();
            match &change.state {
                FileState::Text(text) => entry.read(file, text),
                FileState::Unreadable(reason) => entry.unreadable(file, reason),
                FileState::Removed => {}
            }
            if known {
                for key in before.keys().filter(|key| !entry.objects.contains_key(*key)) {
                    set.remove(key, file);
                    self.changed.insert(key.clone());
                }
            }
            for (key, object) in &entry.objects {
                if before.get(key).is_none_or(|before| before.object != object.object) {
                    self.changed.insert(key.clone());
                }
                set.insert(object.clone());
            }
            found.extend(entry.diagnostics.iter().cloned());
        }
        found
    }

    /// The objects that have come, gone or changed since this was last asked.
    pub fn take_changed(&mut self) -> BTreeSet<Key> {
        std::mem::take(&mut self.changed)
    }

    /// What is wrong with the files as they are.
    pub fn diagnostics(&self) -> impl Iterator<Item = &Diagnostic> {
        self.entries.values().flat_map(|entry| &entry.diagnostics)
    }

    /// The last good text of each file whose present one has a fault.
    pub fn last_good(&self) -> BTreeMap<String, Arc<str>> {
        let faulty = self.entries.iter().filter(|(_, entry)| entry.faulty);
        faulty.filter_map(|(file, entry)| Some((file.clone(), entry.good.clone()?))).collect()
    }

    /// A file's text as it is.
    pub fn text(&self, file: &str) -> Option<Arc<str>> {
        self.entries.get(file)?.text.clone()
    }

    /// How many files there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// No file at all.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

impl Entry {
    fn read(&mut self, file: &str, text: &Arc<str>) {
        let parsed = parse::text(file, text);
        let fresh: BTreeMap<Key, Sourced> =
            parsed.objects.into_iter().map(|object| (object.key.clone(), object)).collect();
        let before = std::mem::take(&mut self.objects);
        let emptied =
            fresh.is_empty() && parsed.refused.is_empty() && !parsed.unreadable && !before.is_empty();
        let kept: BTreeMap<Key, Sourced> = before
            .into_iter()
            .filter(|(key, _)| {
                let doubtful = parsed.unreadable || emptied || parsed.refused.contains(key);
                doubtful && !fresh.contains_key(key)
            })
            .collect();
        self.faulty = parsed.unreadable || emptied || !parsed.refused.is_empty();
        self.diagnostics = parsed.diagnostics;
        if emptied {
            let message = format!("it has no objects any more: {} in force", last(kept.len()));
            self.diagnostics.push(about(file, message).hint("remove the file to remove them"));
        } else if parsed.unreadable && !kept.is_empty() {
            let message = format!("it cannot be read in full: {} in force", last(kept.len()));
            self.diagnostics.push(about(file, message));
        }
        for key in parsed.refused.iter().filter(|key| kept.contains_key(key)) {
            self.diagnostics.push(about(file, "its last good version stays in force").on(key));
        }
        self.objects = kept;
        self.objects.extend(fresh);
        self.text = Some(text.clone());
        if !self.faulty {
            self.good = self.text.clone();
        }
    }

    fn unreadable(&mut self, file: &str, reason: &str) {
        self.faulty = true;
        let mut message = format!("cannot be read: {reason}");
        if !self.objects.is_empty() {
            message.push_str(&format!("; {} in force", last(self.objects.len())));
        }
        self.diagnostics = vec![Diagnostic { file: file.to_owned(), ..Diagnostic::error("", message) }];
    }
}

fn about(file: &str, message: impl Into<String>) -> Diagnostic {
    Diagnostic { file: file.to_owned(), ..Diagnostic::warning("", message) }
}

fn last(count: usize) -> String {
    if count == 1 {
        "its last good object stays".into()
    } else {
        format!("its last {count} good objects stay")
    }
}
