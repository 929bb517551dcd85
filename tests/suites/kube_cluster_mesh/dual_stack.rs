//! Addresses of both families: a Service that has both, one of IPv6 alone, and the pod behind them at its own; by name and by address,
//! in plaintext, under STRICT and by a rule.

use std::net::{IpAddr, SocketAddr};

use dromon_tests::eventually;
use dromon_tests::http::get;
use dromon_tests::kube::mesh::{ETCD, Mesh};
use serde_json::Value;

pub const NAMESPACE: &str = "dual";

const SERVER: &str = "
apiVersion: v1
kind: Service
metadata: {name: both}
spec:
  ipFamilyPolicy: RequireDualStack
  ports: [{name: http, port: 80, targetPort: 2379}]
  selector: {app: server}
---
apiVersion: v1
kind: Service
metadata: {name: six}
spec:
  ipFamilies: [IPv6]
  ports: [{name: http, port: 80, targetPort: 2379}]
  selector: {app: server}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: server}
spec:
  selector: {matchLabels: {app: server}}
  template:
    metadata: {labels: {app: server}}
    spec:
      containers:
      - name: etcd
        image: IMAGE
        imagePullPolicy: Never
        args: [--data-dir=/tmp/data, --unsafe-no-fsync, '--listen-client-urls=http://[::]:2379', --advertise-client-urls=http://127.0.0.1:2379]
        readinessProbe: {grpc: {port: 2379}, periodSeconds: 1}
";

const STRICT: &str = "
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: default}
spec: {mtls: {mode: STRICT}}
";

const TEAPOT: &str = "
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: both}
spec:
  hosts: [both]
  http: [{fault: {abort: {percentage: {value: 100}, httpStatus: 418}}, route: [{destination: {host: both}}]}]
";

pub fn run(mesh: &Mesh) {
    mesh.namespace(NAMESPACE);
    if !mesh.node.is_dual() {
        dromon_tests::skip("kube_cluster_mesh", "IPv6 in pods: this machine has none, or no ip6tables");
        return;
    }
    mesh.kubectl().wait(&["serviceaccount", "default", "-n", NAMESPACE], |_| Some(()));
    mesh.apply(NAMESPACE, &SERVER.replace("IMAGE", ETCD));
    mesh.asker(NAMESPACE, "asker");
    mesh.rolled_out(NAMESPACE, &["server"]);
    let pod = mesh.pods(NAMESPACE, "app=server").pop().expect("a pod");
    let server = SocketAddr::new(ipv6(&pod["status"]["podIPs"]), 2379);
    let service = mesh.kubectl().get(&["service", "both", "-n", NAMESPACE]).expect("the service is there");
    let cluster = format!("http://[{}]/version", ipv6(&service["spec"]["clusterIPs"]));
    let by_service: [&[&str]; 4] = [
        &[&cluster],
        &["-6", "http://both/version"],
        &["-4", "http://both/version"],
        &["http://six/version"],
    ];

    answers(mesh, &[&format!("http://{server}/version")], 200);
    by_service.iter().for_each(|it| answers(mesh, it, 200));
    let plainly = || mesh.node.inside(|| get(server, "/version", &[]).is_ok_and(|it| it.status == 200));
    assert!(plainly(), "{server} takes plaintext");
    mesh.apply(NAMESPACE, STRICT);
    eventually("plaintext to be refused at the pod's other address", || (!plainly()).then_some(()));
    by_service.iter().for_each(|it| answers(mesh, it, 200));
    mesh.apply(NAMESPACE, TEAPOT);
    by_service[..3].iter().for_each(|it| answers(mesh, it, 418));
}

/// The first IPv6 address of a list, of texts or of objects with an `ip`.
fn ipv6(list: &Value) -> IpAddr {
    let mut all = list.as_array().into_iter().flatten().filter_map(|it| it["ip"].as_str().or(it.as_str()));
    let found = all.find(|it| it.contains(':')).unwrap_or_else(|| panic!("no address of IPv6: {list}"));
    found.parse().expect("an address")
}

/// Waits until the asker is answered so.
fn answers(mesh: &Mesh, arguments: &[&str], status: u16) {
    let mut last = (0, String::new());
    let start = std::time::Instant::now();
    while start.elapsed() < dromon_tests::DEADLINE {
        last = mesh.ask(NAMESPACE, "asker", arguments);
        if last.0 == status && (status != 200 || last.1.contains("etcdserver")) {
            return;
        }
    }
    panic!("{arguments:?}: {status} expected, {last:?}\n{}", mesh.state(NAMESPACE));
}
