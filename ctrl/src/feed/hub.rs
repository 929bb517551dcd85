//! Where views and streams meet: who is connected, what each may have, what each has confirmed.
//!
//! A view is offered to every stream of its proxy, and only the streams that have to be sent something of it are woken: of a mesh
//! of hundreds of proxies, a change concerns a few.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use dromon_core::config::model::Kind;
use dromon_core::config::wire::{DeltaRequest, DeltaResponse};
use serde::Serialize;
use tokio::sync::Notify;

use super::pushes::{Pushes, Stage};
use super::session::{Nack, Refused, Session};
use super::view::View;

/// Called with a proxy's id when its first stream opens: its view is wanted from now on.
pub type Wanted = Box<dyn Fn(&str) + Send + Sync>;

/// Joins the store and the streams. Cheap to share.
pub struct Hub {
    inner: Mutex<Inner>,
    wanted: Wanted,
    pushes: Pushes,
}

#[derive(Default)]
struct Inner {
    proxies: HashMap<String, Proxy>,
    /// The proxies' ids in order, until another comes or goes.
    names: Option<Arc<[String]>>,
    streams: BTreeMap<u64, Open>,
    next: u64,
    opened: u64,
    nacked: u64,
}

/// A proxy that is connected.
#[derive(Default)]
struct Proxy {
    view: Option<Arc<View>>,
    /// Its streams; mostly one.
    places: Vec<Arc<Place>>,
}

/// A stream that is open.
struct Open {
    proxy: String,
    connected: Instant,
    place: Arc<Place>,
}

/// What a stream and the hub share.
#[derive(Default)]
struct Place {
    state: Mutex<State>,
    /// Something is to be sent.
    wake: Notify,
}

#[derive(Default)]
struct State {
    session: Session,
    /// The latest view.
    view: Option<Arc<View>>,
    /// When the first change was heard of that is to be sent.
    since: Option<Instant>,
    /// The same of what was sent and is not answered in full.
    unanswered: Option<Instant>,
}

impl Place {
    /// Puts a view in the place of the one before; wakes the stream unless nothing of it is to be sent.
    fn offer(&self, view: Option<&Arc<View>>, since: Option<Instant>) {
        let mut state = self.lock();
        let is_told = match view {
            Some(view) => state.session.is_at(view),
            None => state.view.is_none(),
        };
        state.view = view.cloned();
        if !is_told {
            state.since = state.since.or(since);
            drop(state);
            self.wake.notify_one();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // As of the hub's own.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
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
        Arc::new(Hub { inner: Mutex::default(), wanted, pushes: Pushes::default() })
    }

    /// The proxies whose views are wanted, in order. The same list, by address, until another comes or goes.
    pub fn proxies(&self) -> Arc<[String]> {
        let mut inner = self.lock();
        if let Some(names) = &inner.names {
            return names.clone();
        }
        let mut names: Vec<String> = inner.proxies.keys().cloned().collect();
        names.sort_unstable();
        inner.names.insert(names.into()).clone()
    }

    /// Sets a proxy's view; its streams are told unless nothing that they want of it changed. `None`: nobody knows this proxy.
    /// `since` is when the first change was heard of that the view came of.
    pub fn publish(&self, proxy: &str, view: Option<Arc<View>>, since: Option<Instant>) {
        if let Some(known) = self.lock().proxies.get_mut(proxy) {
            known.places.iter().for_each(|place| place.offer(view.as_ref(), since));
            known.view = view;
        }
    }

    /// The connected proxies.
    pub fn status(&self) -> Vec<StreamStatus> {
        let status = |open: &Open| {
            let State { session, .. } = &*open.place.lock();
            StreamStatus {
                proxy: open.proxy.clone(),
                synced: session.synced(),
                acked: session.acked().clone(),
                nacks: session.nacks().to_vec(),
                names: session.names(),
                connected: open.connected,
            }
        };
        self.lock().streams.values().map(status).collect()
    }

    /// Totals since the start.
    pub fn totals(&self) -> Totals {
        let inner = self.lock();
        Totals { streams_opened: inner.opened, resources_refused: inner.nacked }
    }

    /// How long changes took on their way to proxies.
    pub fn pushes(&self) -> &Pushes {
        &self.pushes
    }

    /// Registers a stream.
    pub(super) fn open(self: &Arc<Hub>, proxy: &str) -> Stream {
        let place = Arc::new(Place::default());
        let (id, first) = {
            let mut inner = self.lock();
            inner.next += 1;
            inner.opened += 1;
            let id = inner.next;
            let first = !inner.proxies.contains_key(proxy);
            let known = inner.proxies.entry(proxy.to_owned()).or_default();
            place.lock().view.clone_from(&known.view);
            known.places.push(place.clone());
            let open = Open { proxy: proxy.to_owned(), connected: Instant::now(), place: place.clone() };
            inner.streams.insert(id, open);
            if first {
                inner.names = None;
            }
            (id, first)
        };
        if first {
            (self.wanted)(proxy);
        }
        Stream { hub: self.clone(), id, proxy: proxy.to_owned(), place }
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
    place: Arc<Place>,
}

impl Stream {
    /// Waits until something may have to be sent that was not when this was last asked.
    pub(super) async fn woken(&self) {
        self.place.wake.notified().await;
    }

    /// Takes in a request; returns what the proxy refuses by it.
    ///
    /// # Errors
    /// The request breaks a limit.
    pub(super) fn handle(&self, request: DeltaRequest) -> Result<Vec<Nack>, Refused> {
        let mut state = self.place.lock();
        let refused = state.session.handle(request)?;
        let answered = if state.session.is_answered() { state.unanswered.take() } else { None };
        drop(state);
        if let Some(since) = answered {
            self.hub.pushes.observe(Stage::Acknowledged, since.elapsed());
        }
        if !refused.is_empty() {
            self.hub.lock().nacked += refused.len() as u64;
        }
        Ok(refused)
    }

    /// Everything that brings the proxy to its latest view, in the order in which it has to travel, and when the first change
    /// among it was heard of.
    pub(super) fn next(&self) -> (Vec<DeltaResponse>, Option<Instant>) {
        let mut state = self.place.lock();
        let State { session, view, since, unanswered } = &mut *state;
        // Mostly nothing of a version is for this proxy.
        let Some(view) = view.as_ref().filter(|view| !session.is_at(view)) else { return Default::default() };
        let responses = session.push(view);
        let since = since.take().filter(|_| !responses.is_empty());
        *unanswered = unanswered.or(since);
        (responses, since)
    }

    /// All of a push has been handed to the connection.
    pub(super) fn sent(&self, since: Instant) {
        self.hub.pushes.observe(Stage::Sent, since.elapsed());
    }

    /// Whether the proxy has everything that it asked for, the index included, and has said so.
    pub(super) fn has_index(&self) -> bool {
        self.place.lock().session.has_index()
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        let mut inner = self.hub.lock();
        inner.streams.remove(&self.id);
        let Some(known) = inner.proxies.get_mut(&self.proxy) else { return };
        known.places.retain(|place| !Arc::ptr_eq(place, &self.place));
        if known.places.is_empty() {
            inner.proxies.remove(&self.proxy);
            inner.names = None;
        }
    }
}

#[cfg(test)]
mod tests;
