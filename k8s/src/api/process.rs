//! run.dromon.io Process: an ordinary process of a local mesh, selected by Services like a pod.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::scalar::null_as_default;

/// `spec` of a Process.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Process {
    /// Program and arguments.
    #[serde(deserialize_with = "null_as_default")]
    pub command: Vec<String>,
    /// Extra environment.
    #[serde(deserialize_with = "null_as_default")]
    pub env: BTreeMap<String, String>,
    /// Working directory; the mesh's own unless set.
    pub working_dir: Option<String>,
    /// `default` unless set.
    pub service_account_name: Option<String>,
    /// Ports that the application serves.
    #[serde(deserialize_with = "null_as_default")]
    pub ports: Vec<ProcessPort>,
    /// When it may get traffic; unless set, as soon as its first port accepts connections.
    pub readiness: Option<Probe>,
    /// Start it again when it ends; unless set, with a growing pause.
    pub restart: Option<Restart>,
}

/// One entry of `ports`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
#[allow(missing_docs)]
pub struct ProcessPort {
    pub name: String,
    pub container_port: u16,
    /// TCP only.
    pub protocol: Option<String>,
}

/// `restart`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[allow(missing_docs)]
pub enum Restart {
    #[default]
    Always,
    OnFailure,
    Never,
}

/// `readiness`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
#[allow(missing_docs)]
pub struct Probe {
    pub http_get: Option<HttpGet>,
    pub tcp_socket: Option<TcpSocket>,
    /// 1 unless set.
    pub period_seconds: Option<u32>,
    /// 1 unless set.
    pub timeout_seconds: Option<u32>,
    /// 0 unless set.
    pub initial_delay_seconds: Option<u32>,
    /// 3 unless set.
    pub failure_threshold: Option<u32>,
    /// 1 unless set.
    pub success_threshold: Option<u32>,
}

/// `readiness.httpGet`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
#[allow(missing_docs)]
pub struct HttpGet {
    pub path: String,
    /// A file may give the name of one of the Process's ports; the number is found when it is read.
    pub port: u16,
}

/// `readiness.tcpSocket`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
#[allow(missing_docs)]
pub struct TcpSocket {
    /// As for [`HttpGet`].
    pub port: u16,
}
