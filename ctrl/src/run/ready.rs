//! What a run says of itself when traffic can flow, and writes down for other commands.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

/// What is said when traffic can flow.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Ready {
    /// Always `ready`.
    pub status: String,
    /// Where the gateway listens.
    pub listeners: Vec<SocketAddr>,
    /// Where proxies answer operators: `gateway`, and each process by `NAME.NAMESPACE`.
    pub admin: BTreeMap<String, SocketAddr>,
    /// The processes.
    pub processes: Vec<ReadyProcess>,
    /// The controller's `/status`.
    pub controller: SocketAddr,
    /// Where sockets and state are kept.
    #[serde(rename = "runDir")]
    pub run_dir: PathBuf,
}

/// A process, as it is when traffic can flow.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct ReadyProcess {
    /// `NAME.NAMESPACE`.
    pub name: String,
    /// Whether it gets requests.
    pub ready: bool,
    /// Its number, while it runs.
    pub pid: Option<u32>,
    /// Where its sidecar listens.
    pub sidecar: IpAddr,
    /// Where it listens itself.
    pub application: IpAddr,
}
