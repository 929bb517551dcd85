//! Sidecar injection: a pod in, the same pod with a sidecar out.
//!
//! One pure function behind the webhook and `dromonctl inject`. It works on JSON rather than on typed pods, so that a field of
//! a newer Kubernetes passes untouched. A pod that has a sidecar already, runs on the host's network or is not to be
//! injected stays as it is, with the reason; one that cannot be injected safely is refused, with a text that says what to do.
//!
//! Order matters. With a native sidecar (Kubernetes 1.29) the init containers are: capture, the sidecar, then the pod's own, which
//! so reach the network through the sidecar. Without, the pod's own come first, on the plain network, capture is the last of
//! them, and the sidecar is the first container, whose `postStart` holds the others up until it is ready.

mod config;
mod containers;
pub mod decision;
mod ending;
pub mod file;
pub mod patch;
pub mod probes;
pub mod scrape;
mod settings;
#[cfg(test)]
mod tests;

pub use config::{Config, KubernetesVersion, SECCOMP_NODE_LABEL, VersionError};

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use decision::Skip;
use settings::PodSettings;

/// Name of the sidecar's container.
pub const SIDECAR: &str = "dromon-proxy";
/// Name of the init container that captures traffic.
pub const INIT: &str = "dromon-init";
/// Annotation that says what was injected.
pub const STATUS_ANNOTATION: &str = "dromon.io/status";
/// Name of the volume with the certificate.
const CERTS_VOLUME: &str = "dromon-certs";
/// Name of the volume for the last good configuration.
const STATE_VOLUME: &str = "dromon-state";
/// Label by which the mesh knows, as Istio's does, that a workload takes mutual TLS.
const TLS_MODE_LABEL: &str = "security.istio.io/tlsMode";

/// Labels or annotations.
pub type Names = BTreeMap<String, String>;

/// Where a pod is to be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scope {
    /// Its namespace; empty where a file does not say.
    pub namespace: String,
    /// The namespace's labels; none for files, whose pods are injected unless they say otherwise.
    pub namespace_labels: Option<Names>,
}

/// What became of a pod.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// It stays as it is.
    Skipped(Skip),
    /// With a sidecar; the warnings are for whoever made it.
    Injected {
        /// The pod.
        pod: Value,
        /// What does not work as its author may expect.
        warnings: Vec<String>,
    },
    /// It must not run like this.
    Refused(String),
}

/// Injects a pod, or the template of one: `metadata` and `spec`.
pub fn pod(pod: &Value, scope: &Scope, config: &Config) -> Outcome {
    if let Err(skip) = decision::decide(pod, scope, config) {
        return Outcome::Skipped(skip);
    }
    if let Some(refusal) = decision::refusal(scope) {
        return Outcome::Refused(refusal);
    }
    let settings = match PodSettings::read(pod, config) {
        Ok(settings) => settings,
        Err(refusal) => return Outcome::Refused(refusal),
    };
    let mut injected = pod.clone();
    let mut warnings = settings.warnings.clone();
    warnings.extend(decision::warnings(pod));
    if !injected["spec"].is_object() {
        return Outcome::Skipped(Skip::NoSpec);
    }
    let probes = probes::rewrite(&mut injected["spec"], settings.rewrite_probes, &mut warnings);
    let scrape = scrape::rewrite(&mut injected, settings.merge_metrics);
    if config.pauses {
        ending::pause(&mut injected["spec"], settings.drain_seconds);
    }
    let sidecar = containers::sidecar(config, &settings, &probes, scrape.as_ref());
    place(&mut injected["spec"], sidecar, containers::init(config, &settings), config.native);
    volumes(&mut injected["spec"]);
    if !config.node_label.is_empty() {
        // Elsewhere the profile's file is missing, and the container could not start.
        map(&mut injected["spec"], "nodeSelector").insert(config.node_label.clone(), json!("true"));
    }
    mark(&mut injected, config);
    Outcome::Injected { pod: injected, warnings }
}

/// The account that a pod runs as.
pub fn service_account(pod: &Value) -> &str {
    let named = |field: &str| pod["spec"][field].as_str().filter(|name| !name.is_empty());
    named("serviceAccountName").or_else(|| named("serviceAccount")).unwrap_or("default")
}

/// Puts the two containers where the order of starting wants them.
fn place(spec: &mut Value, sidecar: Value, init: Value, native: bool) {
    let inits = list(spec, "initContainers");
    if native {
        inits.splice(0..0, [init, sidecar]);
    } else {
        inits.push(init);
        list(spec, "containers").insert(0, sidecar);
    }
}

fn volumes(spec: &mut Value) {
    let secret = crate::install::names::account_secret(service_account(&json!({"spec": spec})));
    let volumes = list(spec, "volumes");
    volumes.push(json!({"name": CERTS_VOLUME, "secret": {"secretName": secret}}));
    volumes.push(json!({"name": STATE_VOLUME, "emptyDir": {"sizeLimit": "64Mi"}}));
}

/// Says on the pod what was done to it.
fn mark(pod: &mut Value, config: &Config) {
    let status = json!({
        "version": config.version,
        "native": config.native,
        "initContainers": if config.native { vec![INIT, SIDECAR] } else { vec![INIT] },
        "containers": if config.native { vec![] } else { vec![SIDECAR] },
        "volumes": [CERTS_VOLUME, STATE_VOLUME],
    });
    let own = |it: &&Value| it["name"] != SIDECAR;
    let containers = pod["spec"]["containers"].as_array();
    let first = containers.and_then(|all| all.iter().find(own)).map(|it| it["name"].clone());
    let metadata = map(pod, "metadata");
    let annotations = map_in(metadata, "annotations");
    annotations.insert(STATUS_ANNOTATION.to_owned(), Value::String(status.to_string()));
    if let (Some(first), false) = (first, annotations.contains_key(DEFAULT_CONTAINER)) {
        annotations.insert(DEFAULT_CONTAINER.to_owned(), first);
    }
    let labels = map_in(metadata, "labels");
    labels.entry(TLS_MODE_LABEL).or_insert_with(|| json!("istio"));
}

/// Annotation with the container that `kubectl logs` and `exec` mean.
const DEFAULT_CONTAINER: &str = "kubectl.kubernetes.io/default-container";

/// A list of a map, made where it is missing.
fn list<'a>(of: &'a mut Value, field: &str) -> &'a mut Vec<Value> {
    let value = &mut of[field];
    if !value.is_array() {
        *value = Value::Array(Vec::new());
    }
    value.as_array_mut().expect("it was made a list")
}

/// A map of a map, made where it is missing.
fn map<'a>(of: &'a mut Value, field: &str) -> &'a mut Map<String, Value> {
    as_map(&mut of[field])
}

fn map_in<'a>(of: &'a mut Map<String, Value>, field: &str) -> &'a mut Map<String, Value> {
    as_map(of.entry(field).or_insert(Value::Null))
}

fn as_map(value: &mut Value) -> &mut Map<String, Value> {
    if !value.is_object() {
        *value = Value::Object(Map::new());
    }
    value.as_object_mut().expect("it was made a map")
}

/// Labels or annotations of an object.
fn names(object: &Value, field: &str) -> Names {
    let entries = object["metadata"][field].as_object().into_iter().flatten();
    entries.filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned()))).collect()
}
