use std::collections::BTreeMap;
use std::sync::Arc;

use dromon_core::config::model::Kind;
use dromon_core::config::wire::DeltaRequest;
use dromon_k8s::objects::Key;
use dromon_k8s::translate;
use serde_json::{Value, json};

use crate::feed::session::Session;
use crate::feed::view::{Pool, View};
use crate::source::kube::{Change, resources};
use crate::store::{Store, pods};

fn change(value: Value) -> Change {
    let text = |pointer: &str| value.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
    let version = text("/apiVersion");
    let group = version.split_once('/').map_or("", |(group, _)| group);
    let kind = resources::kind(group, &text("/kind")).expect("a kind that is kept");
    let key = Key { kind, namespace: text("/metadata/namespace"), name: text("/metadata/name") };
    Change { key, value: Some(value) }
}

fn service(name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": "default"},
        "spec": {"selector": {"app": name}, "ports": [{"name": "http", "port": 80, "targetPort": 8080}]},
    })
}

fn pod(name: &str, app: &str, ip: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": name, "namespace": "default", "labels": {"app": app, "version": "v1"},
            "annotations": {"dromon.io/status": "{}"},
        },
        "spec": {"containers": [{"name": "app", "ports": [{"containerPort": 8080}]}]},
        "status": {"phase": "Running", "podIP": ip, "conditions": [{"type": "Ready", "status": "True"}]},
    })
}

fn slice(service: &str, ips: &[&str]) -> Value {
    let endpoints: Vec<Value> =
        ips.iter().map(|ip| json!({"addresses": [ip], "conditions": {"ready": true}})).collect();
    json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": {
            "name": service, "namespace": "default", "labels": {"kubernetes.io/service-name": service},
        },
        "addressType": "IPv4", "ports": [{"name": "http", "port": 8080}], "endpoints": endpoints,
    })
}

fn route(name: &str, to: &str) -> Value {
    json!({
        "apiVersion": "networking.istio.io/v1", "kind": "VirtualService",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"hosts": [format!("{name}.example")], "http": [{"route": [{"destination": {"host": to}}]}]},
    })
}

fn rule(selector: Value) -> Value {
    json!({
        "apiVersion": "networking.istio.io/v1", "kind": "DestinationRule",
        "metadata": {"name": "a", "namespace": "default"},
        "spec": {
            "host": "a", "workloadSelector": selector,
            "trafficPolicy": {"connectionPool": {"tcp": {"maxConnections": 7}}},
        },
    })
}

/// What a view made at once would be.
fn whole(store: &Store, proxy: &str) -> View {
    let mesh = store.mesh().expect("a version");
    let identity = pods::identity(proxy, mesh).expect("a pod");
    let resources = translate::translate(mesh, &identity).resources;
    View::build(1, &resources, None, &mut Pool::default()).expect("serializes")
}

fn apply(store: &mut Store, values: Vec<Value>) {
    let found = store.apply_objects(values.into_iter().map(change).collect());
    assert_eq!(found, []);
    store.rebuild();
}

const PROXIES: [&str; 3] = ["sidecar~a-1.default", "sidecar~a-2.default", "sidecar~b-1.default"];

/// A proxy that asks for everything, and what it has.
#[derive(Default)]
struct Proxy {
    session: Session,
    has: BTreeMap<(Kind, String), String>,
}

impl Proxy {
    fn connect() -> Proxy {
        let mut proxy = Proxy::default();
        for kind in Kind::ALL {
            let all = vec!["*".to_owned()];
            let request = DeltaRequest {
                type_url: kind.type_url().to_owned(),
                resource_names_subscribe: all,
                ..DeltaRequest::default()
            };
            proxy.session.handle(request).expect("within limits");
        }
        proxy
    }

    /// How many resources and removals travelled.
    fn take(&mut self, view: &Arc<View>) -> usize {
        let mut count = 0;
        for response in self.session.push(view) {
            let kind = Kind::from_type_url(&response.type_url).expect("a kind");
            count += response.resources.len() + response.removed_resources.len();
            for resource in response.resources {
                self.has.insert((kind, resource.name), resource.version);
            }
            for name in response.removed_resources {
                self.has.remove(&(kind, name));
            }
        }
        let wanted: BTreeMap<(Kind, String), String> = Kind::ALL
            .into_iter()
            .flat_map(|kind| view.all(kind).map(move |(name, it)| ((kind, name.to_owned()), it.tag())))
            .collect();
        assert_eq!(self.has, wanted);
        count
    }
}

#[test]
fn shared_and_own_parts_are_together_what_one_translation_gives_after_every_change() {
    let mut store = Store::of_cluster("dromon-system");
    let first = vec![
        service("a"),
        service("b"),
        pod("a-1", "a", "10.0.0.1"),
        pod("a-2", "a", "10.0.0.2"),
        pod("b-1", "b", "10.0.0.3"),
        slice("a", &["10.0.0.1", "10.0.0.2"]),
        slice("b", &["10.0.0.3"]),
        route("first", "a"),
    ];
    let changes = [
        first,
        vec![route("second", "b")],
        vec![slice("a", &["10.0.0.2"])],
        vec![route("first", "b"), slice("b", &["10.0.0.3", "10.0.0.4"])],
        vec![rule(json!({"matchLabels": {"app": "b"}}))],
        vec![slice("a", &["10.0.0.1"]), route("third", "a")],
        vec![service("c"), slice("c", &["10.0.0.9"])],
        vec![pod("b-2", "b", "10.0.0.4")],
    ];
    let mut proxies: Vec<Proxy> = PROXIES.iter().map(|_| Proxy::connect()).collect();
    for step in changes {
        let names: Vec<String> = step.iter().map(|it| it["metadata"]["name"].to_string()).collect();
        apply(&mut store, step);
        for (name, proxy) in PROXIES.iter().zip(&mut proxies) {
            let view = store.view(name).expect("a view");
            assert!(view.same_as(&whole(&store, name)), "{name} after {names:?}");
            proxy.take(&view);
        }
    }
    let key = change(route("second", "b")).key;
    store.apply_objects(vec![Change { key, value: None }]);
    store.rebuild();
    let view = store.view(PROXIES[0]).expect("a view");
    assert!(view.same_as(&whole(&store, PROXIES[0])));
    assert_eq!(proxies[0].take(&view), 2, "the host and its rules, and nothing else");
}

#[test]
fn sidecars_of_a_class_share_what_they_see_until_a_rule_tells_them_apart() {
    let mut store = Store::of_cluster("dromon-system");
    let pods = vec![service("a"), pod("a-1", "a", "10.0.0.1"), pod("b-1", "b", "10.0.0.3")];
    apply(&mut store, pods);
    let bodies = |store: &mut Store| {
        let body = |store: &mut Store, proxy| {
            let view: Arc<View> = store.view(proxy).expect("a view");
            view.get(Kind::Destination, "outbound|80||a.default.svc.cluster.local").cloned()
        };
        (body(store, PROXIES[0]), body(store, PROXIES[2]))
    };
    let (one, other) = bodies(&mut store);
    assert_eq!(one, other);
    let (one, other) = (one.map(|it| it.value.as_ptr()), other.map(|it| it.value.as_ptr()));
    assert_eq!(one, other, "one copy of it in memory");
    apply(&mut store, vec![rule(json!({"matchLabels": {"app": "b"}}))]);
    let (one, other) = bodies(&mut store);
    assert_ne!(one, other);
}

fn http_route(name: &str, of: &str, to: &str, mark: u64) -> Value {
    json!({
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "parentRefs": [{"group": "", "kind": "Service", "name": of}],
            "rules": [{
                "matches": [{"path": {"type": "PathPrefix", "value": format!("/{mark}")}}],
                "backendRefs": [{"name": to, "port": 80}],
            }],
        },
    })
}

fn virtual_service(name: &str, host: &str, to: &str, mark: u64) -> Value {
    json!({
        "apiVersion": "networking.istio.io/v1", "kind": "VirtualService",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"hosts": [host], "http": [{
            "match": [{"uri": {"prefix": format!("/{mark}")}}], "route": [{"destination": {"host": to}}],
        }]},
    })
}

fn headless(name: &str) -> Value {
    let mut service = service(name);
    service["spec"]["clusterIP"] = "None".into();
    service
}

/// A change out of many: mostly routes and endpoints, now and then anything else.
fn random_change(next: &mut dyn FnMut(u64) -> u64) -> Change {
    let names = ["a", "b", "c", "d"];
    let mut name = || names[next(4) as usize];
    let (one, two) = (name(), name());
    let ips = ["10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4"];
    let count = next(5) as usize;
    let mark = next(3);
    let value = match next(16) {
        0..=3 => http_route(&format!("route-{}", next(5)), one, two, mark),
        4..=7 => virtual_service(&format!("rule-{}", next(5)), one, two, mark),
        8 => virtual_service(&format!("rule-{}", next(5)), "only.example", two, mark),
        9 => virtual_service("wildcard", "*.example", two, mark),
        10..=12 => slice(one, &ips[..count.min(4)]),
        13 => pod(&format!("{one}-1"), one, ips[next(4) as usize]),
        14 if next(2) == 0 => headless("d"),
        _ => service(one),
    };
    let change = change(value);
    let is_service = change.value.as_ref().is_some_and(|it| it["kind"] == "Service");
    if next(5) == 0 && !is_service { Change { value: None, ..change } } else { change }
}

#[test]
fn what_is_brought_up_to_date_equals_what_is_made_anew_over_random_changes() {
    for seed in 1..=20_u64 {
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mut next = move |below: u64| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state % below
        };
        let mut store = Store::of_cluster("dromon-system");
        let first =
            vec![service("a"), service("b"), pod("a-1", "a", "10.0.0.1"), pod("b-1", "b", "10.0.0.3")];
        apply(&mut store, first);
        let mut proxies = [Proxy::connect(), Proxy::connect()];
        for step in 0..30 {
            let changes: Vec<Change> = (0..=next(2)).map(|_| random_change(&mut next)).collect();
            let text = format!("seed {seed}, step {step}: {changes:?}");
            store.apply_objects(changes);
            store.rebuild();
            let anew = dromon_k8s::mesh::Mesh::new(store.set());
            for (name, proxy) in [PROXIES[0], PROXIES[2]].iter().zip(&mut proxies) {
                let Some(view) = store.view(name) else { continue };
                let identity = pods::identity(name, &anew).expect("a pod");
                let resources = translate::translate(&anew, &identity).resources;
                let whole = View::build(1, &resources, None, &mut Pool::default()).expect("serializes");
                assert!(view.same_as(&whole), "{name} after {text}");
                // Not every proxy is told of every version.
                if next(3) > 0 {
                    proxy.take(&view);
                }
            }
        }
    }
}
