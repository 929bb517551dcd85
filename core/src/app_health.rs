//! What a sidecar is told about the application's probes and metrics: injection writes it, the proxy reads it.
//!
//! The kubelet speaks neither mutual TLS nor HTTP/2 with an identity, so under STRICT its probes would be refused. Injection points
//! them at the sidecar (`/app-health/CONTAINER/livez` and so on, port 15020), which asks the application itself, beside it.
//! What to ask travels in environment variables of the pod's own specification, so it needs no controller.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Environment variable with the probes as JSON: [`AppProbes`].
pub const PROBES_ENV: &str = "DROMON_APP_PROBES";
/// Environment variable with the scrape as JSON: [`AppMetrics`].
pub const METRICS_ENV: &str = "DROMON_APP_METRICS";
/// What probes' paths begin with.
pub const PATH_PREFIX: &str = "/app-health/";
/// Path of the merged metrics.
pub const METRICS_PATH: &str = "/stats/prometheus";
/// Port of both.
pub const METRICS_PORT: u16 = 15_020;

/// Probes by their path.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct AppProbes(pub BTreeMap<String, AppProbe>);

/// One probe: what to ask, and for how long.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AppProbe {
    /// What to ask.
    #[serde(flatten)]
    pub ask: Ask,
    /// `timeoutSeconds`; 1 unless set, as in Kubernetes.
    #[serde(default = "one_second")]
    pub timeout_seconds: u32,
}

/// What a probe asks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Ask {
    /// A status from 200 to 399.
    HttpGet(HttpGet),
    /// That a connection can be made.
    TcpSocket {
        /// The port.
        port: u16,
    },
    /// `grpc.health.v1.Health/Check` says SERVING.
    Grpc {
        /// The port.
        port: u16,
        /// Name of the service; empty for the server as a whole.
        #[serde(default)]
        service: String,
    },
}

/// `httpGet` of a probe, its port a number.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct HttpGet {
    /// The port.
    pub port: u16,
    /// Path with its query.
    pub path: String,
    /// It is asked by TLS, its certificate not being checked, as the kubelet does.
    pub tls: bool,
    /// Header lines, in order.
    pub headers: Vec<(String, String)>,
}

/// Where the application's own metrics are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AppMetrics {
    /// The port.
    pub port: u16,
    /// Path with its query.
    pub path: String,
}

fn one_second() -> u32 {
    1
}

impl AppProbes {
    /// Nothing is probed.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// As the environment variable has it.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Reads what the environment variable has.
    ///
    /// # Errors
    /// What does not fit, for people.
    pub fn from_json(text: &str) -> Result<AppProbes, String> {
        serde_json::from_str(text).map_err(|error| error.to_string())
    }
}

impl AppMetrics {
    /// As the environment variable has it.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Reads what the environment variable has.
    ///
    /// # Errors
    /// What does not fit, for people.
    pub fn from_json(text: &str) -> Result<AppMetrics, String> {
        serde_json::from_str(text).map_err(|error| error.to_string())
    }
}
