//! The application's Prometheus metrics, served together with the sidecar's.
//!
//! Prometheus speaks no mutual TLS either. Where a pod says by `prometheus.io/*` annotations that it is to be scraped, they are
//! pointed at the sidecar, which fetches the application's metrics and adds its own.

use dromon_core::app_health::{METRICS_PATH, METRICS_PORT};
use serde_json::{Value, json};

pub use dromon_core::app_health::AppMetrics;

use super::{map, map_in, names};

const SCRAPE: &str = "prometheus.io/scrape";
const PORT: &str = "prometheus.io/port";
const PATH: &str = "prometheus.io/path";
const SCHEME: &str = "prometheus.io/scheme";

/// Points the annotations at the sidecar, and returns where they pointed. A pod that says nothing is scraped for its
/// sidecar's metrics; one that says no is not.
pub(super) fn rewrite(pod: &mut Value, wanted: bool) -> Option<AppMetrics> {
    if !wanted {
        return None;
    }
    let before = names(pod, "annotations");
    let scraped = before.get(SCRAPE).map(String::as_str);
    if scraped == Some("false") {
        return None;
    }
    let port = before.get(PORT).and_then(|port| port.parse::<u16>().ok());
    let path = before.get(PATH).map_or(METRICS_DEFAULT_PATH, String::as_str);
    let application = match (scraped, port) {
        // Asked for TLS, the sidecar would have to know the application's certificate: it is left to Prometheus.
        (Some("true"), _) if before.get(SCHEME).is_some_and(|it| it == "https") => return None,
        (Some("true"), Some(port)) => {
            let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
            Some(AppMetrics { port, path })
        }
        // Without a port Prometheus would ask each of the container's; there is no one answer.
        (Some("true"), None) => declared_port(pod).map(|port| AppMetrics { port, path: path.to_owned() }),
        _ => None,
    };
    let annotations = map_in(map(pod, "metadata"), "annotations");
    annotations.insert(SCRAPE.to_owned(), json!("true"));
    annotations.insert(PORT.to_owned(), json!(METRICS_PORT.to_string()));
    annotations.insert(PATH.to_owned(), json!(METRICS_PATH));
    application
}

/// Where Prometheus looks unless told otherwise.
const METRICS_DEFAULT_PATH: &str = "/metrics";

/// The only port that the pod's containers declare.
fn declared_port(pod: &Value) -> Option<u16> {
    let containers = pod["spec"]["containers"].as_array()?;
    let mut ports = containers.iter().filter_map(|it| it["ports"].as_array()).flatten();
    let only = ports.next()?;
    if ports.next().is_some() {
        return None;
    }
    only["containerPort"].as_u64().and_then(|port| u16::try_from(port).ok())
}
