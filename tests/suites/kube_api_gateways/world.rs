//! A cluster of an API server only, in which the controller runs with the rights of an installation, and one gateway pod: its
//! proxy runs here, with the pod's certificate.

use std::net::SocketAddr;
use std::process::Command;

use dromon_k8s::install::names::SYSTEM_NAMESPACE as SYSTEM;
use dromon_k8s::install::{Values, objects, rbac};
use dromon_tests::echo::{echo, who};
use dromon_tests::http::{Response, get};
use dromon_tests::kube::api_server::ApiServer;
use dromon_tests::kube::definitions;
use dromon_tests::kube::pod::{self, PodProxy, Who};
use dromon_tests::process::Process;
use dromon_tests::{bin, eventually, free_port};
use serde_json::{Value, json};

/// The gateway pod's address: one of this machine's, so that a proxy can have it.
const POD_IP: &str = "127.77.204.1";
/// The address of the installed gateway's Service, by its load balancer's word.
pub const SHARED: &str = "192.0.2.10";

pub struct World {
    pub kube: ApiServer,
    _controller: Process,
    _proxy: PodProxy,
    /// Where the pod listens for ports 80 and 443 of the installed gateway's Service.
    targets: [u16; 2],
}

impl World {
    /// Starts it; none where Kubernetes' programs are missing.
    pub fn start() -> Option<World> {
        let kube = ApiServer::start("kube_api_gateways")?;
        for file in ["istio.yaml", "gateway-api.yaml"] {
            let path = definitions(file);
            kube.kubectl().run(&["apply", "--server-side", "-f", path.to_str().expect("a path of text")]);
        }
        kube.kubectl().run(&["wait", "--for", "condition=established", "--timeout", "60s", "crd", "--all"]);
        for namespace in [SYSTEM, "infra", "web"] {
            kube.namespace(namespace);
        }
        let targets = [free_port(), free_port()];
        kube.kubectl().apply(&installation(targets).to_string());
        run_pod(&kube);
        let feed = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let controller = controller(&kube, feed);
        let proxy = PodProxy::start(&kube, feed, Who::gateway("gateway-1", POD_IP));
        Some(World { kube, _controller: controller, _proxy: proxy, targets })
    }

    /// Applies objects.
    pub fn apply(&self, yaml: &str) {
        self.kube.kubectl().apply(yaml);
    }

    /// Where a port of a Gateway of `infra` is reached, by its status and its Service, once it is served.
    pub fn address(&self, gateway: &str, port: u16) -> SocketAddr {
        let kubectl = self.kube.kubectl();
        let at = kubectl.wait(&["gateways.gateway.networking.k8s.io", gateway, "-n", "infra"], |it| {
            let is_up = condition(&it["status"], "Programmed").starts_with("True");
            it["status"]["addresses"][0]["value"].as_str().filter(|_| is_up).map(str::to_owned)
        });
        let target = match (at.as_str(), port) {
            (SHARED, 80) => self.targets[0],
            (SHARED, _) => self.targets[1],
            (own, _) => {
                let services = kubectl.get(&["services", "-n", SYSTEM]).expect("Services");
                let all = services["items"].as_array().cloned().unwrap_or_default();
                let service = all.into_iter().find(|it| it["spec"]["clusterIP"] == own);
                let service = service.unwrap_or_else(|| panic!("no Service has {own}"));
                assert_eq!(service["metadata"]["labels"]["gateway.networking.k8s.io/gateway-name"], gateway);
                target(&service, port)
            }
        };
        SocketAddr::new(POD_IP.parse().expect("an address"), target)
    }

    /// Waits until a condition of a route's first parent is `expected` (`status reason`), and about the route as it is.
    pub fn told(&self, route: &str, namespace: &str, kind: &str, expected: &str) {
        self.kube.kubectl().wait(&["httproute", route, "-n", namespace], |it| {
            let parent = &it["status"]["parents"][0];
            let of = &parent["conditions"][0]["observedGeneration"];
            let is_current = of.is_i64() && *of == it["metadata"]["generation"];
            (is_current && condition(parent, kind) == expected).then_some(())
        });
    }
}

fn target(service: &Value, port: u16) -> u16 {
    let ports = service["spec"]["ports"].as_array().cloned().unwrap_or_default();
    let found = ports.iter().find(|it| it["port"] == port).and_then(|it| it["targetPort"].as_u64());
    found.and_then(|it| u16::try_from(it).ok()).unwrap_or_else(|| panic!("no port {port}: {service:#}"))
}

/// `status reason` of a condition; empty where there is none.
pub fn condition(of: &Value, kind: &str) -> String {
    let all = of["conditions"].as_array().cloned().unwrap_or_default();
    let text = |it: &Value, field: &str| it[field].as_str().unwrap_or_default().to_owned();
    let found = all.iter().find(|it| it["type"] == kind);
    found.map(|it| format!("{} {}", text(it, "status"), text(it, "reason"))).unwrap_or_default()
}

/// One request of a host at an address.
pub fn ask(at: SocketAddr, host: &str, path: &str, more: &[(&str, &str)]) -> Response {
    let mut headers = vec![("Host", host)];
    headers.extend_from_slice(more);
    get(at, path, &headers).expect("an answer")
}

/// Waits until a request is answered by `expected` (a status where it is nobody).
pub fn expect(at: SocketAddr, host: &str, path: &str, more: &[(&str, &str)], expected: &str) {
    let mut headers = vec![("Host", host)];
    headers.extend_from_slice(more);
    eventually(&format!("{host}{path} {more:?} at {at} to be answered by {expected}"), || {
        let answer = get(at, path, &headers).ok()?;
        (who(&answer) == expected).then_some(())
    });
}

/// What an installation brings, as far as there are no nodes: rights, classes, the gateway's Service and one pod of it.
fn installation(targets: [u16; 2]) -> Value {
    let wanted = |it: &Value| matches!(it["kind"].as_str(), Some("GatewayClass" | "IngressClass"));
    let mut items: Vec<Value> = rbac::objects(SYSTEM);
    items.extend(objects(&Values::new()).into_iter().filter(wanted));
    items.extend(pod::gateway(targets, &["gateway-1"]));
    json!({"apiVersion": "v1", "kind": "List", "items": items})
}

fn run_pod(kube: &ApiServer) {
    pod::runs(kube, SYSTEM, "gateway-1", POD_IP);
    let balanced = json!({"loadBalancer": {"ingress": [{"ip": SHARED}]}});
    pod::patch_status(kube, SYSTEM, &["service", "dromon-gateway"], &balanced);
}

fn controller(kube: &ApiServer, feed: SocketAddr) -> Process {
    let status = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let account = kube.account(SYSTEM, "dromon-controller");
    let mut command = Command::new(bin("dromon-controller"));
    command.args(["--source", "kube", "--system-namespace", SYSTEM, "--replica", "one", "--kubeconfig"]);
    command.arg(account).args(["--feed-tcp", &feed.to_string(), "--status-addr", &status.to_string()]);
    let process = Process::start(&mut command);
    eventually("the controller to be ready", || {
        get(status, "/readyz", &[]).ok().filter(|answer| answer.status == 200).map(drop)
    });
    process
}

/// Hosts `v1`, `v2` and `v3` with an endpoint each, which answers with that name. An API server takes no loopback address as an
/// endpoint of a Service, so they are ServiceEntries.
pub fn backends() -> String {
    let entry = |name: &'static str| {
        let at = echo(name);
        format!(
            "apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: {name}, namespace: infra}}
spec:
  hosts: [{name}.backend.example]
  location: MESH_EXTERNAL
  resolution: STATIC
  ports: [{{number: 80, name: http, protocol: HTTP, targetPort: {}}}]
  endpoints: [{{address: '{}'}}]
---
",
            at.port(),
            at.ip()
        )
    };
    ["v1", "v2", "v3"].map(entry).concat()
}
