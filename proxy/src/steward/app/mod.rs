//! The application beside this sidecar, asked on behalf of those who speak no mutual TLS: the kubelet's probes and Prometheus.
//!
//! What is asked comes with the pod's own specification ([`dromon_core::app_health`]). The application is reached as
//! inbound traffic reaches it: at the pod's address, from the source address that capture leaves alone.

mod connect;
mod grpc;
mod probe;
mod scrape;
#[cfg(test)]
mod tests;

use std::net::IpAddr;

use dromon_core::app_health::{AppMetrics, AppProbes};

pub use probe::probe;
pub use scrape::scrape;

/// The application, as its pod's specification speaks of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Application {
    /// The pod's address; loopback where nothing is captured.
    pub address: Option<IpAddr>,
    /// Probes that are served here.
    pub probes: AppProbes,
    /// Its metrics, where they are merged.
    pub metrics: Option<AppMetrics>,
}
