//! The API server as the simulation uses it: objects written by many connections, and a watch beside the controller's that says
//! when an event came.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use futures::{StreamExt, TryStreamExt, stream};
use http::{Method, Request};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::{DynamicObject, WatchEvent};
use kube::{Client, Config};
use serde_json::Value;
use tokio::sync::mpsc;

/// Requests under way at once while the world is written.
const AT_ONCE: usize = 24;

/// A client.
#[derive(Clone)]
pub struct Api(Client);

/// A request to the API server.
#[derive(Clone, Debug)]
pub struct Write {
    /// How.
    pub method: Method,
    /// Where.
    pub path: String,
    /// What.
    pub body: Value,
}

impl Api {
    /// A client by a kubeconfig.
    ///
    /// # Errors
    /// It is of no use.
    pub async fn new(kubeconfig: &Path) -> Result<Api> {
        let read = Kubeconfig::read_from(kubeconfig)?;
        let config = Config::from_custom_kubeconfig(read, &KubeConfigOptions::default()).await?;
        Ok(Api(Client::try_from(config)?))
    }

    /// Writes one object; returns its resource version.
    ///
    /// # Errors
    /// The API server refuses.
    pub async fn write(&self, write: Write) -> Result<String> {
        let what = format!("{} {}", write.method, write.path);
        let form = match write.method {
            Method::PATCH => "application/merge-patch+json",
            _ => "application/json",
        };
        let request = Request::builder()
            .method(write.method)
            .uri(&write.path)
            .header("content-type", form)
            .body(write.body.to_string().into_bytes())?;
        let answer: Value = self.0.request(request).await.with_context(|| what)?;
        Ok(answer["metadata"]["resourceVersion"].as_str().unwrap_or_default().to_owned())
    }

    /// Writes many, in no order.
    ///
    /// # Errors
    /// The API server refuses one.
    pub async fn write_all(&self, writes: impl Iterator<Item = Write>) -> Result<()> {
        let all = stream::iter(writes.map(|write| self.write(write)));
        all.buffer_unordered(AT_ONCE).try_for_each(|_| async { Ok(()) }).await
    }

    /// Reads one object.
    ///
    /// # Errors
    /// It is not there, or the API server refuses.
    pub async fn read(&self, path: &str) -> Result<Value> {
        Ok(self.0.request(Request::get(path).body(Vec::new())?).await?)
    }
}

/// When events came, by resource version.
#[derive(Clone, Default)]
pub struct Events(Arc<Mutex<HashMap<String, Instant>>>);

impl Events {
    /// Watches these paths (lists of whole kinds) on a thread of its own, from now on; returns once it does.
    ///
    /// # Errors
    /// The watch cannot be started.
    pub async fn watch(kubeconfig: &Path, paths: &'static [&'static str]) -> Result<Events> {
        let events = Events::default();
        let (kubeconfig, seen) = (kubeconfig.to_owned(), events.clone());
        let (ready, mut is_ready) = mpsc::unbounded_channel::<Result<()>>();
        std::thread::Builder::new().name("watch".into()).spawn(move || {
            let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
                Ok(runtime) => runtime,
                Err(error) => return drop(ready.send(Err(error.into()))),
            };
            runtime.block_on(async {
                let following = paths.iter().map(|path| follow(&kubeconfig, path, &seen, &ready));
                futures::future::join_all(following).await;
            });
        })?;
        for _ in paths {
            is_ready.recv().await.context("the watch ended")??;
        }
        Ok(events)
    }

    /// When the event of a version came; waits a while for it.
    ///
    /// # Errors
    /// It does not come.
    pub async fn of(&self, version: &str) -> Result<Instant> {
        for _ in 0..2_000 {
            let seen = self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(version);
            if let Some(at) = seen {
                return Ok(at);
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        bail!("no event of version {version}")
    }
}

/// Follows one kind until its watch ends.
async fn follow(kubeconfig: &Path, path: &str, seen: &Events, ready: &mpsc::UnboundedSender<Result<()>>) {
    let started = async {
        let api = Api::new(kubeconfig).await?;
        let list = api.read(&format!("{path}?limit=1")).await?;
        let version = list["metadata"]["resourceVersion"].as_str().context("a list's version")?;
        let uri = format!("{path}?watch=1&timeoutSeconds=3600&resourceVersion={version}");
        let request = Request::get(uri).body(Vec::new())?;
        Ok::<_, anyhow::Error>(api.0.request_events::<DynamicObject>(request).await?)
    };
    let mut events = match started.await {
        Ok(events) => {
            let _ = ready.send(Ok(()));
            Box::pin(events)
        }
        Err(error) => return drop(ready.send(Err(error))),
    };
    while let Some(Ok(event)) = events.next().await {
        let at = Instant::now();
        if let WatchEvent::Added(object) | WatchEvent::Modified(object) = event {
            let version = object.metadata.resource_version.unwrap_or_default();
            seen.0.lock().unwrap_or_else(PoisonError::into_inner).insert(version, at);
        }
    }
}
