//! A mesh of 1,000 services and 10,000 endpoints is indexed and translated while nobody waits for it.

use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use dromon_core::config::model::{Kind, Resource};
use dromon_k8s::translate::{GatewayIdentity, GatewaySelection, ProxyRole, SidecarIdentity};
use dromon_k8s::{
    Mesh, ObjectSet, ProxyIdentity, View, Workload, WorkloadPort, analyze, mesh, parse, translate,
};

const SERVICES: usize = 1_000;
const ENDPOINTS_EACH: usize = 10;

fn world() -> ObjectSet {
    let mut text = String::new();
    for at in 0..SERVICES {
        write!(
            text,
            "apiVersion: v1\nkind: Service\nmetadata: {{name: s{at}}}\nspec: {{selector: {{app: s{at}}}, ports: [{{name: http, port: 80, targetPort: 8080}}]}}\n---\n\
             apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {{name: s{at}}}\nspec: {{host: s{at}, subsets: [{{name: v0, labels: {{version: v0}}}}, {{name: v1, labels: {{version: v1}}}}]}}\n---\n\
             apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{name: s{at}}}\nspec: {{hosts: [s{at}.example], gateways: [gate], http: [{{match: [{{uri: {{prefix: /a}}}}], route: [{{destination: {{host: s{at}, subset: v0}}, weight: 90}}, {{destination: {{host: s{at}, subset: v1}}, weight: 10}}]}}, {{route: [{{destination: {{host: s{at}}}}}]}}]}}\n---\n"
        )
        .expect("a text takes all");
    }
    text += "apiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata: {name: gate}\nspec: {servers: [{port: {number: 80, protocol: HTTP}, hosts: ['*']}]}\n";
    let parsed = parse::text("scale.yaml", &text);
    assert_eq!(parsed.diagnostics, []);
    let mut set = ObjectSet::new();
    parsed.objects.into_iter().for_each(|it| set.insert(it));
    for at in 0..SERVICES * ENDPOINTS_EACH {
        let (service, copy) = (at / ENDPOINTS_EACH, at % ENDPOINTS_EACH);
        set.insert_workload(Workload {
            name: format!("s{service}-{copy}"),
            namespace: "default".to_owned(),
            owner: format!("s{service}"),
            labels: [
                ("app".to_owned(), format!("s{service}")),
                ("version".to_owned(), format!("v{}", copy % 2)),
            ]
            .into(),
            address: IpAddr::V4(Ipv4Addr::from_bits(0x0a00_0000 + u32::try_from(at).expect("few"))),
            ports: vec![WorkloadPort {
                name: "http".to_owned(),
                number: 8080,
                protocol: mesh::protocol::of_port("http", None, 8080),
            }],
            service_account: "default".to_owned(),
            ready: true,
            locality: String::new(),
            other_addresses: Vec::new(),
            mtls: true,
        });
    }
    set
}

fn identity(role: ProxyRole) -> ProxyIdentity {
    ProxyIdentity {
        name: "p".to_owned(),
        namespace: "default".to_owned(),
        owner: "p".to_owned(),
        labels: Default::default(),
        service_account: "default".to_owned(),
        role,
    }
}

fn count(view: &View, kind: Kind) -> usize {
    view.resources.iter().filter(|it| it.kind() == kind).count()
}

/// Time that this thread has spent on a processor: other work on the machine does not count.
fn on_cpu() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").expect("a Linux kernel with schedstat");
    let nanos = text.split(' ').next().and_then(|it| it.parse().ok()).expect("nanoseconds come first");
    Duration::from_nanos(nanos)
}

/// The shortest of several runs, in time on a processor.
fn shortest<T>(mut work: impl FnMut() -> T) -> (Duration, T) {
    let timed = (0..5).map(|_| {
        let start = on_cpu();
        let result = work();
        (on_cpu() - start, result)
    });
    timed.min_by_key(|(time, _)| *time).expect("five runs")
}

#[test]
fn a_thousand_services() {
    let set = world();
    let (indexed, mesh) = shortest(|| Mesh::new(&set));
    let ports = [(80.into(), SocketAddr::from(([127, 0, 0, 1], 8080)))].into();
    let gateway = identity(ProxyRole::Gateway(GatewayIdentity { selection: GatewaySelection::Every, ports }));
    let (gateway_time, view) = shortest(|| translate(&mesh, &gateway));
    assert_eq!((count(&view, Kind::VirtualHost), count(&view, Kind::Destination)), (SERVICES, 3 * SERVICES));
    let endpoints: usize = view
        .resources
        .iter()
        .map(|it| match it {
            Resource::Endpoints(it) => it.endpoints.len(),
            _ => 0,
        })
        .sum();
    assert_eq!(endpoints, 2 * SERVICES * ENDPOINTS_EACH, "each once for its service and once for its subset");
    let localhost = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let sidecar = identity(ProxyRole::Sidecar(SidecarIdentity {
        address: localhost,
        application: localhost,
        ports: Vec::new(),
        outbound: None,
        captured: Vec::new(),
        service_addresses: Default::default(),
        clients: Vec::new(),
    }));
    let (sidecar_time, view) = shortest(|| translate(&mesh, &sidecar));
    assert_eq!((count(&view, Kind::Host), count(&view, Kind::Destination)), (SERVICES, SERVICES));
    let (analyzed, findings) = shortest(|| analyze::analyze(&set));
    assert_eq!(findings, []);
    println!("index {indexed:?}, gateway {gateway_time:?}, sidecar {sidecar_time:?}, analysis {analyzed:?}");
    // The looser bound without optimization still catches a wrong order of growth.
    let bound = Duration::from_millis(if cfg!(debug_assertions) { 500 } else { 50 });
    assert!(gateway_time < bound, "{gateway_time:?}");
}
