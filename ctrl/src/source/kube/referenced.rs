//! The Secrets and ConfigMaps that rules name: of all others, not even the names are kept.
//!
//! What changes is told by a watch of metadata; what is wanted is then read by name. So no content travels that nobody
//! asked for, whatever a cluster keeps in its Secrets.

use std::collections::BTreeSet;
use std::time::Duration;

use dromon_k8s::diagnostic::Severity;
use futures::StreamExt;
use kube::core::{DynamicObject, PartialObjectMeta};
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Client};
use tokio::sync::{mpsc, watch};

use super::references::{Holder, Reference};
use super::resources::{Resource, Served, Which};
use super::trim::{self, Trimmed};
use super::watch::{Name, Troubles};
use crate::cluster::client;
use crate::feed::server::Log;

/// Helm's releases and tokens change often and are no certificates.
const FIELDS: &str = "type!=helm.sh/release.v1,type!=kubernetes.io/service-account-token";
/// Pause before what could not be read is tried again.
const PAUSE: Duration = Duration::from_millis(500);

static SECRETS: Resource = Resource {
    group: "",
    versions: &["v1"],
    kind: "Secret",
    plural: "secrets",
    which: Which::All,
    served: Served::Always,
};
static CONFIG_MAPS: Resource = Resource {
    group: "",
    versions: &["v1"],
    kind: "ConfigMap",
    plural: "configmaps",
    which: Which::All,
    served: Served::Always,
};

/// What is wanted, with a number that grows with each change of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// The number.
    pub number: u64,
    /// What is wanted.
    pub names: BTreeSet<Reference>,
}

/// What is told.
#[derive(Debug)]
pub enum Told {
    /// It is there, so.
    Object(Holder, Name, Box<Trimmed>),
    /// It is not there, or not wanted any more.
    Gone(Holder, Name),
    /// All that was wanted at this number has been told.
    Settled(Holder, u64),
}

/// Reads what is wanted of one kind, and what changes of it, until nobody listens.
pub async fn follow<T: Send>(
    client: Client,
    holder: Holder,
    mut wanted: watch::Receiver<Wanted>,
    log: Log,
    told: mpsc::Sender<T>,
    wrap: impl Fn(Told) -> T,
) {
    let resource = match holder {
        Holder::Secret => &SECRETS,
        Holder::ConfigMap => &CONFIG_MAPS,
    };
    let api: Api<PartialObjectMeta<DynamicObject>> = Api::all_with(client.clone(), &resource.at("v1"));
    let mut config = watcher::Config::default().any_semantic();
    if holder == Holder::Secret {
        config = config.fields(FIELDS);
    }
    let mut events = watcher(api, config).boxed();
    let mut reader = Reader {
        client,
        holder,
        resource,
        log: log.clone(),
        known: BTreeSet::new(),
        failed: BTreeSet::new(),
        settled: None,
    };
    let mut troubles = Troubles::new(resource.full_name(), log);
    loop {
        let mut news = Vec::new();
        tokio::select! {
            changed = wanted.changed() => match changed {
                Ok(()) => {}
                Err(_) => return,
            },
            event = events.next() => match event {
                Some(Ok(event)) => {
                    troubles.over();
                    reader.note(event, &wanted.borrow().names, &mut news);
                }
                Some(Err(error)) => { troubles.pause(&error).await; continue }
                None => return,
            },
            () = tokio::time::sleep(PAUSE), if !reader.failed.is_empty() => {}
        }
        let now = wanted.borrow_and_update().clone();
        reader.read(&now, &mut news).await;
        for it in news {
            if told.send(wrap(it)).await.is_err() {
                return;
            }
        }
    }
}

struct Reader {
    client: Client,
    holder: Holder,
    resource: &'static Resource,
    log: Log,
    /// Those that are as they were told, be it that they do not exist.
    known: BTreeSet<Name>,
    /// Those that could not be read.
    failed: BTreeSet<Name>,
    settled: Option<u64>,
}

impl Reader {
    /// Takes note of what has changed; what of it is wanted has to be read again.
    fn note(
        &mut self,
        event: Event<PartialObjectMeta<DynamicObject>>,
        wanted: &BTreeSet<Reference>,
        news: &mut Vec<Told>,
    ) {
        match event {
            Event::Init => self.known.clear(),
            Event::InitApply(object) | Event::Apply(object) => {
                self.known.remove(&name(&object));
            }
            Event::Delete(object) => {
                let name = name(&object);
                if wanted.contains(&(self.holder, name.0.clone(), name.1.clone())) {
                    self.known.insert(name.clone());
                    news.push(Told::Gone(self.holder, name));
                }
            }
            Event::InitDone => {}
        }
    }

    /// Reads what is wanted and not known, tells of what is known and not wanted.
    async fn read(&mut self, wanted: &Wanted, news: &mut Vec<Told>) {
        let mine = wanted.names.iter().filter(|(holder, ..)| *holder == self.holder);
        let names: BTreeSet<Name> =
            mine.map(|(_, namespace, name)| (namespace.clone(), name.clone())).collect();
        let unwanted: Vec<Name> = self.known.difference(&names).cloned().collect();
        for name in unwanted {
            self.known.remove(&name);
            news.push(Told::Gone(self.holder, name));
        }
        self.failed.clear();
        let unknown: Vec<Name> = names.difference(&self.known).cloned().collect();
        for name in unknown {
            match self.get(&name).await {
                Ok(Some(object)) => news.push(Told::Object(self.holder, name.clone(), Box::new(object))),
                Ok(None) => news.push(Told::Gone(self.holder, name.clone())),
                Err(why) => {
                    (self.log)(Severity::Warning, format!("warning: {}/{}: {why}", name.0, name.1));
                    self.failed.insert(name);
                    continue;
                }
            }
            self.known.insert(name);
        }
        if self.failed.is_empty() && self.settled != Some(wanted.number) {
            self.settled = Some(wanted.number);
            news.push(Told::Settled(self.holder, wanted.number));
        }
    }

    async fn get(&self, (namespace, name): &Name) -> Result<Option<Trimmed>, String> {
        let api: Api<DynamicObject> =
            Api::namespaced_with(self.client.clone(), namespace, &self.resource.at("v1"));
        match api.get_opt(name).await {
            Ok(found) => Ok(found.map(|object| trim::trim(self.resource, "v1", object))),
            Err(error) => Err(client::explain(&error, "get", &self.resource.full_name())),
        }
    }
}

fn name(object: &PartialObjectMeta<DynamicObject>) -> Name {
    let meta = &object.metadata;
    (meta.namespace.clone().unwrap_or_default(), meta.name.clone().unwrap_or_default())
}
