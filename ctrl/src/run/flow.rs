//! Whether traffic can flow: asked of the controller and of the gateway, which know.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use http::Method;
use serde::Deserialize;
use tokio::time::{sleep, timeout};

use super::probe;

/// How often is asked.
const PAUSE: Duration = Duration::from_millis(10);
/// How long an answer may take.
const ANSWER: Duration = Duration::from_secs(2);

/// The gateway's listeners.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listeners {
    /// Where it listens.
    pub open: Vec<SocketAddr>,
    /// Where it cannot, with the reason.
    pub failed: Vec<(SocketAddr, String)>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    version: u64,
    local_revision: u64,
    proxies: Vec<Proxy>,
}

#[derive(Deserialize)]
struct Proxy {
    synced: Option<u64>,
}

#[derive(Deserialize)]
struct Stats {
    #[serde(default)]
    listeners: BTreeMap<String, Listener>,
}

#[derive(Deserialize)]
struct Listener {
    address: SocketAddr,
    error: Option<String>,
}

/// Waits until the run's word of this revision is in force at every connected proxy, at most `patience`.
pub async fn applied(controller: SocketAddr, revision: u64, patience: Duration) -> bool {
    let everywhere = async {
        while !is_applied(controller, revision).await {
            sleep(PAUSE).await;
        }
    };
    timeout(patience, everywhere).await.is_ok()
}

async fn is_applied(controller: SocketAddr, revision: u64) -> bool {
    let Ok((200, body)) = probe::http(Method::GET, controller, "/status", ANSWER).await else { return false };
    let Ok(status) = serde_json::from_slice::<Status>(&body) else { return false };
    let has_it = |proxy: &Proxy| proxy.synced.is_some_and(|synced| synced >= status.version);
    status.local_revision >= revision && status.proxies.iter().all(has_it)
}

/// Where the gateway listens, as it says itself.
pub async fn listeners(admin: SocketAddr) -> Listeners {
    let Ok((200, body)) = probe::http(Method::GET, admin, "/stats?format=json", ANSWER).await else {
        return Listeners::default();
    };
    let Ok(stats) = serde_json::from_slice::<Stats>(&body) else { return Listeners::default() };
    let mut listeners = Listeners::default();
    for Listener { address, error } in stats.listeners.into_values() {
        match error {
            None => listeners.open.push(address),
            Some(error) => listeners.failed.push((address, error)),
        }
    }
    listeners.open.sort_unstable();
    listeners.open.dedup();
    listeners
}
