//! Bookinfo's files, translated for each of its proxies and compared with what was looked over and kept under
//! `tests/golden/`. `UPDATE_GOLDEN=1 cargo test -p dromon-k8s` writes them anew.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

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
        });
    }
    set
}

fn address(net: u8, at: usize) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(127, net, 0, u8::try_from(at + 1).expect("few processes")))
}

fn gateway() -> ProxyIdentity {
    let ports = [(8080, SocketAddr::from(([127, 0, 0, 1], 8080)))].into();
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
