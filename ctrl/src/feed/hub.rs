//! Where views and streams meet: who is connected, what each may have, what each has confirmed.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use dromon_core::config::model::Kind;
use serde::Serialize;
use tokio::sync::watch;

use super::session::{Nack, Session};
use super::view::View;

/// Called with a proxy's id when its first stream opens: its view is wanted from now on.
pub type Wanted = Box<dyn Fn(&str) + Send + Sync>;

/// Joins the store and the streams. Cheap to share.
pub struct Hub {
    inner: Mutex<Inner>,
    wanted: Wanted,
}

#[derive(Default)]
struct Inner {
    proxies: HashMap<String, watch::Sender<Option<Arc<View>>>>,
    streams: BTreeMap<u64, StreamStatus>,
    next: u64,
    opened: u64,
    nacked: u64,
}

/// What is known of one connected proxy.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StreamStatus {
    /// Its id.
    pub proxy: String,
    /// The store's version that it has answered for in full.
    pub synced: Option<u64>,
    /// The last version that it acknowledged, by kind.
    pub acked: BTreeMap<Kind, String>,
    /// What it refuses.
    pub nacks: Vec<Nack>,
    /// Names that it subscribes to.
    pub names: usize,
    /// Since when it is connected.
    #[serde(serialize_with = "age")]
    pub connected: Instant,
}

fn age<S: serde::Serializer>(since: &Instant, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&format!("{}s", since.elapsed().as_secs()))
}

/// Totals since the start.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Totals {
    /// Streams opened.
    pub streams_opened: u64,
    /// Resources refused.
    pub resources_refused: u64,
}

impl Hub {
    /// An empty hub.
    pub fn new(wanted: Wanted) -> Arc<Hub> {
        Arc::new(Hub { inner: Mutex::default(), wanted })
    }

    /// The proxies whose views are wanted.
    pub fn proxies(&self) -> Vec<String> {
        let mut names: Vec<String> = self.lock().proxies.keys().cloned().collect();
        names.sort_unstable();
        names
    }

    /// Sets a proxy's view; its streams are told unless nothing in it changed. `None`: nobody knows this proxy.
    pub fn publish(&self, proxy: &str, view: Option<Arc<View>>) {
        if let Some(sender) = self.lock().proxies.get(proxy) {
            sender.send_replace(view);
        }
    }

    /// The connected proxies.
    pub fn status(&self) -> Vec<StreamStatus> {
        self.lock().streams.values().cloned().collect()
    }

    /// Totals since the start.
    pub fn totals(&self) -> Totals {
        let inner = self.lock();
        Totals { streams_opened: inner.opened, resources_refused: inner.nacked }
    }

    /// Registers a stream.
    pub(super) fn open(self: &Arc<Hub>, proxy: &str) -> Stream {
        let (id, views, first) = {
            let mut inner = self.lock();
            inner.next += 1;
            inner.opened += 1;
            let id = inner.next;
            let first = !inner.proxies.contains_key(proxy);
            let sender = inner.proxies.entry(proxy.to_owned()).or_insert_with(|| watch::channel(None).0);
            let views = sender.subscribe();
            inner.streams.insert(
                id,
                StreamStatus {
                    proxy: proxy.to_owned(),
                    synced: None,
                    acked: BTreeMap::new(),
                    nacks: Vec::new(),
                    names: 0,
                    connected: Instant::now(),
                },
            );
            (id, views, first)
        };
        if first {
            (self.wanted)(proxy);
        }
        Stream { hub: self.clone(), id, proxy: proxy.to_owned(), views }
    }

    /// How many streams are open.
    pub(super) fn count(&self) -> usize {
        self.lock().streams.len()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Every section leaves the maps whole, so a panic in one says nothing about them.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A stream's place in the hub; leaving it on drop.
pub(super) struct Stream {
    hub: Arc<Hub>,
    id: u64,
    proxy: String,
    /// The proxy's view, latest only.
    pub(super) views: watch::Receiver<Option<Arc<View>>>,
}

impl Stream {
    /// Publishes what a session knows.
    pub(super) fn note(&self, session: &Session, refused: usize) {
        let mut inner = self.hub.lock();
        inner.nacked += refused as u64;
        if let Some(status) = inner.streams.get_mut(&self.id) {
            status.synced = session.synced();
            status.acked.clone_from(session.acked());
            status.nacks = session.nacks().to_vec();
            status.names = session.names();
        }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        let mut inner = self.hub.lock();
        inner.streams.remove(&self.id);
        if !inner.streams.values().any(|stream| stream.proxy == self.proxy) {
            inner.proxies.remove(&self.proxy);
        }
    }
}
