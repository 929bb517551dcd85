//! BackendTLSPolicies: how gateways speak to Services with TLS.

use std::collections::HashMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::ConfigMap;

use crate::api::gateway_api::{BackendTlsPolicy, ObjectReference};
use crate::api::{Kind, Object, Rule};
use crate::mesh::service::{Service, ServicePort};
use crate::objects::{Key, ObjectSet};

use super::{Condition, Known};

/// The policies of a set.
#[derive(Clone, Debug, Default)]
pub struct BackendTls {
    /// Oldest first.
    pub policies: Vec<Policy>,
    by_service: HashMap<(String, String), Vec<usize>>,
}

/// One policy.
#[derive(Clone, Debug)]
pub struct Policy {
    /// The object.
    pub key: Key,
    /// As it was written.
    pub rule: Arc<Rule<BackendTlsPolicy>>,
    /// `Accepted`.
    pub accepted: Condition,
    /// `ResolvedRefs`.
    pub resolved: Condition,
    /// CAs in PEM; empty: the system's.
    pub ca: String,
}

impl BackendTls {
    /// Gathers the policies of a set.
    pub fn new(set: &ObjectSet, known: Known<'_>) -> BackendTls {
        let config_maps: HashMap<(&str, &str), &ConfigMap> = set
            .of_kind(Kind::ConfigMap)
            .filter_map(|it| match &it.object {
                Object::ConfigMap(map) => Some(((it.key.namespace.as_str(), it.key.name.as_str()), &**map)),
                _ => None,
            })
            .collect();
        let mut policies = Vec::new();
        let mut by_service: HashMap<_, Vec<usize>> = HashMap::new();
        for sourced in super::aged(set, Kind::BackendTlsPolicy) {
            let Object::BackendTlsPolicy(rule) = &sourced.object else { continue };
            let namespace = &sourced.key.namespace;
            let (ca, resolved) = cas(rule, namespace, &config_maps);
            let accepted = accepted(rule, namespace, known, &resolved, &policies, &by_service);
            if accepted.holds {
                for target in &rule.spec.target_refs {
                    by_service
                        .entry((namespace.clone(), target.name.clone()))
                        .or_default()
                        .push(policies.len());
                }
            }
            policies.push(Policy { key: sourced.key.clone(), rule: rule.clone(), accepted, resolved, ca });
        }
        BackendTls { policies, by_service }
    }

    /// The policy for a port of a Service: one that names the port before one that does not, an older before a newer.
    pub fn of(&self, service: &Service, port: &ServicePort) -> Option<&Policy> {
        let found = self.by_service.get(&(service.namespace.clone(), service.name.clone()))?;
        let with = |section: Option<&str>| {
            found.iter().filter_map(|at| self.policies.get(*at)).find(|policy| {
                let mut targets = policy.rule.spec.target_refs.iter();
                targets.any(|it| it.name == service.name && it.section_name.as_deref() == section)
            })
        };
        with(Some(&port.name)).or_else(|| with(None)).filter(|_| service.is_kubernetes)
    }
}

type ByService = HashMap<(String, String), Vec<usize>>;

fn accepted(
    rule: &Rule<BackendTlsPolicy>,
    namespace: &str,
    known: Known<'_>,
    resolved: &Condition,
    earlier: &[Policy],
    by_service: &ByService,
) -> Condition {
    const ACCEPTED: &str = "Accepted";
    for (at, target) in rule.spec.target_refs.iter().enumerate() {
        let field = format!("spec.targetRefs[{at}]");
        if !target.group.is_empty() || target.kind != "Service" {
            let message = format!("{field}: {} {} is no Service", target.kind, target.name);
            return Condition::fails(ACCEPTED, "Invalid", message);
        }
        if known.service(&target.name, namespace).is_none() {
            let message = format!("{field}: there is no Service {namespace}/{}", target.name);
            return Condition::fails(ACCEPTED, "TargetNotFound", message);
        }
        let others = by_service.get(&(namespace.to_owned(), target.name.clone()));
        let same = others.into_iter().flatten().filter_map(|at| earlier.get(*at)).find(|other| {
            let mut targets = other.rule.spec.target_refs.iter();
            targets.any(|it| (&it.name, &it.section_name) == (&target.name, &target.section_name))
        });
        if let Some(other) = same {
            let message = format!("{field}: {} is older and says otherwise", other.key);
            return Condition::fails(ACCEPTED, "Conflicted", message);
        }
    }
    if !resolved.holds {
        return Condition::fails(ACCEPTED, "NoValidCACertificate", resolved.message.clone());
    }
    Condition::holds(ACCEPTED, ACCEPTED, "gateways speak TLS to these Services")
}

/// The CAs of a policy, joined.
fn cas(
    rule: &Rule<BackendTlsPolicy>,
    namespace: &str,
    config_maps: &HashMap<(&str, &str), &ConfigMap>,
) -> (String, Condition) {
    const RESOLVED: &str = "ResolvedRefs";
    let validation = &rule.spec.validation;
    let ok = || Condition::holds(RESOLVED, RESOLVED, "all that it refers to is there");
    if validation.ca_certificate_refs.is_empty() {
        return match validation.well_known_ca_certificates.as_deref() {
            Some("System") => (String::new(), ok()),
            Some(other) => {
                let message = format!("spec.validation.wellKnownCACertificates: {other} is not System");
                (String::new(), Condition::fails(RESOLVED, "Invalid", message))
            }
            None => {
                let message = "spec.validation: neither caCertificateRefs nor wellKnownCACertificates";
                (String::new(), Condition::fails(RESOLVED, "InvalidCACertificateRef", message))
            }
        };
    }
    let (mut ca, mut refused) = (String::new(), None);
    for (at, it) in validation.ca_certificate_refs.iter().enumerate() {
        match bundle(it, namespace, config_maps) {
            Ok(text) => ca.push_str(&format!("{}\n", text.trim_end())),
            Err((reason, why)) => {
                let message = format!("spec.validation.caCertificateRefs[{at}]: {why}");
                refused.get_or_insert(Condition::fails(RESOLVED, reason, message));
            }
        }
    }
    (ca, refused.unwrap_or_else(ok))
}

fn bundle(
    reference: &ObjectReference,
    namespace: &str,
    config_maps: &HashMap<(&str, &str), &ConfigMap>,
) -> Result<String, (&'static str, String)> {
    let kind = reference.kind.as_deref().unwrap_or_default();
    if reference.group.as_deref().is_some_and(|it| !it.is_empty()) || kind != "ConfigMap" {
        return Err(("InvalidKind", format!("{kind} {} is no ConfigMap", reference.name)));
    }
    let invalid = |why: String| ("InvalidCACertificateRef", why);
    let map = config_maps.get(&(namespace, reference.name.as_str()));
    let text = map.and_then(|it| it.data.as_ref()).and_then(|it| it.get("ca.crt"));
    let Some(text) = text else {
        return Err(invalid(format!("there is no ConfigMap {namespace}/{} with ca.crt", reference.name)));
    };
    dromon_auth::Roots::from_bundle(text.as_bytes()).map_err(|error| invalid(error.to_string()))?;
    Ok(text.clone())
}
