//! What makes TLS settings ones that can be carried out. Whether certificates and keys are good is for the TLS library to
//! say, when it is given them: a bad one takes down its own server names only.

use super::{at_most, domain_name};
use crate::config::model::{self, Protocol, TlsMode};
use crate::limits::{IDENTITIES_MAX, SERVER_NAMES_MAX, SERVER_TLS_MAX};

pub(super) fn listener(listener: &model::Listener) -> Result<(), String> {
    let gateway = matches!(listener.kind, model::ListenerKind::GatewayHttp | model::ListenerKind::GatewayTcp);
    if !gateway && !listener.tls.is_empty() {
        return Err("tls: only gateways have TLS settings by server name".into());
    }
    at_most(listener.tls.len(), SERVER_TLS_MAX, "tls")?;
    for (index, server) in listener.tls.iter().enumerate() {
        server_tls(server).map_err(|why| match server.origin.as_str() {
            "" => format!("tls[{index}].{why}"),
            origin => format!("{origin}: {why}"),
        })?;
    }
    Ok(())
}

fn server_tls(server: &model::ServerTls) -> Result<(), String> {
    at_most(server.hosts.len(), SERVER_NAMES_MAX, "hosts")?;
    server.hosts.iter().try_for_each(|host| domain_name(host, "hosts"))?;
    if server.mode.terminates() && !matches!(server.protocol, Protocol::Http | Protocol::Tcp) {
        return Err(format!("protocol: {:?} where only HTTP or TCP can come out of TLS", server.protocol));
    }
    if server.mode == TlsMode::Simple && !server.subject_alt_names.is_empty() {
        return Err("subjectAltNames: clients show no certificate in mode SIMPLE".into());
    }
    match (server.min_version, server.max_version) {
        (Some(min), Some(max)) if min > max => Err("minVersion is over maxVersion".into()),
        _ => Ok(()),
    }
}

pub(super) fn client(tls: &model::ClientTls) -> Result<(), String> {
    at_most(tls.identities.len(), IDENTITIES_MAX, "tls.identities")?;
    at_most(tls.subject_alt_names.len(), IDENTITIES_MAX, "tls.subjectAltNames")?;
    if !tls.sni.is_empty() {
        domain_name(&tls.sni, "tls.sni")?;
    }
    if tls.mode == model::ClientTlsMode::Mutual && tls.credential.is_empty() {
        return Err("tls.credential: mode MUTUAL needs one".into());
    }
    match tls.identities.iter().find(|it| !it.starts_with("spiffe://")) {
        Some(other) => Err(format!("tls.identities: {other:?} is not a SPIFFE id")),
        None => Ok(()),
    }
}

pub(super) fn credential(credential: &model::Credential) -> Result<(), String> {
    if credential.cert_chain.is_empty() != credential.key.is_empty() {
        return Err("a certificate and its key belong together".into());
    }
    if credential.cert_chain.is_empty() && credential.ca.is_empty() {
        return Err("it has neither a certificate nor a CA".into());
    }
    Ok(())
}

/// The characters that SPIFFE allows in a trust domain.
pub(super) fn trust_domain(domain: &str) -> Result<(), String> {
    let allowed =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'.' | b'-' | b'_');
    if domain.len() > 255 || !domain.bytes().all(allowed) {
        return Err(format!("trustDomain: {domain:?} is not a SPIFFE trust domain"));
    }
    Ok(())
}
