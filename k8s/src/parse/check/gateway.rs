//! Gateway and Sidecar.

use crate::api::gateway::{Gateway, Server, ServerTls, ServerTlsMode};
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
        "HTTPS" | "TLS" if server.tls.is_none() => {
            let message = format!("a server of protocol {protocol} needs `tls`");
            report.error(format!("{path}.tls"), message, "as in `{mode: SIMPLE, credentialName: my-cert}`");
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
    if let Some(tls) = server.tls.as_ref().filter(|_| !matches!(protocol.as_str(), "HTTP" | "HTTP2" | "GRPC"))
    {
        server_tls(report, &format!("{path}.tls"), tls);
    }
    report.not_yet_if(
        path,
        &[("bind", !server.bind.is_empty()), ("defaultEndpoint", !server.default_endpoint.is_empty())],
    );
}

fn server_tls(report: &mut Report, path: &str, tls: &ServerTls) {
    let named = !crate::translate::credential_names(tls).is_empty();
    let files = tls.server_certificate.is_some() || tls.tls_certificates.is_some();
    let own =
        matches!(tls.mode, ServerTlsMode::Simple | ServerTlsMode::Mutual | ServerTlsMode::OptionalMutual);
    match (own, named) {
        (true, false) if files => {
            let message = "certificates are not read from files: no handshake is served";
            report.warning(
                format!("{path}.serverCertificate"),
                message,
                "put it into a Secret and name that",
            );
        }
        (true, false) => {
            let message = format!("mode {:?} needs a certificate", tls.mode);
            report.error(
                format!("{path}.credentialName"),
                message,
                "name a Secret with `tls.crt` and `tls.key`",
            );
        }
        (false, true) => {
            let message = format!("mode {:?} serves no certificate of its own", tls.mode);
            report.warning(format!("{path}.credentialName"), message, "SIMPLE ends TLS at the gateway");
        }
        _ => {}
    }
    if tls.https_redirect {
        let message = "a server of TLS has nothing to redirect";
        report.warning(format!("{path}.httpsRedirect"), message, "set it on the HTTP server of port 80");
    }
    versions(report, path, tls);
    let asks = matches!(
        tls.mode,
        ServerTlsMode::Mutual | ServerTlsMode::OptionalMutual | ServerTlsMode::IstioMutual
    );
    if !asks && tls.subject_alt_names.as_ref().is_some_and(|it| !it.is_empty()) {
        let message = format!("clients show no certificate in mode {:?}", tls.mode);
        report.warning(format!("{path}.subjectAltNames"), message, "use MUTUAL");
    }
    let not_yet = [
        ("caCertificates", tls.ca_certificates.is_some()),
        ("caCrl", tls.ca_crl.is_some()),
        ("verifyCertificateSpki", tls.verify_certificate_spki.as_ref().is_some_and(|it| !it.is_empty())),
        ("verifyCertificateHash", tls.verify_certificate_hash.as_ref().is_some_and(|it| !it.is_empty())),
    ];
    report.not_yet_if(path, &not_yet);
}

const VERSIONS: &[&str] = &["TLS_AUTO", "TLSV1_0", "TLSV1_1", "TLSV1_2", "TLSV1_3"];

fn versions(report: &mut Report, path: &str, tls: &ServerTls) {
    let place =
        |text: &Option<String>| text.as_deref().map(|it| VERSIONS.iter().position(|known| *known == it));
    let (min, max) = (place(&tls.min_protocol_version), place(&tls.max_protocol_version));
    for (name, found) in [("minProtocolVersion", min), ("maxProtocolVersion", max)] {
        if found == Some(None) {
            report.error(format!("{path}.{name}"), "not a version of TLS", &VERSIONS.join(", "));
        }
    }
    if matches!(min, Some(Some(1 | 2))) {
        let message = "TLS 1.0 and 1.1 are not spoken (RFC 8996); the least is 1.2";
        report.warning(format!("{path}.minProtocolVersion"), message, "TLSV1_2");
    }
    if matches!(max, Some(Some(1 | 2))) {
        let message = "no version is left: the least that is spoken is 1.2 (RFC 8996)";
        report.error(format!("{path}.maxProtocolVersion"), message, "TLSV1_2 or TLSV1_3");
    }
    if let (Some(Some(min)), Some(Some(max))) = (min, max)
        && max > 0
        && min > max
    {
        report.error(format!("{path}.minProtocolVersion"), "is over maxProtocolVersion", "swap them");
    }
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
