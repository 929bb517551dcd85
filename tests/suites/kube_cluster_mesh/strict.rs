//! STRICT mutual TLS: probes of every kind go on, workloads of the mesh reach each other whatever the address, others do not.

use dromon_tests::eventually;
use dromon_tests::http::get;
use dromon_tests::kube::mesh::{ETCD, Mesh};

use super::bookinfo;

const NAMESPACE: &str = "strict";

/// One pod with HTTP, TCP and gRPC probes and metrics of its own, behind a Service, and behind a headless one.
const WORKLOAD: &str = "
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: default}
spec: {mtls: {mode: STRICT}}
---
apiVersion: v1
kind: Service
metadata: {name: details}
spec:
  ports: [{name: http, port: 80, targetPort: 9080}]
  selector: {app: details}
---
apiVersion: v1
kind: Service
metadata: {name: headless}
spec:
  clusterIP: None
  ports: [{name: http, port: 9080}]
  selector: {app: details}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: details}
spec:
  selector: {matchLabels: {app: details}}
  template:
    metadata:
      labels: {app: details}
      annotations: {prometheus.io/scrape: 'true', prometheus.io/port: '2379'}
    spec:
      containers:
      - name: details
        image: localhost/dromon-bookinfo:0.1.0
        imagePullPolicy: Never
        args: [details]
        ports: [{name: http, containerPort: 9080}]
        startupProbe: {tcpSocket: {port: http}, periodSeconds: 1}
        readinessProbe: {httpGet: {path: /health, port: http}, periodSeconds: 1}
        livenessProbe: {tcpSocket: {port: 9080}, periodSeconds: 1, timeoutSeconds: 5, failureThreshold: 5}
      - name: etcd
        image: IMAGE
        imagePullPolicy: Never
        args: [--data-dir=/tmp/data, --unsafe-no-fsync, --listen-client-urls=http://0.0.0.0:2379, --advertise-client-urls=http://127.0.0.1:2379]
        readinessProbe: {grpc: {port: 2379}, periodSeconds: 1}
        livenessProbe: {grpc: {port: 2379}, periodSeconds: 1, timeoutSeconds: 5, failureThreshold: 5}
";

pub fn run(mesh: &Mesh) {
    mesh.namespace(NAMESPACE);
    mesh.apply(NAMESPACE, &WORKLOAD.replace("IMAGE", ETCD));
    // Ready means that the kubelet's probes have passed, which speak no TLS.
    mesh.rolled_out(NAMESPACE, &["details"]);
    let pod = mesh.pods(NAMESPACE, "app=details").pop().expect("a pod");
    let text = |of: &serde_json::Value| of.as_str().unwrap_or_default().to_owned();
    let (name, address) = (text(&pod["metadata"]["name"]), text(&pod["status"]["podIP"]));
    let service = mesh.service(NAMESPACE, "details", 80);
    strangers_are_refused(mesh, &address);
    for url in [
        format!("http://details.{NAMESPACE}/details/0"),
        format!("http://headless.{NAMESPACE}:9080/details/0"),
        format!("http://{address}:9080/details/0"),
        format!("http://{service}/details/0"),
    ] {
        let (code, said) = mesh.curl_in_pod(NAMESPACE, true, &[&url]);
        assert!(code == 0 && said.ends_with("\n200"), "{url}: {code} {said}\n{}", mesh.state(NAMESPACE));
    }
    metrics_are_merged(mesh, &address);
    http_route_service_types(mesh, &address);
    let restarts = mesh.kubectl().get(&["pod", &name, "-n", NAMESPACE]).expect("the pod is there");
    for status in restarts["status"]["containerStatuses"].as_array().into_iter().flatten() {
        assert_eq!(status["restartCount"], 0, "a probe has failed: {status:#}");
    }
}

/// Backends whose endpoints are written by hand, with a cluster address and headless, beside the headless one of [`WORKLOAD`].
const TYPES: &str = "
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: types}
spec: {gatewayClassName: dromon, listeners: [{name: http, port: 80, protocol: HTTP, hostname: types.example}]}
---
apiVersion: v1
kind: Service
metadata: {name: manual}
spec: {ports: [{name: http, port: 8080, targetPort: 9080}]}
---
apiVersion: v1
kind: Service
metadata: {name: headless-manual}
spec: {clusterIP: None, ports: [{name: http, port: 8080, targetPort: 9080}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: manual-ip4, labels: {kubernetes.io/service-name: manual}}
addressType: IPv4
ports: [{name: http, port: 9080}]
endpoints: [{addresses: [ADDRESS]}]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: headless-manual-ip4, labels: {kubernetes.io/service-name: headless-manual}}
addressType: IPv4
ports: [{name: http, port: 9080}]
endpoints: [{addresses: [ADDRESS], conditions: {ready: true}}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: types}
spec:
  parentRefs: [{name: types}]
  rules:
  - {matches: [{headers: [{name: x-type, value: headless}]}], backendRefs: [{name: headless, port: 9080}]}
  - {matches: [{headers: [{name: x-type, value: manual}]}], backendRefs: [{name: manual, port: 8080}]}
  - {matches: [{headers: [{name: x-type, value: headless-manual}]}], backendRefs: [{name: headless-manual, port: 8080}]}
";

/// The test of Gateway API's conformance suite of that name; the pod takes mutual TLS alone, however its address is written.
fn http_route_service_types(mesh: &Mesh, address: &str) {
    mesh.apply(NAMESPACE, &TYPES.replace("ADDRESS", address));
    let gateway = bookinfo::gateway(mesh);
    let ask = |kind: &str| {
        let headers = [("Host", "types.example"), ("x-type", kind)];
        mesh.node.inside(|| get(gateway, "/details/0", &headers).map(|it| it.status)).ok()
    };
    for kind in ["headless", "manual", "headless-manual"] {
        eventually(&format!("the backend that is {kind}"), || (ask(kind) == Some(200)).then_some(()));
    }
    assert_eq!(ask("other"), Some(404));
    mesh.kubectl().run(&["delete", "httproute,gateway.gateway.networking.k8s.io", "types", "-n", NAMESPACE]);
}

fn strangers_are_refused(mesh: &Mesh, address: &str) {
    let at = format!("{address}:9080").parse().expect("an address");
    eventually("plaintext from the node to be refused", || {
        mesh.node.inside(|| get(at, "/details/0", &[]).is_err()).then_some(())
    });
    let url = format!("http://details.{NAMESPACE}/details/0");
    let (code, said) = mesh.curl_in_pod(NAMESPACE, false, &[&url]);
    assert!(
        code != 0 && said.lines().any(|line| line.starts_with("000")),
        "a pod without a sidecar got in: {code} {said}"
    );
}

/// The application's metrics and the sidecar's, at the address that Prometheus is pointed to.
fn metrics_are_merged(mesh: &Mesh, address: &str) {
    let at = format!("{address}:15020").parse().expect("an address");
    let page = mesh.node.inside(|| get(at, "/stats/prometheus", &[])).expect("metrics").text();
    for line in ["etcd_server_has_leader 1", "dromon_application_metrics_up 1", "istio_requests_total{"] {
        assert!(page.contains(line), "{line} is missing:\n{page}");
    }
    let driver = page.lines().find(|it| it.starts_with("dromon_shard_driver_info{")).unwrap_or_default();
    assert!(driver.contains("epoll"), "RuntimeDefault forbids io_uring: {driver}");
}
