//! A service's port, or a subset of it, as a client sees it.

use dromon_core::config::model::{self, Balancer, Discovery, Protocol};

use crate::diagnostic::Diagnostic;
use crate::mesh::Mesh;
use crate::mesh::workloads::has_all;

use super::ProxyIdentity;
use super::client_tls;
use super::policy::Effective;

/// A destination with what it refers to.
#[derive(Clone, Debug)]
pub struct Built {
    /// The destination.
    pub destination: model::Destination,
    /// Its endpoints.
    pub endpoints: model::Endpoints,
    /// The credential that it names, where it is there and of use.
    pub credential: Option<model::Credential>,
    /// What came up.
    pub diagnostics: Vec<Diagnostic>,
}

/// The destination with its endpoints; none where host, port or subset does not exist for the client.
pub fn build(mesh: &Mesh, identity: &ProxyIdentity, host: &str, port: u16, subset: &str) -> Option<Built> {
    let client = identity.client();
    let service = mesh.service(host, client.namespace)?;
    let service_port = service.port(port)?;
    let policy =
        mesh.destination_rules.find(&client, &service.host, &service.namespace, &mesh.root_namespace);
    let chosen = match subset {
        "" => None,
        name => Some(policy.and_then(|it| it.subset(name))?.1),
    };
    let top = policy.and_then(|it| it.top());
    let effective = Effective::new(top, chosen.and_then(|it| it.traffic_policy.as_ref()), port);
    let mut origins = vec![service.origin.to_string()];
    origins.extend(policy.iter().flat_map(|it| it.parts.iter().map(|(key, _)| key.to_string())));
    let name = model::destination_name(port, subset, host);
    let balancer = effective.balancer();
    let mut diagnostics = Vec::new();
    let asked = client_tls::Asked { mesh, identity, service, port: service_port, policy, effective, subset };
    let (tls, credential) = client_tls::settings(&asked, &mut diagnostics);
    let destination = model::Destination {
        name: name.clone(),
        service: service.facts(),
        origins,
        protocol: service_port.protocol,
        // PASSTHROUGH asks for what the client asked for, whatever the endpoints are.
        discovery: match balancer {
            Balancer::Passthrough => Discovery::OriginalDestination,
            _ => service_port.discovery,
        },
        balancer,
        pool: effective.pool(mesh.config.connect_timeout),
        outlier: effective.outlier(),
        retry_budget: effective.retry_budget(),
        tls,
        // As in Istio: only where HTTP is declared, not where it is only detected.
        h2_upgrade: service_port.protocol == Protocol::Http && effective.h2_upgrade(&mesh.config),
        use_client_protocol: effective.use_client_protocol(),
        proxy_protocol: effective.proxy_protocol(),
    };
    let of_subset = |labels| chosen.is_none_or(|it| has_all(labels, &it.labels));
    let endpoints =
        service_port.endpoints.iter().filter(|it| of_subset(&it.labels)).map(|it| it.model.clone());
    let endpoints = model::Endpoints { name, endpoints: endpoints.collect() };
    Some(Built { destination, endpoints, credential, diagnostics })
}
