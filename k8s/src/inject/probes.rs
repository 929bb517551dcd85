//! Probes of a pod, pointed at its sidecar.
//!
//! HTTP, TCP and gRPC probes of every container that runs beside the sidecar become `GET /app-health/CONTAINER/KIND` on port
//! 15020; what each was goes to the sidecar. `exec` probes need no network and stay.

use dromon_core::app_health::{AppProbe, Ask, HttpGet, METRICS_PORT, PATH_PREFIX};
use serde_json::{Value, json};

pub use dromon_core::app_health::AppProbes;

/// Field of a container, and the last part of its path at the sidecar.
const KINDS: [(&str, &str); 3] =
    [("livenessProbe", "livez"), ("readinessProbe", "readyz"), ("startupProbe", "startupz")];

/// Points the probes at the sidecar, and returns what they were.
pub(super) fn rewrite(spec: &mut Value, wanted: bool, warnings: &mut Vec<String>) -> AppProbes {
    let mut probes = AppProbes::default();
    if !wanted {
        return probes;
    }
    for field in ["containers", "initContainers"] {
        let Some(containers) = spec[field].as_array_mut() else { continue };
        // Only what runs beside the sidecar has probes; other init containers cannot.
        for container in
            containers.iter_mut().filter(|it| field == "containers" || it["restartPolicy"] == "Always")
        {
            rewrite_container(container, &mut probes, warnings);
        }
    }
    probes
}

fn rewrite_container(container: &mut Value, probes: &mut AppProbes, warnings: &mut Vec<String>) {
    let name = container["name"].as_str().unwrap_or_default().to_owned();
    let ports = container["ports"].clone();
    for (field, kind) in KINDS {
        let Some(probe) = container.get_mut(field).and_then(Value::as_object_mut) else { continue };
        let read = [
            probe.get("httpGet").map(|get| http(get, &ports)),
            probe.get("tcpSocket").map(|socket| tcp(socket, &ports)),
            probe.get("grpc").map(grpc),
        ];
        let Some(read) = read.into_iter().flatten().next() else { continue };
        match read {
            Ok(ask) => {
                let path = format!("{PATH_PREFIX}{name}/{kind}");
                for asked in ["httpGet", "tcpSocket", "grpc"] {
                    probe.shift_remove(asked);
                }
                probe.insert(
                    "httpGet".to_owned(),
                    json!({"path": path, "port": METRICS_PORT, "scheme": "HTTP"}),
                );
                let timeout = probe.get("timeoutSeconds").and_then(Value::as_u64).unwrap_or(1);
                let timeout_seconds = u32::try_from(timeout).unwrap_or(u32::MAX);
                probes.0.insert(path, AppProbe { ask, timeout_seconds });
            }
            Err(why) => warnings.push(format!("the {field} of container {name} stays as it is: {why}")),
        }
    }
}

fn http(get: &Value, ports: &Value) -> Result<Ask, String> {
    if let Some(host) = get["host"].as_str().filter(|host| !host.is_empty()) {
        return Err(format!("it asks {host}, which is not this pod"));
    }
    let headers = get["httpHeaders"].as_array().into_iter().flatten().filter_map(|header| {
        Some((header["name"].as_str()?.to_owned(), header["value"].as_str().unwrap_or_default().to_owned()))
    });
    let path = get["path"].as_str().unwrap_or("/");
    Ok(Ask::HttpGet(HttpGet {
        port: port(&get["port"], ports)?,
        path: if path.starts_with('/') { path.to_owned() } else { format!("/{path}") },
        tls: get["scheme"] == "HTTPS",
        headers: headers.collect(),
    }))
}

fn tcp(socket: &Value, ports: &Value) -> Result<Ask, String> {
    match socket["host"].as_str().filter(|host| !host.is_empty()) {
        Some(host) => Err(format!("it connects to {host}, which is not this pod")),
        None => Ok(Ask::TcpSocket { port: port(&socket["port"], ports)? }),
    }
}

fn grpc(call: &Value) -> Result<Ask, String> {
    let service = call["service"].as_str().unwrap_or_default().to_owned();
    Ok(Ask::Grpc { port: port(&call["port"], &Value::Null)?, service })
}

/// A port by number, or by the name that the container gives it.
fn port(port: &Value, ports: &Value) -> Result<u16, String> {
    let number = |value: &Value| value.as_u64().and_then(|it| u16::try_from(it).ok()).filter(|it| *it > 0);
    if let Some(port) = number(port) {
        return Ok(port);
    }
    let Some(name) = port.as_str() else { return Err("it has no port".to_owned()) };
    let named = ports.as_array().into_iter().flatten().find(|it| it["name"] == name);
    let found = named.and_then(|it| number(&it["containerPort"])).or_else(|| name.parse().ok());
    found.ok_or_else(|| format!("no port of the container is called {name:?}"))
}
