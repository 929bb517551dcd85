use serde_json::{Value, json};

use super::decision::Skip;
use super::probes::AppProbes;
use super::{Config, KubernetesVersion, Names, Outcome, Scope, file, patch, pod};
use crate::install::Values;

fn config(version: &str) -> Config {
    Config::new(&Values::new(), Some(version.parse().expect(version)))
}

fn labels(pairs: &[(&str, &str)]) -> Names {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn labelled(pairs: &[(&str, &str)]) -> Scope {
    Scope { namespace: "shop".to_owned(), namespace_labels: Some(labels(pairs)) }
}

fn enabled() -> Scope {
    labelled(&[("dromon.io/inject", "enabled")])
}

fn app() -> Value {
    json!({
        "metadata": {"labels": {"app": "web"}},
        "spec": {
            "serviceAccountName": "web",
            "initContainers": [{"name": "migrate", "image": "m"}],
            "containers": [{"name": "web", "image": "w", "ports": [{"name": "http", "containerPort": 8080}]}],
        },
    })
}

fn injected(of: &Value, scope: &Scope, config: &Config) -> (Value, Vec<String>) {
    match pod(of, scope, config) {
        Outcome::Injected { pod, warnings } => (pod, warnings),
        other => panic!("{other:?}"),
    }
}

fn container_names<'a>(pod: &'a Value, field: &str) -> Vec<&'a str> {
    pod["spec"][field].as_array().into_iter().flatten().filter_map(|it| it["name"].as_str()).collect()
}

#[test]
fn a_native_sidecar_starts_before_the_pods_own_init_containers() {
    let (pod, _) = injected(&app(), &enabled(), &config("1.29"));
    assert_eq!(container_names(&pod, "initContainers"), ["dromon-init", "dromon-proxy", "migrate"]);
    assert_eq!(container_names(&pod, "containers"), ["web"]);
    let sidecar = &pod["spec"]["initContainers"][1];
    assert_eq!(sidecar["restartPolicy"], "Always");
    assert_eq!(sidecar["startupProbe"]["httpGet"]["port"], 15021);
    assert_eq!(pod["spec"]["volumes"][0]["secret"]["secretName"], "dromon.web");
    assert_eq!(pod["metadata"]["labels"]["security.istio.io/tlsMode"], "istio");
    assert_eq!(pod["metadata"]["annotations"]["kubectl.kubernetes.io/default-container"], "web");
}

/// Before capture the pod's own init containers have the plain network, since no sidecar runs yet.
#[test]
fn an_ordinary_sidecar_starts_before_the_application() {
    let (pod, _) = injected(&app(), &enabled(), &config("v1.28.7-eks"));
    assert_eq!(container_names(&pod, "initContainers"), ["migrate", "dromon-init"]);
    assert_eq!(container_names(&pod, "containers"), ["dromon-proxy", "web"]);
    let sidecar = &pod["spec"]["containers"][0];
    assert!(sidecar["restartPolicy"].is_null());
    assert_eq!(sidecar["lifecycle"]["postStart"]["exec"]["command"][1], "wait");
    assert_eq!(pod["metadata"]["annotations"]["kubectl.kubernetes.io/default-container"], "web");
}

#[test]
fn the_containers_may_do_no_more_than_they_must() {
    let (pod, _) = injected(&app(), &enabled(), &config("1.33"));
    let init = &pod["spec"]["initContainers"][0]["securityContext"];
    assert_eq!(init["capabilities"], json!({"drop": ["ALL"], "add": ["NET_ADMIN", "NET_RAW"]}));
    let proxy = &pod["spec"]["initContainers"][1]["securityContext"];
    assert_eq!(proxy["capabilities"], json!({"drop": ["ALL"]}));
    for (field, value) in [
        ("runAsUser", json!(1337)),
        ("runAsGroup", json!(1337)),
        ("runAsNonRoot", json!(true)),
        ("readOnlyRootFilesystem", json!(true)),
        ("allowPrivilegeEscalation", json!(false)),
        ("seccompProfile", json!({"type": "RuntimeDefault"})),
    ] {
        assert_eq!(proxy[field], value, "{field}");
    }
    assert!(pod["spec"]["nodeSelector"].is_null());
    let mut values = Values::new();
    values.set("seccomp=Localhost").expect("known");
    let (pod, _) = injected(&app(), &enabled(), &Config::new(&values, None));
    let profile = &pod["spec"]["initContainers"][1]["securityContext"]["seccompProfile"];
    assert_eq!(*profile, json!({"type": "Localhost", "localhostProfile": "dromon/proxy.json"}));
    assert_eq!(pod["spec"]["nodeSelector"], json!({"dromon.io/seccomp": "true"}));
}

#[test]
fn injecting_twice_is_injecting_once() {
    for version in ["1.28", "1.36"] {
        let (once, _) = injected(&app(), &enabled(), &config(version));
        assert_eq!(pod(&once, &enabled(), &config(version)), Outcome::Skipped(Skip::HasOne), "{version}");
    }
}

#[test]
fn labels_and_annotations_decide_ours_first() {
    let (on, off) = (Some(true), None);
    let istio = |flag: bool| Config { istio_labels: flag, ..config("1.36") };
    type Pairs<'a> = &'a [(&'a str, &'a str)];
    let cases: [(Pairs, Pairs, bool, Option<bool>); 12] = [
        (&[("dromon.io/inject", "enabled")], &[], false, on),
        (&[("dromon.io/inject", "disabled")], &[("sidecar.dromon.io/inject", "true")], false, off),
        (&[], &[], false, off),
        (&[], &[("sidecar.dromon.io/inject", "true")], false, on),
        (&[], &[("sidecar.istio.io/inject", "true")], false, on),
        (&[("dromon.io/inject", "enabled")], &[("sidecar.dromon.io/inject", "false")], false, off),
        (&[("dromon.io/inject", "enabled")], &[("sidecar.istio.io/inject", "false")], false, off),
        (
            &[("dromon.io/inject", "enabled")],
            &[("sidecar.dromon.io/inject", "true"), ("sidecar.istio.io/inject", "false")],
            false,
            on,
        ),
        (&[("istio-injection", "enabled")], &[], false, off),
        (&[("istio-injection", "enabled")], &[], true, on),
        (&[("istio-injection", "disabled")], &[], true, off),
        (&[("dromon.io/inject", "disabled"), ("istio-injection", "enabled")], &[], true, off),
    ];
    for (namespace, own, istio_labels, wanted) in cases {
        for field in ["labels", "annotations"] {
            let mut of = app();
            of["metadata"][field] = json!(labels(own));
            let outcome = pod(&of, &labelled(namespace), &istio(istio_labels));
            assert_eq!(
                matches!(outcome, Outcome::Injected { .. }),
                wanted.is_some(),
                "{namespace:?} {own:?} {istio_labels}"
            );
        }
    }
}

#[test]
fn what_capture_would_break_is_left_alone() {
    let mut host = app();
    host["spec"]["hostNetwork"] = json!(true);
    assert_eq!(pod(&host, &enabled(), &config("1.36")), Outcome::Skipped(Skip::HostNetwork));
    for namespace in ["kube-system", "kube-public", "kube-node-lease", "dromon-system"] {
        let scope = Scope { namespace: namespace.to_owned(), ..enabled() };
        assert_eq!(
            pod(&app(), &scope, &config("1.36")),
            Outcome::Skipped(Skip::SystemNamespace),
            "{namespace}"
        );
    }
}

#[test]
fn a_namespace_that_forbids_net_admin_refuses_with_what_to_do() {
    for (level, refused) in [("restricted", true), ("baseline", true), ("privileged", false)] {
        let scope =
            labelled(&[("dromon.io/inject", "enabled"), ("pod-security.kubernetes.io/enforce", level)]);
        match pod(&app(), &scope, &config("1.36")) {
            Outcome::Refused(text) => {
                assert!(refused, "{level}");
                for part in
                    ["shop", "NET_ADMIN", level, "kubectl label namespace shop", "sidecar.dromon.io/inject"]
                {
                    assert!(text.contains(part), "{part:?} in {text}");
                }
            }
            other => assert!(!refused, "{level}: {other:?}"),
        }
    }
}

fn env(pod: &Value, name: &str) -> Option<String> {
    let env = pod["spec"]["initContainers"][1]["env"].as_array()?;
    env.iter().find(|it| it["name"] == name)?["value"].as_str().map(str::to_owned)
}

#[test]
fn probes_ask_the_sidecar_which_asks_the_application() {
    let mut of = app();
    of["spec"]["containers"][0]["livenessProbe"] = json!({
        "httpGet": {"path": "/live", "port": "http", "httpHeaders": [{"name": "X-A", "value": "b"}]},
        "periodSeconds": 7, "timeoutSeconds": 3,
    });
    of["spec"]["containers"][0]["readinessProbe"] = json!({"grpc": {"port": 9000, "service": "s"}});
    of["spec"]["containers"][0]["startupProbe"] = json!({"tcpSocket": {"port": 8080}});
    of["spec"]["containers"].as_array_mut().expect("list").push(json!({
        "name": "other",
        "livenessProbe": {"exec": {"command": ["true"]}},
        "readinessProbe": {"httpGet": {"port": "nowhere"}},
    }));
    let (pod, warnings) = injected(&of, &enabled(), &config("1.36"));
    let web = &pod["spec"]["containers"][0];
    let at_sidecar =
        |kind: &str| json!({"path": format!("/app-health/web/{kind}"), "port": 15020, "scheme": "HTTP"});
    assert_eq!(
        web["livenessProbe"],
        json!({"periodSeconds": 7, "timeoutSeconds": 3, "httpGet": at_sidecar("livez")})
    );
    assert_eq!(web["readinessProbe"], json!({"httpGet": at_sidecar("readyz")}));
    assert_eq!(web["startupProbe"], json!({"httpGet": at_sidecar("startupz")}));
    let other = &pod["spec"]["containers"][1];
    assert_eq!(other["livenessProbe"], json!({"exec": {"command": ["true"]}}));
    assert_eq!(other["readinessProbe"], json!({"httpGet": {"port": "nowhere"}}));
    assert_eq!(
        warnings,
        [
            "the readinessProbe of container other stays as it is: no port of the container is called \"nowhere\""
        ]
    );
    let told = AppProbes::from_json(&env(&pod, "DROMON_APP_PROBES").expect("told")).expect("reads");
    assert_eq!(
        told.0.keys().collect::<Vec<_>>(),
        ["/app-health/web/livez", "/app-health/web/readyz", "/app-health/web/startupz"]
    );
    assert_eq!(told.0["/app-health/web/livez"].timeout_seconds, 3);
    of["metadata"]["annotations"] = json!({"sidecar.istio.io/rewriteAppHTTPProbers": "false"});
    let (pod, _) = injected(&of, &enabled(), &config("1.29"));
    assert_eq!(pod["spec"]["containers"], of["spec"]["containers"]);
}

#[test]
fn an_application_keeps_its_port_for_a_moment_unless_it_has_a_hook_of_its_own() {
    let hook = |pod: &Value| pod["spec"]["containers"][0]["lifecycle"]["preStop"].clone();
    let (pod, _) = injected(&app(), &enabled(), &config("1.30"));
    assert_eq!(hook(&pod), json!({"sleep": {"seconds": 5}}));
    let mut of = app();
    of["spec"]["terminationGracePeriodSeconds"] = json!(6);
    let (pod, _) = injected(&of, &enabled(), &config("1.30"));
    assert_eq!(hook(&pod), Value::Null, "more than half of the time that the pod has");
    let mut of = app();
    let own = json!({"exec": {"command": ["leave"]}});
    of["spec"]["containers"][0]["lifecycle"] = json!({"preStop": own});
    let (pod, _) = injected(&of, &enabled(), &config("1.30"));
    assert_eq!(hook(&pod), own);
    let mut of = app();
    of["metadata"]["annotations"] = json!({"sidecar.dromon.io/drainSeconds": "0"});
    let (pod, _) = injected(&of, &enabled(), &config("1.30"));
    assert_eq!(hook(&pod), Value::Null);
}

#[test]
fn metrics_are_scraped_from_the_sidecar() {
    let mut of = app();
    of["metadata"]["annotations"] =
        json!({"prometheus.io/scrape": "true", "prometheus.io/port": "9100", "prometheus.io/path": "m"});
    let (pod, _) = injected(&of, &enabled(), &config("1.36"));
    let annotations = &pod["metadata"]["annotations"];
    assert_eq!(annotations["prometheus.io/port"], "15020");
    assert_eq!(annotations["prometheus.io/path"], "/stats/prometheus");
    assert_eq!(env(&pod, "DROMON_APP_METRICS").as_deref(), Some(r#"{"port":9100,"path":"/m"}"#));
    of["metadata"]["annotations"] = json!({"prometheus.io/scrape": "false"});
    let (pod, _) = injected(&of, &enabled(), &config("1.36"));
    assert_eq!(pod["metadata"]["annotations"]["prometheus.io/scrape"], "false");
    assert_eq!(env(&pod, "DROMON_APP_METRICS"), None);
}

#[test]
fn annotations_say_what_is_captured_ours_first() {
    let mut of = app();
    of["metadata"]["annotations"] = json!({
        "traffic.sidecar.istio.io/excludeOutboundPorts": "3306",
        "traffic.dromon.io/excludeOutboundPorts": "5432",
        "traffic.sidecar.istio.io/includeInboundPorts": "8080,9090",
        "traffic.sidecar.istio.io/excludeOutboundIPRanges": "10.1.0.0/16",
        "sidecar.istio.io/proxyCPU": "50m", "sidecar.dromon.io/proxyMemoryLimit": "1Gi",
        "sidecar.istio.io/logLevel": "warning",
    });
    let (pod, _) = injected(&of, &enabled(), &config("1.36"));
    assert_eq!(
        pod["spec"]["initContainers"][0]["args"],
        json!([
            "capture",
            "--inbound-ports",
            "8080,9090",
            "--exclude-outbound-ports",
            "5432",
            "--exclude-outbound-ranges",
            "10.1.0.0/16"
        ])
    );
    let sidecar = &pod["spec"]["initContainers"][1];
    assert_eq!(sidecar["resources"]["requests"]["cpu"], "50m");
    assert_eq!(sidecar["resources"]["limits"]["memory"], "1Gi");
    let args: Vec<&str> =
        sidecar["args"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    assert!(args.windows(2).any(|pair| pair == ["--log-level", "warn"]), "{args:?}");
}

/// Captured other than was meant, a port could be open that should be closed.
#[test]
fn annotations_that_cannot_be_read_refuse_the_pod() {
    for (name, value) in [
        ("traffic.dromon.io/excludeInboundPorts", "http"),
        ("traffic.sidecar.istio.io/includeOutboundIPRanges", "10.0.0.0/40"),
        ("sidecar.dromon.io/drainSeconds", "long"),
        ("sidecar.dromon.io/driver", "kqueue"),
        ("prometheus.istio.io/merge-metrics", "maybe"),
    ] {
        let mut of = app();
        of["metadata"]["annotations"] = json!({name: value});
        match pod(&of, &enabled(), &config("1.36")) {
            Outcome::Refused(text) => assert!(text.contains(name) && text.contains(value), "{text}"),
            other => panic!("{name}: {other:?}"),
        }
    }
}

/// The webhook's answer, applied as the API server applies it, is the injected pod.
#[test]
fn the_patch_makes_the_pod() {
    let mut of = app();
    of["metadata"]["annotations"] = json!({"a/b~c": "kept", "prometheus.io/path": "/old"});
    let (wanted, _) = injected(&of, &enabled(), &config("1.36"));
    let mut patched = of.clone();
    for operation in patch::diff(&of, &wanted) {
        let path = operation["path"].as_str().expect("a path");
        let (parent, key) = path.rsplit_once('/').expect("below the root");
        let key = key.replace("~1", "/").replace("~0", "~");
        let parent = patched.pointer_mut(parent).expect(path);
        match operation["op"].as_str() {
            Some("remove") => drop(parent.as_object_mut().expect("a map").remove(&key).expect(path)),
            Some("add" | "replace") => parent[key.as_str()] = operation["value"].clone(),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(patched, wanted);
    assert!(patch::diff(&of, &of).is_empty());
}

#[test]
fn other_documents_stay_byte_for_byte() {
    let text = "# a comment\napiVersion: v1\nkind: Service   # odd   spacing\nmetadata: {name: a}\n---\napiVersion: v1\nkind: Pod\n\
                metadata: {name: p, labels: {sidecar.dromon.io/inject: \"false\"}}\nspec: {containers: [{name: c}]}\n--- \n# nothing\n\
                ---\nkind: Custom\nspec: {a: 0777}";
    let left = file::text(text, &config("1.36")).expect("reads");
    assert_eq!(left.text, text);
    assert_eq!(left.notes, ["Pod p: left as it is: its label or annotation says no"]);
    let both = format!(
        "{text}\n---\napiVersion: v1\nkind: Pod\nmetadata: {{name: q}}\nspec: {{containers: [{{name: c}}]}}\n"
    );
    let once = file::text(&both, &config("1.36")).expect("reads");
    assert!(once.text.starts_with(&format!("{text}\n---\napiVersion: v1\nkind: Pod\n")), "{}", once.text);
    let twice = file::text(&once.text, &config("1.36")).expect("reads");
    assert_eq!(twice.text, once.text);
}

#[test]
fn versions_are_read_as_clusters_write_them() {
    for (text, minor) in [("1.29", 29), ("v1.30.2+k3s1", 30), ("1.31+", 31), ("v1.36.0", 36)] {
        assert_eq!(text.parse(), Ok(KubernetesVersion { major: 1, minor }), "{text}");
    }
    assert!("latest".parse::<KubernetesVersion>().is_err());
}
