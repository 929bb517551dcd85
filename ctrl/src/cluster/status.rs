//! Writes statuses, as the elected replica and only where they differ from what is there.
//!
//! What a status has to say is computed elsewhere and pure. Here it is compared with what the API server has, written by a
//! patch that names the version it was compared with, and computed anew where another has written meanwhile.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use dromon_k8s::diagnostic::Severity;
use dromon_k8s::objects::Key;
use kube::api::{Patch, PatchParams};
use kube::core::DynamicObject;
use kube::{Api, Client};
use serde_json::{Value, json};
use tokio::sync::watch;

use super::client;
use super::events::Events;
use super::live::{Live, LiveObject};
use crate::background;
use crate::feed::server::Log;
use crate::store::oversee::Seen;

/// Least time between two rounds.
const ROUND: Duration = Duration::from_millis(500);
/// Pause after a round in which something could not be written.
const AGAIN: Duration = Duration::from_secs(2);
/// Least time between two writes: a mesh of thousands of objects must not drown the API server when it is first seen.
const WRITE: Duration = Duration::from_millis(5);

/// Objects of which is remembered that they did not take their status over.
const FUTILE_MAX: usize = 8_192;

/// A status to write.
#[derive(Clone, Debug, PartialEq)]
pub struct Write {
    /// Whose.
    pub key: Key,
    /// The whole of it.
    pub status: Value,
}

/// Version seen → statuses; those that objects have already may be among them.
pub type Compute = Arc<dyn Fn(&Seen, &Live) -> Vec<Write> + Send + Sync>;

/// What a writer has done.
#[derive(Debug, Default)]
pub struct Counts {
    /// Statuses written.
    pub written: AtomicU64,
    /// Writes that failed, conflicts aside.
    pub failed: AtomicU64,
    /// Events written.
    pub events: AtomicU64,
}

/// What one round leaves to the next.
#[derive(Default)]
struct Memory {
    /// What was last complained of.
    said: Option<String>,
    /// Statuses that changed nothing, by the version that they were written to: a definition without some of their fields
    /// drops these, and the rest was there.
    futile: HashMap<Key, (String, Value)>,
}

/// The writer.
pub struct Writer {
    /// The API server.
    pub client: Client,
    /// Objects as they are.
    pub live: Live,
    /// What statuses say.
    pub compute: Compute,
    /// Versions to tell of.
    pub seen: watch::Receiver<Option<Arc<Seen>>>,
    /// Whether this replica is the elected one.
    pub leads: watch::Receiver<bool>,
    /// What was done.
    pub counts: Arc<Counts>,
    /// Name of this replica.
    pub replica: String,
    /// Where lines go.
    pub log: Log,
}

impl Writer {
    /// Writes until the process ends.
    pub async fn run(mut self) {
        let mut events = Events::new(self.client.clone(), self.replica.clone());
        let mut changes = self.live.changes();
        let mut memory = Memory::default();
        loop {
            if self.leads.wait_for(|leads| *leads).await.is_err() {
                return;
            }
            changes.mark_unchanged();
            let seen = self.seen.borrow_and_update().clone();
            let mut whole = true;
            if let Some(seen) = seen {
                whole = self.round(seen.clone(), &mut memory).await;
                let told = events.tell(&seen, &self.live).await;
                self.counts.events.fetch_add(told.written, Ordering::Relaxed);
                if let Some(error) = told.error {
                    whole = false;
                    self.say(error, &mut memory);
                }
            }
            tokio::time::sleep(ROUND).await;
            tokio::select! {
                Ok(()) = self.seen.changed() => {}
                Ok(()) = changes.changed() => {}
                Ok(()) = self.leads.changed() => {}
                () = tokio::time::sleep(AGAIN), if !whole => {}
            }
        }
    }

    /// Writes what differs; true if all of it could be written.
    async fn round(&mut self, seen: Arc<Seen>, memory: &mut Memory) -> bool {
        let (compute, live) = (self.compute.clone(), self.live.clone());
        // Thousands of objects have their statuses already: nobody is to wait while that is found.
        let computed = background::compute("statuses", move || {
            let mut writes = compute(&seen, &live);
            writes.retain(|write| live.has_other(&write.key, &write.status));
            writes
        });
        let computed = computed.await;
        let mut whole = true;
        for write in computed.unwrap_or_default() {
            if !*self.leads.borrow() {
                return false;
            }
            let Some(object) = self.live.get(&write.key) else { continue };
            let at = |(version, status): &(String, Value)| {
                *version == object.resource_version && *status == write.status
            };
            if object.status == write.status || memory.futile.get(&write.key).is_some_and(at) {
                continue;
            }
            match self.write(&write, &object).await {
                Ok(version) if version == object.resource_version => {
                    if memory.futile.len() >= FUTILE_MAX {
                        memory.futile.clear();
                    }
                    memory.futile.insert(write.key, (version, write.status));
                }
                Ok(_) => {
                    self.counts.written.fetch_add(1, Ordering::Relaxed);
                }
                // Another has written, or it is gone: its watch will tell.
                Err(error) if matches!(client::code(&error), Some(404 | 409)) => whole = false,
                Err(error) => {
                    whole = false;
                    self.counts.failed.fetch_add(1, Ordering::Relaxed);
                    let resource = format!("{}/status", object.resource.full_name());
                    self.say(
                        format!("{}: {}", write.key, client::explain(&error, "patch", &resource)),
                        memory,
                    );
                }
            }
            tokio::time::sleep(WRITE).await;
        }
        whole
    }

    /// Writes a status; the version of the object that came of it.
    async fn write(&self, write: &Write, object: &LiveObject) -> Result<String, kube::Error> {
        let resource = object.resource.at(object.version);
        let api: Api<DynamicObject> = match write.key.namespace.as_str() {
            "" => Api::all_with(self.client.clone(), &resource),
            namespace => Api::namespaced_with(self.client.clone(), namespace, &resource),
        };
        let patch = json!({
            "metadata": {"resourceVersion": object.resource_version},
            "status": merge(&object.status, &write.status),
        });
        let patch = Patch::Merge(patch);
        let written = api.patch_status(&write.key.name, &PatchParams::default(), &patch).await?;
        Ok(written.metadata.resource_version.unwrap_or_default())
    }

    fn say(&self, text: String, memory: &mut Memory) {
        if memory.said.as_ref() != Some(&text) {
            (self.log)(Severity::Warning, format!("warning: {text}"));
            memory.said = Some(text);
        }
    }
}

/// What a merge patch has to say so that `wanted` comes of `before`: what is not wanted any more is named null
/// (RFC 7386).
fn merge(before: &Value, wanted: &Value) -> Value {
    let (Value::Object(before), Value::Object(wanted)) = (before, wanted) else { return wanted.clone() };
    let mut patch: serde_json::Map<String, Value> = wanted
        .iter()
        .map(|(field, value)| (field.clone(), merge(before.get(field).unwrap_or(&Value::Null), value)))
        .collect();
    for field in before.keys().filter(|field| !wanted.contains_key(*field)) {
        patch.insert(field.clone(), Value::Null);
    }
    Value::Object(patch)
}

#[cfg(test)]
mod tests;
