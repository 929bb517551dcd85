//! `http` routes of a VirtualService, for one proxy.

use std::collections::BTreeMap;

use dromon_core::config::model::{
    FaultAbort, FaultDelay, FaultRule, HeaderChange, HeaderOps, HttpAction, HttpMatch, HttpRule, Redirect,
    RedirectPort, Rewrite, StringMatch, WeightedDestination,
};

use crate::api::scalar::StringMatch as Condition;
use crate::api::virtual_service::{self as api, DerivePort};
use crate::mesh::workloads::has_all;
use crate::mesh::{HeldVirtualService, Route, gateway_name, host};

use super::{Builder, retry};

/// Where rules are to hold.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// `mesh`, or the Gateway's `namespace/name`.
    pub gateway: &'a str,
    /// A gateway's port; sidecars learn it with each request.
    pub port: Option<u16>,
}

impl Builder<'_> {
    /// The rules of a VirtualService that can ever hold at this proxy, in their order. Their destinations become
    /// part of the view.
    pub(super) fn http_rules(&mut self, service: &HeldVirtualService, place: Place<'_>) -> Vec<HttpRule> {
        service.http.iter().filter_map(|it| self.http_rule(it, place)).collect()
    }

    fn http_rule(
        &mut self,
        Route { origin, namespace, route }: &Route,
        place: Place<'_>,
    ) -> Option<HttpRule> {
        let mut matches = Vec::with_capacity(route.matches.len());
        for condition in &route.matches {
            if self.applies(condition, namespace, place) {
                matches.push(http_match(condition, place));
            }
        }
        if matches.is_empty() && !route.matches.is_empty() {
            return None;
        }
        // An alternative without conditions makes the others superfluous.
        if matches.iter().any(|it| *it == HttpMatch { name: it.name.clone(), ..HttpMatch::default() }) {
            matches.clear();
        }
        Some(HttpRule {
            name: route.name.clone(),
            origin: origin.clone(),
            matches,
            action: self.action(route, namespace, place),
            rewrite: rewrite(route),
            timeout_ms: route.timeout.map(|it| it.millis()).filter(|it| *it > 0),
            retries: route.retries.as_ref().map(retry::retries),
            fault: route.fault.as_ref().and_then(fault),
            headers: route.headers.as_ref().map(header_ops).unwrap_or_default(),
        })
    }

    /// Whether an alternative can ever hold here: its gateways, its client, its port.
    fn applies(&self, condition: &api::HttpMatch, namespace: &str, place: Place<'_>) -> bool {
        let named = |it: &String| gateway_name(it, namespace) == place.gateway;
        let wanted_namespace = &condition.source_namespace;
        (condition.gateways.is_empty() || condition.gateways.iter().any(named))
            && has_all(&self.identity.labels, &condition.source_labels)
            && (wanted_namespace.is_empty() || *wanted_namespace == self.identity.namespace)
            && (condition.port.is_none() || place.port.is_none() || condition.port == place.port)
    }

    fn action(&mut self, route: &api::HttpRoute, namespace: &str, place: Place<'_>) -> HttpAction {
        if let Some(it) = &route.redirect {
            return HttpAction::Redirect(redirect(it));
        }
        if let Some(it) = &route.direct_response {
            let body = it.body.as_ref().and_then(|it| it.string.clone());
            return HttpAction::DirectResponse { status: it.status, body };
        }
        let destinations =
            route.route.iter().map(|it| self.weighted(it, namespace, place)).collect::<Vec<_>>();
        HttpAction::Route { destinations: only_weight(destinations) }
    }

    /// A destination with its share; it becomes part of the view where its port is known.
    pub(super) fn weighted(
        &mut self,
        route: &api::RouteDestination,
        namespace: &str,
        place: Place<'_>,
    ) -> WeightedDestination {
        let host = host::resolve(&route.destination.host, namespace);
        let service = self.mesh.service(&host, &self.identity.namespace);
        let only_port = service.and_then(|it| match it.ports.as_slice() {
            [port] => Some(port.number),
            _ => None,
        });
        let port = route.destination.port.map(|it| it.number).or(only_port).or(place.port);
        let subset = route.destination.subset.clone();
        // Without a port, the request's own port decides, which may be any of the service's.
        let ports: Vec<u16> = match (port, service) {
            (Some(port), _) => vec![port],
            (None, Some(service)) => service.ports.iter().map(|it| it.number).collect(),
            (None, None) => vec![0],
        };
        for port in ports {
            self.destination(&host, port, &subset);
        }
        let headers = route.headers.as_ref().map(header_ops).unwrap_or_default();
        WeightedDestination { host, subset, port, weight: route.share(), headers, refuse: None }
    }
}

/// A single destination needs no weight.
pub(super) fn only_weight(mut destinations: Vec<WeightedDestination>) -> Vec<WeightedDestination> {
    if let [only] = destinations.as_mut_slice() {
        only.weight = only.weight.max(1);
    }
    destinations
}

fn http_match(condition: &api::HttpMatch, place: Place<'_>) -> HttpMatch {
    HttpMatch {
        name: condition.name.clone(),
        uri: condition.uri.as_ref().and_then(string_match),
        ignore_uri_case: condition.ignore_uri_case && condition.uri.is_some(),
        scheme: condition.scheme.as_ref().and_then(string_match),
        method: condition.method.as_ref().and_then(string_match),
        authority: condition.authority.as_ref().and_then(string_match),
        headers: by_name(&condition.headers),
        without_headers: by_name(&condition.without_headers),
        query_params: parameters(&condition.query_params),
        port: if place.port.is_some() { None } else { condition.port },
    }
}

/// A condition in the model; mere presence is `None`.
pub(super) fn string_match(condition: &Condition) -> Option<StringMatch> {
    match condition {
        Condition::Present => None,
        Condition::Exact(text) => Some(StringMatch::Exact(text.clone())),
        Condition::Prefix(text) => Some(StringMatch::Prefix(text.clone())),
        Condition::Regex(text) => Some(StringMatch::Regex(text.clone())),
    }
}

/// Conditions on headers, whose names have no case.
pub(super) fn by_name(
    conditions: &BTreeMap<String, Option<Condition>>,
) -> BTreeMap<String, Option<StringMatch>> {
    conditions
        .iter()
        .map(|(name, it)| (name.to_ascii_lowercase(), it.as_ref().and_then(string_match)))
        .collect()
}

/// Conditions on query parameters, whose names do have case.
pub(super) fn parameters(
    conditions: &BTreeMap<String, Option<Condition>>,
) -> BTreeMap<String, Option<StringMatch>> {
    conditions.iter().map(|(name, it)| (name.clone(), it.as_ref().and_then(string_match))).collect()
}

fn some(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

fn redirect(redirect: &api::Redirect) -> Redirect {
    Redirect {
        uri: some(&redirect.uri),
        prefix: None,
        authority: some(&redirect.authority),
        scheme: some(&redirect.scheme),
        port: match (redirect.port, redirect.derive_port) {
            (Some(port), _) => RedirectPort::Number(port),
            (None, Some(DerivePort::FromProtocolDefault)) => RedirectPort::ProtocolDefault,
            (None, Some(DerivePort::FromRequestPort)) => RedirectPort::RequestPort,
            (None, None) => RedirectPort::Keep,
        },
        code: redirect.redirect_code.filter(|it| *it != 0).unwrap_or(301),
    }
}

/// `rewrite`, and the authority that `headers.request.set` may name in its stead.
fn rewrite(route: &api::HttpRoute) -> Option<Rewrite> {
    let said = route.rewrite.clone().unwrap_or_default();
    let set = route.headers.as_ref().and_then(|it| it.request.as_ref()).map(|it| &it.set);
    let host =
        set.and_then(|set| set.iter().find(|(name, _)| is_authority(name))).map(|(_, value)| value.clone());
    let rewrite = Rewrite {
        uri: some(&said.uri),
        authority: some(&said.authority).or(host),
        uri_regex: said.uri_regex_rewrite.map(|it| (it.pattern, it.rewrite)),
    };
    (rewrite != Rewrite::default()).then_some(rewrite)
}

/// Names of the header that a request is routed by.
pub(crate) fn is_authority(name: &str) -> bool {
    name.eq_ignore_ascii_case("host") || name.eq_ignore_ascii_case(":authority")
}

pub(super) fn header_ops(headers: &api::Headers) -> HeaderOps {
    let change = |it: &Option<api::HeaderOperations>| it.as_ref().map(header_change).unwrap_or_default();
    HeaderOps { request: change(&headers.request), response: change(&headers.response) }
}

fn header_change(operations: &api::HeaderOperations) -> HeaderChange {
    let list = |map: &BTreeMap<String, String>| {
        let rest = map.iter().filter(|(name, _)| !is_authority(name));
        rest.map(|(name, value)| (name.to_ascii_lowercase(), value.clone())).collect()
    };
    HeaderChange {
        set: list(&operations.set),
        add: list(&operations.add),
        remove: operations.remove.iter().map(|it| it.to_ascii_lowercase()).collect(),
    }
}

/// Faults; without a percentage there is none (Istio's reading).
fn fault(fault: &api::Fault) -> Option<FaultRule> {
    let delay = fault.delay.as_ref().and_then(|it| {
        let per_million = match (it.percentage, it.percent) {
            (Some(percentage), _) => percentage.per_million(),
            (None, Some(percent)) => percent.min(100) * 10_000,
            (None, None) => 0,
        };
        Some(FaultDelay { delay_ms: it.fixed_delay?.millis(), per_million })
    });
    let abort = fault.abort.as_ref().and_then(|it| {
        let per_million = it.percentage.map(|it| it.per_million()).unwrap_or_default();
        Some(FaultAbort { status: it.http_status?, per_million })
    });
    let delay = delay.filter(|it| it.per_million > 0 && it.delay_ms > 0);
    let abort = abort.filter(|it| it.per_million > 0);
    (delay.is_some() || abort.is_some()).then_some(FaultRule { delay, abort })
}
