//! Listeners, with what each needs to route.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use crate::config::compile::{Inputs, LimitSet, destinations};
use crate::config::model::{self, ListenerKind};
use crate::config::table::{Destination, ListenerTable, Names, ServerTls, Slot, Table, VirtualHost};
use crate::route::host::DomainMap;

/// Compiles the listeners, in the proxy's order.
pub(super) fn compile_listeners(
    inputs: &Inputs<'_>,
    proxy: &model::Proxy,
    limits: &LimitSet,
    names: &Names,
    virtual_hosts: &[Slot<VirtualHost>],
    shared: Option<&Table>,
) -> Vec<Arc<ListenerTable>> {
    let gateway = proxy.listeners.iter().any(|listener| is_gateway(&listener.kind));
    let by_listener = if gateway { own_rules(inputs, names, virtual_hosts) } else { Vec::new() };
    proxy
        .listeners
        .iter()
        .map(|listener| {
            let limits = limits.arriving(listener);
            let own: Vec<_> = by_listener
                .iter()
                .filter(|(_, it)| it.model.listener.as_ref() == Some(&listener.name))
                .collect();
            let tls = server_tls(inputs, listener);
            let mut fingerprint = DefaultHasher::new();
            own.iter().for_each(|(slot, it)| (slot, &it.model.domains).hash(&mut fingerprint));
            let fingerprint = fingerprint.finish();
            let find =
                |table: &Table| table.listeners.iter().find(|it| it.model.name == listener.name).cloned();
            if let Some(old) = shared.and_then(find)
                && old.model == *listener
                && old.domains_fingerprint == fingerprint
                && same(&old.limits, &limits)
                && old.tls.iter().zip(&tls).all(|(old, new)| same(&old.credentials, &new.credentials))
            {
                return old;
            }
            let domains =
                own.iter().flat_map(|(slot, it)| it.model.domains.iter().map(|name| (name.as_str(), *slot)));
            let domains = DomainMap::build(domains);
            Arc::new(ListenerTable {
                model: listener.clone(),
                limits,
                inbound: inbound(listener, inputs.previous.and_then(find)),
                server_names: server_names(&tls),
                tls: tls.into(),
                domains,
                virtual_hosts: own.iter().map(|(slot, _)| *slot).collect(),
                domains_fingerprint: fingerprint,
            })
        })
        .collect()
}

/// The listener's TLS settings, with the credentials that are here.
fn server_tls(inputs: &Inputs<'_>, listener: &model::Listener) -> Vec<ServerTls> {
    let here = |name: &String| Some(Arc::clone(inputs.snapshot.credentials().get(name.as_str())?.body()));
    let with_credentials = |server: &model::ServerTls| ServerTls {
        model: server.clone(),
        credentials: server.credentials.iter().filter_map(here).collect(),
    };
    listener.tls.iter().map(with_credentials).collect()
}

fn server_names(tls: &[ServerTls]) -> DomainMap {
    let names = tls.iter().enumerate();
    DomainMap::build(names.flat_map(|(at, it)| it.model.hosts.iter().map(move |name| (&**name, at as u32))))
}

fn is_gateway(kind: &ListenerKind) -> bool {
    matches!(kind, ListenerKind::GatewayHttp | ListenerKind::GatewayTcp)
}

fn same<T>(a: &[Arc<T>], b: &[Arc<T>]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| Arc::ptr_eq(a, b))
}

/// Rules of gateway listeners, in the order of their names.
fn own_rules<'a>(
    inputs: &Inputs<'_>,
    names: &Names,
    virtual_hosts: &'a [Slot<VirtualHost>],
) -> Vec<(u32, &'a Arc<VirtualHost>)> {
    let held = inputs.snapshot.virtual_hosts().keys();
    held.filter_map(|name| {
        let slot = names.virtual_hosts.get(name)?;
        Some((slot, virtual_hosts.get(slot as usize)?.here()?))
    })
    .collect()
}

/// The application behind an inbound listener, as a destination of one endpoint, or of none where it is whatever a captured
/// connection was for. Its state outlives a change of the
/// listener while the target stays.
fn inbound(listener: &model::Listener, old: Option<Arc<ListenerTable>>) -> Option<Arc<Destination>> {
    let name = format!("inbound|{}||", listener.logical_port);
    let (model, target) = match &listener.kind {
        ListenerKind::Inbound { protocol, target, service, pool, mtls: _ } => {
            let (service, pool) = (service.clone().unwrap_or_default(), pool.clone());
            (model::Destination { service, protocol: *protocol, pool, ..Default::default() }, Some(target))
        }
        ListenerKind::InboundCapture { .. } => (model::Destination::default(), None),
        _ => return None,
    };
    let endpoint = target.map(|it| model::Endpoint::new(it.ip().to_string(), it.port()));
    let endpoints = model::Endpoints { name: name.clone(), endpoints: endpoint.into_iter().collect() };
    let old = old.as_ref().and_then(|old| old.inbound.as_deref());
    let model = Arc::new(model::Destination { name, ..model });
    let mut joined = destinations::join(model, Some(&endpoints), &Default::default(), old);
    joined.captured = listener.captured || matches!(listener.kind, ListenerKind::InboundCapture { .. });
    Some(Arc::new(joined))
}
