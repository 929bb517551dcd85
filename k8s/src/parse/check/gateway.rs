//! Gateway and Sidecar.

use crate::api::gateway::{Gateway, Server};
use crate::api::sidecar::Sidecar;
use crate::parse::spelling::nearest;

use super::Report;

const PROTOCOLS: &[&str] = &["HTTP", "HTTP2", "GRPC", "GRPC-WEB", "HTTPS", "TLS", "TCP", "MONGO"];

/// Looks a Gateway over.
pub fn check(report: &mut Report, spec: &Gateway) {
    if spec.servers.is_empty() {
        report.error("spec.servers", "no server is given", "give a port and its hosts");
    }
    for (at, server) in spec.servers.iter().enumerate() {
        check_server(report, &format!("spec.servers[{at}]"), server);
    }
}

fn check_server(report: &mut Report, path: &str, server: &Server) {
    report.port(format!("{path}.port.number"), server.port.number);
    let protocol = server.port.protocol.to_ascii_uppercase();
    let field = format!("{path}.port.protocol");
    match protocol.as_str() {
        "" => report.error(field, "the protocol is missing", "`HTTP` or `TCP`"),
        "HTTPS" | "TLS" => {
            let message = format!("{protocol} servers are not carried out yet; the port is not opened");
            report.warning(field, message, super::RULES_PAGE);
        }
        known if PROTOCOLS.contains(&known) => {}
        other => {
            let hint = match nearest(other, PROTOCOLS.iter().copied()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("one of {}", PROTOCOLS.join(", ")),
            };
            report.error(field, format!("`{other}` is not a protocol"), &hint);
        }
    }
    if server.hosts.is_empty() {
        report.error(format!("{path}.hosts"), "no host is named", "`*` for all");
    }
    for (at, host) in server.hosts.iter().enumerate() {
        let name = host.split_once('/').map_or(host.as_str(), |(_, name)| name);
        report.host(format!("{path}.hosts[{at}]"), name);
    }
    if let Some(tls) = &server.tls
        && matches!(protocol.as_str(), "HTTP" | "HTTP2" | "GRPC")
        && !tls.https_redirect
    {
        let message = format!("TLS settings have no effect on a server of protocol {protocol}");
        report.warning(format!("{path}.tls"), message, "use protocol HTTPS");
    }
    report.not_yet_if(
        path,
        &[("bind", !server.bind.is_empty()), ("defaultEndpoint", !server.default_endpoint.is_empty())],
    );
}

/// Looks a Sidecar over.
pub fn sidecar(report: &mut Report, spec: &Sidecar) {
    if spec.ingress.as_ref().is_some_and(|it| !it.is_empty()) {
        report.not_yet("spec.ingress");
    }
    for (at, egress) in spec.egress.iter().flatten().enumerate() {
        let path = format!("spec.egress[{at}]");
        if egress.hosts.is_empty() {
            report.error(format!("{path}.hosts"), "no host is named", "as in `./*` or `istio-system/*`");
        }
        for (at, host) in egress.hosts.iter().enumerate() {
            let field = format!("{path}.hosts[{at}]");
            match host.split_once('/') {
                Some((_, name)) => report.host(field, name),
                None => report.error(
                    field,
                    format!("`{host}` names no namespace"),
                    &format!("`./{host}` or `*/{host}`"),
                ),
            }
        }
        let not_yet = [
            ("port", egress.port.is_some()),
            ("bind", !egress.bind.is_empty()),
            ("captureMode", egress.capture_mode.as_deref().is_some_and(|it| it != "DEFAULT")),
        ];
        report.not_yet_if(&path, &not_yet);
    }
    let egress_proxy = spec.outbound_traffic_policy.as_ref().is_some_and(|it| it.egress_proxy.is_some());
    report.not_yet_if("spec.outboundTrafficPolicy", &[("egressProxy", egress_proxy)]);
}
