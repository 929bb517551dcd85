//! A cluster as a source: watches its API server and says which objects changed.
//!
//! Each kind has a task that lists and watches it ([`watch`]); kinds of CustomResourceDefinitions come and go with these
//! ([`definitions`]); of Secrets, only what rules name is read ([`referenced`]). All is trimmed to what the mesh reads
//! ([`trim`]) and gathered into batches ([`gather`]): the first one that is whole comes when every kind was listed once,
//! so that no proxy ever sees half a mesh. From then on a change is handed on at once, with whatever has come by then; what
//! comes while the store is at work becomes one version there.
//!
//! While the API server is away, what was known stays.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use dromon_k8s::diagnostic::Severity;
use dromon_k8s::objects::Key;
use kube::Client;
use serde_json::Value;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch as channel};
use tokio::task::JoinHandle;
use tokio::time::{timeout, timeout_at};

use crate::cluster::live::Live;
use crate::feed::server::Log;

pub mod definitions;
pub mod gather;
pub mod reach;
pub mod referenced;
pub mod references;
pub mod resources;
pub mod trim;
pub mod watch;

use definitions::{Found, Search};
use gather::Gather;

use reach::Reach;
use references::Holder;
use resources::{ALL, Served};
use watch::{Told, Watched};

/// Messages of watches that wait to be taken in. As trees, objects are many times as large as they are kept.
const MESSAGES: usize = 256;
/// Changes that are handed on together, at most.
const CHANGES: usize = 512;
/// Changes that wait to be taken over by whoever keeps the objects: what a mesh is listed in, at its start, waits at the API
/// server and not here.
const WAITING: usize = 2 * CHANGES;
/// How often is said what the first version still waits for.
const REMIND: Duration = Duration::from_secs(10);

/// What happened to one object.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// The object.
    pub key: Key,
    /// What it is now; none: it is gone.
    pub value: Option<Value>,
}

/// Objects that changed together.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// In the order in which they happened.
    pub changes: Vec<Change>,
    /// Everything is known: a version can be made.
    pub whole: bool,
    /// When the first change was heard of.
    pub since: Option<Instant>,
    /// Its place among those that wait: it is free again once the batch is gone.
    pub place: Option<Arc<OwnedSemaphorePermit>>,
}

/// What a source needs.
pub struct Setup {
    /// The API server.
    pub client: Client,
    /// Our own namespace, where the mesh's settings are.
    pub system_namespace: String,
    /// Where lines go.
    pub log: Log,
    /// Where objects' statuses go.
    pub live: Live,
}

/// A message of one of the source's tasks.
enum Message {
    /// Of a kind's watch: its place in [`ALL`], the number of the watch, and when it was told.
    Kind(usize, u64, Told, Instant),
    Defined(definitions::Told),
    Referenced(referenced::Told),
}

/// The source's own task.
struct Source {
    setup: Setup,
    messages: mpsc::Sender<Message>,
    gather: Gather,
    /// Watches under way, by place.
    watches: HashMap<usize, (u64, JoinHandle<()>)>,
    number: u64,
    /// Places of the kinds that the list of definitions under way has had.
    defined: Option<Vec<usize>>,
    wanted: channel::Sender<referenced::Wanted>,
    reach: Arc<Reach>,
}

/// Watches until `deliver` answers false.
pub async fn run(setup: Setup, mut deliver: impl FnMut(Batch) -> bool) {
    let (messages, mut inbox) = mpsc::channel(MESSAGES);
    let (wanted, _) = channel::channel(referenced::Wanted::default());
    let gather = Gather::new(vec![setup.system_namespace.clone()], setup.live.clone());
    let (watches, reach) = (HashMap::new(), Arc::default());
    let mut source = Source { setup, messages, gather, watches, number: 0, defined: None, wanted, reach };
    source.start().await;
    let waiting = Arc::new(Semaphore::new(WAITING));
    let mut whole = false;
    loop {
        let message = match whole {
            true => inbox.recv().await,
            false => match timeout(REMIND, inbox.recv()).await {
                Ok(message) => message,
                Err(_) => {
                    source.remind();
                    continue;
                }
            },
        };
        let Some(message) = message else { return };
        source.take(message);
        source.take_more(&mut inbox).await;
        if let Some(wanted) = source.gather.take_wanted() {
            source.wanted.send_replace(wanted);
        }
        if let Some(mut batch) = source.gather.take_batch() {
            whole |= batch.whole;
            // A message may be many changes: of a kind that is not defined any more, say.
            let size = u32::try_from(batch.changes.len().clamp(1, WAITING)).unwrap_or(1);
            batch.place = waiting.clone().acquire_many_owned(size).await.ok().map(Arc::new);
            if !deliver(batch) {
                return;
            }
        }
    }
}

impl Source {
    /// Starts what is watched whatever is defined.
    async fn start(&mut self) {
        for (place, resource) in ALL.iter().enumerate() {
            if resource.served == Served::Always && resource.kind().is_some() {
                self.follow(place);
            }
        }
        self.endpoints().await;
        let (client, log) = (self.setup.client.clone(), self.setup.log.clone());
        tokio::spawn(definitions::follow(client, log, self.messages.clone(), Message::Defined));
        for holder in [Holder::Secret, Holder::ConfigMap] {
            let (client, log) = (self.setup.client.clone(), self.setup.log.clone());
            let (wanted, messages) = (self.wanted.subscribe(), self.messages.clone());
            tokio::spawn(referenced::follow(client, holder, wanted, log, messages, Message::Referenced));
        }
    }

    /// EndpointSlices, or Endpoints at servers that have none.
    async fn endpoints(&mut self) {
        let place = |kind: &str| ALL.iter().position(|it| it.served == Served::Endpoints && it.kind == kind);
        let (Some(slices), Some(endpoints)) = (place("EndpointSlice"), place("Endpoints")) else { return };
        let mut pause = Duration::from_millis(100);
        let place = loop {
            match definitions::version(&self.setup.client, &ALL[slices]).await {
                Ok(Some(_)) => break slices,
                Ok(None) => break endpoints,
                Err(error) => {
                    let text = crate::cluster::client::explain(
                        &error,
                        "discover",
                        "endpointslices.discovery.k8s.io",
                    );
                    (self.setup.log)(Severity::Warning, format!("warning: {text}"));
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(Duration::from_secs(5));
                }
            }
        };
        self.gather.expect(place);
        self.follow(place);
    }

    /// Takes what has come, and what comes while watches catch up with a server that was away.
    async fn take_more(&mut self, inbox: &mut mpsc::Receiver<Message>) {
        while self.gather.pending() < CHANGES {
            let message = match self.reach.catching_up(Instant::now()) {
                Some(until) => timeout_at(until.into(), inbox.recv()).await.ok().flatten(),
                None => inbox.try_recv().ok(),
            };
            let Some(message) = message else { return };
            self.take(message);
        }
    }

    /// Starts to watch a kind.
    fn follow(&mut self, place: usize) {
        let resource = &ALL[place];
        self.number += 1;
        let number = self.number;
        let (client, log, messages) =
            (self.setup.client.clone(), self.setup.log.clone(), self.messages.clone());
        let (system_namespace, reach) = (self.setup.system_namespace.clone(), self.reach.clone());
        let task = tokio::spawn(async move {
            loop {
                let mut search = Search::new(client.clone(), resource, log.clone());
                let version = loop {
                    match search.look().await {
                        Found::Served(version) => break version,
                        Found::Absent => {
                            // The other end ends only with the process.
                            let _ = messages
                                .send(Message::Kind(place, number, Told::Unserved, Instant::now()))
                                .await;
                        }
                        Found::Unknown => {}
                    }
                };
                let (system_namespace, reach) = (system_namespace.clone(), reach.clone());
                let watched = Watched { resource, version, system_namespace, reach };
                let wrap = move |told| Message::Kind(place, number, told, Instant::now());
                watch::watch(client.clone(), watched, log.clone(), messages.clone(), wrap).await;
                if messages.is_closed() {
                    return;
                }
            }
        });
        self.watches.insert(place, (number, task));
    }

    fn take(&mut self, message: Message) {
        match message {
            Message::Kind(place, number, told, at) => {
                if self.watches.get(&place).is_some_and(|(current, _)| *current == number) {
                    self.gather.take(place, told, at);
                }
            }
            Message::Referenced(told) => self.gather.take_referenced(told, Instant::now()),
            Message::Defined(told) => self.take_defined(told),
        }
    }

    fn take_defined(&mut self, told: definitions::Told) {
        match told {
            definitions::Told::Began => self.defined = Some(Vec::new()),
            definitions::Told::Defined(place) => {
                if let Some(defined) = &mut self.defined {
                    defined.push(place);
                }
                if ALL[place].kind().is_some() && !self.watches.contains_key(&place) {
                    self.gather.expect(place);
                    self.follow(place);
                }
            }
            definitions::Told::Undefined(place) => self.forget(place),
            definitions::Told::Listed => {
                let defined = self.defined.take().unwrap_or_default();
                let by_definition = |place: &usize| ALL[*place].served == Served::ByDefinition;
                let gone: Vec<usize> = self
                    .watches
                    .keys()
                    .copied()
                    .filter(|it| by_definition(it) && !defined.contains(it))
                    .collect();
                for place in gone {
                    self.forget(place);
                }
                self.gather.definitions_listed();
            }
        }
    }

    /// A kind is not defined any more.
    fn forget(&mut self, place: usize) {
        if let Some((_, task)) = self.watches.remove(&place) {
            task.abort();
            self.gather.undefined(place);
        }
    }

    fn remind(&self) {
        let missing = self.gather.missing();
        let what = if missing.is_empty() { "Secrets that rules name".to_owned() } else { missing.join(", ") };
        (self.setup.log)(
            Severity::Warning,
            format!("warning: no version yet: {what} could not be listed so far"),
        );
    }
}
