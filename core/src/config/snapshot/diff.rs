//! What changed between two snapshots, for people and for the log.

use std::fmt;
use std::sync::Arc;

use serde::Serialize;
use serde_json::Value;

use crate::config::model::Kind;
use crate::config::snapshot::{HeldMap, Snapshot};

/// One object that differs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Change {
    /// Its kind.
    pub kind: Kind,
    /// Its name.
    pub name: String,
    /// How it differs.
    pub change: ChangeKind,
}

/// How an object differs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum ChangeKind {
    /// It is new.
    Added,
    /// It is gone.
    Removed,
    /// These fields of it differ, as paths (`http[0].timeoutMs`).
    Changed(Vec<String>),
}

impl fmt::Display for Change {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.change {
            ChangeKind::Added => write!(out, "+ {:?} {}", self.kind, self.name),
            ChangeKind::Removed => write!(out, "- {:?} {}", self.kind, self.name),
            ChangeKind::Changed(fields) => {
                write!(out, "~ {:?} {}: {}", self.kind, self.name, fields.join(", "))
            }
        }
    }
}

/// What changed from `before` to `after`, by kind and name. Versions do not count.
pub fn diff(before: &Snapshot, after: &Snapshot) -> Vec<Change> {
    let mut changes = Vec::new();
    compare(Kind::Proxy, &before.proxies, &after.proxies, &mut changes);
    compare(Kind::Endpoints, &before.endpoints, &after.endpoints, &mut changes);
    compare(Kind::Destination, &before.destinations, &after.destinations, &mut changes);
    compare(Kind::RateLimit, &before.rate_limits, &after.rate_limits, &mut changes);
    compare(Kind::VirtualHost, &before.virtual_hosts, &after.virtual_hosts, &mut changes);
    compare(Kind::Host, &before.hosts, &after.hosts, &mut changes);
    compare(Kind::Credential, &before.credentials, &after.credentials, &mut changes);
    changes
}

fn compare<T: PartialEq + Serialize>(
    kind: Kind,
    before: &HeldMap<T>,
    after: &HeldMap<T>,
    changes: &mut Vec<Change>,
) {
    let change = |name: &Arc<str>, change| Change { kind, name: name.to_string(), change };
    changes.extend(
        before.keys().filter(|name| !after.contains_key(*name)).map(|it| change(it, ChangeKind::Removed)),
    );
    for (name, held) in after {
        match before.get(name) {
            None => changes.push(change(name, ChangeKind::Added)),
            Some(old) if Arc::ptr_eq(old.body(), held.body()) || old.body() == held.body() => {}
            Some(old) => {
                let (old, new) = (serde_json::to_value(old.body()), serde_json::to_value(held.body()));
                let mut fields = Vec::new();
                if let (Ok(old), Ok(new)) = (old, new) {
                    differing("", &old, &new, &mut fields);
                }
                changes.push(change(name, ChangeKind::Changed(fields)));
            }
        }
    }
}

/// Fields named at most, so that a wholly different object does not fill a log.
const FIELDS_NAMED_MAX: usize = 20;

fn differing(path: &str, old: &Value, new: &Value, fields: &mut Vec<String>) {
    if old == new || fields.len() >= FIELDS_NAMED_MAX {
        return;
    }
    match (old, new) {
        (Value::Object(old), Value::Object(new)) => {
            let mut keys: Vec<&String> = old.keys().chain(new.keys()).collect();
            keys.sort();
            keys.dedup();
            for key in keys {
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                let or_null =
                    |map: &serde_json::Map<String, Value>| map.get(key).cloned().unwrap_or(Value::Null);
                differing(&path, &or_null(old), &or_null(new), fields);
            }
        }
        (Value::Array(old), Value::Array(new)) if old.len() == new.len() => {
            for (index, (old, new)) in old.iter().zip(new).enumerate() {
                differing(&format!("{path}[{index}]"), old, new, fields);
            }
        }
        _ => fields.push(path.to_owned()),
    }
}
