//! Which kinds are served: by CustomResourceDefinitions, whose metadata is watched, and in which version.

use std::time::Duration;

use dromon_k8s::diagnostic::Severity;
use futures::StreamExt;
use kube::core::{ApiResource, DynamicObject, GroupVersionKind, PartialObjectMeta};
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Client};
use tokio::sync::mpsc;

use super::resources::{ALL, Resource};
use super::watch::Troubles;
use crate::cluster::client;
use crate::feed::server::Log;

/// Pauses between two looks at what is served grow from the one to the other.
const PAUSE: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(5));

/// What is told of definitions.
#[derive(Debug)]
pub enum Told {
    /// A list begins: definitions that are not in it are gone.
    Began,
    /// A kind is defined; the place is that in [`ALL`].
    Defined(usize),
    /// A kind is no longer defined.
    Undefined(usize),
    /// The list is complete.
    Listed,
}

/// Watches the definitions until nobody listens.
pub async fn follow<T: Send>(client: Client, log: Log, told: mpsc::Sender<T>, wrap: impl Fn(Told) -> T) {
    let of = GroupVersionKind::gvk("apiextensions.k8s.io", "v1", "CustomResourceDefinition");
    let resource = ApiResource::from_gvk_with_plural(&of, "customresourcedefinitions");
    let api: Api<PartialObjectMeta<DynamicObject>> = Api::all_with(client, &resource);
    let mut events = watcher(api, watcher::Config::default().any_semantic()).boxed();
    let mut troubles = Troubles::new("customresourcedefinitions.apiextensions.k8s.io".to_owned(), log);
    let place = |name: &Option<String>| {
        let name = name.as_deref().unwrap_or_default();
        ALL.iter().position(|it| it.full_name() == name)
    };
    while let Some(event) = events.next().await {
        let news = match event {
            Ok(Event::Init) => Some(Told::Began),
            Ok(Event::InitApply(it) | Event::Apply(it)) => place(&it.metadata.name).map(Told::Defined),
            Ok(Event::Delete(it)) => place(&it.metadata.name).map(Told::Undefined),
            Ok(Event::InitDone) => Some(Told::Listed),
            Err(error) => {
                troubles.pause(&error).await;
                continue;
            }
        };
        troubles.over();
        if let Some(news) = news
            && told.send(wrap(news)).await.is_err()
        {
            return;
        }
    }
}

/// The best version in which a kind is served; none if it is not, which is so for a moment after its definition.
///
/// # Errors
/// The API server does not say.
pub async fn version(client: &Client, resource: &Resource) -> Result<Option<&'static str>, kube::Error> {
    for version in resource.versions {
        if has(client, resource, version).await? {
            return Ok(Some(version));
        }
    }
    Ok(None)
}

async fn has(client: &Client, resource: &Resource, version: &str) -> Result<bool, kube::Error> {
    let api_version = resource.api_version(version);
    let found = match resource.group {
        "" => client.list_core_api_resources(&api_version).await,
        _ => client.list_api_group_resources(&api_version).await,
    };
    match found {
        Ok(list) => Ok(list.resources.iter().any(|it| it.name == resource.plural)),
        Err(error) if client::code(&error) == Some(404) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Looks for a kind until it is served.
pub struct Search {
    client: Client,
    resource: &'static Resource,
    log: Log,
    said: bool,
    pause: Duration,
}

/// What a look found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// It is served in this version.
    Served(&'static str),
    /// It is not served at present.
    Absent,
    /// The API server does not say.
    Unknown,
}

impl Search {
    /// A search that begins.
    pub fn new(client: Client, resource: &'static Resource, log: Log) -> Search {
        Search { client, resource, log, said: false, pause: PAUSE.0 }
    }

    /// Looks once; where it is in vain, with a pause after it, longer each time.
    pub async fn look(&mut self) -> Found {
        let found = match version(&self.client, self.resource).await {
            Ok(Some(version)) => return Found::Served(version),
            Ok(None) => Found::Absent,
            Err(error) => {
                if !std::mem::replace(&mut self.said, true) {
                    let text = client::explain(&error, "discover", &self.resource.full_name());
                    (self.log)(Severity::Warning, format!("warning: {text}"));
                }
                Found::Unknown
            }
        };
        tokio::time::sleep(self.pause).await;
        self.pause = (self.pause * 2).min(PAUSE.1);
        found
    }
}
