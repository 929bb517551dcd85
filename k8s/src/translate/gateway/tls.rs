//! A gateway's ports of TLS: settings by server name, and what is passed on or ended as TCP.

use std::collections::{BTreeMap, BTreeSet};

use dromon_core::config::model::{
    Credential, Protocol, ServerTls, TlsMode, TlsRule, TlsVersion, VirtualHost,
};

use crate::api::gateway::{Gateway, Server, ServerTls as Settings, ServerTlsMode};
use crate::diagnostic::Diagnostic;
use crate::mesh::credentials::{CredentialError, Needs};
use crate::mesh::{Held, Mesh, host};

use super::super::Builder;
use super::super::http::Place;
use super::super::identity::PortAt;
use super::{full_name, listener_name, served, split_host, visible};

/// Whether HTTP comes out of a server's TLS.
pub fn carries_http(server: &Server) -> bool {
    let ends_here = server.tls.as_ref().is_some_and(|it| mode(it.mode).terminates());
    ends_here && server.port.protocol.eq_ignore_ascii_case("HTTPS")
}

/// Whether a server's TLS ends here.
fn ends_here(server: &Server) -> bool {
    server.tls.as_ref().is_some_and(|it| mode(it.mode).terminates())
}

fn mode(mode: ServerTlsMode) -> TlsMode {
    match mode {
        ServerTlsMode::Passthrough => TlsMode::Passthrough,
        ServerTlsMode::Simple => TlsMode::Simple,
        ServerTlsMode::Mutual => TlsMode::Mutual,
        ServerTlsMode::AutoPassthrough => TlsMode::AutoPassthrough,
        ServerTlsMode::IstioMutual => TlsMode::IstioMutual,
        ServerTlsMode::OptionalMutual => TlsMode::OptionalMutual,
    }
}

/// The version that a text means; none: no bound of its own, older versions included, which are not spoken.
pub fn version(text: Option<&str>) -> Option<TlsVersion> {
    match text {
        Some("TLSV1_2") => Some(TlsVersion::V1_2),
        Some("TLSV1_3") => Some(TlsVersion::V1_3),
        _ => None,
    }
}

/// The names of a server's credentials, as they are written.
pub fn credential_names(settings: &Settings) -> Vec<&str> {
    let one = settings.credential_name.as_deref().filter(|it| !it.is_empty());
    let several = settings.credential_names.iter().flatten().map(String::as_str);
    one.into_iter().chain(several).collect()
}

/// What a mode asks of its credential.
fn needs(mode: TlsMode) -> Needs {
    Needs { certificate: true, ca: matches!(mode, TlsMode::Mutual | TlsMode::OptionalMutual) }
}

/// The credential that a server's setting means. Istio looks in the gateway workload's namespace; the Gateway's own comes
/// after it, so that a Secret can lie beside its Gateway.
///
/// # Errors
/// It is not there, or of no use.
pub fn credential(
    mesh: &Mesh,
    settings: &Settings,
    name: &str,
    namespaces: &[&str],
) -> Result<Credential, CredentialError> {
    let needs = needs(mode(settings.mode));
    let Some(ca_name) = settings.ca_cert_credential_name.as_deref().filter(|it| !it.is_empty()) else {
        return mesh.credentials.find(name, namespaces, needs);
    };
    let own = mesh.credentials.find(name, namespaces, Needs { ca: false, ..needs })?;
    let ca = mesh.credentials.find(ca_name, namespaces, Needs { certificate: false, ca: true })?;
    // A name of its own: the same certificate may be served elsewhere with other CAs.
    Ok(Credential { name: format!("{}+{}", own.name, ca.name), ca: ca.ca, crl: ca.crl, ..own })
}

/// The TLS settings of a port's servers, oldest first. Their credentials become part of the view; one that is missing or of
/// no use is reported, and its server names are served no handshake.
pub(super) fn settings(
    builder: &mut Builder<'_>,
    servers: &[(&Held<Gateway>, usize, &Server)],
) -> Vec<ServerTls> {
    let mut all = Vec::new();
    for (held, at, server) in servers {
        let Some(settings) = server.tls.as_ref() else { continue };
        let mode = mode(settings.mode);
        let path = format!("spec.servers[{at}]");
        let mut credentials = Vec::new();
        if mode.needs_credential() {
            for name in credential_names(settings) {
                credentials.push(named(builder, held, settings, name, &path));
            }
        }
        let checks_clients =
            !matches!(mode, TlsMode::Simple | TlsMode::Passthrough | TlsMode::AutoPassthrough);
        let names = settings.subject_alt_names.clone().filter(|_| checks_clients);
        let hosts: BTreeSet<String> =
            server.hosts.iter().map(|it| split_host(it).1.to_ascii_lowercase()).collect();
        all.push(ServerTls {
            origin: format!("{} {path}", held.key),
            hosts: hosts.into_iter().collect(),
            mode,
            protocol: if carries_http(server) { Protocol::Http } else { Protocol::Tcp },
            credentials,
            min_version: version(settings.min_protocol_version.as_deref()),
            max_version: version(settings.max_protocol_version.as_deref()),
            cipher_suites: settings.cipher_suites.clone().unwrap_or_default(),
            subject_alt_names: names.unwrap_or_default(),
        });
    }
    all
}

fn named(
    builder: &mut Builder<'_>,
    held: &Held<Gateway>,
    settings: &Settings,
    name: &str,
    path: &str,
) -> String {
    let (own, of_gateway) = (builder.identity.namespace.as_str(), held.key.namespace.as_str());
    let namespaces = if own == of_gateway { vec![own] } else { vec![own, of_gateway] };
    match credential(builder.mesh, settings, name, &namespaces) {
        Ok(credential) => {
            let name = credential.name.clone();
            builder.credential(credential);
            name
        }
        Err(error) => {
            let diagnostic = Diagnostic::error(format!("{path}.tls.credentialName"), error.to_string());
            let hint = "until it is there, the hosts of this server only are served no handshake";
            builder.diagnostics.push(diagnostic.hint(hint).on(&held.key));
            format!("{own}/{name}")
        }
    }
}

/// The virtual hosts of what is passed on by server name, and of what ends here as TCP, by domain.
pub(super) fn streams(
    builder: &mut Builder<'_>,
    at: &PortAt,
    servers: &[(&Held<Gateway>, usize, &Server)],
) -> BTreeMap<String, VirtualHost> {
    let mut domains: BTreeMap<String, VirtualHost> = BTreeMap::new();
    for (held, _, server) in servers {
        if carries_http(server) {
            continue;
        }
        let gateway = full_name(held);
        let place = Place { gateway: &gateway, port: Some(at.number) };
        let visible: Vec<_> = visible(builder, &gateway).collect();
        for virtual_service in visible {
            let common = served(held, server, virtual_service);
            if common.is_empty() {
                continue;
            }
            let mut add = |domain: String, add: &dyn Fn(&mut VirtualHost)| {
                let listener = listener_name(at);
                let name = format!("{listener}/{domain}");
                let host = domains.entry(domain.clone()).or_insert_with(|| VirtualHost {
                    name,
                    listener: Some(listener),
                    domains: vec![domain],
                    origins: vec![held.key.to_string()],
                    ..VirtualHost::default()
                });
                let origin = virtual_service.held.key.to_string();
                if !host.origins.contains(&origin) {
                    host.origins.push(origin);
                }
                add(host);
            };
            if ends_here(server) {
                let rules = builder.tcp_rules(virtual_service, place);
                for domain in common.iter().filter(|_| !rules.is_empty()) {
                    add(domain.clone(), &|host| host.tcp.extend(rules.iter().cloned()));
                }
                continue;
            }
            for rule in builder.tls_rules(virtual_service, place) {
                for domain in names_of(&rule, &common) {
                    add(domain, &|host| host.tls.push(rule.clone()));
                }
            }
        }
        if server.tls.as_ref().is_some_and(|it| it.mode == ServerTlsMode::AutoPassthrough) {
            everything(builder, server);
        }
    }
    domains
}

/// What a rule's server names have in common with what is served.
fn names_of(rule: &TlsRule, served: &[String]) -> BTreeSet<String> {
    let names = rule.matches.iter().flat_map(|it| &it.sni_hosts);
    names
        .flat_map(|name| served.iter().filter_map(|pattern| host::intersection(pattern, name)))
        .map(str::to_owned)
        .collect()
}

/// Where the server name spells the destination, all that the server's hosts cover can be one.
fn everything(builder: &mut Builder<'_>, server: &Server) {
    let (mesh, client) = (builder.mesh, builder.identity.client());
    let patterns: Vec<String> = server.hosts.iter().map(|it| split_host(it).1.to_ascii_lowercase()).collect();
    for service in mesh.services.iter().filter(|it| it.export.to(client.namespace)) {
        if !patterns.iter().any(|pattern| host::covers(pattern, &service.host)) {
            continue;
        }
        let policy =
            mesh.destination_rules.find(&client, &service.host, &service.namespace, &mesh.root_namespace);
        let subsets: Vec<&str> = policy.iter().flat_map(|it| it.subsets()).collect();
        for port in &service.ports {
            for subset in subsets.iter().copied().chain([""]) {
                builder.destination(&service.host, port.number, subset);
            }
        }
    }
}
