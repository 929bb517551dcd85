//! One kind's list and watch, for as long as it is served.
//!
//! kube's watcher does the protocol: lists in pages, watches from there with bookmarks, goes on where a watch ended, lists anew
//! after a 410. Here its errors become pauses and, where an operator can do something, words.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::StreamExt;
use kube::core::DynamicObject;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Client};
use tokio::sync::mpsc;

use dromon_k8s::diagnostic::Severity;

use super::reach::Reach;
use super::resources::{MESH_SETTINGS, Resource, Which};
use super::trim::{self, Trimmed};
use crate::cluster::client;
use crate::feed::server::Log;

/// Longest life of one watch: a connection that died without a word is noticed soon after.
const WATCH_S: u32 = 120;
/// Objects of a page of a list.
const PAGE: u32 = 500;
/// Pauses after errors grow from the one to the other.
const PAUSE: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(5));

/// Namespace and name; the namespace is empty for objects of the whole cluster.
pub type Name = (String, String);

/// What a watch tells.
#[derive(Debug)]
pub enum Told {
    /// A list begins: what is not in it is gone.
    Began,
    /// An object as it is.
    Object(Name, Box<Trimmed>),
    /// An object is gone.
    Gone(Name),
    /// The list is complete.
    Listed,
    /// The kind is not served any more.
    Unserved,
}

/// A kind to watch.
pub struct Watched {
    /// The kind.
    pub resource: &'static Resource,
    /// The version in which it is served.
    pub version: &'static str,
    /// The namespace with the mesh's settings.
    pub system_namespace: String,
    /// What the watches know of the server together.
    pub reach: Arc<Reach>,
}

/// Watches until nobody listens or the kind is not served in this version.
pub async fn watch<T>(
    client: Client,
    watched: Watched,
    log: Log,
    told: mpsc::Sender<T>,
    wrap: impl Fn(Told) -> T,
) where
    T: Send,
{
    let Watched { resource, version, system_namespace, reach } = watched;
    let api: Api<DynamicObject> = match resource.which {
        Which::All => Api::all_with(client, &resource.at(version)),
        Which::MeshSettings => Api::namespaced_with(client, &system_namespace, &resource.at(version)),
    };
    let mut config = watcher::Config::default().timeout(WATCH_S).page_size(PAGE).any_semantic();
    if resource.which == Which::MeshSettings {
        config = config.fields(&format!("metadata.name={MESH_SETTINGS}"));
    }
    let mut events = watcher(api, config).boxed();
    let mut troubles = Troubles::new(resource.full_name(), log);
    while let Some(event) = events.next().await {
        let news = match event {
            Ok(event) => {
                troubles.over();
                reach.heard(Instant::now());
                telling(resource, version, event)
            }
            Err(error) => {
                if is_unreachable(&error) {
                    reach.lost();
                }
                tokio::select! {
                    () = troubles.pause(&error) => {}
                    () = reach.back() => {}
                }
                if is_unserved(&error) {
                    return;
                }
                continue;
            }
        };
        if told.send(wrap(news)).await.is_err() {
            return;
        }
    }
}

/// Whether the kind is not served in this version, or not any more.
fn is_unserved(error: &watcher::Error) -> bool {
    match error {
        watcher::Error::InitialListFailed(error) | watcher::Error::WatchStartFailed(error) => {
            client::code(error) == Some(404)
        }
        _ => false,
    }
}

/// Whether nobody has answered, as far as the error tells.
fn is_unreachable(error: &watcher::Error) -> bool {
    match error {
        watcher::Error::InitialListFailed(error) | watcher::Error::WatchStartFailed(error) => {
            client::code(error).is_none()
        }
        _ => false,
    }
}

fn telling(resource: &Resource, version: &'static str, event: Event<DynamicObject>) -> Told {
    match event {
        Event::Init => Told::Began,
        Event::InitApply(object) | Event::Apply(object) => {
            Told::Object(name(&object), Box::new(trim::trim(resource, version, object)))
        }
        Event::Delete(object) => Told::Gone(name(&object)),
        Event::InitDone => Told::Listed,
    }
}

fn name(object: &DynamicObject) -> Name {
    let meta = &object.metadata;
    (meta.namespace.clone().unwrap_or_default(), meta.name.clone().unwrap_or_default())
}

/// Errors of a watch in a row.
pub struct Troubles {
    resource: String,
    log: Log,
    /// What was said last.
    said: Option<String>,
    pause: Duration,
}

impl Troubles {
    /// None so far.
    pub fn new(resource: String, log: Log) -> Troubles {
        Troubles { resource, log, said: None, pause: PAUSE.0 }
    }

    /// It works again.
    pub fn over(&mut self) {
        if self.said.take().is_some() {
            (self.log)(Severity::Info, format!("watching {} again", self.resource));
        }
        self.pause = PAUSE.0;
    }

    /// Says what is wrong, once, and waits before the next try, longer each time.
    pub async fn pause(&mut self, error: &watcher::Error) {
        if let Some(text) = self.text(error).filter(|text| self.said.as_ref() != Some(text)) {
            (self.log)(Severity::Warning, format!("warning: {text}"));
            self.said = Some(text);
        }
        // Spread by the address of the moment: replicas and kinds do not come back together.
        let spread = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        let part = f64::from(spread.subsec_nanos() % 1_000) / 1_000.0;
        tokio::time::sleep(self.pause.mul_f64(0.75 + part / 2.0)).await;
        self.pause = (self.pause * 2).min(PAUSE.1);
    }

    /// What an operator should know; a watch that ended and goes on is no news.
    fn text(&self, error: &watcher::Error) -> Option<String> {
        match error {
            watcher::Error::InitialListFailed(error) if client::code(error) == Some(404) => None,
            watcher::Error::InitialListFailed(error) => Some(client::explain(error, "list", &self.resource)),
            watcher::Error::WatchStartFailed(error) => Some(client::explain(error, "watch", &self.resource)),
            watcher::Error::WatchError(status) if status.code == 410 => None,
            watcher::Error::WatchError(status) => {
                Some(format!("the watch of {} ended: {}", self.resource, status.message))
            }
            watcher::Error::WatchFailed(_) => None,
            watcher::Error::NoResourceVersion => Some(format!("{} cannot be watched", self.resource)),
        }
    }
}
