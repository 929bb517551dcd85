//! VirtualService.

use crate::api::virtual_service::{RouteDestination, TcpRoute, TlsRoute, VirtualService};
use crate::mesh::MESH_GATEWAY;
use crate::mesh::host::covers;

use super::{Report, http_route};

/// Looks a VirtualService over.
pub fn check(report: &mut Report, spec: &VirtualService) {
    let serves_mesh = spec.gateways.is_empty() || spec.gateways.iter().any(|it| it == MESH_GATEWAY);
    for (at, host) in spec.hosts.iter().enumerate() {
        let field = format!("spec.hosts[{at}]");
        report.host(field.clone(), host);
        if host == "*" && serves_mesh {
            report.error(
                field,
                "`*` cannot be a host of sidecars",
                "name the hosts, or bind it to a Gateway only",
            );
        }
    }
    if spec.hosts.is_empty() && !spec.gateways.is_empty() {
        report.error("spec.hosts", "no host is named", "without hosts and gateways it can be delegated to");
    }
    if spec.http.is_empty() && spec.tcp.is_empty() && spec.tls.is_empty() {
        report.error("spec", "no route is given", "give `http`, `tls` or `tcp` routes");
    }
    for (at, route) in spec.http.iter().enumerate() {
        http_route::check(report, &format!("spec.http[{at}]"), route);
        for (alternative, condition) in route.matches.iter().enumerate() {
            let field = format!("spec.http[{at}].match[{alternative}].gateways");
            known_gateways(report, field, spec, &condition.gateways);
        }
    }
    for (at, route) in spec.tls.iter().enumerate() {
        tls(report, &format!("spec.tls[{at}]"), route, &spec.hosts);
        for (alternative, condition) in route.matches.iter().enumerate() {
            let field = format!("spec.tls[{at}].match[{alternative}].gateways");
            known_gateways(report, field, spec, &condition.gateways);
        }
    }
    for (at, route) in spec.tcp.iter().enumerate() {
        tcp(report, &format!("spec.tcp[{at}]"), route);
        for (alternative, condition) in route.matches.iter().enumerate() {
            let field = format!("spec.tcp[{at}].match[{alternative}].gateways");
            known_gateways(report, field, spec, &condition.gateways);
        }
    }
}

/// A condition on gateways can only narrow what the object names.
fn known_gateways(report: &mut Report, field: String, spec: &VirtualService, gateways: &[String]) {
    let is_known =
        |name: &String| spec.gateways.contains(name) || (name == MESH_GATEWAY && spec.gateways.is_empty());
    for (at, name) in gateways.iter().enumerate().filter(|(_, name)| !is_known(name)) {
        let message = format!("`{name}` is not among the object's gateways, so this never matches");
        report.warning(format!("{field}[{at}]"), message, "add it to `spec.gateways`");
    }
}

/// Istio's rules: a route of TLS names the server names it is for, each among the object's hosts.
fn tls(report: &mut Report, path: &str, route: &TlsRoute, hosts: &[String]) {
    if route.route.is_empty() {
        report.error(format!("{path}.route"), "no destination is given", "give at least one");
    }
    destinations(report, &format!("{path}.route"), &route.route);
    if route.matches.is_empty() {
        report.error(
            format!("{path}.match"),
            "no server name is given",
            "as in `[{sniHosts: [a.example.com]}]`",
        );
    }
    for (at, condition) in route.matches.iter().enumerate() {
        let path = format!("{path}.match[{at}]");
        if condition.sni_hosts.is_empty() {
            report.error(format!("{path}.sniHosts"), "no server name is given", "one of the object's hosts");
        }
        for (at, name) in condition.sni_hosts.iter().enumerate() {
            let field = format!("{path}.sniHosts[{at}]");
            report.host(field.clone(), name);
            let lower = name.to_ascii_lowercase();
            if !hosts.iter().any(|host| covers(&host.to_ascii_lowercase(), &lower)) {
                let message = format!("`{name}` is not among the object's hosts");
                report.error(field, message, "add it to `spec.hosts`");
            }
        }
        for (at, subnet) in condition.destination_subnets.iter().enumerate() {
            report.subnet(format!("{path}.destinationSubnets[{at}]"), subnet);
        }
        if let Some(port) = condition.port {
            report.port(format!("{path}.port"), port);
        }
    }
}

fn tcp(report: &mut Report, path: &str, route: &TcpRoute) {
    if route.route.is_empty() {
        report.error(format!("{path}.route"), "no destination is given", "give at least one");
    }
    destinations(report, &format!("{path}.route"), &route.route);
    for (at, destination) in route.route.iter().enumerate() {
        if destination.headers.is_some() {
            let message = "a TCP route has no headers to change";
            report.warning(format!("{path}.route[{at}].headers"), message, "use an `http` route");
        }
    }
    for (at, condition) in route.matches.iter().enumerate() {
        let path = format!("{path}.match[{at}]");
        for (at, subnet) in condition.destination_subnets.iter().enumerate() {
            report.subnet(format!("{path}.destinationSubnets[{at}]"), subnet);
        }
        if !condition.source_subnet.is_empty() {
            report.subnet(format!("{path}.sourceSubnet"), &condition.source_subnet);
        }
        if let Some(port) = condition.port {
            report.port(format!("{path}.port"), port);
        }
    }
}

/// Destinations and their weights.
pub fn destinations(report: &mut Report, path: &str, routes: &[RouteDestination]) {
    for (at, route) in routes.iter().enumerate() {
        let path = format!("{path}[{at}].destination");
        if route.destination.host.starts_with('*') {
            report.error(format!("{path}.host"), "a destination cannot be a wildcard", "name one host");
        } else {
            report.host(format!("{path}.host"), &route.destination.host);
        }
        if let Some(port) = route.destination.port {
            report.port(format!("{path}.port.number"), port.number);
        }
    }
    if routes.len() > 1 {
        let sum: u64 = routes.iter().map(|it| u64::from(it.share())).sum();
        if sum == 0 {
            report.error(path, "all weights are 0", "give each destination its share");
        }
        for (at, _) in routes.iter().enumerate().filter(|(_, it)| sum > 0 && it.weight.is_none()) {
            report.warning(
                format!("{path}[{at}].weight"),
                "without a weight it never gets traffic",
                "set `weight`",
            );
        }
    }
}
