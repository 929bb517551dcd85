//! What injection follows: the installation's values and the cluster's version.

use std::fmt;
use std::str::FromStr;

use dromon_core::capture::Mode;
use serde_json::{Value, json};
use thiserror::Error;

use crate::install::Values;

/// The first version whose kubelets start an init container with `restartPolicy: Always` as a sidecar.
const NATIVE_SIDECARS: KubernetesVersion = KubernetesVersion { major: 1, minor: 29 };
/// The first version whose API server takes a `preStop` hook that sleeps.
const SLEEPING_HOOKS: KubernetesVersion = KubernetesVersion { major: 1, minor: 30 };

/// A version of Kubernetes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs)]
pub struct KubernetesVersion {
    pub major: u32,
    pub minor: u32,
}

/// A text that is no version.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0:?} is no version of Kubernetes: want MAJOR.MINOR, as in 1.29")]
pub struct VersionError(String);

impl FromStr for KubernetesVersion {
    type Err = VersionError;

    /// Reads `1.29`, `v1.29.3`, `1.30+` and what distributions add.
    fn from_str(text: &str) -> Result<KubernetesVersion, VersionError> {
        let wrong = || VersionError(text.to_owned());
        let mut parts = text.strip_prefix('v').unwrap_or(text).split('.');
        let mut number = || {
            let part = parts.next()?;
            let end = part.find(|c: char| !c.is_ascii_digit()).unwrap_or(part.len());
            part.get(..end)?.parse().ok()
        };
        let major = number().ok_or_else(wrong)?;
        let minor = number().ok_or_else(wrong)?;
        Ok(KubernetesVersion { major, minor })
    }
}

impl fmt::Display for KubernetesVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// How pods are injected.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// The sidecar's image.
    pub proxy_image: String,
    /// The image of the init container.
    pub init_image: String,
    /// `imagePullPolicy` of both.
    pub pull_policy: String,
    /// The sidecar is a native one.
    pub native: bool,
    /// Containers may have a `preStop` hook that sleeps.
    pub pauses: bool,
    /// The sidecar's `resources`.
    pub resources: Value,
    /// Its log level.
    pub log_level: String,
    /// Its driver.
    pub driver: String,
    /// How long it drains, in seconds.
    pub drain_seconds: u64,
    /// What captures.
    pub capture_mode: Mode,
    /// Whether `istio-injection` labels count.
    pub istio_labels: bool,
    /// Whether applications' metrics are merged with the sidecar's.
    pub merge_metrics: bool,
    /// The sidecar's `seccompProfile`.
    pub seccomp: Value,
    /// Label that a pod's node must have for that profile; empty: any will do.
    pub node_label: String,
    /// Version of the mesh.
    pub version: String,
}

impl Config {
    /// What the values say for a cluster whose oldest kubelet has this version; none: as new as can be.
    pub fn new(values: &Values, kubernetes: Option<KubernetesVersion>) -> Config {
        let image =
            |name: &str| format!("{}/{name}:{}", values.text("image.registry"), values.text("image.tag"));
        let native = match values.text("sidecar.native").as_str() {
            "always" => true,
            "never" => false,
            _ => kubernetes.is_none_or(|version| version >= NATIVE_SIDECARS),
        };
        let seccomp = values.text("seccomp");
        let localhost = seccomp == "Localhost";
        Config {
            proxy_image: image("dromon-proxy"),
            init_image: image("dromon-init"),
            pull_policy: values.text("image.pullPolicy"),
            native,
            pauses: kubernetes.is_none_or(|version| version >= SLEEPING_HOOKS),
            resources: values.get("sidecar.resources"),
            log_level: values.text("sidecar.logLevel"),
            driver: values.text("sidecar.driver"),
            drain_seconds: values.get("sidecar.drainSeconds").as_u64().unwrap_or(5),
            // The values' words are checked.
            capture_mode: Mode::parse(&values.text("capture.mode")).unwrap_or_default(),
            istio_labels: values.is_set("injection.istioLabels"),
            merge_metrics: values.is_set("injection.prometheusMerge"),
            seccomp: match localhost {
                true => json!({"type": seccomp, "localhostProfile": values.text("seccompProfile")}),
                false => json!({"type": seccomp}),
            },
            node_label: if localhost { SECCOMP_NODE_LABEL.to_owned() } else { String::new() },
            version: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }
}

/// Label of the nodes that have the seccomp profile which allows io_uring; whoever puts the profile there sets it.
pub const SECCOMP_NODE_LABEL: &str = "dromon.io/seccomp";
