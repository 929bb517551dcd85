//! What is spoken with whom, and who has to prove what, as text for people.

use crate::config::model::{self, ClientTls, ClientTlsMode, ListenerKind, MtlsMode};
use crate::config::table::{Destination, ListenerTable};
use crate::route::host::split_authority;

/// What a listener takes; none for one of which there is nothing to say.
pub(super) fn of_listener(listener: &ListenerTable, authority: &[u8]) -> Option<String> {
    let text = match &listener.model.kind {
        ListenerKind::Inbound { mtls, .. } | ListenerKind::InboundCapture { mtls } => {
            let takes = match mtls {
                MtlsMode::Strict => "takes mutual TLS only (STRICT)",
                MtlsMode::Permissive => "takes mutual TLS and plaintext (PERMISSIVE)",
                MtlsMode::Disable => "takes no mutual TLS (DISABLE)",
            };
            because(takes.to_owned(), &listener.model.mtls_origin)
        }
        ListenerKind::GatewayHttp | ListenerKind::GatewayTcp if !listener.tls.is_empty() => {
            let name = split_authority(authority).map(|(host, _)| host);
            let Some((_, server)) = listener.server_tls(name) else {
                return Some("refuses the handshake: no server has this name".into());
            };
            let held: Vec<&str> = server.credentials.iter().map(|it| it.name.as_str()).collect();
            let wanted = &server.model.credentials;
            let shows = match (server.model.mode.needs_credential(), held.as_slice()) {
                (false, _) => String::new(),
                (true, []) => format!(", which is not here: no handshake is served ({})", wanted.join(", ")),
                (true, held) => format!(" with {}", held.join(", ")),
            };
            because(format!("TLS {:?}{shows}", server.model.mode), &server.model.origin)
        }
        _ => return None,
    };
    Some(text)
}

/// How a destination is spoken to; none for plaintext of which no rule says anything.
pub(super) fn of_destination(destination: &Destination) -> Option<String> {
    let tls = destination.model.tls.as_ref()?;
    let text = match tls.mode {
        ClientTlsMode::Disable => "plaintext".to_owned(),
        ClientTlsMode::IstioMutual => format!("mutual TLS; {}", identities(tls)),
        ClientTlsMode::Auto => {
            let able = destination.endpoints.iter().filter(|it| it.model.mtls).count();
            match (able, destination.endpoints.len()) {
                (0, _) => "plaintext: no endpoint takes mutual TLS".to_owned(),
                (able, all) if able == all => format!("mutual TLS; {}", identities(tls)),
                (able, all) => format!("mutual TLS to {able} of {all} endpoints; {}", identities(tls)),
            }
        }
        ClientTlsMode::Simple | ClientTlsMode::Mutual => originated(destination, tls),
    };
    Some(because(text, &tls.origin))
}

fn originated(destination: &Destination, tls: &ClientTls) -> String {
    let name = if tls.sni.is_empty() { "the request's host" } else { &tls.sni };
    let ca = destination.credential.as_ref().is_some_and(|it| !it.ca.is_empty());
    let trusts = match (tls.insecure_skip_verify, ca) {
        (true, _) => "any certificate".to_owned(),
        (false, true) => format!("the CAs of {}", tls.credential),
        (false, false) => "the system's CAs".to_owned(),
    };
    let shown = match (tls.mode == ClientTlsMode::Mutual, &destination.credential) {
        (true, Some(credential)) => format!(", shows the certificate of {}", credential.name),
        (_, None) if !tls.credential.is_empty() => {
            format!(", and {} is not here: nothing is sent", tls.credential)
        }
        _ => String::new(),
    };
    let names = match tls.subject_alt_names.as_slice() {
        [] => String::new(),
        names => format!(", the certificate must be for {}", names.join(" or ")),
    };
    format!("TLS; asks for {name}, trusts {trusts}{names}{shown}")
}

fn identities(tls: &ClientTls) -> String {
    match tls.identities.as_slice() {
        [] => "the server may be anyone of the mesh".to_owned(),
        all => format!("the server must be {}", all.join(" or ")),
    }
}

fn because(text: String, origin: &str) -> String {
    if origin.is_empty() { text } else { format!("{text} ({origin})") }
}

/// A listener's TLS settings for a list of rules in force: one line each.
pub fn lines(listener: &model::Listener) -> Vec<String> {
    let mut lines = Vec::new();
    if let ListenerKind::Inbound { mtls, .. } | ListenerKind::InboundCapture { mtls } = &listener.kind {
        lines.push(because(format!("mutual TLS: {mtls:?}"), &listener.mtls_origin));
    }
    for server in &listener.tls {
        let with = match server.credentials.as_slice() {
            [] => String::new(),
            names => format!(" with {}", names.join(", ")),
        };
        lines.push(because(
            format!("TLS {:?} for {}{with}", server.mode, server.hosts.join(", ")),
            &server.origin,
        ));
    }
    lines.extend(listener.proxy_protocol.then(|| "takes the PROXY protocol".to_owned()));
    lines
}
