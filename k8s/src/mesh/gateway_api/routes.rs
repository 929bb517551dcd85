//! A route with its parents, resolved.

use std::sync::Arc;

use crate::api::gateway_api::{
    BackendObjectReference, GROUP, GrpcRoute, HttpFilter, HttpRoute, ParentReference, TcpRoute, TlsRoute,
};
use crate::api::{Kind, Meta, Object, Rule};
use crate::objects::{Key, Sourced};

use super::Condition;

/// What kind of route.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[allow(missing_docs)]
pub enum RouteKind {
    Tcp,
    Tls,
    Http,
    Grpc,
}

impl RouteKind {
    /// Its kind as objects name it.
    pub fn name(self) -> &'static str {
        match self {
            RouteKind::Http => Kind::HttpRoute.name(),
            RouteKind::Grpc => Kind::GrpcRoute.name(),
            RouteKind::Tls => Kind::TlsRoute.name(),
            RouteKind::Tcp => Kind::TcpRoute.name(),
        }
    }

    /// The kind that a name means in Gateway API's group.
    pub fn named(group: &str, name: &str) -> Option<RouteKind> {
        let all = [RouteKind::Http, RouteKind::Grpc, RouteKind::Tls, RouteKind::Tcp];
        all.into_iter().find(|it| group == GROUP && it.name() == name)
    }
}

/// A route as it was written.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub enum RouteBody {
    Http(Arc<Rule<HttpRoute>>),
    Grpc(Arc<Rule<GrpcRoute>>),
    Tls(Arc<Rule<TlsRoute>>),
    Tcp(Arc<Rule<TcpRoute>>),
}

/// A route.
#[derive(Clone, Debug)]
pub struct Route {
    /// The object.
    pub key: Key,
    /// As it was written.
    pub body: RouteBody,
    /// The parents that concern us, in order.
    pub parents: Vec<Parent>,
    /// `ResolvedRefs`: the same for each parent.
    pub resolved: Condition,
    /// What of its rules is not carried out, with the field; such rules answer 500.
    pub dropped: Vec<String>,
}

/// One parent of a route.
#[derive(Clone, Debug, PartialEq)]
pub struct Parent {
    /// As it was written.
    pub reference: ParentReference,
    /// `Accepted`.
    pub accepted: Condition,
    /// Where the route holds by this parent; none where it is not accepted.
    pub places: Vec<Place>,
}

/// Where a route holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// At a listener, by their positions.
    Listener {
        /// The Gateway's place among [`super::GatewayApi::gateways`].
        gateway: usize,
        /// The listener's place in it.
        listener: usize,
        /// What the hostnames of both have in common; `*`: every name. Lower case.
        hostnames: Vec<String>,
    },
    /// In the mesh, for clients of a Service.
    Service {
        /// The Service's full name.
        host: String,
        /// Its ports that the route is for.
        ports: Vec<u16>,
    },
}

impl Route {
    /// Takes a route apart; none for other kinds.
    pub(crate) fn body(sourced: &Sourced) -> Option<RouteBody> {
        Some(match &sourced.object {
            Object::HttpRoute(it) => RouteBody::Http(it.clone()),
            Object::GrpcRoute(it) => RouteBody::Grpc(it.clone()),
            Object::TlsRoute(it) => RouteBody::Tls(it.clone()),
            Object::TcpRoute(it) => RouteBody::Tcp(it.clone()),
            _ => return None,
        })
    }

    /// Its kind.
    pub fn kind(&self) -> RouteKind {
        self.body.kind()
    }

    /// Whether another is the same object, by identity, with the same said of it and done.
    pub(super) fn is_same(&self, other: &Route) -> bool {
        let body = match (&self.body, &other.body) {
            (RouteBody::Http(one), RouteBody::Http(two)) => Arc::ptr_eq(one, two),
            (RouteBody::Grpc(one), RouteBody::Grpc(two)) => Arc::ptr_eq(one, two),
            (RouteBody::Tls(one), RouteBody::Tls(two)) => Arc::ptr_eq(one, two),
            (RouteBody::Tcp(one), RouteBody::Tcp(two)) => Arc::ptr_eq(one, two),
            _ => false,
        };
        body && self.parents == other.parents && self.resolved == other.resolved
    }

    /// Every place, with its parent's position.
    pub fn places(&self) -> impl Iterator<Item = (usize, &Place)> {
        self.parents.iter().enumerate().flat_map(|(at, it)| it.places.iter().map(move |place| (at, place)))
    }
}

impl RouteBody {
    /// Its kind.
    pub fn kind(&self) -> RouteKind {
        match self {
            RouteBody::Http(_) => RouteKind::Http,
            RouteBody::Grpc(_) => RouteKind::Grpc,
            RouteBody::Tls(_) => RouteKind::Tls,
            RouteBody::Tcp(_) => RouteKind::Tcp,
        }
    }

    /// `metadata`.
    pub fn meta(&self) -> &Meta {
        match self {
            RouteBody::Http(it) => &it.meta,
            RouteBody::Grpc(it) => &it.meta,
            RouteBody::Tls(it) => &it.meta,
            RouteBody::Tcp(it) => &it.meta,
        }
    }

    /// `parentRefs`.
    pub fn parents(&self) -> &[ParentReference] {
        match self {
            RouteBody::Http(it) => &it.spec.parent_refs,
            RouteBody::Grpc(it) => &it.spec.parent_refs,
            RouteBody::Tls(it) => &it.spec.parent_refs,
            RouteBody::Tcp(it) => &it.spec.parent_refs,
        }
    }

    /// `hostnames`, in lower case.
    pub fn hostnames(&self) -> Vec<String> {
        let all: &[String] = match self {
            RouteBody::Http(it) => &it.spec.hostnames,
            RouteBody::Grpc(it) => &it.spec.hostnames,
            RouteBody::Tls(it) => &it.spec.hostnames,
            RouteBody::Tcp(_) => &[],
        };
        all.iter().map(|it| it.to_ascii_lowercase()).collect()
    }

    /// Every object that requests are sent to, with the field that names it.
    pub fn backends(&self) -> Vec<(String, BackendObjectReference)> {
        let mut all = Vec::new();
        let mut add = |rule: usize, at: usize, reference: BackendObjectReference| {
            all.push((format!("spec.rules[{rule}].backendRefs[{at}]"), reference));
        };
        match self {
            RouteBody::Http(it) => {
                for (rule, it) in it.spec.rules.iter().flatten().enumerate() {
                    it.backend_refs.iter().enumerate().for_each(|(at, it)| add(rule, at, it.reference()));
                }
            }
            RouteBody::Grpc(it) => {
                for (rule, it) in it.spec.rules.iter().enumerate() {
                    it.backend_refs.iter().enumerate().for_each(|(at, it)| add(rule, at, it.reference()));
                }
            }
            RouteBody::Tls(_) | RouteBody::Tcp(_) => {
                for (rule, it) in self.stream_rules().iter().enumerate() {
                    it.backend_refs.iter().enumerate().for_each(|(at, it)| add(rule, at, it.reference()));
                }
            }
        }
        all
    }

    /// Rules of routes for whole connections.
    pub fn stream_rules(&self) -> &[crate::api::gateway_api::StreamRule] {
        match self {
            RouteBody::Tls(it) => &it.spec.rules,
            RouteBody::Tcp(it) => &it.spec.rules,
            RouteBody::Http(_) | RouteBody::Grpc(_) => &[],
        }
    }

    /// Rules that cannot be carried out, with the reason; and how many rules there are.
    pub fn dropped(&self) -> (Vec<String>, usize) {
        let filters: Vec<Vec<(String, &HttpFilter)>> = match self {
            RouteBody::Http(it) => {
                let rules = it.spec.rules.iter().flatten().enumerate();
                rules
                    .map(|(at, it)| named(at, &it.filters, it.backend_refs.iter().map(|it| &it.filters)))
                    .collect()
            }
            RouteBody::Grpc(it) => {
                let rules = it.spec.rules.iter().enumerate();
                rules
                    .map(|(at, it)| named(at, &it.filters, it.backend_refs.iter().map(|it| &it.filters)))
                    .collect()
            }
            RouteBody::Tls(_) | RouteBody::Tcp(_) => return (Vec::new(), self.stream_rules().len()),
        };
        let count = filters.len().max(1);
        let reason = |rule: Vec<(String, &HttpFilter)>| {
            let (field, filter) =
                rule.into_iter().find(|(field, it)| !is_carried_out(it, field.contains("backendRefs")))?;
            Some(format!("{field}: the filter {} is not carried out here", filter.kind))
        };
        (filters.into_iter().filter_map(reason).collect(), count)
    }
}

/// Filters of a rule and of its backends, with their fields.
fn named<'a>(
    rule: usize,
    filters: &'a [HttpFilter],
    backends: impl Iterator<Item = &'a Vec<HttpFilter>>,
) -> Vec<(String, &'a HttpFilter)> {
    let own = filters.iter().enumerate().map(|(at, it)| (format!("spec.rules[{rule}].filters[{at}]"), it));
    let mut all: Vec<_> = own.collect();
    for (backend, filters) in backends.enumerate() {
        let field = |at: usize| format!("spec.rules[{rule}].backendRefs[{backend}].filters[{at}]");
        all.extend(filters.iter().enumerate().map(|(at, it)| (field(at), it)));
    }
    all
}

/// Whether a filter is carried out, on a rule or on one of its backends.
pub fn is_carried_out(filter: &HttpFilter, on_backend: bool) -> bool {
    match filter.kind.as_str() {
        "RequestHeaderModifier" | "ResponseHeaderModifier" => true,
        "RequestRedirect" | "URLRewrite" => !on_backend,
        _ => false,
    }
}
