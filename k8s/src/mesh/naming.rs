//! Secure naming: which identities a service's endpoints may have, and which endpoints take mutual TLS.

use std::collections::BTreeSet;

use dromon_core::config::model::{MtlsMode, TRUST_DOMAIN};

use crate::api::mesh_config::MeshConfig;

/// An identity that no certificate can have, as its trust domain is empty. Identities that are none at all mean anyone of the
/// mesh, so this stands where whom to take has been said in words that name no workload.
pub const NOBODY: &str = "spiffe:///nobody";

use super::peer_authentication::PeerAuthentications;
use super::service::Service;

/// The identity of a service account (SPIFFE, in Istio's form).
pub fn spiffe_id(trust_domain: &str, namespace: &str, service_account: &str) -> String {
    format!("spiffe://{trust_domain}/ns/{namespace}/sa/{service_account}")
}

/// Gives endpoints their identities, and services those that their endpoints may have. An endpoint of a port that takes no
/// mutual TLS is spoken to in plaintext, as Istio's automatic mutual TLS does.
pub fn identify(services: &mut [Service], peers: &PeerAuthentications, config: &MeshConfig) {
    let domain = config.trust_domain();
    for service in services {
        let mut identities: BTreeSet<String> =
            service.subject_alt_names.iter().filter(|it| it.starts_with("spiffe://")).cloned().collect();
        for endpoint in service.ports.iter_mut().flat_map(|port| &mut port.endpoints) {
            let workload = &endpoint.model.workload;
            if workload.service_account.is_empty() {
                endpoint.model.mtls = false;
                continue;
            }
            endpoint.model.identity = spiffe_id(domain, &workload.namespace, &workload.service_account);
            identities.insert(endpoint.model.identity.clone());
            if endpoint.model.mtls {
                let decision = peers.of(&workload.namespace, &endpoint.labels, endpoint.model.port);
                endpoint.model.mtls = decision.mode != MtlsMode::Disable;
            }
        }
        if identities.is_empty() && !service.subject_alt_names.is_empty() {
            identities.insert(NOBODY.to_owned());
        }
        service.identities = identities.into_iter().collect();
    }
}

impl MeshConfig {
    /// The trust domain in force.
    pub fn trust_domain(&self) -> &str {
        if self.trust_domain.is_empty() { TRUST_DOMAIN } else { &self.trust_domain }
    }
}
