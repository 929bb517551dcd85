use super::check;

fn rule(tls: &str, expected: &[&str]) {
    let spec = format!("{{host: a, trafficPolicy: {{tls: {{{tls}}}}}}}");
    check("networking.istio.io/v1", "DestinationRule", &spec, expected);
}

#[test]
fn tls_of_destinations() {
    rule("mode: ISTIO_MUTUAL", &[]);
    rule("mode: SIMPLE, sni: a.example.com, caCertificates: system", &[]);
    rule("mode: MUTUAL, credentialName: a", &[]);
    rule("mode: MUTUAL", &["Error spec.trafficPolicy.tls.credentialName: needs a certificate"]);
    rule(
        "mode: MUTUAL, clientCertificate: /a, privateKey: /b",
        &["Warning spec.trafficPolicy.tls.clientCertificate: not read from files"],
    );
    rule(
        "mode: SIMPLE, caCertificates: /a",
        &["Warning spec.trafficPolicy.tls.caCertificates: not read from files"],
    );
    rule(
        "mode: SIMPLE, insecureSkipVerify: true",
        &["Warning spec.trafficPolicy.tls.insecureSkipVerify: any certificate"],
    );
    rule(
        "mode: ISTIO_MUTUAL, credentialName: a",
        &["Warning spec.trafficPolicy.tls.credentialName: no effect"],
    );
    rule("mode: SIMPLE, sni: 'https://a'", &["Error spec.trafficPolicy.tls.sni: host name"]);
    rule("mode: SIMPLE, caCrl: /a", &["Warning spec.trafficPolicy.tls.caCrl: not carried out yet"]);
    let spec =
        |version: &str| format!("{{host: a, trafficPolicy: {{proxyProtocol: {{version: {version}}}}}}}");
    check("networking.istio.io/v1", "DestinationRule", &spec("V2"), &[]);
    let expected = ["Error spec.trafficPolicy.proxyProtocol.version: not a version"];
    check("networking.istio.io/v1", "DestinationRule", &spec("V3"), &expected);
}

#[test]
fn tls_of_gateways() {
    let server = |tls: &str, expected: &[&str]| {
        let spec = format!(
            "{{servers: [{{port: {{number: 443, protocol: HTTPS}}, hosts: ['*'], tls: {{{tls}}}}}]}}"
        );
        check("networking.istio.io/v1", "Gateway", &spec, expected);
    };
    let tls = |field: &str| format!("spec.servers[0].tls.{field}");
    server("mode: SIMPLE, credentialName: a, minProtocolVersion: TLSV1_3", &[]);
    server("mode: ISTIO_MUTUAL", &[]);
    server("mode: PASSTHROUGH", &[]);
    server("mode: SIMPLE", &[&format!("Error {}: needs a certificate", tls("credentialName"))]);
    server(
        "mode: SIMPLE, serverCertificate: /a, privateKey: /b",
        &[&format!("Warning {}: not read from files", tls("serverCertificate"))],
    );
    server("credentialName: a", &[&format!("Warning {}: mode Passthrough serves no", tls("credentialName"))]);
    server(
        "mode: SIMPLE, credentialName: a, subjectAltNames: [b]",
        &[&format!("Warning {}: no certificate in mode Simple", tls("subjectAltNames"))],
    );
    let versions = |versions: &str, expected: &str| {
        server(&format!("mode: SIMPLE, credentialName: a, {versions}"), &[expected]);
    };
    versions("minProtocolVersion: TLSV1_1", &format!("Warning {}: not spoken", tls("minProtocolVersion")));
    versions(
        "maxProtocolVersion: TLSV1_0",
        &format!("Error {}: no version is left", tls("maxProtocolVersion")),
    );
    versions("minProtocolVersion: SSL3", &format!("Error {}: not a version", tls("minProtocolVersion")));
    versions(
        "minProtocolVersion: TLSV1_3, maxProtocolVersion: TLSV1_2",
        &format!("Error {}: over", tls("minProtocolVersion")),
    );
}

#[test]
fn tls_routes() {
    let route = |fields: &str, expected: &[&str]| {
        let spec = format!("{{hosts: ['*.a.com'], gateways: [g], tls: [{{{fields}}}]}}");
        check("networking.istio.io/v1", "VirtualService", &spec, expected);
    };
    let to = "route: [{destination: {host: a}}]";
    route(&format!("match: [{{sniHosts: [x.a.com], port: 443}}], {to}"), &[]);
    route(to, &["Error spec.tls[0].match: no server name"]);
    route(
        &format!("match: [{{sniHosts: []}}], {to}"),
        &["Error spec.tls[0].match[0].sniHosts: no server name"],
    );
    route(
        &format!("match: [{{sniHosts: [b.com]}}], {to}"),
        &["Error spec.tls[0].match[0].sniHosts[0]: not among the object's hosts"],
    );
    route("match: [{sniHosts: [x.a.com]}]", &["Error spec.tls[0].route: no destination"]);
}

#[test]
fn peer_authentications() {
    let peer =
        |spec: &str, expected: &[&str]| check("security.istio.io/v1", "PeerAuthentication", spec, expected);
    peer("{mtls: {mode: STRICT}}", &[]);
    peer("{selector: {matchLabels: {app: a}}, portLevelMtls: {80: {mode: DISABLE}}}", &[]);
    peer("{portLevelMtls: {80: {mode: DISABLE}}}", &["Error spec.portLevelMtls: with a selector"]);
    check("security.istio.io/v1beta1", "PeerAuthentication", "{mtls: {mode: PERMISSIVE}}", &[]);
}

#[test]
fn trust_domains() {
    let mesh = |text: &str, refused: bool| {
        let text = format!(
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: dromon, namespace: istio-system}}\ndata: {{mesh: '{text}'}}\n"
        );
        let parsed = crate::parse::text("a.yaml", &text);
        let has = parsed.diagnostics.iter().any(|it| it.message.contains("trust domain"));
        assert_eq!(has, refused, "{:?}", parsed.diagnostics);
    };
    mesh("trustDomain: example.org", false);
    mesh("trustDomain: Example.Org", true);
    mesh("trustDomainAliases: [old.local, a/b]", true);
}

#[test]
fn versions_between_sidecars() {
    let mesh = |text: &str, expected: &[&str]| {
        let text = format!(
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: dromon, namespace: istio-system}}\ndata: {{mesh: 'meshMTLS: {text}'}}\n"
        );
        let parsed = crate::parse::text("a.yaml", &text);
        let fields: Vec<&str> = parsed.diagnostics.iter().map(|it| it.field.as_str()).collect();
        assert_eq!(fields, expected, "{:?}", parsed.diagnostics);
    };
    mesh("{minProtocolVersion: TLSV1_2}", &[]);
    mesh("{minProtocolVersion: TLS_AUTO}", &[]);
    mesh("{minProtocolVersion: TLSV1_1}", &["data.mesh.meshMTLS.minProtocolVersion"]);
    mesh("{ecdhCurves: [P-256]}", &["data.mesh.meshMTLS.ecdhCurves"]);
}
