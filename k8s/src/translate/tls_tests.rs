use dromon_core::config::model::{
    ClientTls, ClientTlsMode, Http2Keepalive, ListenerKind, MtlsMode, Protocol, ProxyProtocol, Resource,
    TlsMode, TlsVersion,
};

use crate::objects::ObjectSet;
use crate::testing::{Seen, gateway, pems, secret, seen, set, sidecar, workload};
use crate::translate::{ProxyIdentity, ProxyRole};

const A: &str = "a.default.svc.cluster.local";

fn object(api: &str, kind: &str, name: &str, spec: &str) -> String {
    format!("apiVersion: {api}\nkind: {kind}\nmetadata: {{name: {name}}}\nspec: {spec}\n---\n")
}

fn istio(kind: &str, name: &str, spec: &str) -> String {
    object("networking.istio.io/v1", kind, name, spec)
}

fn peers(name: &str, spec: &str) -> String {
    object("security.istio.io/v1", "PeerAuthentication", name, spec)
}

/// Service `a` (http 80 → 8080) with two versions of two accounts, and more objects.
fn world(more: &[String]) -> ObjectSet {
    let service =
        "{selector: {app: a}, clusterIP: 10.96.0.1, ports: [{name: http, port: 80, targetPort: 8080}]}";
    let mut set = set(&format!("{}{}", object("v1", "Service", "a", service), more.concat()));
    for (at, version) in ["v1", "v2"].iter().enumerate() {
        let address = format!("10.0.0.{}", at + 1);
        workload(&mut set, &format!("a-{version}"), &[("app", "a"), ("version", version)], &address, 8080);
    }
    let mut second = set.workload("default", "a-v2").expect("just inserted").clone();
    second.service_account = "second".to_owned();
    set.insert_workload(second);
    set
}

fn client(more: &[String]) -> Seen {
    seen(&world(more), &sidecar(&[("app", "client")]))
}

fn tls(found: &Seen, subset: &str) -> ClientTls {
    found.destination(A, 80, subset).tls.clone().expect("TLS settings")
}

/// `address mtls identity` of a destination's endpoints.
fn mtls(found: &Seen, host: &str, port: u16) -> Vec<String> {
    let name = format!("outbound|{port}||{host}");
    let endpoints = found.0.resources.iter().find_map(|it| match it {
        Resource::Endpoints(it) if it.name == name => Some(&it.endpoints),
        _ => None,
    });
    let shown =
        |it: &dromon_core::config::model::Endpoint| format!("{} {} {}", it.address, it.mtls, it.identity);
    endpoints.expect("endpoints").iter().map(shown).collect()
}

#[test]
fn services_of_the_mesh_get_mutual_tls_by_themselves() {
    let found = client(&[]);
    let accounts = ["default", "second"].map(|it| format!("spiffe://cluster.local/ns/default/sa/{it}"));
    let settings = tls(&found, "");
    assert_eq!((settings.mode, settings.identities.as_slice()), (ClientTlsMode::Auto, accounts.as_slice()));
    let [one, two] = &accounts;
    assert_eq!(mtls(&found, A, 80), [format!("10.0.0.1 true {one}"), format!("10.0.0.2 true {two}")]);
    assert_eq!(found.proxy().trust_domain, "cluster.local");
}

#[test]
fn without_automatic_mutual_tls_only_rules_ask_for_it() {
    let off = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: dromon, namespace: istio-system}\ndata: {mesh: 'enableAutoMtls: false, trustDomain: x.org'}\n---\n".replace("'enableAutoMtls: false, trustDomain: x.org'", "\"enableAutoMtls: false\\ntrustDomain: x.org\"");
    assert!(client(std::slice::from_ref(&off)).destination(A, 80, "").tls.is_none());
    let rule = istio("DestinationRule", "a", "{host: a, trafficPolicy: {tls: {mode: ISTIO_MUTUAL}}}");
    let found = client(&[off, rule]);
    assert_eq!(tls(&found, "").identities[0], "spiffe://x.org/ns/default/sa/default");
}

#[test]
fn the_oldest_version_between_sidecars_is_the_meshs_choice() {
    let chosen = |version: &str| {
        let settings = format!("meshMTLS: {{minProtocolVersion: {version}}}");
        let map = format!(
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: dromon, namespace: istio-system}}\ndata: {{mesh: '{settings}'}}\n---\n"
        );
        client(&[map]).proxy().mesh_min_version
    };
    assert_eq!(chosen("TLSV1_2"), Some(TlsVersion::V1_2));
    assert_eq!(chosen("TLSV1_3"), Some(TlsVersion::V1_3));
    assert_eq!((chosen("TLS_AUTO"), client(&[]).proxy().mesh_min_version), (None, None));
}

#[test]
fn a_port_without_mutual_tls_is_spoken_to_in_plaintext() {
    let off = peers("a", "{selector: {matchLabels: {version: v1}}, portLevelMtls: {8080: {mode: DISABLE}}}");
    let found = mtls(&client(&[off]), A, 80);
    assert!(found[0].starts_with("10.0.0.1 false") && found[1].starts_with("10.0.0.2 true"), "{found:?}");
}

#[test]
fn what_has_no_sidecar_is_spoken_to_in_plaintext() {
    let mut set = world(&[]);
    let mut bare = set.workload("default", "a-v1").expect("there").clone();
    bare.mtls = false;
    set.insert_workload(bare);
    let found = mtls(&seen(&set, &sidecar(&[])), A, 80);
    assert!(found[0].starts_with("10.0.0.1 false") && found[1].starts_with("10.0.0.2 true"), "{found:?}");
}

#[test]
fn rules_of_port_subset_and_host_in_that_order() {
    let rule = "{host: a, trafficPolicy: {tls: {mode: DISABLE}, portLevelSettings: [{port: {number: 81}, tls: {mode: SIMPLE}}]}, subsets: [{name: v1, labels: {version: v1}, trafficPolicy: {tls: {mode: ISTIO_MUTUAL, sni: X.y, subjectAltNames: ['spiffe://o/ns/a/sa/b']}}}, {name: v2, labels: {version: v2}, trafficPolicy: {portLevelSettings: [{port: {number: 80}, loadBalancer: {simple: RANDOM}}]}}, {name: v3, labels: {version: v3}}]}";
    let found = client(&[
        istio("DestinationRule", "a", rule),
        istio(
            "VirtualService",
            "a",
            "{hosts: [a], http: [{route: [{destination: {host: a, subset: v1}, weight: 1}, {destination: {host: a, subset: v2}, weight: 1}, {destination: {host: a, subset: v3}, weight: 1}]}]}",
        ),
    ]);
    let top = tls(&found, "");
    assert_eq!(
        (top.mode, &*top.origin),
        (ClientTlsMode::Disable, "DestinationRule/default/a spec.trafficPolicy.tls")
    );
    let v1 = tls(&found, "v1");
    assert_eq!((v1.mode, &*v1.sni), (ClientTlsMode::IstioMutual, "x.y"));
    assert_eq!(v1.identities, ["spiffe://o/ns/a/sa/b"]);
    assert_eq!(v1.origin, "DestinationRule/default/a spec.subsets[0].trafficPolicy.tls");
    // A port's settings replace what stands above them, also where they say nothing of TLS.
    assert_eq!(tls(&found, "v2").mode, ClientTlsMode::Auto);
    assert_eq!(tls(&found, "v3").mode, ClientTlsMode::Disable);
}

#[test]
fn tls_is_originated_for_what_lies_outside() {
    let entry = "{hosts: [www.example.com], location: MESH_EXTERNAL, resolution: DNS, subjectAltNames: [san.example.com], ports: [{number: 80, name: http, protocol: HTTP, targetPort: 443}, {number: 443, name: https, protocol: HTTPS}]}";
    let rule = "{host: www.example.com, trafficPolicy: {portLevelSettings: [{port: {number: 80}, tls: {mode: SIMPLE, sni: www.example.com}}]}}";
    let found = client(&[istio("ServiceEntry", "e", entry), istio("DestinationRule", "e", rule)]);
    let origination = found.destination("www.example.com", 80, "");
    let settings = origination.tls.as_ref().expect("TLS");
    assert_eq!((settings.mode, &*settings.credential), (ClientTlsMode::Simple, ""));
    assert_eq!(settings.subject_alt_names, ["san.example.com"]);
    assert_eq!(found.endpoints("www.example.com", 80, ""), ["www.example.com:443"]);
    assert!(found.destination("www.example.com", 443, "").tls.is_none(), "TLS of the application's own");
}

#[test]
fn credentials_of_destinations_travel_to_who_names_them() {
    let pems = pems();
    let parts = [("tls.crt", pems.chain.as_str()), ("tls.key", &pems.key), ("ca.crt", &pems.ca)];
    let rule = |name: &str| {
        let spec = format!("{{host: a, trafficPolicy: {{tls: {{mode: MUTUAL, credentialName: {name}}}}}}}");
        istio("DestinationRule", "a", &spec)
    };
    let found = client(&[rule("c"), secret("c", "default", &parts), secret("unnamed", "default", &parts)]);
    assert_eq!(found.names_of("Credential"), ["default/c"]);
    assert_eq!(tls(&found, "").credential, "default/c");
    assert!(!found.credential("default/c").ca.is_empty());
    let missing = client(&[rule("none")]);
    assert!(missing.names_of("Credential").is_empty());
    assert_eq!(tls(&missing, "").credential, "default/none", "never plaintext, never another certificate");
    let told: Vec<_> =
        missing.0.diagnostics.iter().map(|it| (it.object.as_str(), it.message.as_str())).collect();
    assert_eq!(told, [("DestinationRule/default/a", "there is no Secret `none` in default")]);
}

#[test]
fn names_that_are_no_workloads_let_nobody_in() {
    let rule = |names: &str| {
        let tls = format!("{{mode: ISTIO_MUTUAL, subjectAltNames: [{names}]}}");
        client(&[istio("DestinationRule", "a", &format!("{{host: a, trafficPolicy: {{tls: {tls}}}}}"))])
    };
    let found = rule("reviews.example, a.default");
    assert_eq!(tls(&found, "").identities, ["spiffe:///nobody"], "no identities would be anyone of the mesh");
    let field = "spec.trafficPolicy.tls.subjectAltNames";
    let told = found.0.diagnostics.iter().find(|it| it.field == field).expect("a diagnostic");
    assert_eq!(told.object, "DestinationRule/default/a");
    assert!(told.message.starts_with("reviews.example, a.default names no workload"), "{}", told.message);
    let mixed = rule("reviews.example, 'spiffe://cluster.local/ns/default/sa/second'");
    assert_eq!(tls(&mixed, "").identities, ["spiffe://cluster.local/ns/default/sa/second"]);
}

#[test]
fn names_of_a_service_entry_that_are_no_workloads_let_nobody_in() {
    let entry = |names: &str| {
        let spec = format!(
            "{{hosts: [db.example], location: MESH_EXTERNAL, resolution: DNS, subjectAltNames: [{names}], ports: [{{number: 80, name: http, protocol: HTTP}}]}}"
        );
        let rule = "{host: db.example, trafficPolicy: {tls: {mode: ISTIO_MUTUAL}}}";
        client(&[istio("ServiceEntry", "e", &spec), istio("DestinationRule", "e", rule)])
    };
    let tls = |found: &Seen| found.destination("db.example", 80, "").tls.clone().expect("TLS settings");
    let found = entry("db.example");
    assert_eq!(tls(&found).identities, ["spiffe:///nobody"], "no identities would be anyone of the mesh");
    let told = found.0.diagnostics.iter().find(|it| it.field == "spec.trafficPolicy.tls.mode").expect("told");
    assert_eq!(told.object, "DestinationRule/default/e");
    assert!(told.message.contains("ServiceEntry (db.example) name no workload"), "{}", told.message);
    let named = entry("db.example, 'spiffe://other/ns/db/sa/db'");
    assert_eq!(tls(&named).identities, ["spiffe://other/ns/db/sa/db"]);
    assert!(named.0.diagnostics.is_empty(), "{:?}", named.0.diagnostics);
    assert!(tls(&entry("")).identities.is_empty(), "none named is anyone of the mesh, as in Istio");
}

#[test]
fn a_rule_of_another_namespace_chooses_no_credential() {
    let pems = pems();
    let parts = [("tls.crt", pems.chain.as_str()), ("tls.key", &pems.key)];
    let rule =
        istio("DestinationRule", "a", "{host: a, trafficPolicy: {tls: {mode: MUTUAL, credentialName: c}}}");
    let mut identity = sidecar(&[]);
    identity.namespace = "other".to_owned();
    let set = world(&[rule, secret("c", "other", &parts), secret("c", "default", &parts)]);
    let found = seen(&set, &identity);
    assert!(found.names_of("Credential").is_empty());
    assert!(found.0.diagnostics[0].message.contains("another namespace"), "{:?}", found.0.diagnostics);
}

#[test]
fn protocols_of_destinations() {
    let rule = "{host: a, trafficPolicy: {proxyProtocol: {version: V2}, connectionPool: {http: {h2UpgradePolicy: UPGRADE, useClientProtocol: true, maxConcurrentStreams: 7, http2KeepAlive: {interval: 2s, timeout: 1s}}}}}";
    let found = client(&[istio("DestinationRule", "a", rule)]);
    let destination = found.destination(A, 80, "");
    assert!(destination.h2_upgrade && destination.use_client_protocol);
    assert_eq!(destination.pool.max_concurrent_streams, Some(7));
    let pings = Http2Keepalive { interval_ms: 2_000, timeout_ms: 1_000 };
    assert_eq!(destination.pool.http2_keepalive, Some(pings));
    assert_eq!(destination.proxy_protocol, Some(ProxyProtocol::V2));
    let plain = client(&[]);
    assert!(
        !plain.destination(A, 80, "").h2_upgrade && plain.destination(A, 80, "").proxy_protocol.is_none()
    );
}

fn inbound_modes(objects: &[String], labels: &[(&str, &str)]) -> Vec<(u16, MtlsMode)> {
    let found = seen(&world(objects), &sidecar(labels));
    let mode = |it: &dromon_core::config::model::Listener| match &it.kind {
        ListenerKind::Inbound { mtls, .. } => Some((it.logical_port, *mtls)),
        _ => None,
    };
    found.proxy().listeners.iter().filter_map(mode).collect()
}

#[test]
fn inbound_ports_take_what_peer_authentications_say() {
    let labels = [("app", "a"), ("version", "v1")];
    assert_eq!(inbound_modes(&[], &labels), [(8080, MtlsMode::Permissive)]);
    let strict = peers("n", "{mtls: {mode: STRICT}}");
    assert_eq!(inbound_modes(std::slice::from_ref(&strict), &labels), [(8080, MtlsMode::Strict)]);
    let port = peers("w", "{selector: {matchLabels: {app: a}}, portLevelMtls: {8080: {mode: DISABLE}}}");
    assert_eq!(inbound_modes(&[strict, port], &labels), [(8080, MtlsMode::Disable)]);
}

#[test]
fn pods_of_a_headless_service_are_reached_one_by_one() {
    let service =
        "{selector: {app: a}, clusterIP: None, ports: [{name: tcp-db, port: 5432, targetPort: 8080}]}";
    let found = client(&[object("v1", "Service", "db", service)]);
    let pod = "a-v2.db.default.svc.cluster.local";
    let host = found.host(pod);
    assert_eq!(host.domains, [pod, "a-v2.db.default.svc", "a-v2.db.default", "a-v2.db"]);
    assert_eq!(host.addresses, ["10.0.0.2"]);
    let ports: Vec<_> = host.ports.iter().map(|it| (it.number, it.protocol)).collect();
    assert_eq!(ports, [(5432, Protocol::Tcp), (8080, Protocol::Tcp)]);
    let second = "spiffe://cluster.local/ns/default/sa/second";
    assert_eq!(mtls(&found, pod, 8080), [format!("10.0.0.2 true {second}")]);
    assert_eq!(found.destination(pod, 5432, "").tls.as_ref().expect("TLS").identities, [second]);
    assert!(found.host("db.default.svc.cluster.local").addresses.is_empty());
}

#[test]
fn a_workload_reaches_itself_at_its_own_address() {
    let mut identity = sidecar(&[("app", "a"), ("version", "v1")]);
    let ProxyRole::Sidecar(role) = &mut identity.role else { panic!("a sidecar") };
    role.address = "10.0.0.1".parse().expect("an address");
    let found = seen(&world(&[]), &identity);
    assert_eq!(found.host("10.0.0.1").addresses, ["10.0.0.1"]);
    assert_eq!(
        mtls(&found, "10.0.0.1", 8080),
        ["10.0.0.1 true spiffe://cluster.local/ns/default/sa/default"]
    );
}

#[test]
fn tls_routes_of_sidecars() {
    let entry =
        "{hosts: ['*.example.com'], resolution: NONE, ports: [{number: 443, name: tls, protocol: TLS}]}";
    let rules = "{hosts: ['*.example.com'], tls: [{match: [{sniHosts: [a.example.com], port: 443}], route: [{destination: {host: a, port: {number: 80}}}]}]}";
    let found = client(&[istio("ServiceEntry", "e", entry), istio("VirtualService", "e", rules)]);
    let host = found.virtual_host("*.example.com");
    assert_eq!(
        (host.tls[0].matches[0].port, host.tls[0].matches[0].sni_hosts[0].as_str()),
        (Some(443), "a.example.com")
    );
    assert_eq!(host.tls[0].destinations[0].host, A);
    assert!(host.tcp.is_empty(), "what no rule takes is closed");
    let pure = client(&[istio("VirtualService", "e", &rules.replace("'*.example.com'", "a.example.com"))]);
    let ports: Vec<_> = pure.host("a.example.com").ports.iter().map(|it| (it.number, it.protocol)).collect();
    assert!(ports.contains(&(443, Protocol::Tls)), "{ports:?}");
}

mod gateways;
