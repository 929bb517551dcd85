//! One process of a run with its sidecar.

use std::net::SocketAddr;
use std::time::Duration;

use super::address::Pair;
use super::part::Part;
use super::plan::Process;
use super::pods::Pod;
use super::probe;
use super::programs::Endpoints;

/// How long a proxy may take to answer its operator.
const ANSWER: Duration = Duration::from_secs(2);

/// A process with its sidecar.
#[derive(Debug)]
pub struct Workload {
    /// What was asked for.
    pub process: Process,
    /// Its addresses.
    pub pair: Pair,
    /// Where its sidecar answers operators.
    pub endpoints: Endpoints,
    /// Its namespace, where it has one of its own.
    pub pod: Option<Pod>,
    /// Its sidecar.
    pub sidecar: Option<Part>,
    /// The process itself; started once its sidecar is ready, so that its first call finds the mesh.
    pub application: Option<Part>,
    /// The sidecar is ready.
    pub sidecar_ready: bool,
    /// The process is ready.
    pub application_ready: bool,
    /// It was ready once, or failed: the start of the run need not wait for it.
    pub settled: bool,
    /// It is being stopped.
    pub leaving: bool,
    /// The process's number.
    pub pid: Option<u32>,
}

impl Workload {
    /// A workload of which nothing runs yet.
    pub fn new(process: Process, pair: Pair, endpoints: Endpoints, pod: Option<Pod>) -> Workload {
        Workload {
            process,
            pair,
            endpoints,
            pod,
            sidecar: None,
            application: None,
            sidecar_ready: false,
            application_ready: false,
            settled: false,
            leaving: false,
            pid: None,
        }
    }

    /// May get requests.
    pub fn ready(&self) -> bool {
        self.sidecar_ready && self.application_ready && !self.leaving
    }
}

/// Stops what runs of a workload: the sidecar lets what arrived finish, then the application ends with its way out still
/// open, then the sidecar.
pub async fn stop(application: Option<Part>, sidecar: Option<Part>, endpoints: Endpoints, drain: Duration) {
    if sidecar.is_some() && application.is_some() {
        drained(endpoints.admin, drain).await;
    }
    if let Some(application) = application {
        application.stop().await;
    }
    if let Some(sidecar) = sidecar {
        sidecar.stop().await;
    }
}

/// Asks a proxy to drain and waits until nothing is under way there, at most `drain`.
async fn drained(admin: SocketAddr, drain: Duration) {
    if probe::http(http::Method::POST, admin, "/drain", ANSWER).await.is_err() {
        return;
    }
    let idle = async {
        while probe::http(http::Method::GET, admin, "/stats?format=json", ANSWER)
            .await
            .is_ok_and(|(_, stats)| under_way(&stats) > 0)
        {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let _ = tokio::time::timeout(drain, idle).await;
}

/// Requests under way in a proxy's `/stats`, over all shards; 0 where it does not say.
fn under_way(stats: &[u8]) -> u64 {
    let stats: serde_json::Value = serde_json::from_slice(stats).unwrap_or_default();
    let shards = stats.pointer("/shards").and_then(serde_json::Value::as_array);
    let active = |shard: &serde_json::Value| shard.pointer("/counts/requests_active")?.as_u64();
    shards.into_iter().flatten().filter_map(active).sum()
}
