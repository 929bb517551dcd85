//! ServiceEntry and WorkloadEntry.

use std::collections::HashSet;
use std::net::IpAddr;

use crate::api::service_entry::{Resolution, ServiceEntry, WorkloadEntry};
use crate::mesh::protocol;

use super::Report;

/// Looks a ServiceEntry over.
pub fn check(report: &mut Report, spec: &ServiceEntry) {
    hosts(report, spec);
    ports(report, spec);
    for (at, address) in spec.addresses.iter().enumerate() {
        report.subnet(format!("spec.addresses[{at}]"), address);
    }
    let has_selector = spec.workload_selector.is_some();
    if has_selector && !spec.endpoints.is_empty() {
        report.error("spec", "`endpoints` and `workloadSelector` exclude each other", "keep one of them");
    }
    if spec.workload_selector.as_ref().is_some_and(|it| it.labels.is_empty()) {
        report.error(
            "spec.workloadSelector.labels",
            "the selector is empty",
            "give the labels of the workloads",
        );
    }
    for (at, endpoint) in spec.endpoints.iter().enumerate() {
        let path = format!("spec.endpoints[{at}]");
        workload(report, &path, endpoint);
        let is_address = endpoint.address.parse::<IpAddr>().is_ok() || endpoint.address.starts_with("unix:");
        if spec.resolution == Resolution::Static && !endpoint.address.is_empty() && !is_address {
            let message = format!("`{}` is not an IP address", endpoint.address);
            report.error(format!("{path}.address"), message, "for names, use `resolution: DNS`");
        }
        for name in endpoint.ports.keys().filter(|name| !spec.ports.iter().any(|it| it.name == **name)) {
            let message = format!("the entry has no port named `{name}`");
            report.error(format!("{path}.ports.{name}"), message, "names are those of `spec.ports`");
        }
    }
    resolution(report, spec, has_selector);
}

fn hosts(report: &mut Report, spec: &ServiceEntry) {
    if spec.hosts.is_empty() {
        report.error("spec.hosts", "no host is named", "the name that clients use");
    }
    for (at, host) in spec.hosts.iter().enumerate() {
        let field = format!("spec.hosts[{at}]");
        if host == "*" {
            report.error(
                field,
                "`*` would be every host there is",
                "use outboundTrafficPolicy ALLOW_ANY instead",
            );
        } else {
            report.host(field, host);
        }
    }
}

fn ports(report: &mut Report, spec: &ServiceEntry) {
    if spec.ports.is_empty() {
        report.error("spec.ports", "no port is given", "number, name and protocol");
    }
    let (mut numbers, mut names) = (HashSet::new(), HashSet::new());
    for (at, port) in spec.ports.iter().enumerate() {
        let path = format!("spec.ports[{at}]");
        report.port(format!("{path}.number"), port.number);
        if !numbers.insert(port.number) {
            report.error(
                format!("{path}.number"),
                format!("{} is given twice", port.number),
                "one entry a port",
            );
        }
        if port.name.is_empty() {
            report.error(format!("{path}.name"), "the port has no name", "as in `http` or `tcp-db`");
        } else if !names.insert(&port.name) {
            report.error(
                format!("{path}.name"),
                format!("`{}` is given twice", port.name),
                "rename one of them",
            );
        }
        if !port.protocol.is_empty() && protocol::of_word(&port.protocol).is_none() {
            let message = format!("`{}` is not a protocol", port.protocol);
            report.error(format!("{path}.protocol"), message, "HTTP, HTTP2, GRPC, HTTPS, TLS, TCP, MONGO");
        }
        if port.target_port.is_some() && spec.resolution == Resolution::None {
            let message = "without resolution, traffic keeps the port it was sent to";
            report.warning(format!("{path}.targetPort"), message, "set `resolution`");
        }
    }
}

fn resolution(report: &mut Report, spec: &ServiceEntry, has_selector: bool) {
    let nothing_given = spec.endpoints.is_empty() && !has_selector;
    match spec.resolution {
        Resolution::None if !nothing_given => {
            let hint = "STATIC for addresses, DNS for names";
            report.error("spec.resolution", "with resolution NONE, endpoints have no meaning", hint);
        }
        Resolution::Static if nothing_given => {
            report.warning(
                "spec.endpoints",
                "it has no endpoints, so every request is answered 503",
                "give addresses",
            );
        }
        Resolution::Dns | Resolution::DnsRoundRobin if spec.endpoints.is_empty() => {
            for (at, host) in spec.hosts.iter().enumerate().filter(|(_, it)| it.starts_with('*')) {
                let message = format!("`{host}` cannot be looked up");
                report.error(
                    format!("spec.hosts[{at}]"),
                    message,
                    "give `endpoints`, or use resolution NONE",
                );
            }
        }
        _ => {}
    }
}

/// A WorkloadEntry, or one of `endpoints`.
pub fn workload(report: &mut Report, path: &str, entry: &WorkloadEntry) {
    let field = format!("{path}.address");
    if entry.address.is_empty() {
        report.error(field, "the address is missing", "an IP address, or a name with resolution DNS");
    } else if entry.address.starts_with("unix:") {
        report.warning(
            field,
            "Unix sockets are not carried out yet; the endpoint is not used",
            super::RULES_PAGE,
        );
    } else if entry.address.parse::<IpAddr>().is_err() {
        report.host(field, &entry.address);
    }
    for (name, port) in &entry.ports {
        report.port(format!("{path}.ports.{name}"), *port);
    }
    report.not_yet_if(path, &[("network", !entry.network.is_empty())]);
}
