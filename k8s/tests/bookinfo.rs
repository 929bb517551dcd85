//! Bookinfo's files, translated for each of its proxies and compared with what was looked over and kept under
//! `tests/golden/`. `UPDATE_GOLDEN=1 cargo test -p dromon-k8s` writes them anew.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use dromon_core::config::model::{ClientTlsMode, HttpAction, Resource};
use dromon_k8s::api::{Kind, Object};
use dromon_k8s::translate::{GatewayIdentity, GatewaySelection, ProxyRole, ServiceListener, SidecarIdentity};
use serde_json::Value;

use dromon_k8s::{Mesh, ObjectSet, ProxyIdentity, Workload, WorkloadPort, analyze, parse, translate};

fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests").join(name)
}

/// The set of some files, with a workload for each process: 127.77.0.1 and so on, by name.
fn set(files: &[&str]) -> ObjectSet {
    let mut set = ObjectSet::new();
    for file in files {
        let text = std::fs::read_to_string(path("bookinfo").join(file)).expect(file);
        let parsed = parse::text(file, &text);
        assert_eq!(parsed.diagnostics, [], "{file}");
        parsed.objects.into_iter().for_each(|it| set.insert(it));
    }
    let processes: Vec<_> = set.of_kind(Kind::Process).cloned().collect();
    for (at, sourced) in processes.iter().enumerate() {
        let Object::Process(process) = &sourced.object else { continue };
        let port = |it: &dromon_k8s::api::process::ProcessPort| WorkloadPort {
            name: it.name.clone(),
            number: it.container_port,
            protocol: dromon_k8s::mesh::protocol::of_port(&it.name, None, it.container_port),
        };
        set.insert_workload(Workload {
            name: sourced.key.name.clone(),
            namespace: sourced.key.namespace.clone(),
            owner: sourced.key.name.clone(),
            labels: process.meta.labels.clone().unwrap_or_default(),
            address: address(77, at),
            ports: process.spec.ports.iter().map(port).collect(),
            service_account: process.spec.service_account_name.clone().unwrap_or_default(),
            ready: true,
            locality: String::new(),
            other_addresses: Vec::new(),
            mtls: true,
        });
    }
    set
}

fn address(net: u8, at: usize) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(127, net, 0, u8::try_from(at + 1).expect("few processes")))
}

fn gateway() -> ProxyIdentity {
    let ports = [(8080.into(), SocketAddr::from(([127, 0, 0, 1], 8080)))].into();
    ProxyIdentity {
        name: "ingress".to_owned(),
        namespace: "default".to_owned(),
        owner: "ingress".to_owned(),
        labels: [("istio".to_owned(), "ingressgateway".to_owned())].into(),
        service_account: "ingress".to_owned(),
        role: ProxyRole::Gateway(GatewayIdentity { selection: GatewaySelection::ByLabels, ports }),
    }
}

fn sidecar(set: &ObjectSet, name: &str) -> ProxyIdentity {
    let workload = set.workload("default", name).expect(name);
    let application = match workload.address {
        IpAddr::V4(it) => IpAddr::V4(Ipv4Addr::new(127, 78, it.octets()[2], it.octets()[3])),
        other => other,
    };
    ProxyIdentity {
        name: name.to_owned(),
        namespace: "default".to_owned(),
        owner: name.to_owned(),
        labels: workload.labels.clone(),
        service_account: workload.service_account.clone(),
        role: ProxyRole::Sidecar(SidecarIdentity {
            address: workload.address,
            application,
            ports: workload.ports.clone(),
            outbound: Some(SocketAddr::new(workload.address, 15001)),
            captured: Vec::new(),
            service_addresses: Default::default(),
            clients: vec![ServiceListener {
                host: "ratings.default.svc.cluster.local".to_owned(),
                port: 9080,
                address: SocketAddr::new(workload.address, 20001),
            }],
        }),
    }
}

fn golden(name: &str, set: &ObjectSet, identity: &ProxyIdentity) {
    let view = translate(&Mesh::new(set), identity);
    assert_eq!(view.diagnostics, [], "{name}");
    let missing: Vec<&String> = view.missing.iter().collect();
    let content = serde_json::json!({ "resources": view.resources, "missing": missing });
    let text = serde_json::to_string_pretty(&said(content)).expect("a view is JSON") + "\n";
    let path = path("golden").join(format!("{name}.json"));
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        std::fs::write(&path, &text).expect("writable");
    }
    let kept = std::fs::read_to_string(&path).expect("UPDATE_GOLDEN=1 writes it");
    assert!(
        kept == text,
        "{} is out of date: look the difference over, then UPDATE_GOLDEN=1",
        path.display()
    );
}

/// Without what says nothing: null, false, empty texts, lists and maps.
fn said(value: Value) -> Value {
    let says = |it: &Value| match it {
        Value::Null | Value::Bool(false) => false,
        Value::String(it) => !it.is_empty(),
        Value::Array(it) => !it.is_empty(),
        Value::Object(it) => !it.is_empty(),
        _ => true,
    };
    match value {
        Value::Array(items) => Value::Array(items.into_iter().map(said).collect()),
        Value::Object(fields) => {
            let fields = fields.into_iter().map(|(name, it)| (name, said(it)));
            Value::Object(fields.filter(|(_, it)| says(it)).collect())
        }
        other => other,
    }
}

#[test]
fn the_ingress_reaches_the_page_and_nothing_else() {
    let set = set(&["bookinfo.yaml", "bookinfo-gateway.yaml"]);
    assert_eq!(analyze::analyze(&set), []);
    golden("gateway", &set, &gateway());
}

#[test]
fn a_sidecar_knows_all_services() {
    let set = set(&["bookinfo.yaml", "destination-rule-all.yaml"]);
    golden("reviews-v2", &set, &sidecar(&set, "reviews-v2"));
}

/// The sidecar of the caller, with all rules of the sample that concern it laid over `virtual-service-all-v1.yaml`.
fn with_rules(name: &str, caller: &str, file: &str) {
    let set = set(&["bookinfo.yaml", "destination-rule-all.yaml", "virtual-service-all-v1.yaml", file]);
    let worse_than_info = |it: &dromon_k8s::Diagnostic| it.severity != dromon_k8s::Severity::Info;
    let findings: Vec<_> = analyze::analyze(&set).into_iter().filter(worse_than_info).collect();
    // Two rules files of one service: the later one is in force, which is what the sample's steps do.
    assert!(findings.iter().all(|it| it.message.contains("has this object too")), "{findings:#?}");
    golden(name, &set, &sidecar(&set, caller));
}

#[test]
fn jason_sees_version_2() {
    with_rules("reviews-test-v2", "productpage-v1", "virtual-service-reviews-test-v2.yaml");
}

#[test]
fn half_of_the_readers_see_version_3() {
    with_rules("reviews-50-v3", "productpage-v1", "virtual-service-reviews-50-v3.yaml");
}

#[test]
fn jason_waits_for_ratings() {
    with_rules("ratings-test-delay", "reviews-v2", "virtual-service-ratings-test-delay.yaml");
}

#[test]
fn jason_gets_no_ratings() {
    with_rules("ratings-test-abort", "reviews-v2", "virtual-service-ratings-test-abort.yaml");
}

/// Status, weights and faults of a caller's rules for a host, in short.
fn in_short(files: &[&str], caller: &str, host: &str) -> Vec<String> {
    let set = set(files);
    let view = translate(&Mesh::new(&set), &sidecar(&set, caller));
    assert_eq!(view.missing.len(), 0, "{:?}", view.missing);
    let host = format!("{host}.default.svc.cluster.local");
    let rules = view.resources.iter().find_map(|it| match it {
        Resource::VirtualHost(it) if it.name == host => Some(&it.http),
        _ => None,
    });
    let rules = rules.expect("the host has rules").iter();
    rules
        .map(|rule| {
            let HttpAction::Route { destinations } = &rule.action else { panic!("{rule:?}") };
            let shares: Vec<_> =
                destinations.iter().map(|it| format!("{}={}", it.subset, it.weight)).collect();
            let headers: Vec<_> = rule.matches.iter().flat_map(|it| it.headers.keys().cloned()).collect();
            let abort = rule.fault.and_then(|it| it.abort).map(|it| it.status);
            format!("{} {} {abort:?}", headers.join(","), shares.join(" "))
        })
        .collect()
}

#[test]
fn the_other_files_of_the_sample() {
    let base = ["bookinfo.yaml", "destination-rule-reviews.yaml"];
    for (file, expected) in [
        ("virtual-service-reviews-80-20.yaml", vec![" v1=80 v2=20 None"]),
        ("virtual-service-reviews-90-10.yaml", vec![" v1=90 v2=10 None"]),
        ("virtual-service-reviews-v2-v3.yaml", vec![" v2=50 v3=50 None"]),
        ("virtual-service-reviews-v3.yaml", vec![" v3=1 None"]),
        ("virtual-service-reviews-jason-v2-v3.yaml", vec!["end-user v2=1 None", " v3=1 None"]),
    ] {
        assert_eq!(in_short(&[base[0], base[1], file], "productpage-v1", "reviews"), expected, "{file}");
    }
    let files = ["bookinfo.yaml", "destination-rule-all.yaml", "fault-injection-details-v1.yaml"];
    assert_eq!(in_short(&files, "productpage-v1", "details"), [" v1=1 Some(555)", " v1=1 None"]);
}

#[test]
fn tls_to_the_outside_is_originated() {
    let set = set(&["bookinfo.yaml", "egress-rule-google-apis.yaml"]);
    let view = translate(&Mesh::new(&set), &sidecar(&set, "details-v1"));
    assert_eq!(view.diagnostics, []);
    let is_it = |it: &&Resource| it.name() == "outbound|443||www.googleapis.com";
    let found = view.resources.iter().filter(is_it).find_map(|it| match it {
        Resource::Destination(it) => it.tls.as_ref(),
        _ => None,
    });
    let tls = found.expect("TLS settings");
    assert_eq!(tls.mode, ClientTlsMode::Simple);
    assert!(
        tls.credential.is_empty() && tls.sni.is_empty(),
        "the system's roots, and the host that was asked for"
    );
    let field = "spec.trafficPolicy.portLevelSettings[0].tls";
    assert!(
        tls.origin.starts_with("DestinationRule/default/") && tls.origin.ends_with(field),
        "{}",
        tls.origin
    );
}
