//! An [`ObjectSet`] indexed for reading: built once a version, used for every proxy.

use std::collections::HashMap;
use std::sync::Arc;

use k8s_openapi::jiff::Timestamp;

use crate::api::gateway::Gateway;
use crate::api::mesh_config::MeshConfig;
use crate::api::rate_limit::RateLimit;
use crate::api::sidecar::Sidecar;
use crate::api::telemetry::Telemetry;
use crate::api::virtual_service::VirtualService;
use crate::api::{Kind, Object, Rule};
use crate::objects::{Key, ObjectSet, Sourced};

mod changes;
pub mod credentials;
mod delegate;
pub mod destination_rules;
mod entries;
pub mod export;
pub mod gateway_api;
pub mod host;
pub mod ingress;
mod kube_services;
pub mod naming;
pub mod peer_authentication;
pub mod protocol;
mod renew;
pub mod service;
#[cfg(test)]
mod tests;
pub mod workloads;

pub use changes::Since;
use credentials::Credentials;
pub use delegate::Route;
use destination_rules::DestinationRules;
use export::Export;
use gateway_api::{GatewayApi, Known};
pub use kube_services::SERVICE_LABEL;
pub use naming::spiffe_id;
use peer_authentication::PeerAuthentications;
use service::Service;
use workloads::Workloads;

/// The namespace whose rules hold for the whole mesh, as Istio's installations have it; a set may have another.
pub const ROOT_NAMESPACE: &str = "istio-system";

/// The gateway name that stands for sidecars.
pub const MESH_GATEWAY: &str = "mesh";

/// A rule with its key, cheap to clone.
#[derive(Clone, Debug)]
pub struct Held<T> {
    /// The object.
    pub key: Key,
    /// Its metadata and spec.
    pub rule: Arc<Rule<T>>,
}

/// A VirtualService, resolved as far as it is the same for every proxy.
#[derive(Clone, Debug)]
pub struct HeldVirtualService {
    /// The object.
    pub held: Held<VirtualService>,
    /// Full names and wildcards.
    pub hosts: Vec<String>,
    /// `namespace/name`, or [`MESH_GATEWAY`].
    pub gateways: Vec<String>,
    /// Who sees it.
    pub export: Export,
    /// HTTP routes in force, delegated ones in place.
    pub http: Vec<Route>,
    /// What its routes delegate to and is not there.
    pub lost_delegates: Vec<Key>,
}

/// The index.
#[derive(Clone, Debug)]
pub struct Mesh {
    /// Settings of the whole mesh.
    pub config: MeshConfig,
    /// The namespace whose rules hold for the whole mesh.
    pub root_namespace: String,
    /// Hosts, Kubernetes' Services first.
    pub services: Arc<Vec<Arc<Service>>>,
    /// What services select.
    pub workloads: Arc<Workloads>,
    /// VirtualServices, oldest first.
    pub virtual_services: Arc<Vec<Arc<HeldVirtualService>>>,
    /// DestinationRules.
    pub destination_rules: Arc<DestinationRules>,
    /// Gateways, oldest first.
    pub gateways: Vec<Held<Gateway>>,
    /// Sidecars, oldest first.
    pub sidecars: Vec<Held<Sidecar>>,
    /// Telemetry, oldest first.
    pub telemetry: Vec<Held<Telemetry>>,
    /// What workloads take from clients.
    pub peer_authentications: Arc<PeerAuthentications>,
    /// Certificates and keys.
    pub credentials: Arc<Credentials>,
    /// Rate limits, by namespace and name.
    pub rate_limits: Vec<Held<RateLimit>>,
    /// Ingresses of ours, oldest first.
    pub ingresses: Vec<ingress::HeldIngress>,
    /// Gateway API.
    pub gateway_api: Arc<GatewayApi>,
    by_host: Arc<HashMap<String, Vec<usize>>>,
    /// Services of wildcard hosts, longest first.
    wildcards: Vec<usize>,
    by_gateway: Arc<HashMap<String, Vec<usize>>>,
}

/// Istio's order of rules: by time of creation, then by name and namespace. Files carry no such time.
pub fn age(sourced: &Sourced) -> (Option<Timestamp>, &str, &str) {
    let created = sourced.object.meta().creation_timestamp.as_ref().map(|it| it.0);
    (created, &sourced.key.name, &sourced.key.namespace)
}

macro_rules! held {
    ($set:expr, $kind:ident) => {{
        let mut sorted: Vec<&Sourced> = $set.of_kind(Kind::$kind).collect();
        sorted.sort_by(|a, b| age(a).cmp(&age(b)));
        let held = |it: &Sourced| match &it.object {
            Object::$kind(rule) => Some(Held { key: it.key.clone(), rule: rule.clone() }),
            _ => None,
        };
        sorted.into_iter().filter_map(held).collect::<Vec<_>>()
    }};
}

impl Mesh {
    /// Indexes a set.
    pub fn new(set: &ObjectSet) -> Mesh {
        let root_namespace = set.root_namespace();
        let config = mesh_config(set, root_namespace);
        let workloads = Workloads::new(set);
        let peer_authentications = PeerAuthentications::new(held!(set, PeerAuthentication), root_namespace);
        let services = services(set, &workloads, &peer_authentications, &config);
        let services: Vec<Arc<Service>> = services.into_iter().map(Arc::new).collect();
        let mut by_host: HashMap<String, Vec<usize>> = HashMap::with_capacity(services.len());
        for (at, service) in services.iter().enumerate() {
            by_host.entry(service.host.clone()).or_default().push(at);
        }
        let mut wildcards: Vec<usize> =
            (0..services.len()).filter(|at| services[*at].host.starts_with('*')).collect();
        wildcards.sort_by_key(|at| std::cmp::Reverse(services[*at].host.len()));
        let virtual_services = virtual_services(held!(set, VirtualService), &config);
        let by_gateway = by_gateway(&virtual_services);
        let credentials = Credentials::new(set);
        let known = Known { services: &services, by_host: &by_host, credentials: &credentials };
        let gateway_api = GatewayApi::new(set, known);
        Mesh {
            ingresses: ingress::ingresses(set, &config),
            gateway_api: Arc::new(gateway_api),
            destination_rules: Arc::new(DestinationRules::new(set, &config)),
            gateways: held!(set, Gateway),
            sidecars: held!(set, Sidecar),
            telemetry: held!(set, Telemetry),
            rate_limits: held!(set, RateLimit),
            credentials: Arc::new(credentials),
            peer_authentications: Arc::new(peer_authentications),
            root_namespace: root_namespace.to_owned(),
            config,
            services: Arc::new(services),
            workloads: Arc::new(workloads),
            virtual_services: Arc::new(virtual_services),
            by_host: Arc::new(by_host),
            wildcards,
            by_gateway: Arc::new(by_gateway),
        }
    }

    /// Its hosts, Kubernetes' Services first.
    pub fn services(&self) -> impl Iterator<Item = &Service> {
        self.services.iter().map(Arc::as_ref)
    }

    /// The service that a host means to a client: its own namespace's before others'; an exact host before a wildcard.
    pub fn service(&self, host: &str, client_namespace: &str) -> Option<&Service> {
        self.exact_service(host, client_namespace).or_else(|| {
            let covering = self.wildcards.iter().filter_map(|at| self.services.get(*at));
            let mut covering = covering.map(Arc::as_ref);
            covering.find(|it| host::covers(&it.host, host) && it.export.to(client_namespace))
        })
    }

    /// As [`Mesh::service`], without wildcards.
    pub fn exact_service(&self, host: &str, client_namespace: &str) -> Option<&Service> {
        let all = self.by_host.get(host)?.iter().filter_map(|at| self.services.get(*at)).map(Arc::as_ref);
        let mut visible = all.filter(|it| it.export.to(client_namespace)).peekable();
        let first = visible.peek().copied();
        visible.find(|it| it.namespace == client_namespace).or(first)
    }

    /// What Gateway API's references are looked up in.
    pub fn known(&self) -> Known<'_> {
        Known { services: &self.services, by_host: &self.by_host, credentials: &self.credentials }
    }

    /// Whether any namespace has a service of that host.
    pub fn knows_host(&self, host: &str) -> bool {
        self.by_host.contains_key(host)
    }

    /// VirtualServices that name a gateway (`namespace/name`, or [`MESH_GATEWAY`]), oldest first.
    pub fn virtual_services_of<'a>(&'a self, gateway: &str) -> impl Iterator<Item = &'a HeldVirtualService> {
        self.aged_virtual_services_of(gateway).map(|(_, it)| it)
    }

    /// As [`Mesh::virtual_services_of`], with the place of each among all: the older, the smaller.
    pub fn aged_virtual_services_of<'a>(
        &'a self,
        gateway: &str,
    ) -> impl Iterator<Item = (usize, &'a HeldVirtualService)> {
        let found = self.by_gateway.get(gateway).map(Vec::as_slice).unwrap_or_default();
        found.iter().filter_map(|at| Some((*at, self.virtual_services.get(*at)?.as_ref())))
    }
}

/// The hosts of a set, Kubernetes' Services first.
fn services(
    set: &ObjectSet,
    workloads: &Workloads,
    peers: &PeerAuthentications,
    config: &MeshConfig,
) -> Vec<Service> {
    let mut services = kube_services::services(set, workloads, config);
    services.extend(entries::services(set, workloads, config));
    naming::identify(&mut services, peers, config);
    services
}

fn by_gateway(virtual_services: &[Arc<HeldVirtualService>]) -> HashMap<String, Vec<usize>> {
    let mut by_gateway: HashMap<String, Vec<usize>> = HashMap::new();
    for (at, virtual_service) in virtual_services.iter().enumerate() {
        for gateway in &virtual_service.gateways {
            match by_gateway.get_mut(gateway) {
                Some(all) => all.push(at),
                None => drop(by_gateway.insert(gateway.clone(), vec![at])),
            }
        }
    }
    by_gateway
}

fn mesh_config(set: &ObjectSet, root_namespace: &str) -> MeshConfig {
    let named = |name: &str| {
        let key = Key { kind: Kind::MeshConfig, namespace: root_namespace.to_owned(), name: name.to_owned() };
        set.get(&key)
    };
    match named("dromon").or_else(|| named("istio")).map(|it| &it.object) {
        Some(Object::MeshConfig(rule)) => rule.spec.clone(),
        _ => MeshConfig::default(),
    }
}

fn virtual_services(all: Vec<Held<VirtualService>>, config: &MeshConfig) -> Vec<Arc<HeldVirtualService>> {
    let all: Vec<(Held<VirtualService>, Export)> = all.into_iter().map(|it| exported(it, config)).collect();
    all.iter().map(|it| Arc::new(virtual_service(it, &all))).collect()
}

fn exported(held: Held<VirtualService>, config: &MeshConfig) -> (Held<VirtualService>, Export) {
    let spec = &held.rule.spec;
    let export = Export::new(&spec.export_to, &config.default_virtual_service_export_to, &held.key.namespace);
    (held, export)
}

/// One VirtualService, with what it delegates to among all.
fn virtual_service(
    (held, export): &(Held<VirtualService>, Export),
    all: &[(Held<VirtualService>, Export)],
) -> HeldVirtualService {
    let namespace = held.key.namespace.as_str();
    let spec = &held.rule.spec;
    let gateways = match (spec.hosts.is_empty(), spec.gateways.is_empty()) {
        // Only there to be delegated to.
        (true, _) => Vec::new(),
        (false, true) => vec![MESH_GATEWAY.to_owned()],
        (false, false) => spec.gateways.iter().map(|it| gateway_name(it, namespace)).collect(),
    };
    HeldVirtualService {
        hosts: spec.hosts.iter().map(|it| host::resolve(it, namespace)).collect(),
        gateways,
        export: export.clone(),
        http: delegate::routes(held, all),
        lost_delegates: delegate::lost(held, all),
        held: held.clone(),
    }
}

/// A gateway's name in full: `mesh`, or `namespace/name`. The old form `name.namespace.svc.…` is understood.
pub fn gateway_name(name: &str, namespace: &str) -> String {
    if name == MESH_GATEWAY || name.contains('/') {
        return name.to_owned();
    }
    let mut parts = name.split('.');
    match (parts.next(), parts.next()) {
        (Some(gateway), Some(of)) => format!("{of}/{gateway}"),
        _ => format!("{namespace}/{name}"),
    }
}
