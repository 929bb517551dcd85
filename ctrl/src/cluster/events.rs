//! Events about objects that are refused, so that `kubectl describe` and `kubectl events` tell of them.
//!
//! An Event's name follows from the object, its generation and the text: told once, it is not told again, be it by this replica
//! or the next.

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hasher};

use dromon_k8s::diagnostic::{Diagnostic, Severity};
use dromon_k8s::objects::Key;
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use k8s_openapi::jiff::Timestamp;
use kube::api::PostParams;
use kube::{Api, Client};

use super::client;
use super::live::{Live, LiveObject};
use crate::store::oversee::Seen;

/// Who tells.
const CONTROLLER: &str = "dromon.io/controller";
/// Longest text of an Event, as the API server has it.
const NOTE_MAX: usize = 1_024;
/// Events of one round.
const ROUND_MAX: usize = 64;
/// Names that are remembered.
const TOLD_MAX: usize = 8_192;

/// What a round has done.
#[derive(Debug, Default)]
pub struct Told {
    /// Events written.
    pub written: u64,
    /// Why one could not be.
    pub error: Option<String>,
}

/// Writes Events.
pub struct Events {
    client: Client,
    replica: String,
    told: BTreeSet<String>,
}

impl Events {
    /// Nothing was told yet.
    pub fn new(client: Client, replica: String) -> Events {
        Events { client, replica, told: BTreeSet::new() }
    }

    /// Tells of what a version refuses and has not been told of.
    pub async fn tell(&mut self, seen: &Seen, live: &Live) -> Told {
        let mut done = Told::default();
        let refused = seen.told.iter().filter(|(key, _)| seen.refused.contains(*key));
        for (key, found) in refused.take(TOLD_MAX) {
            let Some(object) = live.get(key) else { continue };
            let event = event(key, &object, found, &self.replica);
            let name = event.metadata.name.clone().unwrap_or_default();
            let namespace = event.metadata.namespace.clone().unwrap_or_default();
            if self.told.contains(&name) {
                continue;
            }
            if done.written >= ROUND_MAX as u64 {
                done.error = Some("more Events than one round writes: the rest follows".to_owned());
                return done;
            }
            let api: Api<Event> = Api::namespaced(self.client.clone(), &namespace);
            match api.create(&PostParams::default(), &event).await {
                Ok(_) => done.written += 1,
                // Told already.
                Err(error) if client::code(&error) == Some(409) => {}
                Err(error) => {
                    done.error = Some(client::explain(&error, "create", "events.events.k8s.io"));
                    return done;
                }
            }
            if self.told.len() >= TOLD_MAX {
                self.told.clear();
            }
            self.told.insert(name);
        }
        done
    }
}

fn event(key: &Key, object: &LiveObject, found: &[Diagnostic], replica: &str) -> Event {
    let errors = found.iter().filter(|it| it.severity == Severity::Error);
    let lines: Vec<String> = errors
        .map(|it| {
            let hint = if it.hint.is_empty() { String::new() } else { format!(" ({})", it.hint) };
            format!("{} {}{hint}", it.field, it.message).trim().to_owned()
        })
        .collect();
    let note = cut(&lines.join("; "), NOTE_MAX);
    let mut hasher = DefaultHasher::new();
    hasher.write(object.uid.as_bytes());
    hasher.write_i64(object.generation);
    hasher.write(note.as_bytes());
    let namespace = if key.namespace.is_empty() { "default" } else { &key.namespace };
    Event {
        metadata: ObjectMeta {
            name: Some(format!("{}.{:016x}", cut(&key.name, 200), hasher.finish())),
            namespace: Some(namespace.to_owned()),
            ..ObjectMeta::default()
        },
        event_time: Some(MicroTime(Timestamp::now())),
        action: Some("Read".to_owned()),
        reason: Some("Refused".to_owned()),
        type_: Some("Warning".to_owned()),
        note: Some(note),
        regarding: Some(ObjectReference {
            api_version: Some(object.resource.api_version(object.version)),
            kind: Some(object.resource.kind.to_owned()),
            namespace: Some(key.namespace.clone()).filter(|it| !it.is_empty()),
            name: Some(key.name.clone()),
            uid: Some(object.uid.clone()),
            resource_version: Some(object.resource_version.clone()),
            ..ObjectReference::default()
        }),
        reporting_controller: Some(CONTROLLER.to_owned()),
        reporting_instance: Some(cut(replica, 128)),
        ..Event::default()
    }
}

/// The beginning of a text, cut between characters.
fn cut(text: &str, max: usize) -> String {
    let end = (0..=max.min(text.len())).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    text.get(..end).unwrap_or_default().to_owned()
}
