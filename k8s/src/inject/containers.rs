//! The two containers that a pod gets.

use serde_json::{Value, json};

use super::probes::AppProbes;
use super::scrape::AppMetrics;
use super::settings::PodSettings;
use super::{CERTS_VOLUME, Config, INIT, SIDECAR, STATE_VOLUME};
use crate::install::names::{CERTS_DIR, PROXY_UID, STATE_DIR, feed_address};

/// The proxy in its image.
const PROGRAM: &str = "/usr/local/bin/dromon-proxy";
/// How long a start may take, in tries of one second: certificates and rules may still have to be made.
const STARTUP_TRIES: u32 = 600;

/// The sidecar.
pub(super) fn sidecar(
    config: &Config,
    settings: &PodSettings,
    probes: &AppProbes,
    scrape: Option<&AppMetrics>,
) -> Value {
    let mut container = json!({
        "name": SIDECAR,
        "image": config.proxy_image,
        "imagePullPolicy": config.pull_policy,
        "args": [
            "--id", "sidecar~$(POD_NAME).$(POD_NAMESPACE)",
            "--feed", feed_address(),
            "--certs", CERTS_DIR,
            "--state-dir", STATE_DIR,
            "--driver", settings.driver,
            "--metrics-addr", "*:15020",
            "--health-addr", "*:15021",
            "--stats-addr", "*:15090",
            "--drain-seconds", settings.drain_seconds.to_string(),
            "--log-level", settings.log_level,
        ],
        "env": env(probes, scrape),
        "ports": [{"name": "dromon-metrics", "containerPort": 15090, "protocol": "TCP"}],
        "startupProbe": ready(1, STARTUP_TRIES),
        "readinessProbe": ready(5, 3),
        "lifecycle": lifecycle(config.native, settings.drain_seconds),
        "resources": settings.resources,
        "securityContext": {
            "runAsUser": PROXY_UID,
            "runAsGroup": PROXY_UID,
            "runAsNonRoot": true,
            "privileged": false,
            "allowPrivilegeEscalation": false,
            "readOnlyRootFilesystem": true,
            "capabilities": {"drop": ["ALL"]},
            "seccompProfile": config.seccomp,
        },
        "volumeMounts": [
            {"name": CERTS_VOLUME, "mountPath": CERTS_DIR, "readOnly": true},
            {"name": STATE_VOLUME, "mountPath": STATE_DIR},
        ],
    });
    if config.native {
        container["restartPolicy"] = json!("Always");
    }
    container
}

fn env(probes: &AppProbes, scrape: Option<&AppMetrics>) -> Value {
    let field =
        |name: &str, path: &str| json!({"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}});
    let mut env = vec![
        field("POD_NAME", "metadata.name"),
        field("POD_NAMESPACE", "metadata.namespace"),
        field("POD_IP", "status.podIP"),
    ];
    if !probes.is_empty() {
        env.push(json!({"name": dromon_core::app_health::PROBES_ENV, "value": probes.to_json()}));
    }
    if let Some(scrape) = scrape {
        env.push(json!({"name": dromon_core::app_health::METRICS_ENV, "value": scrape.to_json()}));
    }
    Value::Array(env)
}

fn ready(period: u32, failures: u32) -> Value {
    json!({
        "httpGet": {"path": "/healthz/ready", "port": 15021},
        "periodSeconds": period, "timeoutSeconds": 3, "failureThreshold": failures,
    })
}

/// When the pod is deleted, `preStop` hooks run first: inbound drains while the application still has its outbound. A native
/// sidecar gets its TERM after the application's end; an ordinary one gets it together with the application, so its hook
/// stays until nothing is under way. `postStart` holds the other containers up until the sidecar is ready.
fn lifecycle(native: bool, drain_seconds: u64) -> Value {
    let exec = |command: Value| json!({"exec": {"command": command}});
    if native {
        return json!({"preStop": exec(json!([PROGRAM, "drain"]))});
    }
    let least = drain_seconds.to_string();
    json!({
        "postStart": exec(json!([PROGRAM, "wait"])),
        "preStop": exec(json!([PROGRAM, "drain", "--until-idle", "--at-least", least])),
    })
}

/// The init container that captures the pod's traffic: the only one that may change its network.
pub(super) fn init(config: &Config, settings: &PodSettings) -> Value {
    let mut args = vec!["capture".to_owned()];
    args.extend(settings.capture.arguments());
    json!({
        "name": INIT,
        "image": config.init_image,
        "imagePullPolicy": config.pull_policy,
        "args": args,
        "resources": {
            "requests": {"cpu": "10m", "memory": "16Mi"},
            "limits": {"cpu": "1", "memory": "128Mi"},
        },
        "securityContext": {
            "runAsUser": 0,
            "runAsGroup": 0,
            "runAsNonRoot": false,
            "privileged": false,
            "allowPrivilegeEscalation": false,
            "readOnlyRootFilesystem": true,
            "capabilities": {"drop": ["ALL"], "add": ["NET_ADMIN", "NET_RAW"]},
            "seccompProfile": {"type": "RuntimeDefault"},
        },
    })
}
