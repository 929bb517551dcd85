//! `delegate`: the rules of another VirtualService in place of a route, narrowed by the route's own conditions, as
//! Istio joins them. One level deep.

use std::collections::BTreeMap;

use crate::api::scalar::StringMatch;
use crate::api::virtual_service::{Delegate, HttpMatch, HttpRoute, VirtualService};
use crate::objects::Key;

use super::Held;
use super::export::Export;

/// An HTTP route in force, with what it takes to read it.
#[derive(Clone, Debug)]
pub struct Route {
    /// Where it stands, e.g. `VirtualService/default/reviews spec.http[0]`.
    pub origin: String,
    /// Namespace in which its names are meant.
    pub namespace: String,
    /// The route.
    pub route: HttpRoute,
}

/// The routes of a VirtualService in their order, delegated ones in place.
pub fn routes(held: &Held<VirtualService>, all: &[(Held<VirtualService>, Export)]) -> Vec<Route> {
    let namespace = &held.key.namespace;
    let mut routes = Vec::with_capacity(held.rule.spec.http.len());
    for (at, route) in held.rule.spec.http.iter().enumerate() {
        let origin = format!("{} spec.http[{at}]", held.key);
        let Some(delegate) = &route.delegate else {
            routes.push(Route { origin, namespace: namespace.clone(), route: route.clone() });
            continue;
        };
        let Some(target) = target(held, delegate, all) else { continue };
        let of = &target.key.namespace;
        for (at, leaf) in target.rule.spec.http.iter().enumerate().filter(|(_, it)| it.delegate.is_none()) {
            if let Some(route) = joined(route, leaf) {
                let origin = format!("{} spec.http[{at}]", target.key);
                routes.push(Route { origin, namespace: of.clone(), route });
            }
        }
    }
    routes
}

/// The VirtualServices that routes delegate to and that are not there, or not to be delegated to from here.
pub fn lost(held: &Held<VirtualService>, all: &[(Held<VirtualService>, Export)]) -> Vec<Key> {
    let spec = &held.rule.spec;
    // What is delegated to delegates no further.
    let delegates = spec.http.iter().filter(|_| !spec.hosts.is_empty()).filter_map(|it| it.delegate.as_ref());
    delegates.filter(|it| target(held, it, all).is_none()).map(|it| key_of(held, it)).collect()
}

fn key_of(held: &Held<VirtualService>, delegate: &Delegate) -> Key {
    let of = if delegate.namespace.is_empty() { &held.key.namespace } else { &delegate.namespace };
    Key { namespace: of.clone(), name: delegate.name.clone(), ..held.key.clone() }
}

fn target<'a>(
    held: &Held<VirtualService>,
    delegate: &Delegate,
    all: &'a [(Held<VirtualService>, Export)],
) -> Option<&'a Held<VirtualService>> {
    let key = key_of(held, delegate);
    let is_meant = |(it, export): &&(Held<VirtualService>, Export)| {
        it.key == key && it.rule.spec.hosts.is_empty() && export.to(&held.key.namespace)
    };
    all.iter().find(is_meant).map(|(it, _)| it)
}

/// The leaf with the root's conditions, and with what only the root says; none where their conditions exclude each other.
fn joined(root: &HttpRoute, leaf: &HttpRoute) -> Option<HttpRoute> {
    let matches = match (root.matches.is_empty(), leaf.matches.is_empty()) {
        (true, _) => leaf.matches.clone(),
        (false, true) => root.matches.clone(),
        (false, false) => {
            let pairs =
                root.matches.iter().flat_map(|root| leaf.matches.iter().map(move |leaf| (root, leaf)));
            let both: Vec<HttpMatch> = pairs.filter_map(|(root, leaf)| both(root, leaf)).collect();
            if both.is_empty() {
                return None;
            }
            both
        }
    };
    let leaf = leaf.clone();
    Some(HttpRoute {
        name: name(&root.name, &leaf.name),
        matches,
        rewrite: leaf.rewrite.or_else(|| root.rewrite.clone()),
        timeout: leaf.timeout.or(root.timeout),
        retries: leaf.retries.or_else(|| root.retries.clone()),
        fault: leaf.fault.or_else(|| root.fault.clone()),
        headers: leaf.headers.or_else(|| root.headers.clone()),
        ..leaf
    })
}

fn name(root: &str, leaf: &str) -> String {
    match (root, leaf) {
        (root, "") => root.to_owned(),
        ("", leaf) => leaf.to_owned(),
        (root, leaf) => format!("{root}-{leaf}"),
    }
}

fn both(root: &HttpMatch, leaf: &HttpMatch) -> Option<HttpMatch> {
    let uri_case = root.uri.is_none() || leaf.uri.is_none() || root.ignore_uri_case == leaf.ignore_uri_case;
    let port = root.port.is_none() || leaf.port.is_none() || root.port == leaf.port;
    let namespace = root.source_namespace.is_empty()
        || leaf.source_namespace.is_empty()
        || root.source_namespace == leaf.source_namespace;
    if !(uri_case && port && namespace) {
        return None;
    }
    let mut source_labels = root.source_labels.clone();
    for (label, value) in &leaf.source_labels {
        if source_labels.insert(label.clone(), value.clone()).is_some_and(|it| it != *value) {
            return None;
        }
    }
    Some(HttpMatch {
        name: name(&root.name, &leaf.name),
        uri: narrower(&root.uri, &leaf.uri)?,
        scheme: narrower(&root.scheme, &leaf.scheme)?,
        method: narrower(&root.method, &leaf.method)?,
        authority: narrower(&root.authority, &leaf.authority)?,
        headers: all(&root.headers, &leaf.headers)?,
        without_headers: all(&root.without_headers, &leaf.without_headers)?,
        query_params: all(&root.query_params, &leaf.query_params)?,
        port: leaf.port.or(root.port),
        source_labels,
        source_namespace: if leaf.source_namespace.is_empty() {
            &root.source_namespace
        } else {
            &leaf.source_namespace
        }
        .clone(),
        gateways: if leaf.gateways.is_empty() { &root.gateways } else { &leaf.gateways }.clone(),
        ignore_uri_case: root.ignore_uri_case || leaf.ignore_uri_case,
        stat_prefix: if leaf.stat_prefix.is_empty() { &root.stat_prefix } else { &leaf.stat_prefix }.clone(),
    })
}

/// The leaf's condition where it lies within the root's; the outer `None` where it does not.
fn narrower(root: &Option<StringMatch>, leaf: &Option<StringMatch>) -> Option<Option<StringMatch>> {
    match (root, leaf) {
        (None, it) | (it, None) => Some(it.clone()),
        (Some(StringMatch::Present), it) | (it, Some(StringMatch::Present)) => Some(it.clone()),
        (Some(StringMatch::Prefix(outer)), Some(StringMatch::Prefix(inner) | StringMatch::Exact(inner))) => {
            inner.starts_with(outer.as_str()).then(|| leaf.clone())
        }
        (root, leaf) => (root == leaf).then(|| leaf.clone()),
    }
}

type Conditions = BTreeMap<String, Option<StringMatch>>;

fn all(root: &Conditions, leaf: &Conditions) -> Option<Conditions> {
    let mut joined = leaf.clone();
    for (name, outer) in root {
        let condition = match leaf.get(name) {
            Some(inner) => narrower(outer, inner)?,
            None => outer.clone(),
        };
        joined.insert(name.clone(), condition);
    }
    Some(joined)
}
