//! Which routes hang on which parents, as the specification has it: section name and port, kind, namespace, hostname.

use std::collections::HashMap;
use std::sync::Arc;

use crate::api::gateway_api::{FromNamespaces, ParentReference};
use crate::mesh::host;
use crate::objects::Sourced;

use super::backends::backend;
use super::grants::Grants;
use super::namespaces::Namespaces;
use super::{Condition, Gateway, Known, Listener, Parent, Place, Route, RouteBody, RouteKind};

const ACCEPTED: &str = "Accepted";

/// What routes are hung on.
#[derive(Clone, Copy)]
pub struct Attaching<'a> {
    pub gateways: &'a [Gateway],
    pub namespaces: &'a Namespaces,
    pub known: Known<'a>,
}

impl Attaching<'_> {
    /// Resolves a route; none where no parent of it concerns us.
    pub fn route(&self, sourced: &Sourced, grants: &Grants) -> Option<Route> {
        let body = Route::body(sourced)?;
        let namespace = sourced.key.namespace.as_str();
        let (dropped, rules) = body.dropped();
        let mut parents: Vec<Parent> =
            body.parents().iter().filter_map(|it| self.parent(&body, namespace, it)).collect();
        if parents.is_empty() {
            return None;
        }
        if !dropped.is_empty() && dropped.len() == rules {
            for parent in parents.iter_mut().filter(|it| it.accepted.holds) {
                parent.accepted = Condition::fails(ACCEPTED, "UnsupportedValue", dropped.join("; "));
            }
        }
        let resolved = self.resolved(&body, namespace, grants);
        Some(Route { key: sourced.key.clone(), body, parents, resolved, dropped })
    }

    fn resolved(&self, body: &RouteBody, namespace: &str, grants: &Grants) -> Condition {
        let from = (body.kind().name(), namespace);
        let mut reason = None;
        let mut messages = Vec::new();
        for (field, reference) in body.backends() {
            if let Err(error) = backend(self.known, grants, from, &reference) {
                reason.get_or_insert(error.reason());
                messages.push(format!("{field}: {error}"));
            }
        }
        match reason {
            None => Condition::holds("ResolvedRefs", "ResolvedRefs", "all that it refers to is there"),
            Some(reason) => Condition::fails("ResolvedRefs", reason, messages.join("; ")),
        }
    }

    /// One parent; none where it is not our matter.
    fn parent(&self, body: &RouteBody, namespace: &str, reference: &ParentReference) -> Option<Parent> {
        let outcome = if reference.is_gateway() {
            let of = reference.namespace(namespace);
            let named = |it: &Gateway| it.key.namespace == of && it.key.name == reference.name;
            let at = self.gateways.iter().position(named)?;
            self.at_gateway(at, body, namespace, reference)
        } else if reference.is_service() {
            self.at_service(namespace, reference)
        } else {
            return None;
        };
        let (accepted, places) = match outcome {
            Ok(places) => (Condition::holds(ACCEPTED, ACCEPTED, "the route is in force"), places),
            Err((reason, message)) => (Condition::fails(ACCEPTED, reason, message), Vec::new()),
        };
        Some(Parent { reference: reference.clone(), accepted, places })
    }

    fn at_gateway(
        &self,
        at: usize,
        body: &RouteBody,
        namespace: &str,
        reference: &ParentReference,
    ) -> Result<Vec<Place>, (&'static str, String)> {
        let Some(gateway) = self.gateways.get(at) else { return Ok(Vec::new()) };
        let is_meant = |it: &Listener| {
            reference.section_name.as_ref().is_none_or(|name| *name == it.name)
                && reference.port.is_none_or(|port| port == it.port)
        };
        let meant: Vec<_> = gateway.listeners.iter().enumerate().filter(|(_, it)| is_meant(it)).collect();
        if meant.is_empty() {
            let message = format!("{} has no such listener", gateway.key);
            return Err(("NoMatchingParent", message));
        }
        let kind = body.kind();
        let allows = |it: &Listener| it.kinds.contains(&kind) && self.lets_in(gateway, it, namespace);
        let allowing: Vec<_> = meant.into_iter().filter(|(_, it)| allows(it)).collect();
        if allowing.is_empty() {
            let message = format!("no listener of {} takes a {} of {namespace}", gateway.key, kind.name());
            return Err(("NotAllowedByListeners", message));
        }
        let own = body.hostnames();
        let mut places = Vec::new();
        for (listener, it) in allowing {
            let hostnames = common(&own, &it.hostname);
            if !hostnames.is_empty() {
                places.push(Place::Listener { gateway: at, listener, hostnames });
            }
        }
        if places.is_empty() {
            let message = format!("no listener of {} has a hostname in common with the route", gateway.key);
            return Err(("NoMatchingListenerHostname", message));
        }
        Ok(places)
    }

    fn lets_in(&self, gateway: &Gateway, listener: &Listener, namespace: &str) -> bool {
        match listener.namespaces.from {
            FromNamespaces::All => true,
            FromNamespaces::None => false,
            FromNamespaces::Same => gateway.key.namespace == namespace,
            FromNamespaces::Selector => {
                let selector = listener.namespaces.selector.as_ref();
                selector.is_some_and(|it| self.namespaces.chosen(it, namespace))
            }
        }
    }

    fn at_service(
        &self,
        namespace: &str,
        reference: &ParentReference,
    ) -> Result<Vec<Place>, (&'static str, String)> {
        let of = reference.namespace(namespace);
        let Some(service) = self.known.service(&reference.name, of) else {
            return Err(("NoMatchingParent", format!("there is no Service {of}/{}", reference.name)));
        };
        let is_meant = |number: u16, name: &str| {
            reference.port.is_none_or(|port| port == number)
                && reference.section_name.as_ref().is_none_or(|section| section == name)
        };
        let ports = service.ports.iter().filter(|it| is_meant(it.number, &it.name));
        let ports: Vec<u16> = ports.map(|it| it.number).collect();
        if ports.is_empty() {
            let message = format!("Service {of}/{} has no such port", reference.name);
            return Err(("NoMatchingParent", message));
        }
        Ok(vec![Place::Service { host: service.host.clone(), ports }])
    }
}

/// What a route's hostnames and a listener's have in common; a route without any takes the listener's.
fn common(own: &[String], listener: &str) -> Vec<String> {
    if own.is_empty() {
        return vec![listener.to_owned()];
    }
    let mut all: Vec<String> =
        own.iter().filter_map(|it| host::intersection(it, listener)).map(str::to_owned).collect();
    all.sort();
    all.dedup();
    all
}

/// Of routes of several kinds on a Service's port, those of the most specific kind count (GEP-1294): GRPCRoute, HTTPRoute,
/// TLSRoute, TCPRoute. The others are told.
pub fn settle_conflicts(routes: &mut [Arc<Route>], known: Known<'_>) {
    // Producer and consumer routes do not meet, as clients follow either.
    let mut highest: HashMap<(&str, u16, &str), RouteKind> = HashMap::new();
    let before: Vec<Arc<Route>> = routes.to_vec();
    let mut differ = false;
    for route in &before {
        for (host, ports) in route.places().filter_map(|(_, it)| of_service(it)) {
            for port in ports {
                let held = highest.entry((host, *port, &route.key.namespace)).or_insert(route.kind());
                differ |= *held != route.kind();
                *held = (*held).max(route.kind());
            }
        }
    }
    if !differ {
        return;
    }
    for route in routes {
        let (kind, namespace) = (route.kind(), route.key.namespace.clone());
        let winner = |host: &str, port: u16| highest.get(&(host, port, namespace.as_str())).copied();
        let loses = |(host, ports): (&str, &[u16])| ports.iter().any(|it| winner(host, *it) != Some(kind));
        if !route.places().filter_map(|(_, it)| of_service(it)).any(loses) {
            continue;
        }
        for parent in &mut Arc::make_mut(route).parents {
            let Some(Place::Service { host, ports }) = parent.places.first_mut() else { continue };
            let first = ports.first().copied();
            ports.retain(|port| winner(host, *port) == Some(kind));
            if !ports.is_empty() {
                continue;
            }
            let by = first.and_then(|port| winner(host, port)).map(|it| it.name()).unwrap_or_default();
            let name = known.host(host).next().map(|it| it.origin.to_string()).unwrap_or_default();
            let message = format!("a {by} of {name} is in force there");
            parent.accepted = Condition::fails(ACCEPTED, "Conflicted", message);
            parent.places.clear();
        }
    }
}

/// A place on a Service: its host and ports.
fn of_service(place: &Place) -> Option<(&str, &[u16])> {
    match place {
        Place::Service { host, ports } => Some((host, ports)),
        Place::Listener { .. } => None,
    }
}
