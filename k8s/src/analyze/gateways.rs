//! Gateways: servers that get into each other's way, and ports that lead nowhere.

use std::collections::HashMap;

use crate::api::gateway::{Gateway, Server, ServerTlsMode};
use crate::diagnostic::Diagnostic;
use crate::mesh::Held;
use crate::parse::DEFAULT_NAMESPACE;
use crate::translate::{
    PROXY_PROTOCOL, PortProtocol, carries_http, credential, credential_names, served, server_protocol,
    wants_proxy_protocol,
};

use super::Analysis;

/// How a finding begins that a server has nobody yet who uses it.
pub(crate) const UNBOUND: &str = "no VirtualService has";

/// Looks at all Gateways.
pub fn analyze(analysis: &mut Analysis<'_>) {
    let mesh = analysis.mesh;
    // Gateways of one selector share their ports.
    let mut ports: HashMap<(String, u16), (PortProtocol, &Held<Gateway>)> = HashMap::new();
    let mut hosts: HashMap<(String, u16, String), &Held<Gateway>> = HashMap::new();
    for held in &mesh.gateways {
        let selector = super::shown(&held.rule.spec.selector);
        annotations(analysis, held);
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
                    let hint = match protocol {
                        PortProtocol::Tls => {
                            "the first one's certificate and mode are used; keep one of them"
                        }
                        _ => "the rules of both are joined; keep one of them",
                    };
                    analysis.report(&held.key, diagnostic.hint(hint));
                }
            }
            leads_somewhere(analysis, held, at, server);
            credentials(analysis, held, at, server);
        }
    }
}

fn leads_somewhere(analysis: &mut Analysis<'_>, held: &Held<Gateway>, at: usize, server: &Server) {
    let mesh = analysis.mesh;
    let number = server.port.number;
    let name = format!("{}/{}", held.key.namespace, held.key.name);
    let serving = mesh.virtual_services_of(&name).filter(|it| !served(held, server, it).is_empty());
    let carries = carried(server);
    let leads = serving.into_iter().any(|it| {
        let spec = &it.held.rule.spec;
        match carries {
            Carried::Http => !spec.http.is_empty(),
            Carried::Tcp => !spec.tcp.is_empty(),
            Carried::Tls => !spec.tls.is_empty(),
            Carried::Anything => true,
        }
    });
    let redirects = server.tls.as_ref().is_some_and(|it| it.https_redirect);
    if leads || carries == Carried::Anything || (carries == Carried::Http && redirects) {
        return;
    }
    let (routes, then) = match carries {
        Carried::Http => ("http", "every request is answered 404"),
        Carried::Tls => ("tls", "every connection is closed"),
        Carried::Tcp | Carried::Anything => ("tcp", "every connection is closed"),
    };
    let message = format!("{UNBOUND} {routes} routes for port {number}: {then}");
    let hint = format!("bind one with `gateways: [{name}]`");
    analysis.report(&held.key, Diagnostic::warning(format!("spec.servers[{at}]"), message).hint(hint));
}

/// What a server's connections carry, and so which routes they need.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Carried {
    Http,
    Tcp,
    Tls,
    /// Server names spell their destinations: no route is needed.
    Anything,
}

fn carried(server: &Server) -> Carried {
    let mode = server.tls.as_ref().map(|it| it.mode);
    match (server_protocol(server), mode) {
        (Some(PortProtocol::Http), _) => Carried::Http,
        (Some(PortProtocol::Tls), _) if carries_http(server) => Carried::Http,
        (Some(PortProtocol::Tls), Some(ServerTlsMode::AutoPassthrough)) => Carried::Anything,
        (Some(PortProtocol::Tls), Some(ServerTlsMode::Passthrough)) => Carried::Tls,
        _ => Carried::Tcp,
    }
}

/// Credentials that are not there, or of no use.
fn credentials(analysis: &mut Analysis<'_>, held: &Held<Gateway>, at: usize, server: &Server) {
    let Some(settings) = server.tls.as_ref().filter(|_| server_protocol(server) == Some(PortProtocol::Tls))
    else {
        return;
    };
    use ServerTlsMode::{Mutual, OptionalMutual, Simple};
    if !matches!(settings.mode, Simple | Mutual | OptionalMutual) {
        return;
    }
    let mesh = analysis.mesh;
    // Where the gateway's workload runs is not known here: in `default` locally, in the root namespace in a cluster.
    let of_gateway = held.key.namespace.as_str();
    let namespaces = match of_gateway {
        DEFAULT_NAMESPACE => vec![DEFAULT_NAMESPACE],
        other => vec![DEFAULT_NAMESPACE, other],
    };
    for name in credential_names(settings) {
        let Err(error) = credential(mesh, settings, name, &namespaces) else { continue };
        if credential(mesh, settings, name, &[mesh.root_namespace.as_str()]).is_ok() {
            continue;
        }
        let field = format!("spec.servers[{at}].tls.credentialName");
        let hint = "until it is there, the hosts of this server only are served no handshake";
        analysis.report(&held.key, Diagnostic::error(field, error.to_string()).hint(hint));
    }
}

/// An annotation that nobody understands.
fn annotations(analysis: &mut Analysis<'_>, held: &Held<Gateway>) {
    let annotation = held.rule.meta.annotations.as_ref().and_then(|it| it.get(PROXY_PROTOCOL));
    if let Some(text) = annotation.filter(|_| !wants_proxy_protocol(held)) {
        let field = format!("metadata.annotations.{PROXY_PROTOCOL}");
        let message = format!("`{text}` says nothing");
        analysis.report(&held.key, Diagnostic::warning(field, message).hint("`accept`, or leave it out"));
    }
}
