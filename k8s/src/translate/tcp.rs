//! `tcp` and `tls` routes of a VirtualService, for one proxy.

use dromon_core::config::model::{TcpMatch, TcpRule, TlsMatch, TlsRule};

use crate::api::virtual_service as api;
use crate::mesh::workloads::has_all;
use crate::mesh::{HeldVirtualService, gateway_name};

use super::Builder;
use super::http::{Place, only_weight};

impl Builder<'_> {
    /// The rules of a VirtualService that can ever hold at this proxy, in their order.
    pub(super) fn tcp_rules(&mut self, service: &HeldVirtualService, place: Place<'_>) -> Vec<TcpRule> {
        let mut rules = Vec::new();
        let namespace = &service.held.key.namespace;
        for (at, route) in service.held.rule.spec.tcp.iter().enumerate() {
            let applying = route.matches.iter().filter(|it| self.applies_tcp(it, namespace, place));
            let matches: Vec<TcpMatch> = applying.map(|it| tcp_match(it, place)).collect();
            if matches.is_empty() && !route.matches.is_empty() {
                continue;
            }
            let matches = if matches.contains(&TcpMatch::default()) { Vec::new() } else { matches };
            let destinations: Vec<_> =
                route.route.iter().map(|it| self.weighted(it, namespace, place)).collect();
            let origin = format!("{} spec.tcp[{at}]", service.held.key);
            rules.push(TcpRule { origin, matches, destinations: only_weight(destinations) });
        }
        rules
    }

    /// As [`Builder::tcp_rules`], for TLS that is passed on by its server name.
    pub(super) fn tls_rules(&mut self, service: &HeldVirtualService, place: Place<'_>) -> Vec<TlsRule> {
        let mut rules = Vec::new();
        let namespace = &service.held.key.namespace;
        for (at, route) in service.held.rule.spec.tls.iter().enumerate() {
            let applying = route.matches.iter().filter(|it| self.applies_tls(it, namespace, place));
            let matches: Vec<TlsMatch> = applying.map(|it| tls_match(it, place)).collect();
            // A route without a condition has no server name to hold for.
            if matches.is_empty() {
                continue;
            }
            let destinations: Vec<_> =
                route.route.iter().map(|it| self.weighted(it, namespace, place)).collect();
            let origin = format!("{} spec.tls[{at}]", service.held.key);
            rules.push(TlsRule { origin, matches, destinations: only_weight(destinations) });
        }
        rules
    }

    fn applies_tcp(&self, condition: &api::L4Match, namespace: &str, place: Place<'_>) -> bool {
        let named = |it: &String| gateway_name(it, namespace) == place.gateway;
        let wanted_namespace = &condition.source_namespace;
        (condition.gateways.is_empty() || condition.gateways.iter().any(named))
            && has_all(&self.identity.labels, &condition.source_labels)
            && (wanted_namespace.is_empty() || *wanted_namespace == self.identity.namespace)
            && (condition.port.is_none() || place.port.is_none() || condition.port == place.port)
    }

    fn applies_tls(&self, condition: &api::TlsMatch, namespace: &str, place: Place<'_>) -> bool {
        let as_tcp = api::L4Match {
            port: condition.port,
            source_labels: condition.source_labels.clone(),
            gateways: condition.gateways.clone(),
            source_namespace: condition.source_namespace.clone(),
            ..api::L4Match::default()
        };
        !condition.sni_hosts.is_empty() && self.applies_tcp(&as_tcp, namespace, place)
    }
}

fn tls_match(condition: &api::TlsMatch, place: Place<'_>) -> TlsMatch {
    TlsMatch {
        sni_hosts: condition.sni_hosts.iter().map(|it| it.to_ascii_lowercase()).collect(),
        port: if place.port.is_some() { None } else { condition.port },
        destination_subnets: condition.destination_subnets.clone(),
        source_subnet: None,
    }
}

fn tcp_match(condition: &api::L4Match, place: Place<'_>) -> TcpMatch {
    TcpMatch {
        port: if place.port.is_some() { None } else { condition.port },
        destination_subnets: condition.destination_subnets.clone(),
        source_subnet: Some(condition.source_subnet.clone()).filter(|it| !it.is_empty()),
    }
}
