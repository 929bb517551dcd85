//! What a proxy is, apart from its listeners: workload, outbound policy, access log, default retries.

use std::collections::BTreeMap;

use dromon_core::config::model::{self, AccessLog, LogEncoding, OutboundPolicy, Role, TlsVersion};

use crate::api::mesh_config::{self, FileAccessLog, MeshConfig};
use crate::api::sidecar::{OutboundMode, Sidecar};
use crate::api::telemetry::{AccessLogging, Telemetry};
use crate::mesh::workloads::{self, Labels, has_all};
use crate::mesh::{Held, Mesh};

use super::{ProxyIdentity, ProxyRole, gateway, retry};

/// Istio's built-in provider of access logs.
const BUILTIN_PROVIDER: &str = "envoy";
/// Where logs go unless said.
const STDOUT: &str = "/dev/stdout";

/// The proxy's own object, without listeners.
pub fn proxy(mesh: &Mesh, identity: &ProxyIdentity) -> model::Proxy {
    let role = match identity.role {
        ProxyRole::Sidecar(_) => Role::Sidecar,
        ProxyRole::Gateway(_) => Role::Gateway,
    };
    let retries = mesh.config.default_http_retry_policy.as_ref().map(retry::retries);
    model::Proxy {
        name: identity.id(),
        role,
        workload: workloads::facts(
            &identity.owner,
            &identity.namespace,
            &identity.labels,
            &identity.service_account,
        ),
        listeners: Vec::new(),
        outbound_policy: outbound_policy(mesh, identity),
        access_log: access_log(mesh, identity),
        default_retries: Some(retries.unwrap_or_else(retry::default_policy)),
        expose_reason: role == Role::Sidecar || mesh.config.expose_reason_at_gateways == Some(true),
        trust_domain: mesh.config.trust_domain().to_owned(),
        trust_domain_aliases: mesh.config.trust_domain_aliases.clone().unwrap_or_default(),
        mesh_min_version: mesh_min_version(&mesh.config),
    }
}

/// `meshMTLS.minProtocolVersion`; nothing where that leaves the choice to the mesh.
fn mesh_min_version(config: &MeshConfig) -> Option<TlsVersion> {
    gateway::version(config.mesh_mtls.as_ref()?.min_protocol_version.as_deref())
}

/// The Sidecar object that holds for a workload: its namespace's with a selector that fits, else its namespace's
/// without one, else the root namespace's without one.
pub fn sidecar_of<'a>(mesh: &'a Mesh, identity: &ProxyIdentity) -> Option<&'a Held<Sidecar>> {
    let of = |namespace: &str| {
        let namespace = namespace.to_owned();
        mesh.sidecars.iter().filter(move |it| it.key.namespace == namespace)
    };
    let selector =
        |it: &Held<Sidecar>| it.rule.spec.workload_selector.clone().map(|it| it.labels).unwrap_or_default();
    let fits = |it: &&Held<Sidecar>| {
        let labels = selector(it);
        !labels.is_empty() && has_all(&identity.labels, &labels)
    };
    let general = |it: &&Held<Sidecar>| selector(it).is_empty();
    let own = of(&identity.namespace).find(fits).or_else(|| of(&identity.namespace).find(general));
    own.or_else(|| of(&mesh.root_namespace).find(general))
}

fn outbound_policy(mesh: &Mesh, identity: &ProxyIdentity) -> OutboundPolicy {
    let own = sidecar_of(mesh, identity).and_then(|it| it.rule.spec.outbound_traffic_policy.as_ref());
    let policy = own.or(mesh.config.outbound_traffic_policy.as_ref());
    match policy.and_then(|it| it.mode) {
        Some(OutboundMode::RegistryOnly) => OutboundPolicy::RegistryOnly,
        Some(OutboundMode::AllowAny) | None => OutboundPolicy::AllowAny,
    }
}

/// The access log: the nearest Telemetry that speaks of it, else the mesh's settings.
fn access_log(mesh: &Mesh, identity: &ProxyIdentity) -> Option<AccessLog> {
    let Some(logging) = telemetry_of(mesh, &identity.namespace, &identity.labels) else {
        return mesh_access_log(&mesh.config);
    };
    let enabled: Vec<&AccessLogging> = logging.iter().filter(|it| it.disabled != Some(true)).collect();
    if enabled.is_empty() {
        return None;
    }
    let named = enabled.iter().flat_map(|it| it.providers.iter()).map(|it| it.name.as_str());
    let mut providers: Vec<&str> = named.collect();
    if providers.is_empty() {
        providers.push(BUILTIN_PROVIDER);
    }
    providers.iter().find_map(|name| provider(&mesh.config, name))
}

fn telemetry_of<'a>(mesh: &'a Mesh, namespace: &str, labels: &Labels) -> Option<&'a [AccessLogging]> {
    let speaks = |it: &&Held<Telemetry>| !it.rule.spec.access_logging.is_empty();
    let selector =
        |it: &Held<Telemetry>| it.rule.spec.selector.clone().map(|it| it.match_labels).unwrap_or_default();
    let fits = |it: &&Held<Telemetry>| {
        let wanted = selector(it);
        !wanted.is_empty() && has_all(labels, &wanted)
    };
    let targets =
        |it: &Held<Telemetry>| it.rule.spec.target_refs.is_some() || it.rule.spec.target_ref.is_some();
    let general = |it: &&Held<Telemetry>| selector(it).is_empty() && !targets(it);
    let of = |namespace: String| {
        mesh.telemetry.iter().filter(speaks).filter(move |it| it.key.namespace == namespace)
    };
    let own = of(namespace.to_owned()).find(fits).or_else(|| of(namespace.to_owned()).find(general));
    let held = own.or_else(|| of(mesh.root_namespace.clone()).find(general))?;
    Some(&held.rule.spec.access_logging)
}

fn provider(config: &mesh_config::MeshConfig, name: &str) -> Option<AccessLog> {
    let configured = config.extension_providers.iter().find(|it| it.name == name);
    match configured.and_then(|it| it.envoy_file_access_log.as_ref()) {
        Some(file) => Some(file_access_log(file)),
        None if name == BUILTIN_PROVIDER => {
            let own = mesh_access_log(config);
            Some(own.unwrap_or_else(|| AccessLog {
                path: STDOUT.to_owned(),
                ..with_format(config.access_log_encoding.unwrap_or_default(), &config.access_log_format)
            }))
        }
        None => None,
    }
}

fn file_access_log(file: &FileAccessLog) -> AccessLog {
    let path = if file.path.is_empty() { STDOUT.to_owned() } else { file.path.clone() };
    let format = file.log_format.clone().unwrap_or_default();
    match format.labels {
        Some(labels) => {
            AccessLog { path, encoding: LogEncoding::Json, format: String::new(), json: fields(&labels) }
        }
        None => AccessLog {
            path,
            encoding: LogEncoding::Text,
            format: format.text.unwrap_or_default(),
            json: BTreeMap::new(),
        },
    }
}

fn mesh_access_log(config: &mesh_config::MeshConfig) -> Option<AccessLog> {
    if config.access_log_file.is_empty() {
        return None;
    }
    let log = with_format(config.access_log_encoding.unwrap_or_default(), &config.access_log_format);
    Some(AccessLog { path: config.access_log_file.clone(), ..log })
}

fn with_format(encoding: mesh_config::LogEncoding, format: &str) -> AccessLog {
    match encoding {
        mesh_config::LogEncoding::Text => AccessLog { format: format.to_owned(), ..AccessLog::default() },
        mesh_config::LogEncoding::Json => {
            let labels = serde_json::from_str::<serde_json::Map<_, _>>(format).unwrap_or_default();
            AccessLog { encoding: LogEncoding::Json, json: fields(&labels), ..AccessLog::default() }
        }
    }
}

fn fields(labels: &serde_json::Map<String, serde_json::Value>) -> BTreeMap<String, String> {
    let text = |value: &serde_json::Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    labels.iter().map(|(name, value)| (name.clone(), text(value))).collect()
}
