//! What a local run tells its controller: who runs where, and which of them are ready.
//!
//! It travels as a file that is replaced as a whole (`RUN_DIR/local/local.json`), so a controller that was started again
//! has it at once, and neither has to be there before the other.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// The file's directory below the run directory; nothing else lies in it.
pub const DIRECTORY: &str = "local";
const FILE: &str = "local.json";

/// The run's word.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Local {
    /// Counts up with every change; `/status` says which one is in force.
    pub revision: u64,
    /// The gateway.
    pub gateway: Option<Gateway>,
    /// The processes with a sidecar, by namespace and name.
    pub workloads: Vec<Workload>,
    /// Listeners for service ports that every sidecar opens, by the service's FQDN and port (`HOST:PORT`).
    pub service_ports: BTreeMap<String, u16>,
    /// Virtual addresses of services for processes whose connections are captured, by the service's FQDN.
    pub service_addresses: BTreeMap<String, Ipv4Addr>,
}

/// How the gateway's ports are opened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Gateway {
    /// The gateway's name.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// Address that its ports are opened on.
    pub bind: IpAddr,
    /// A Gateway's port → the port that is opened for it.
    pub ports: BTreeMap<u16, u16>,
    /// Ports below this are refused by the system and open at [`LOW_PORT_OFFSET`] more; 0: none is.
    pub refused_below: u16,
    /// Where it answers operators.
    #[serde(default)]
    pub admin: Option<SocketAddr>,
}

/// Added to a port that is refused.
pub const LOW_PORT_OFFSET: u16 = 8_000;

impl Gateway {
    /// The port that is opened for a Gateway's port.
    pub fn port(&self, named: u16) -> u16 {
        match self.ports.get(&named) {
            Some(port) => *port,
            None if named < self.refused_below => named.saturating_add(LOW_PORT_OFFSET),
            None => named,
        }
    }
}

/// A process with a sidecar.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Workload {
    /// Its name.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// Its labels, by which services select it.
    pub labels: BTreeMap<String, String>,
    /// Its service account.
    pub service_account: String,
    /// Where its sidecar listens.
    pub sidecar: Ipv4Addr,
    /// Where it listens itself.
    pub application: Ipv4Addr,
    /// Its ports.
    pub ports: Vec<Port>,
    /// Whether it may get new requests.
    pub ready: bool,
    /// Where its sidecar answers operators.
    #[serde(default)]
    pub admin: Option<SocketAddr>,
    /// Its sidecar has certificates: it takes mutual TLS.
    #[serde(default)]
    pub mtls: bool,
    /// Netfilter brings its connections to its sidecar; both have the address `sidecar`.
    #[serde(default)]
    pub captured: bool,
}

/// A port of a process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Port {
    /// Its name; may be empty.
    pub name: String,
    /// Its number.
    pub number: u16,
}

impl Local {
    /// Replaces the file.
    ///
    /// # Errors
    /// The run directory cannot be written.
    pub fn write(&self, run_dir: &Path) -> io::Result<()> {
        let directory = run_dir.join(DIRECTORY);
        std::fs::create_dir_all(&directory)?;
        replace(&directory.join(FILE), &serde_json::to_vec(self)?)
    }

    /// Whether this says the same as an earlier word, except for which processes are ready.
    pub fn differs_in_readiness(&self, before: &Local) -> bool {
        let mut same = before.clone();
        same.revision = self.revision;
        for (of, now) in same.workloads.iter_mut().zip(&self.workloads) {
            of.ready = now.ready;
        }
        same == *self
    }

    /// Reads the file's text.
    ///
    /// # Errors
    /// It is no word of a run.
    pub fn parse(text: &str) -> serde_json::Result<Local> {
        serde_json::from_str(text)
    }
}

/// Replaces a file as a whole: a reader sees the old or the new, never a part. Nobody else may read it: the store's last good
/// objects are among what is written so, with their Secrets.
///
/// # Errors
/// The system refuses.
pub fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let temporary: PathBuf = path.with_file_name(format!(".{name}.new"));
    match std::fs::remove_file(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
    file.write_all(content)?;
    std::fs::rename(&temporary, path)
}
