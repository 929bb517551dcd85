//! The way out: what nobody knows by ALLOW_ANY and REGISTRY_ONLY, changed while the mesh runs, ServiceEntry, ExternalName, and an
//! egress gateway as in Istio's task of that name. The server outside says who has connected to it.

use std::net::{Ipv4Addr, TcpListener, UdpSocket};

use dromon_tests::echo::{self, PEER};
use dromon_tests::kube::mesh::Mesh;
use dromon_tests::{dns, eventually};
use serde_json::json;

pub const NAMESPACE: &str = "egress";

/// Where the server outside is: neither a pod's address nor a service's.
const OUTSIDE: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 80);
const NAMES: &[(&str, Ipv4Addr)] = &[("www.outside.example", OUTSIDE), ("other.outside.example", OUTSIDE)];
const URL: &str = "http://www.outside.example/";

const ENTRY: &str = "
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: outside}
spec:
  hosts: [www.outside.example]
  ports: [{number: 80, name: http, protocol: HTTP}]
  resolution: DNS
";

const EXTERNAL_NAME: &str = "
apiVersion: v1
kind: Service
metadata: {name: elsewhere}
spec: {type: ExternalName, externalName: other.outside.example, ports: [{name: http, port: 80}]}
";

/// As in Istio's task \"Egress Gateways\", for HTTP.
const EGRESS_GATEWAY: &str = "
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: istio-egressgateway}
spec:
  selector: {istio: egressgateway}
  servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: [www.outside.example]}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: direct-outside-through-egress-gateway}
spec:
  hosts: [www.outside.example]
  gateways: [istio-egressgateway, mesh]
  http:
  - match: [{gateways: [mesh], port: 80}]
    route: [{destination: {host: dromon-egress.dromon-system.svc.cluster.local, port: {number: 80}}, weight: 100}]
  - match: [{gateways: [istio-egressgateway], port: 80}]
    route: [{destination: {host: www.outside.example, port: {number: 80}}, weight: 100}]
";

/// The same over mutual TLS up to the gateway, as in Istio's task \"Egress Gateways with TLS Origination\", whose own TLS beyond is left
/// out: the server outside speaks HTTP.
const MUTUAL: &str = "
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: istio-egressgateway}
spec:
  selector: {istio: egressgateway}
  servers:
  - port: {number: 80, name: https-port-for-tls-origination, protocol: HTTPS}
    hosts: [www.outside.example]
    tls: {mode: ISTIO_MUTUAL}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: egressgateway-for-outside}
spec:
  host: dromon-egress.dromon-system.svc.cluster.local
  subsets:
  - name: outside
    trafficPolicy:
      loadBalancer: {simple: ROUND_ROBIN}
      portLevelSettings: [{port: {number: 80}, tls: {mode: ISTIO_MUTUAL, sni: www.outside.example}}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: direct-outside-through-egress-gateway}
spec:
  hosts: [www.outside.example]
  gateways: [istio-egressgateway, mesh]
  http:
  - match: [{gateways: [mesh], port: 80}]
    route: [{destination: {host: dromon-egress.dromon-system.svc.cluster.local, subset: outside, port: {number: 80}}, weight: 100}]
  - match: [{gateways: [istio-egressgateway], port: 80}]
    route: [{destination: {host: www.outside.example, port: {number: 80}}, weight: 100}]
";

pub fn run(mesh: &Mesh) {
    outside(mesh);
    mesh.namespace(NAMESPACE);
    mesh.kubectl().wait(&["serviceaccount", "default", "-n", NAMESPACE], |_| Some(()));
    mesh.asker(NAMESPACE, "asker");
    let own = address(mesh, NAMESPACE, "!app");
    reaches(mesh, URL, &own);

    policy(mesh, "REGISTRY_ONLY");
    is_refused(mesh);
    mesh.apply(NAMESPACE, ENTRY);
    reaches(mesh, URL, &own);
    mesh.apply(NAMESPACE, EXTERNAL_NAME);
    reaches(mesh, "http://elsewhere/", &own);

    // With the egress gateway, nobody comes to the server but its pod.
    mesh.apply(NAMESPACE, EGRESS_GATEWAY);
    let gateway = address(mesh, "dromon-system", "app=dromon-egress");
    reaches(mesh, URL, &gateway);
    mutual(mesh, &gateway);
    mesh.kubectl().run(&["delete", "virtualservice,destinationrule", "--all", "-n", NAMESPACE]);
    reaches(mesh, URL, &own);

    policy(mesh, "ALLOW_ANY");
    mesh.kubectl().run(&["delete", "serviceentry", "--all", "-n", NAMESPACE]);
    reaches(mesh, URL, &own);
    reaches(mesh, &format!("http://{OUTSIDE}:8090/"), &own);
}

/// Sidecars come to the egress gateway by mutual TLS, and nobody without a certificate of the mesh.
fn mutual(mesh: &Mesh, gateway: &str) {
    let at = mesh.service("dromon-system", "dromon-egress", 80);
    let asked = |scheme: &str| {
        let url = format!("{scheme}://www.outside.example:80/");
        mesh.curl(&url, &["--insecure", "--resolve", &format!("www.outside.example:80:{}", at.ip())])
    };
    let is_through = |it: &Option<(u16, String)>| it.as_ref().is_some_and(|(status, _)| *status == 200);
    eventually("the gateway to answer whoever asks", || is_through(&asked("http")).then_some(()));
    mesh.apply(NAMESPACE, MUTUAL);
    eventually("the gateway to want TLS", || (!is_through(&asked("http"))).then_some(()));
    reaches(mesh, URL, gateway);
    for scheme in ["http", "https"] {
        let answer = asked(scheme);
        assert!(!is_through(&answer), "{scheme} without a certificate: {answer:?}");
    }
}

/// A server on the node that is none of the cluster's, at port 80 for HTTP and at one that nobody declares, and its name.
fn outside(mesh: &Mesh) {
    let added = mesh.node.run(&["ip", "address", "add", &format!("{OUTSIDE}/32"), "dev", "lo"]);
    assert!(added.status.success(), "{added:?}");
    mesh.node.inside(|| {
        for port in [80, 8090] {
            echo::serve(TcpListener::bind((OUTSIDE, port)).expect("the port is free"), "outside");
        }
        dns::serve(UdpSocket::bind("10.89.0.2:5300").expect("the port is free"), NAMES);
    });
}

fn policy(mesh: &Mesh, mode: &str) {
    let settings = format!("outboundTrafficPolicy: {{mode: {mode}}}\n");
    let patch = json!({"data": {"mesh": settings}}).to_string();
    mesh.kubectl().run(&[
        "patch",
        "configmap",
        "dromon",
        "-n",
        "dromon-system",
        "--type",
        "merge",
        "-p",
        &patch,
    ]);
}

/// The address of a namespace's pod with a label.
fn address(mesh: &Mesh, namespace: &str, label: &str) -> String {
    let pod = mesh.pods(namespace, label).pop().expect("a pod");
    pod["status"]["podIP"].as_str().expect("an address").to_owned()
}

/// Waits until the server outside answers, to whom it should.
fn reaches(mesh: &Mesh, url: &str, peer: &str) {
    let wanted = format!("{PEER}: {peer}");
    let mut last = String::new();
    let start = std::time::Instant::now();
    while start.elapsed() < dromon_tests::DEADLINE {
        let (status, text) = mesh.ask(NAMESPACE, "asker", &[url]);
        if status == 200 && text.contains(&wanted) {
            return;
        }
        last = format!("{status} {text}");
    }
    panic!("{url} as {peer}: {last}\n{}", mesh.state(NAMESPACE));
}

fn is_refused(mesh: &Mesh) {
    eventually("what nobody knows to be refused", || {
        let (status, _) = mesh.ask(NAMESPACE, "asker", &[URL]);
        (status == 502).then_some(())
    });
    // What is no HTTP, or might not be, has no answer but an end.
    let (status, text) = mesh.ask(NAMESPACE, "asker", &["telnet://203.0.113.80:8090"]);
    assert!(status == 0 && !text.contains("HTTP"), "{status} {text}");
}
