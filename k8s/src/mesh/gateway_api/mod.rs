//! Gateway API, resolved as far as it is the same for every proxy: which listeners there are and whether they can be served,
//! which routes hang on which of them or on which Services, and where backends lead.
//!
//! The status of objects ([`crate::status`]) and the configuration of proxies ([`crate::translate`]) both come from here, so
//! that what is told and what is done cannot differ.

use std::collections::HashMap;
use std::sync::Arc;

use crate::api::gateway_api::{CLASS, CONTROLLER};
use crate::api::{Kind, Object};
use crate::objects::{Key, ObjectSet, Sourced};

use super::credentials::Credentials;
use super::service::Service;

pub mod addresses;
mod attach;
pub mod backend_tls;
pub mod backends;
mod condition;
pub mod grants;
mod listeners;
mod namespaces;
mod routes;

use backend_tls::BackendTls;
pub use condition::Condition;
use grants::Grants;
pub use listeners::{Gateway, Listener, ListenerProtocol};
use namespaces::Namespaces;
pub use routes::{Parent, Place, Route, RouteBody, RouteKind, is_carried_out};

/// All of it.
#[derive(Clone, Debug, Default)]
pub struct GatewayApi {
    /// Gateways of classes of ours, oldest first.
    pub gateways: Vec<Gateway>,
    /// Routes with a parent that concerns us, oldest first, equally old ones by namespace and name.
    pub routes: Vec<Arc<Route>>,
    /// The same before conflicts among them are settled.
    attached: Vec<Arc<Route>>,
    /// Who may refer to what.
    pub grants: Grants,
    /// TLS to backends.
    pub backend_tls: BackendTls,
    by_listener: HashMap<(usize, usize), Vec<(usize, usize)>>,
    by_service: HashMap<String, Vec<(usize, usize)>>,
}

/// What Gateway API refers to.
#[derive(Clone, Copy)]
pub struct Known<'a> {
    /// The hosts.
    pub services: &'a [Arc<Service>],
    /// Their places by name.
    pub by_host: &'a HashMap<String, Vec<usize>>,
    /// Secrets and CAs.
    pub credentials: &'a Credentials,
}

impl<'a> Known<'a> {
    /// A Kubernetes Service.
    pub fn service(&self, name: &str, namespace: &str) -> Option<&'a Service> {
        self.host(&super::host::service_host(name, namespace)).find(|it| it.is_kubernetes)
    }

    /// Whatever has a host.
    pub fn host(&self, host: &str) -> impl Iterator<Item = &'a Service> + use<'a> {
        let services = self.services;
        let found = self.by_host.get(host).cloned().unwrap_or_default();
        found.into_iter().filter_map(|at| services.get(at)).map(Arc::as_ref)
    }
}

impl GatewayApi {
    /// Indexes a set.
    pub fn new(set: &ObjectSet, known: Known<'_>) -> GatewayApi {
        let grants = Grants::new(set);
        let classes = classes(set);
        let mut gateways: Vec<Gateway> = aged(set, Kind::KubeGateway)
            .into_iter()
            .filter_map(|it| listeners::gateway(it, &classes, &grants, known.credentials))
            .collect();
        addresses::settle(&mut gateways, known, set.root_namespace());
        let namespaces = Namespaces::new(set);
        let kinds = [Kind::HttpRoute, Kind::GrpcRoute, Kind::TlsRoute, Kind::TcpRoute];
        let mut sources: Vec<&Sourced> = kinds.iter().flat_map(|kind| set.of_kind(*kind)).collect();
        sources.sort_by_key(|it| route_age(it));
        let attaching = attach::Attaching { gateways: &gateways, namespaces: &namespaces, known };
        let attached: Vec<Arc<Route>> =
            sources.into_iter().filter_map(|it| attaching.route(it, &grants)).map(Arc::new).collect();
        let backend_tls = BackendTls::new(set, known);
        GatewayApi { gateways, attached, grants, backend_tls, ..GatewayApi::default() }.indexed(known)
    }

    /// The same of a set that differs in these routes alone.
    pub fn renewed(&self, set: &ObjectSet, known: Known<'_>, changed: &[&Key]) -> GatewayApi {
        let mut api = GatewayApi {
            gateways: self.gateways.clone(),
            attached: self.attached.clone(),
            grants: self.grants.clone(),
            backend_tls: self.backend_tls.clone(),
            ..GatewayApi::default()
        };
        let namespaces = Namespaces::new(set);
        let attaching = attach::Attaching { gateways: &self.gateways, namespaces: &namespaces, known };
        api.attached.retain(|it| !changed.contains(&&it.key));
        for key in changed {
            let Some(sourced) = set.get(key) else { continue };
            let Some(route) = attaching.route(sourced, &self.grants) else { continue };
            let is_older =
                |it: &Arc<Route>| set.get(&it.key).is_some_and(|other| route_age(other) < route_age(sourced));
            api.attached.insert(api.attached.partition_point(is_older), Arc::new(route));
        }
        api.indexed(known)
    }

    /// Takes over from an earlier version the routes that are as they were.
    pub fn adopt(&mut self, before: &GatewayApi) {
        let known: HashMap<&Key, &Arc<Route>> = before.routes.iter().map(|it| (&it.key, it)).collect();
        for route in &mut self.routes {
            if let Some(before) = known.get(&route.key).filter(|it| it.is_same(route)) {
                *route = Arc::clone(before);
            }
        }
    }

    /// Settles conflicts among the routes that are attached, and finds them by their places.
    fn indexed(mut self, known: Known<'_>) -> GatewayApi {
        let mut routes = self.attached.clone();
        attach::settle_conflicts(&mut routes, known);
        let (mut by_listener, mut by_service) = (HashMap::new(), HashMap::new());
        for (at, route) in routes.iter().enumerate() {
            for (parent, place) in route.places() {
                match place {
                    Place::Listener { gateway, listener, .. } => {
                        let all: &mut Vec<_> = by_listener.entry((*gateway, *listener)).or_default();
                        all.push((at, parent));
                    }
                    Place::Service { host, .. } => match by_service.get_mut(host) {
                        Some(all) => Vec::push(all, (at, parent)),
                        None => drop(by_service.insert(host.clone(), vec![(at, parent)])),
                    },
                }
            }
        }
        for (at, gateway) in self.gateways.iter_mut().enumerate() {
            for (number, listener) in gateway.listeners.iter_mut().enumerate() {
                let hanging = by_listener.get(&(at, number)).map(Vec::as_slice).unwrap_or_default();
                let mut distinct: Vec<usize> = hanging.iter().map(|(route, _)| *route).collect();
                distinct.dedup();
                listener.attached_routes = distinct.len();
            }
        }
        GatewayApi { routes, by_listener, by_service, ..self }
    }

    /// The routes that hang on a listener, oldest first, each with the place that holds there.
    pub fn on_listener(
        &self,
        gateway: usize,
        listener: usize,
    ) -> impl Iterator<Item = (usize, &Route, &Place)> {
        let found = self.by_listener.get(&(gateway, listener)).map(Vec::as_slice).unwrap_or_default();
        found.iter().filter_map(move |(at, parent)| {
            let route = self.routes.get(*at)?;
            let is_here = |it: &&Place| matches!(it, Place::Listener { gateway: g, listener: l, .. } if (*g, *l) == (gateway, listener));
            Some((*at, route.as_ref(), route.parents.get(*parent)?.places.iter().find(is_here)?))
        })
    }

    /// The routes that hang on a Service, for clients of a namespace: those of the client's own namespace where there are any
    /// (consumer routes), else the Service's (producer routes); oldest first.
    pub fn on_service<'a>(&'a self, service: &Service, client: &str) -> Vec<(&'a Route, &'a Place)> {
        let found = self.by_service.get(&service.host).map(Vec::as_slice).unwrap_or_default();
        let all = found.iter().filter_map(|(at, parent)| {
            let route = self.routes.get(*at)?;
            Some((route.as_ref(), route.parents.get(*parent)?.places.first()?))
        });
        let of = |namespace: &str| {
            let all = all.clone();
            let namespace = namespace.to_owned();
            all.filter(move |(route, _)| route.key.namespace == namespace).collect::<Vec<_>>()
        };
        let own = of(client);
        if own.is_empty() { of(&service.namespace) } else { own }
    }

    /// Whether anything hangs on a Service.
    pub fn has_routes_on(&self, host: &str) -> bool {
        self.by_service.contains_key(host)
    }
}

/// Gateway API's order of objects: by time of creation, then by namespace and name.
fn age(sourced: &Sourced) -> (Option<k8s_openapi::jiff::Timestamp>, String, String) {
    let created = sourced.object.meta().creation_timestamp.as_ref().map(|it| it.0);
    (created, sourced.key.namespace.clone(), sourced.key.name.clone())
}

/// As [`age`]; of routes of several kinds, which may have one name, always in one order.
fn route_age(sourced: &Sourced) -> (Option<k8s_openapi::jiff::Timestamp>, &str, &str, Kind) {
    let created = sourced.object.meta().creation_timestamp.as_ref().map(|it| it.0);
    let Key { kind, namespace, name } = &sourced.key;
    (created, namespace, name, *kind)
}

fn aged(set: &ObjectSet, kind: Kind) -> Vec<&Sourced> {
    let mut all: Vec<&Sourced> = set.of_kind(kind).collect();
    all.sort_by_key(|it| age(it));
    all
}

/// Names of the GatewayClasses that are ours. The class that an installation brings is known without its object too, so that
/// a folder needs none.
fn classes(set: &ObjectSet) -> Vec<String> {
    let mut ours = Vec::new();
    let mut is_ours = true;
    for sourced in set.of_kind(Kind::GatewayClass) {
        let Object::GatewayClass(class) = &sourced.object else { continue };
        if sourced.key.name == CLASS {
            is_ours = false;
        }
        if class.spec.controller_name == CONTROLLER && class.spec.parameters_ref.is_none() {
            ours.push(sourced.key.name.clone());
        }
    }
    if is_ours {
        ours.push(CLASS.to_owned());
    }
    ours
}
