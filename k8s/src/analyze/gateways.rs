//! Gateways: servers that get into each other's way, and ports that lead nowhere.

use std::collections::HashMap;

use crate::api::gateway::Gateway;
use crate::diagnostic::Diagnostic;
use crate::mesh::Held;
use crate::translate::{PortProtocol, served, server_protocol};

use super::Analysis;

/// Looks at all Gateways.
pub fn analyze(analysis: &mut Analysis<'_>) {
    let mesh = analysis.mesh;
    // Gateways of one selector share their ports.
    let mut ports: HashMap<(String, u16), (PortProtocol, &Held<Gateway>)> = HashMap::new();
    let mut hosts: HashMap<(String, u16, String), &Held<Gateway>> = HashMap::new();
    for held in &mesh.gateways {
        let selector = super::shown(&held.rule.spec.selector);
        for (at, server) in held.rule.spec.servers.iter().enumerate() {
            let Some(protocol) = server_protocol(server) else { continue };
            let number = server.port.number;
            let path = format!("spec.servers[{at}]");
            let (first, by) = *ports.entry((selector.clone(), number)).or_insert((protocol, held));
            if first != protocol {
                let message = format!("port {number} already speaks something else in {}", by.key);
                let diagnostic = Diagnostic::error(format!("{path}.port.protocol"), message);
                analysis.report(&held.key, diagnostic.hint("give the server a port of its own"));
                continue;
            }
            for (host_at, host) in server.hosts.iter().enumerate() {
                let key = (selector.clone(), number, host.to_ascii_lowercase());
                if let Some(other) = hosts.insert(key, held) {
                    let message = format!("`{host}` on port {number} is served by {} already", other.key);
                    let diagnostic = Diagnostic::warning(format!("{path}.hosts[{host_at}]"), message);
                    analysis
                        .report(&held.key, diagnostic.hint("the rules of both are joined; keep one of them"));
                }
            }
            leads_somewhere(analysis, held, at, number, protocol);
        }
    }
}

fn leads_somewhere(
    analysis: &mut Analysis<'_>,
    held: &Held<Gateway>,
    at: usize,
    number: u16,
    protocol: PortProtocol,
) {
    let mesh = analysis.mesh;
    let Some(server) = held.rule.spec.servers.get(at) else { return };
    let name = format!("{}/{}", held.key.namespace, held.key.name);
    let redirects = server.tls.as_ref().is_some_and(|it| it.https_redirect);
    let serving = mesh.virtual_services_of(&name).filter(|it| !served(held, server, it).is_empty());
    let fitting: Vec<_> = serving
        .filter(|it| match protocol {
            PortProtocol::Http => !it.held.rule.spec.http.is_empty(),
            PortProtocol::Tcp => !it.held.rule.spec.tcp.is_empty(),
        })
        .collect();
    let field = format!("spec.servers[{at}]");
    match (protocol, fitting.as_slice()) {
        (PortProtocol::Http, []) if !redirects => {
            let message =
                format!("no VirtualService has http routes for port {number}: every request is answered 404");
            let hint = format!("bind one with `gateways: [{name}]`");
            analysis.report(&held.key, Diagnostic::warning(field, message).hint(hint));
        }
        (PortProtocol::Tcp, []) => {
            let message =
                format!("no VirtualService has tcp routes for port {number}: every connection is closed");
            let hint = format!("bind one with `gateways: [{name}]`");
            analysis.report(&held.key, Diagnostic::warning(field, message).hint(hint));
        }
        _ => {}
    }
}
