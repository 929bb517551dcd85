//! The environment of an application in a local mesh: where to listen, and how to reach everything else.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};

use super::address::Pair;

/// The sidecar's port for explicit proxying.
pub const OUTBOUND_PORT: u16 = 15_001;

/// A service port as a client reaches it through its own sidecar.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServicePort {
    /// Name of the Service.
    pub service: String,
    /// Name of the port; may be empty.
    pub port_name: String,
    /// The listener for it.
    pub listener: SocketAddr,
}

/// Everything that is set for an application; `own` (its `spec.env`) has the last word.
///
/// Proxy variables come in both cases because clients disagree (curl ignores `HTTP_PROXY`, others ignore `http_proxy`).
/// There is none for https: a sidecar takes no CONNECT. `services` are in the order of their ports.
pub fn environment(
    pair: Pair,
    port: Option<u16>,
    services: &[ServicePort],
    own: &BTreeMap<String, String>,
) -> BTreeMap<String, String> {
    let Pair { sidecar, application } = pair;
    let mut env = BTreeMap::new();
    let mut set = |name: &str, value: String| {
        env.insert(name.to_owned(), value);
    };
    set("DROMON_BIND", application.to_string());
    if let Some(port) = port {
        set("PORT", port.to_string());
    }
    let proxy = format!("http://{sidecar}:{OUTBOUND_PORT}");
    for name in ["http_proxy", "HTTP_PROXY"] {
        set(name, proxy.clone());
    }
    for name in ["no_proxy", "NO_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"] {
        set(name, String::new());
    }
    set("NODE_USE_ENV_PROXY", "1".into());
    set("JAVA_TOOL_OPTIONS", java(sidecar));
    for service in services {
        let name = variable(&service.service);
        let (host, port) = (service.listener.ip().to_string(), service.listener.port().to_string());
        if !service.port_name.is_empty() {
            env.insert(format!("{name}_SERVICE_PORT_{}", variable(&service.port_name)), port.clone());
        }
        // As in Kubernetes, the plain name stands for the service's first port.
        env.entry(format!("{name}_SERVICE_HOST")).or_insert(host);
        env.entry(format!("{name}_SERVICE_PORT")).or_insert(port);
    }
    for (name, value) in own {
        let value = match name.as_str() {
            "JAVA_TOOL_OPTIONS" => format!("{} {value}", java(sidecar)),
            _ => value.clone(),
        };
        env.insert(name.clone(), value);
    }
    env
}

/// As [`environment`], for an application whose connections are captured: it is alone on its ports, reaches services by their
/// own ports, and needs no proxy.
pub fn captured(
    port: Option<u16>,
    services: &[ServicePort],
    own: &BTreeMap<String, String>,
) -> BTreeMap<String, String> {
    let anywhere = Pair { sidecar: Ipv4Addr::UNSPECIFIED, application: Ipv4Addr::UNSPECIFIED };
    let mut env = environment(anywhere, port, services, &BTreeMap::new());
    for name in ["http_proxy", "HTTP_PROXY"] {
        env.insert(name.to_owned(), String::new());
    }
    env.remove("NODE_USE_ENV_PROXY");
    env.remove("JAVA_TOOL_OPTIONS");
    env.extend(own.iter().map(|(name, value)| (name.clone(), value.clone())));
    env
}

fn java(sidecar: Ipv4Addr) -> String {
    format!("-Dhttp.proxyHost={sidecar} -Dhttp.proxyPort={OUTBOUND_PORT} -Dhttp.nonProxyHosts=")
}

/// A name as Kubernetes writes it in a variable: upper case, everything else than letters and digits an underscore.
fn variable(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' }).collect()
}
