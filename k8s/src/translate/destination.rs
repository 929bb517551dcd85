//! A service's port, or a subset of it, as a client sees it.

use dromon_core::config::model::{self, Balancer, Discovery};

use crate::mesh::Mesh;
use crate::mesh::destination_rules::Client;
use crate::mesh::workloads::has_all;

use super::policy::Effective;

/// The destination with its endpoints; none where host, port or subset does not exist for the client.
pub fn build(
    mesh: &Mesh,
    client: Client<'_>,
    host: &str,
    port: u16,
    subset: &str,
) -> Option<(model::Destination, model::Endpoints)> {
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
        ..model::Destination::default()
    };
    let of_subset = |labels| chosen.is_none_or(|it| has_all(labels, &it.labels));
    let endpoints =
        service_port.endpoints.iter().filter(|it| of_subset(&it.labels)).map(|it| it.model.clone());
    Some((destination, model::Endpoints { name, endpoints: endpoints.collect() }))
}
