//! Three replicas of the controller over one API server, which they reach through a relay, and five pods of the gateway whose proxies
//! take the feed from any replica, as through a Service. Requests flow through all of them all the time.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use dromon_k8s::install::{Values, objects, rbac};
use dromon_tests::echo::{echo, who};
use dromon_tests::eventually;
use dromon_tests::free_port;
use dromon_tests::http::{Response, get};
use dromon_tests::kube::api_server::ApiServer;
use dromon_tests::kube::controller::{Controller, SYSTEM, account, define};
use dromon_tests::kube::pod::{self, PodProxy, Who};
use dromon_tests::load::Load;
use dromon_tests::relay::Relay;
use serde_json::{Value, json};

/// Pods of the gateway, with addresses of this machine.
pub const PODS: [(&str, &str); 5] = [
    ("gateway-1", "127.77.206.1"),
    ("gateway-2", "127.77.206.2"),
    ("gateway-3", "127.77.206.3"),
    ("gateway-4", "127.77.206.4"),
    ("gateway-5", "127.77.206.5"),
];

/// What requests flow by, which no fault takes away: a Gateway, a route for whatever host, and a backend.
const STEADY: &str = "
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: steady, namespace: infra}
spec: {gatewayClassName: dromon, listeners: [{name: http, port: 80, protocol: HTTP}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: steady, namespace: infra}
spec:
  parentRefs: [{name: steady}]
  rules: [{backendRefs: [{group: networking.istio.io, kind: Hostname, name: origin.example, port: 80}]}]
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: of-istio, namespace: infra}
spec:
  selector: {app: dromon-gateway}
  servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: ['*.istio.example']}]
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: origin, namespace: infra}
spec:
  hosts: [origin.example]
  location: MESH_EXTERNAL
  resolution: STATIC
  ports: [{number: 80, name: http, protocol: HTTP, targetPort: PORT}]
  endpoints: [{address: ADDRESS}]
";

/// A route of Gateway API for a host of its own, which marks answers with `version`.
pub fn route(name: &str, version: usize) -> String {
    format!(
        "apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{name: {name}, namespace: infra}}
spec:
  parentRefs: [{{name: steady}}]
  hostnames: [{name}.example]
  rules:
  - filters: [{{type: ResponseHeaderModifier, responseHeaderModifier: {{set: [{{name: x-version, value: v{version}}}]}}}}]
    backendRefs: [{{group: networking.istio.io, kind: Hostname, name: origin.example, port: 80}}]
---
"
    )
}

/// The same in Istio's dialect, for a host of `istio.example`.
pub fn virtual_service(name: &str, version: usize) -> String {
    format!(
        "apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: {name}, namespace: infra}}
spec:
  hosts: [{name}.istio.example]
  gateways: [of-istio]
  http: [{{headers: {{response: {{set: {{x-version: v{version}}}}}}}, route: [{{destination: {{host: origin.example}}}}]}}]
---
"
    )
}

pub struct World {
    pub kube: ApiServer,
    /// Between the replicas and the API server.
    pub api: Relay,
    /// Between proxies and replicas.
    pub feed: Relay,
    pub replicas: Vec<Controller>,
    pub proxies: Vec<PodProxy>,
    target: u16,
    /// The replicas' kubeconfig.
    config: PathBuf,
}

impl World {
    /// Starts it; none where Kubernetes' programs are missing.
    pub fn start() -> Option<World> {
        let kube = ApiServer::start("kube_api_faults")?;
        let config = account(&kube, &rbac::objects(SYSTEM));
        define(&kube, "istio.yaml", "virtualservices.networking.istio.io");
        define(&kube, "gateway-api.yaml", "httproutes.gateway.networking.k8s.io");
        kube.namespace("infra");
        let targets = [free_port(), free_port()];
        let is_class = |it: &Value| it["kind"] == "GatewayClass";
        let mut items: Vec<Value> = objects(&Values::new()).into_iter().filter(is_class).collect();
        items.extend(pod::gateway(targets, &PODS.map(|(name, _)| name)));
        kube.kubectl().apply(&json!({"apiVersion": "v1", "kind": "List", "items": items}).to_string());
        for (name, address) in PODS {
            pod::runs(&kube, SYSTEM, name, address);
        }
        let ingress = json!({"loadBalancer": {"ingress": [{"ip": "192.0.2.20"}]}});
        pod::patch_status(&kube, SYSTEM, &["service", "dromon-gateway"], &ingress);
        let origin = echo("origin");
        let steady = STEADY.replace("PORT", &origin.port().to_string());
        kube.kubectl().apply(&steady.replace("ADDRESS", &origin.ip().to_string()));

        let (api, config) = through_relay(&kube, &config);
        let replicas: Vec<_> =
            ["one", "two", "three"].iter().map(|name| Controller::start(&config, name)).collect();
        let feed = Relay::start(replicas.iter().map(|it| it.feed).collect());
        let start = |(pod, address)| PodProxy::start(&kube, feed.address(), Who::gateway(pod, address));
        let proxies = PODS.map(start).into();
        let world = World { kube, api, feed, replicas, proxies, target: targets[0], config };
        for at in world.fronts() {
            eventually("the first answer", || get(at, "/", &[]).ok().filter(|it| it.status == 200));
        }
        Some(world)
    }

    /// Where the pods take requests.
    pub fn fronts(&self) -> impl Iterator<Item = SocketAddr> + '_ {
        PODS.iter().map(|(_, address)| SocketAddr::new(address.parse().expect("an address"), self.target))
    }

    /// `kubectl apply`, past the relay.
    pub fn apply(&self, yaml: &str) {
        self.kube.kubectl().apply(yaml);
    }

    /// Waits until all pods answer a host with the mark of a version; none: without any.
    pub fn carries(&self, host: &str, version: Option<usize>) {
        let wanted = version.map(|it| format!("v{it}"));
        for at in self.fronts() {
            eventually(&format!("{host} at {at} to be marked {wanted:?}"), || {
                let answer = get(at, "/", &[("Host", host)]).ok()?;
                (answer.header("x-version") == wanted.as_deref()).then_some(())
            });
        }
    }

    /// A change goes all the way, so the feed is alive at every pod.
    pub fn changes(&self, version: usize) {
        self.apply(&route("moving", version));
        self.carries("moving.example", Some(version));
    }

    /// Requests flow through every pod while something happens, and none fails.
    pub fn under_load(&mut self, what: &str, happens: impl FnOnce(&mut World)) {
        let check = |answer: &Response| match who(answer).as_str() {
            "origin" => Ok(()),
            _ => Err(format!("{} {}", answer.status, answer.text())),
        };
        let start = |at| Load::start(at, 2, "/", Duration::from_millis(20), check);
        let loads: Vec<_> = self.fronts().map(start).collect();
        let begun = std::time::Instant::now();
        happens(self);
        let mut good = 0;
        for (load, (pod, _)) in loads.into_iter().zip(PODS) {
            let outcome = load.stop();
            assert!(outcome.failures.is_empty(), "{what}: at {pod}: {:#?}", outcome.failures);
            assert!(outcome.good > 0, "{what}: nothing flowed at {pod}");
            good += outcome.good;
        }
        eprintln!("{what}: {:.1} s, {good} requests, none failed", begun.elapsed().as_secs_f32());
    }

    /// Puts a new replica in the place of one that has ended.
    pub fn replace(&mut self, at: usize, name: &str) {
        self.replicas[at] = Controller::start(&self.config, name);
        self.feed.replace(at, self.replicas[at].feed);
    }

    /// Streams by replica, as these say.
    pub fn streams(&self) -> BTreeMap<usize, usize> {
        let count = |page: Value| page["proxies"].as_array().map_or(0, Vec::len);
        self.replicas.iter().enumerate().map(|(at, it)| (at, count(it.page("/status")))).collect()
    }
}

/// The relay, and a kubeconfig that leads through it.
fn through_relay(kube: &ApiServer, config: &std::path::Path) -> (Relay, PathBuf) {
    let url = kube.url();
    let server = url.trim_start_matches("https://").parse().expect("an address");
    let relay = Relay::start(vec![server]);
    let text = std::fs::read_to_string(config).expect("the kubeconfig is there");
    assert!(text.contains(&url), "{text}");
    let path = config.with_extension("relayed");
    std::fs::write(&path, text.replace(&url, &format!("https://{}", relay.address()))).expect("written");
    (relay, path)
}
