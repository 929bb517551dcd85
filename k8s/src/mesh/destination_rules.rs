//! DestinationRules, found for a client and a host.

use std::collections::HashMap;
use std::sync::Arc;

use crate::api::destination_rule::{DestinationRule, Subset, TrafficPolicy};
use crate::api::mesh_config::MeshConfig;
use crate::api::{Kind, Object, Rule};
use crate::objects::{Key, ObjectSet};

use super::export::Export;
use super::host;
use super::workloads::{Labels, has_all};

/// What the DestinationRules of one namespace say of one host.
#[derive(Clone, Debug)]
pub struct Policy {
    /// Host or wildcard.
    pub host: String,
    /// Who sees it.
    pub export: Export,
    /// Clients' labels that it asks for; none: all clients.
    pub selector: Option<Labels>,
    /// The objects, oldest first.
    pub parts: Vec<(Key, Arc<Rule<DestinationRule>>)>,
}

impl Policy {
    /// The policy of the whole host: the oldest object's that has one.
    pub fn top(&self) -> Option<&TrafficPolicy> {
        self.parts.iter().find_map(|(_, rule)| rule.spec.traffic_policy.as_ref())
    }

    /// The subset of that name, with the object that defines it.
    pub fn subset(&self, name: &str) -> Option<(&Key, &Subset)> {
        let subset = |(key, rule): &'_ (Key, Arc<Rule<DestinationRule>>)| -> Option<(usize, Key)> {
            let at = rule.spec.subsets.iter().position(|it| it.name == name)?;
            Some((at, key.clone()))
        };
        let (part, at) =
            self.parts.iter().enumerate().find_map(|(part, it)| subset(it).map(|(at, _)| (part, at)))?;
        let (key, rule) = self.parts.get(part)?;
        Some((key, rule.spec.subsets.get(at)?))
    }

    /// Names of all subsets.
    pub fn subsets(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().flat_map(|(_, rule)| rule.spec.subsets.iter().map(|it| it.name.as_str()))
    }
}

/// All of them, by namespace.
#[derive(Clone, Debug, Default)]
pub struct DestinationRules {
    namespaces: HashMap<String, Namespace>,
    /// Labels by which rules choose among clients.
    selecting: std::collections::BTreeSet<String>,
}

#[derive(Clone, Debug, Default)]
struct Namespace {
    exact: HashMap<String, Vec<Policy>>,
    /// Longest first.
    wildcards: Vec<Policy>,
}

impl DestinationRules {
    /// The labels by which rules choose among clients.
    pub fn selecting_labels(&self) -> impl Iterator<Item = &str> {
        self.selecting.iter().map(String::as_str)
    }

    /// Gathers a set's DestinationRules; those of one namespace, host and selector are one policy.
    pub fn new(set: &ObjectSet, config: &MeshConfig) -> DestinationRules {
        let mut sorted: Vec<_> = set.of_kind(Kind::DestinationRule).collect();
        sorted.sort_by(|a, b| super::age(a).cmp(&super::age(b)));
        let mut rules = DestinationRules::default();
        for sourced in sorted {
            let Object::DestinationRule(rule) = &sourced.object else { continue };
            let of = &sourced.key.namespace;
            let host = host::resolve(&rule.spec.host, of);
            let selector = rule.spec.workload_selector.as_ref().map(|it| it.match_labels.clone());
            rules.selecting.extend(selector.iter().flat_map(|it| it.keys().cloned()));
            let export = match &selector {
                Some(_) => Export::new(&[".".to_owned()], &[], of),
                None => Export::new(&rule.spec.export_to, &config.default_destination_rule_export_to, of),
            };
            let namespace = rules.namespaces.entry(of.clone()).or_default();
            let list = match host.starts_with('*') {
                true => &mut namespace.wildcards,
                false => namespace.exact.entry(host.clone()).or_default(),
            };
            let same = |it: &&mut Policy| it.host == host && it.selector == selector && it.export == export;
            let part = (sourced.key.clone(), rule.clone());
            match list.iter_mut().find(same) {
                Some(policy) => policy.parts.push(part),
                None => list.push(Policy { host, export, selector, parts: vec![part] }),
            }
        }
        for namespace in rules.namespaces.values_mut() {
            namespace.wildcards.sort_by_key(|it| std::cmp::Reverse(host::specificity(&it.host)));
        }
        rules
    }

    /// What holds for a client that calls a service: its own namespace's word, else the service's, else the
    /// root namespace's.
    pub fn find(
        &self,
        client: &Client<'_>,
        host: &str,
        service_namespace: &str,
        root: &str,
    ) -> Option<&Policy> {
        let own = self.in_namespace(client.namespace, client, host);
        own.or_else(|| self.in_namespace(service_namespace, client, host))
            .or_else(|| self.in_namespace(root, client, host))
    }

    fn in_namespace(&self, namespace: &str, client: &Client<'_>, host: &str) -> Option<&Policy> {
        let namespace = self.namespaces.get(namespace)?;
        let exact = namespace.exact.get(host).map(Vec::as_slice).unwrap_or_default();
        let wildcards = namespace.wildcards.iter().filter(|it| host::covers(&it.host, host));
        let visible: Vec<&Policy> =
            exact.iter().chain(wildcards).filter(|it| it.export.to(client.namespace)).collect();
        let selected = |it: &&&Policy| it.selector.as_ref().is_some_and(|it| has_all(client.labels, it));
        visible.iter().find(selected).or_else(|| visible.iter().find(|it| it.selector.is_none())).copied()
    }

    /// All policies, for looking them over.
    pub fn all(&self) -> impl Iterator<Item = &Policy> {
        self.namespaces.values().flat_map(|it| it.exact.values().flatten().chain(&it.wildcards))
    }
}

/// Who calls.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs)]
pub struct Client<'a> {
    pub namespace: &'a str,
    pub labels: &'a Labels,
}
