//! Nothing that anybody reads may be trimmed: what comes of trimmed objects is what comes of whole ones.

use std::path::{Path, PathBuf};

use dromon_k8s::analyze::analyze;
use dromon_k8s::objects::Key;
use dromon_k8s::parse;

use super::*;
use crate::source::kube::Change;
use crate::source::kube::resources::ALL;
use crate::store::Store;

const SYSTEM: &str = "dromon-system";

/// The files with rules that there are: examples, those of Bookinfo, and one with every field of every kind.
fn files() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut left =
        vec![root.join("examples"), root.join("k8s/tests/bookinfo"), root.join("k8s/tests/fields")];
    let mut files = Vec::new();
    while let Some(folder) = left.pop() {
        for entry in std::fs::read_dir(&folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            match path.extension().and_then(|it| it.to_str()) {
                _ if path.is_dir() => left.push(path),
                Some("yaml") => files.push(path),
                _ => {}
            }
        }
    }
    files.sort();
    files
}

fn text(value: &Value, pointer: &str) -> String {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn resource(value: &Value) -> Option<&'static Resource> {
    let version = text(value, "/apiVersion");
    let group = version.split_once('/').map_or("", |(group, _)| group);
    ALL.iter().find(|it| it.group == group && it.kind == text(value, "/kind") && it.kind().is_some())
}

/// An object as an API server sends it, with all that others have written into it.
fn as_sent(mut value: Value) -> Value {
    let namespace = text(&value, "/metadata/namespace");
    let is_wide = resource(&value).and_then(Resource::kind).is_some_and(|it| it.is_cluster_wide());
    if namespace.is_empty() && !is_wide {
        value["metadata"]["namespace"] = "default".into();
    }
    let meta = &mut value["metadata"];
    meta["uid"] = "0a1b".into();
    meta["resourceVersion"] = "4711".into();
    meta["generation"] = 3.into();
    meta["creationTimestamp"] = "2024-05-01T10:00:00Z".into();
    meta["finalizers"] = json!(["example.com/wait"]);
    meta["annotations"]["kubectl.kubernetes.io/last-applied-configuration"] = "{\"a\": 1}".into();
    meta["managedFields"] = json!([{
        "manager": "kubectl", "operation": "Update", "apiVersion": "v1", "fieldsType": "FieldsV1",
        "fieldsV1": {"f:metadata": {"f:labels": {}}}, "time": "2024-05-01T10:00:00Z",
    }]);
    let group = text(&value, "/apiVersion");
    // Of others, the API server knows what a status is made of.
    let is_rule =
        ["istio.io/", "gateway.networking.k8s.io/", "dromon.io/"].iter().any(|it| group.contains(it));
    if is_rule {
        value["status"] = json!({"conditions": [{"type": "Ready", "status": "True"}]});
    }
    value
}

/// A pod with nearly everything that a pod can have.
fn pod(namespace: &str, name: &str, labels: &Value, ip: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": name, "namespace": namespace, "labels": labels, "generateName": "x-",
            "annotations": {"dromon.io/status": "{}", "example.com/other": "1"},
            "ownerReferences": [
                {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "owner", "uid": "1", "controller": true},
            ],
        },
        "spec": {
            "nodeName": "node-1", "serviceAccountName": "account", "hostNetwork": false, "restartPolicy": "Always",
            "tolerations": [{"key": "a", "operator": "Exists"}], "nodeSelector": {"a": "b"},
            "volumes": [
                {"name": "certs", "secret": {"secretName": "dromon.account"}},
                {"name": "token", "projected": {"sources": []}},
            ],
            "initContainers": [{"name": "init", "image": "init"}],
            "containers": [{
                "name": "app", "image": "app", "env": [{"name": "A", "value": "b"}],
                "ports": [
                    {"name": "http", "containerPort": 9080}, {"name": "dns", "containerPort": 53, "protocol": "UDP"},
                ],
                "resources": {"requests": {"cpu": "1"}}, "volumeMounts": [{"name": "certs", "mountPath": "/certs"}],
            }],
        },
        "status": {
            "phase": "Running", "podIP": ip, "podIPs": [{"ip": ip}, {"ip": "fd00::1"}], "hostIP": "10.0.0.1",
            "conditions": [{"type": "Initialized", "status": "True"}, {"type": "Ready", "status": "True"}],
            "containerStatuses": [{
                "name": "app", "ready": true, "restartCount": 0, "image": "app", "imageID": "x", "state": {"running": {}},
            }],
            "qosClass": "Burstable", "startTime": "2024-05-01T10:00:00Z",
        },
    })
}

/// What a cluster has beside rules: a node, and of each Service pods and where they are.
fn cluster(rules: &[Value]) -> Vec<Value> {
    let labels = json!({"topology.kubernetes.io/region": "r", "topology.kubernetes.io/zone": "z"});
    let mut all = vec![json!({
        "apiVersion": "v1", "kind": "Node", "metadata": {"name": "node-1", "labels": labels},
        "spec": {"podCIDR": "10.0.0.0/24"}, "status": {"capacity": {"cpu": "2"}},
    })];
    for (name, labels) in [("default", json!({"team": "a"})), ("istio-system", json!({}))] {
        let metadata = json!({"name": name, "labels": labels});
        all.push(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata, "spec": {}}));
    }
    let gateway = json!({"istio": "ingressgateway"});
    all.push(pod("default", "gateway", &gateway, "10.1.255.1"));
    for (number, service) in rules.iter().filter(|it| text(it, "/kind") == "Service").enumerate() {
        let (name, selector) = (text(service, "/metadata/name"), &service["spec"]["selector"]);
        let ips = [format!("10.1.{number}.1"), format!("10.1.{number}.2")];
        all.extend(ips.iter().zip(["a", "b"]).map(|(ip, which)| {
            let mut labels = if selector.is_object() { selector.clone() } else { json!({}) };
            labels["version"] = "v1".into();
            pod("default", &format!("{name}-{which}"), &labels, ip)
        }));
        let port = text(service, "/spec/ports/0/name");
        let endpoint = |ip: &String| json!({"addresses": [ip], "conditions": {"ready": true, "serving": true}, "nodeName": "node-1", "zone": "z"});
        all.push(json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
            "metadata": {
                "name": format!("{name}-x"), "namespace": "default", "labels": {"kubernetes.io/service-name": name},
            },
            "addressType": "IPv4", "ports": [{"name": port, "port": 9080, "protocol": "TCP"}],
            "endpoints": ips.iter().map(endpoint).collect::<Vec<_>>(),
        }));
    }
    all
}

fn change(value: &Value, is_trimmed: bool) -> Option<Change> {
    let resource = resource(value)?;
    let (namespace, name) = (text(value, "/metadata/namespace"), text(value, "/metadata/name"));
    let key = Key { kind: resource.kind()?, namespace, name };
    if !is_trimmed {
        return Some(Change { key, value: Some(value.clone()) });
    }
    let version =
        resource.versions.iter().find(|it| resource.api_version(it) == text(value, "/apiVersion"))?;
    let object: DynamicObject = serde_json::from_value(value.clone()).expect("an object");
    Some(Change { key, value: Some(trim(resource, version, object).value) })
}

fn store(values: &[Value], is_trimmed: bool) -> Store {
    let mut store = Store::of_cluster(SYSTEM);
    store.apply_objects(values.iter().filter_map(|it| change(it, is_trimmed)).collect());
    store.rebuild();
    store
}

#[test]
fn what_comes_of_trimmed_objects_is_what_comes_of_whole_ones() {
    let mut pods = 0;
    for file in files() {
        let name = file.display();
        let rules = parse::values(&std::fs::read_to_string(&file).expect("a file"));
        let values: Vec<Value> = rules.iter().cloned().chain(cluster(&rules)).map(as_sent).collect();
        let (mut whole, mut trimmed) = (store(&values, false), store(&values, true));
        assert_eq!(analyze(whole.set()), analyze(trimmed.set()), "{name}");
        let proxies = values.iter().filter(|it| text(it, "/kind") == "Pod");
        for pod in
            proxies.map(|it| format!("{}.{}", text(it, "/metadata/name"), text(it, "/metadata/namespace")))
        {
            for role in ["sidecar", "gateway"] {
                let proxy = format!("{role}~{pod}");
                let views = (whole.view(&proxy).expect(&proxy), trimmed.view(&proxy).expect(&proxy));
                assert!(views.0.same_as(&views.1), "{name}: {proxy}");
                pods += 1;
            }
        }
        for object in trimmed.set().iter().filter(|it| it.key.kind.name() == "Pod") {
            let before = whole.set().get(&object.key).map(|it| &it.object);
            assert_eq!(before, Some(&object.object), "{name}: accounts are told from these too");
        }
    }
    assert!(pods > 100, "only {pods} views were compared");
}

#[test]
fn what_nobody_reads_is_gone() {
    let value = as_sent(pod("default", "a", &json!({"app": "a"}), "10.1.0.1"));
    let whole = value.to_string().len();
    let Some(Change { value: Some(value), .. }) = change(&value, true) else { panic!("a pod is kept") };
    let text = value.to_string();
    for gone in [
        "managedFields",
        "resourceVersion",
        "last-applied",
        "tolerations",
        "containerStatuses",
        "\"env\"",
        "projected",
    ] {
        assert!(!text.contains(gone), "{gone} is in {text}");
    }
    assert!(text.len() * 2 < whole, "{} bytes of {whole} are left: {text}", text.len());
}
