//! Routes on Services (GEP-1294): rules of the mesh for all clients of a Service, or for those of one namespace.
//!
//! Where routes hang on a port of a Service they are all there is: what none of them takes is answered 404. Ports without
//! routes are as they were.

use dromon_core::config::model::{
    HttpAction, HttpMatch, HttpRule, TcpMatch, TcpRule, TlsMatch, TlsRule, VirtualHost,
};

use crate::mesh::gateway_api::{Place, Route, RouteKind};
use crate::mesh::protocol;
use crate::mesh::service::Service;

use super::super::Builder;
use super::super::sidecar::to_itself;
use super::in_order;

/// The virtual host of a Service on which routes hang; none where none of them is for this client.
pub(in crate::translate) fn virtual_host(
    builder: &mut Builder<'_>,
    service: &Service,
) -> Option<VirtualHost> {
    let mesh = builder.mesh;
    let client = builder.identity.namespace.clone();
    let routes = mesh.gateway_api.on_service(service, &client);
    if routes.is_empty() {
        return None;
    }
    let all: Vec<u16> = service.ports.iter().map(|it| it.number).collect();
    let mut host = VirtualHost { name: service.host.clone(), ..VirtualHost::default() };
    let (mut ranked, mut http_ports, mut stream_ports) = (Vec::new(), Vec::new(), Vec::new());
    for (age, (route, place)) in routes.into_iter().enumerate() {
        let Place::Service { ports, .. } = place else { continue };
        host.origins.push(route.key.to_string());
        match route.kind() {
            RouteKind::Http | RouteKind::Grpc => {
                http_ports.extend(ports.iter().copied());
                for mut it in builder.route_rules(route, age) {
                    on_ports(&mut it.rule, ports, &all);
                    ranked.push(it);
                }
            }
            RouteKind::Tls | RouteKind::Tcp => {
                stream_ports.extend(ports.iter().copied());
                stream(builder, &mut host, route, ports);
            }
        }
    }
    host.http = in_order(ranked);
    default_rules(&mut host, service, &http_ports, &stream_ports);
    Some(host)
}

/// Narrows a rule to the ports that its route is for.
fn on_ports(rule: &mut HttpRule, ports: &[u16], all: &[u16]) {
    if all.iter().all(|port| ports.contains(port)) {
        return;
    }
    let conditions = if rule.matches.is_empty() { vec![HttpMatch::default()] } else { rule.matches.clone() };
    rule.matches = ports
        .iter()
        .flat_map(|port| conditions.iter().map(|it| HttpMatch { port: Some(*port), ..it.clone() }))
        .collect();
}

fn stream(builder: &mut Builder<'_>, host: &mut VirtualHost, route: &Route, ports: &[u16]) {
    let Some((origin, destinations)) = builder.stream_destinations(route) else { return };
    match route.kind() {
        RouteKind::Tls => {
            let names = route.body.hostnames();
            let condition =
                |port: &u16| TlsMatch { sni_hosts: names.clone(), port: Some(*port), ..TlsMatch::default() };
            host.tls.push(TlsRule { origin, matches: ports.iter().map(condition).collect(), destinations });
        }
        _ => {
            let condition = |port: &u16| TcpMatch { port: Some(*port), ..TcpMatch::default() };
            host.tcp.push(TcpRule { origin, matches: ports.iter().map(condition).collect(), destinations });
        }
    }
}

/// Ports on which no route hangs lead where they led; so do connections of ports whose routes are for HTTP only, and
/// requests of ports whose routes are for connections only.
fn default_rules(host: &mut VirtualHost, service: &Service, http_ports: &[u16], stream_ports: &[u16]) {
    let origin = format!("{} default", service.origin);
    let open = |taken: &[u16], kind: fn(dromon_core::config::model::Protocol) -> bool| -> Vec<u16> {
        let ports = service.ports.iter().filter(|it| kind(it.protocol) && !taken.contains(&it.number));
        ports.map(|it| it.number).collect()
    };
    let http = open(http_ports, protocol::may_be_http);
    if !http.is_empty() {
        let condition = |port: u16| HttpMatch { port: Some(port), ..HttpMatch::default() };
        host.http.push(HttpRule {
            origin: origin.clone(),
            matches: http.into_iter().map(condition).collect(),
            action: HttpAction::Route { destinations: to_itself(service) },
            ..HttpRule::default()
        });
    }
    let tcp = open(stream_ports, protocol::may_be_tcp);
    if !tcp.is_empty() {
        let condition = |port: u16| TcpMatch { port: Some(port), ..TcpMatch::default() };
        let matches = tcp.into_iter().map(condition).collect();
        host.tcp.push(TcpRule { origin, matches, destinations: to_itself(service) });
    }
}
