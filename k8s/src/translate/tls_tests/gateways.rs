use super::*;

const SHOP: &str = "istio-system/shop";

fn gate(servers: &str) -> String {
    format!(
        "apiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata: {{name: shop, namespace: istio-system}}\nspec: {{selector: {{istio: ingressgateway}}, servers: [{servers}]}}\n---\n"
    )
}

fn server(protocol: &str, hosts: &str, tls: &str) -> String {
    format!("{{port: {{number: 443, protocol: {protocol}, name: x}}, hosts: [{hosts}], tls: {{{tls}}}}}")
}

fn rules(name: &str, hosts: &str, fields: &str) -> String {
    istio("VirtualService", name, &format!("{{hosts: [{hosts}], gateways: [{SHOP}], {fields}}}"))
}

fn ingress() -> ProxyIdentity {
    gateway(&[80, 443])
}

fn view(objects: &[String]) -> Seen {
    seen(&world(objects), &ingress())
}

const TO_A: &str = "route: [{destination: {host: a.default.svc.cluster.local, port: {number: 80}}}]";

#[test]
fn https_is_ended_with_the_named_secret() {
    let pems = pems();
    let parts = [("tls.crt", pems.chain.as_str()), ("tls.key", &pems.key)];
    let simple = "mode: SIMPLE, credentialName: shop, minProtocolVersion: TLSV1_3, cipherSuites: [X]";
    let found = view(&[
        gate(&server("HTTPS", "'*.Shop.com', 'default/a.shop.com'", simple)),
        rules("a", "a.shop.com", &format!("http: [{{{TO_A}}}]")),
        secret("shop", "istio-system", &parts),
        secret("other", "istio-system", &parts),
    ]);
    let listener = &found.proxy().listeners[0];
    assert_eq!((listener.name.as_str(), &listener.kind), ("gateway/443", &ListenerKind::GatewayHttp));
    let tls = &listener.tls[0];
    assert_eq!(tls.hosts, ["*.shop.com", "a.shop.com"]);
    assert_eq!((tls.mode, tls.protocol), (TlsMode::Simple, Protocol::Http));
    assert_eq!((tls.min_version, tls.max_version), (Some(TlsVersion::V1_3), None));
    assert_eq!(
        (tls.credentials.as_slice(), tls.cipher_suites.as_slice()),
        (["istio-system/shop".to_owned()].as_slice(), ["X".to_owned()].as_slice())
    );
    assert_eq!(tls.origin, "Gateway/istio-system/shop spec.servers[0]");
    assert_eq!(
        found.names_of("Credential"),
        ["istio-system/shop"],
        "only what is named leaves the controller"
    );
    assert_eq!(found.http("gateway/443/a.shop.com").len(), 1);
}

#[test]
fn a_missing_secret_takes_down_its_own_server_only() {
    let pems = pems();
    let parts = [("tls.crt", pems.chain.as_str()), ("tls.key", &pems.key)];
    let servers = [
        server("HTTPS", "a.shop.com", "mode: SIMPLE, credentialName: gone"),
        server("HTTPS", "b.shop.com", "mode: MUTUAL, credentialName: shop"),
        server("HTTPS", "c.shop.com", "mode: SIMPLE, credentialName: shop"),
    ];
    let found = view(&[gate(&servers.join(", ")), secret("shop", "istio-system", &parts)]);
    assert_eq!(found.proxy().listeners[0].tls.len(), 3);
    assert_eq!(found.names_of("Credential"), ["istio-system/shop"]);
    let told: Vec<_> =
        found.0.diagnostics.iter().map(|it| (it.field.as_str(), it.message.as_str())).collect();
    assert_eq!(
        told,
        [
            ("spec.servers[0].tls.credentialName", "there is no Secret `gone` in istio-system"),
            (
                "spec.servers[1].tls.credentialName",
                "Secret/istio-system/shop has no CA (`ca.crt` or `cacert`)"
            ),
        ]
    );
}

#[test]
fn several_certificates_and_a_ca_of_its_own() {
    let pems = pems();
    let parts = [("tls.crt", pems.chain.as_str()), ("tls.key", &pems.key)];
    let found = view(&[
        gate(&server(
            "HTTPS",
            "a.shop.com",
            "mode: OPTIONAL_MUTUAL, credentialNames: [rsa, ecdsa], caCertCredentialName: clients, subjectAltNames: [b]",
        )),
        secret("rsa", "istio-system", &parts),
        secret("ecdsa", "istio-system", &parts),
        secret("clients", "istio-system", &[("ca.crt", &pems.ca)]),
    ]);
    let tls = &found.proxy().listeners[0].tls[0];
    let names = ["istio-system/rsa+istio-system/clients", "istio-system/ecdsa+istio-system/clients"];
    assert_eq!(
        (tls.mode, tls.credentials.as_slice()),
        (TlsMode::OptionalMutual, names.map(str::to_owned).as_slice())
    );
    assert_eq!(tls.subject_alt_names, ["b"]);
    assert!(!found.credential(names[0]).ca.is_empty());
}

#[test]
fn tls_is_passed_on_by_server_name() {
    let found = view(&[
        gate(&server("TLS", "'*.shop.com'", "mode: PASSTHROUGH")),
        rules(
            "a",
            "'*.shop.com'",
            &format!(
                "tls: [{{match: [{{sniHosts: [a.shop.com, x.shop.com], port: 443}}], {TO_A}}}, {{match: [{{sniHosts: ['*.shop.com'], port: 444}}], {TO_A}}}]"
            ),
        ),
        rules("b", "b.org", &format!("tls: [{{match: [{{sniHosts: [b.org]}}], {TO_A}}}]")),
    ]);
    assert_eq!(found.proxy().listeners[0].kind, ListenerKind::GatewayTcp);
    assert_eq!(found.names_of("VirtualHost"), ["gateway/443/a.shop.com", "gateway/443/x.shop.com"]);
    let host = found.virtual_host("gateway/443/a.shop.com");
    assert_eq!(
        (host.domains.as_slice(), host.tls.len(), host.tls[0].matches[0].port),
        (["a.shop.com".to_owned()].as_slice(), 1, None)
    );
    assert!(found.names_of("Credential").is_empty());
}

#[test]
fn one_port_ends_some_names_and_passes_others_on() {
    let pems = pems();
    let parts = [("tls.crt", pems.chain.as_str()), ("tls.key", &pems.key)];
    let servers = [
        server("HTTPS", "a.shop.com", "mode: SIMPLE, credentialName: shop"),
        server("TLS", "b.shop.com", "mode: PASSTHROUGH"),
        server("TLS", "c.shop.com", "mode: SIMPLE, credentialName: shop"),
        server("TCP", "d.shop.com", "mode: ISTIO_MUTUAL"),
    ];
    let found = view(&[
        gate(&servers.join(", ")),
        rules("a", "a.shop.com", &format!("http: [{{{TO_A}}}]")),
        rules("b", "b.shop.com", &format!("tls: [{{match: [{{sniHosts: [b.shop.com]}}], {TO_A}}}]")),
        rules("c", "c.shop.com, d.shop.com", &format!("tcp: [{{{TO_A}}}]")),
        secret("shop", "istio-system", &parts),
    ]);
    let listener = &found.proxy().listeners[0];
    assert_eq!(listener.kind, ListenerKind::GatewayHttp);
    let modes: Vec<_> = listener.tls.iter().map(|it| (it.mode, it.protocol)).collect();
    let expected = [
        (TlsMode::Simple, Protocol::Http),
        (TlsMode::Passthrough, Protocol::Tcp),
        (TlsMode::Simple, Protocol::Tcp),
        (TlsMode::IstioMutual, Protocol::Tcp),
    ];
    assert_eq!(modes, expected);
    let kinds = |domain: &str| {
        let host = found.virtual_host(&format!("gateway/443/{domain}.shop.com"));
        (host.http.len(), host.tls.len(), host.tcp.len())
    };
    assert_eq!(["a", "b", "c", "d"].map(kinds), [(1, 0, 0), (0, 1, 0), (0, 0, 1), (0, 0, 1)]);
}

#[test]
fn spelled_destinations_are_all_there() {
    let rule = istio("DestinationRule", "a", "{host: a, subsets: [{name: v1, labels: {version: v1}}]}");
    let found = view(&[gate(&server("TLS", "'*.local'", "mode: AUTO_PASSTHROUGH")), rule]);
    assert_eq!(found.names_of("Destination"), [format!("outbound|80|v1|{A}"), format!("outbound|80||{A}")]);
}

#[test]
fn a_gateway_accepts_the_proxy_protocol_where_it_says_so() {
    let servers = "{port: {number: 80, protocol: HTTP, name: x}, hosts: ['*']}";
    assert!(!view(&[gate(servers)]).proxy().listeners[0].proxy_protocol);
    let accepting = gate(servers).replace(
        "namespace: istio-system",
        "namespace: istio-system, annotations: {dromon.io/proxy-protocol: accept}",
    );
    assert!(view(&[accepting]).proxy().listeners[0].proxy_protocol);
}
