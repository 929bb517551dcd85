//! What a pod's annotations say about its sidecar: ours first, else Istio's of the same meaning.

use dromon_core::capture::{CaptureError, Ports, Ranges, Settings};
use serde_json::Value;

use super::{Config, Names, map_in, names};

/// A setting's annotations, ours first.
type Keys = [&'static str; 2];

const INCLUDE_INBOUND_PORTS: Keys =
    ["traffic.dromon.io/includeInboundPorts", "traffic.sidecar.istio.io/includeInboundPorts"];
const EXCLUDE_INBOUND_PORTS: Keys =
    ["traffic.dromon.io/excludeInboundPorts", "traffic.sidecar.istio.io/excludeInboundPorts"];
const INCLUDE_OUTBOUND_PORTS: Keys =
    ["traffic.dromon.io/includeOutboundPorts", "traffic.sidecar.istio.io/includeOutboundPorts"];
const EXCLUDE_OUTBOUND_PORTS: Keys =
    ["traffic.dromon.io/excludeOutboundPorts", "traffic.sidecar.istio.io/excludeOutboundPorts"];
const INCLUDE_OUTBOUND_RANGES: Keys =
    ["traffic.dromon.io/includeOutboundIPRanges", "traffic.sidecar.istio.io/includeOutboundIPRanges"];
const EXCLUDE_OUTBOUND_RANGES: Keys =
    ["traffic.dromon.io/excludeOutboundIPRanges", "traffic.sidecar.istio.io/excludeOutboundIPRanges"];
const EXCLUDE_INTERFACES: Keys =
    ["traffic.dromon.io/excludeInterfaces", "traffic.sidecar.istio.io/excludeInterfaces"];
const LOG_LEVEL: Keys = ["sidecar.dromon.io/logLevel", "sidecar.istio.io/logLevel"];
const REWRITE_PROBES: Keys =
    ["sidecar.dromon.io/rewriteAppHTTPProbers", "sidecar.istio.io/rewriteAppHTTPProbers"];
const MERGE_METRICS: Keys = ["prometheus.dromon.io/merge-metrics", "prometheus.istio.io/merge-metrics"];
const DRAIN_SECONDS: &str = "sidecar.dromon.io/drainSeconds";
const DRIVER: &str = "sidecar.dromon.io/driver";
/// Annotation, list of resources and resource.
const RESOURCES: [(Keys, &str, &str); 4] = [
    (["sidecar.dromon.io/proxyCPU", "sidecar.istio.io/proxyCPU"], "requests", "cpu"),
    (["sidecar.dromon.io/proxyMemory", "sidecar.istio.io/proxyMemory"], "requests", "memory"),
    (["sidecar.dromon.io/proxyCPULimit", "sidecar.istio.io/proxyCPULimit"], "limits", "cpu"),
    (["sidecar.dromon.io/proxyMemoryLimit", "sidecar.istio.io/proxyMemoryLimit"], "limits", "memory"),
];
/// What a pod may ask of a sidecar's log.
const LOG_LEVELS: [&str; 4] = ["error", "warn", "info", "debug"];
/// What a pod may ask of a sidecar's driver.
const DRIVERS: [&str; 3] = ["auto", "io_uring", "epoll"];

/// What one pod asks for, completed by the installation's defaults.
#[derive(Clone, Debug, PartialEq)]
pub struct PodSettings {
    /// What is captured.
    pub capture: Settings,
    /// The sidecar's `resources`.
    pub resources: Value,
    /// Its log level.
    pub log_level: String,
    /// Its driver.
    pub driver: String,
    /// How long it drains, in seconds.
    pub drain_seconds: u64,
    /// Whether probes go through the sidecar.
    pub rewrite_probes: bool,
    /// Whether the application's metrics are merged with the sidecar's.
    pub merge_metrics: bool,
    /// What is asked for in vain.
    pub warnings: Vec<String>,
}

impl PodSettings {
    /// Reads a pod's annotations.
    ///
    /// # Errors
    /// One that cannot be read: captured other than its author meant, the pod could be open where it should be closed.
    pub fn read(pod: &Value, config: &Config) -> Result<PodSettings, String> {
        let annotations = names(pod, "annotations");
        let mut warnings = Vec::new();
        let log_level = log_level(&annotations, config, &mut warnings);
        let driver = match annotations.get(DRIVER) {
            Some(driver) if DRIVERS.contains(&driver.as_str()) => driver.clone(),
            Some(other) => {
                return Err(format!("annotation {DRIVER}: {other:?} is none of {}", DRIVERS.join(", ")));
            }
            None => config.driver.clone(),
        };
        let drain_seconds = match annotations.get(DRAIN_SECONDS).map(|text| (text, text.parse::<u32>())) {
            Some((_, Ok(seconds))) => u64::from(seconds),
            Some((text, Err(_))) => {
                return Err(format!("annotation {DRAIN_SECONDS}: {text:?} is no number of seconds"));
            }
            None => config.drain_seconds,
        };
        Ok(PodSettings {
            capture: capture(&annotations, config)?,
            resources: resources(&annotations, config),
            log_level,
            driver,
            drain_seconds,
            rewrite_probes: flag(&annotations, REWRITE_PROBES)?.unwrap_or(true),
            merge_metrics: flag(&annotations, MERGE_METRICS)?.unwrap_or(config.merge_metrics),
            warnings,
        })
    }
}

fn log_level(annotations: &Names, config: &Config, warnings: &mut Vec<String>) -> String {
    let Some((key, level)) = find(annotations, LOG_LEVEL) else { return config.log_level.clone() };
    match level {
        _ if LOG_LEVELS.contains(&level) => level.to_owned(),
        "warning" => "warn".to_owned(),
        "trace" => "debug".to_owned(),
        "critical" | "off" => "error".to_owned(),
        _ => {
            let known = LOG_LEVELS.join(", ");
            warnings.push(format!(
                "annotation {key}: {level:?} is none of {known}; {} is used",
                config.log_level
            ));
            config.log_level.clone()
        }
    }
}

/// The annotation of a setting that is there, ours first.
fn find(annotations: &Names, keys: Keys) -> Option<(&'static str, &str)> {
    keys.into_iter().find_map(|key| Some((key, annotations.get(key)?.as_str())))
}

fn flag(annotations: &Names, keys: Keys) -> Result<Option<bool>, String> {
    match find(annotations, keys) {
        None => Ok(None),
        Some((_, "true")) => Ok(Some(true)),
        Some((_, "false")) => Ok(Some(false)),
        Some((key, other)) => Err(format!("annotation {key}: {other:?} is neither \"true\" nor \"false\"")),
    }
}

/// Reads an annotation by `read`, if it is there.
fn read<T>(
    annotations: &Names,
    keys: Keys,
    read: impl Fn(&str) -> Result<T, CaptureError>,
) -> Result<Option<T>, String> {
    let Some((key, text)) = find(annotations, keys) else { return Ok(None) };
    read(text).map(Some).map_err(|error| format!("annotation {key}: {error}"))
}

fn capture(annotations: &Names, config: &Config) -> Result<Settings, String> {
    let mut settings = Settings { mode: config.capture_mode, ..Settings::default() };
    if let Some(ports) = read(annotations, INCLUDE_INBOUND_PORTS, Ports::parse)? {
        settings.inbound_ports = ports;
    }
    if let Some(ports) = read(annotations, EXCLUDE_INBOUND_PORTS, Settings::ports)? {
        settings.excluded_inbound_ports = ports;
    }
    if let Some(ports) = read(annotations, INCLUDE_OUTBOUND_PORTS, Settings::ports)? {
        settings.included_outbound_ports = ports;
    }
    if let Some(ports) = read(annotations, EXCLUDE_OUTBOUND_PORTS, Settings::ports)? {
        settings.excluded_outbound_ports = ports;
    }
    if let Some(ranges) = read(annotations, INCLUDE_OUTBOUND_RANGES, Ranges::parse)? {
        settings.outbound_ranges = ranges;
    }
    if let Some(ranges) = read(annotations, EXCLUDE_OUTBOUND_RANGES, Settings::ranges)? {
        settings.excluded_outbound_ranges = ranges;
    }
    if let Some(interfaces) = read(annotations, EXCLUDE_INTERFACES, Settings::interfaces)? {
        settings.excluded_interfaces = interfaces;
    }
    Ok(settings)
}

/// The installation's, with the pod's in their place. A limit below its request is the API server's to refuse.
fn resources(annotations: &Names, config: &Config) -> Value {
    let mut resources = config.resources.clone();
    for (keys, list, resource) in RESOURCES {
        if let Some((_, quantity)) = find(annotations, keys) {
            let quantity = Value::String(quantity.to_owned());
            if let Value::Object(all) = &mut resources {
                map_in(all, list).insert(resource.to_owned(), quantity);
            }
        }
    }
    resources
}
