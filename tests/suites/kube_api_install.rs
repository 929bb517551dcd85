//! Installation and injection against a real API server: `dromonctl install`, upgrade and `uninstall`, and the webhooks as it
//! calls them, the controller having the rights that an installation gives it and no more.

use std::process::Command;

use dromon_k8s::install::{Values, objects};
use dromon_tests::kube::api_server::{ApiServer, Setup};
use dromon_tests::kube::controller::{self, Controller, SYSTEM};
use dromon_tests::kube::kubectl::Kubectl;
use dromon_tests::{bin, certs, eventually};
use serde_json::{Value, json};

fn dromonctl(kube: &ApiServer, arguments: &[&str]) -> String {
    controller::dromonctl(kube.kubeconfig(), arguments)
}

#[test]
fn an_installation_comes_changes_and_goes_leaving_nothing_behind() {
    let Some(kube) = Setup::default().controller_manager().start("kube_api_install") else { return };
    let kubectl = kube.kubectl();
    let dry = dromonctl(&kube, &["install", "--dry-run"]);
    assert!(dry.contains("namespace/dromon-system would be created"), "{dry}");
    assert_eq!(kubectl.get(&["namespace", SYSTEM]), None, "a dry run does nothing");

    let first = dromonctl(&kube, &["install", "--timeout", "0", "--set", "controller.replicas=3"]);
    assert!(first.contains("deployment/dromon-controller created"), "{first}");
    // The namespace enforces the strictest Pod Security level, so pods that exist keep to it.
    for (app, count) in [("dromon-controller", 3), ("dromon-gateway", 1)] {
        let selector = format!("app={app}");
        kubectl.wait(&["pods", "-n", SYSTEM, "-l", &selector], |pods| {
            (pods["items"].as_array()?.len() == count).then_some(())
        });
    }

    let again = dromonctl(&kube, &["install", "--timeout", "0", "--set", "controller.replicas=3"]);
    let changed: Vec<&str> = again.lines().filter(|line| !line.ends_with(" unchanged")).collect();
    assert!(changed.is_empty(), "a second run changes nothing: {changed:?}");

    upgraded(&kube);

    let dry = dromonctl(&kube, &["install", "--dry-run", "--set", "controller.replicas=2"]);
    assert!(dry.contains("deployment/dromon-controller would be changed"), "{dry}");
    let deployment = ["deployment", "dromon-controller", "-n", SYSTEM];
    assert_eq!(kubectl.get(&deployment).expect("there")["spec"]["replicas"], 3);

    let less = dromonctl(&kube, &["install", "--timeout", "0", "--set", "gateway.enabled=false"]);
    for line in [
        "deployment/dromon-gateway removed",
        "service/dromon-gateway removed",
        "deployment/dromon-controller changed",
    ] {
        assert!(less.contains(line), "{line:?} in {less}");
    }
    kubectl.wait_gone(&["deployment", "dromon-gateway", "-n", SYSTEM]);
    assert!(kubectl.get(&["crd", "virtualservices.networking.istio.io"]).is_some());

    uninstall(&kube);
}

/// An earlier version, which has what this one has not any more, is brought up to this one in place: what it had goes, what is the
/// same stays untouched, and its pods stay until those of the new version are ready.
fn upgraded(kube: &ApiServer) {
    let kubectl = kube.kubectl();
    let replicas = ["--timeout", "0", "--set", "controller.replicas=3"];
    dromonctl(kube, &[&["install"][..], &replicas, &["--set", "image.tag=0.0.1"]].concat());
    kubectl.run(&["create", "configmap", "dromon-of-before", "-n", SYSTEM]);
    kubectl.run(&["label", "configmap", "dromon-of-before", "-n", SYSTEM, INSTALLED]);
    let before = earlier();
    let said = kubectl
        .call(&["apply", "--server-side", "--force-conflicts", MANAGER, "-f", "-"], &before.to_string());
    assert!(said.ok, "{}", said.err);
    let object = |kind: &str, name: &str| kubectl.get(&[kind, name, "-n", SYSTEM]).expect("there");
    let of_before = |kind: &str, name: &str| object(kind, name).to_string().contains("of-before");
    let changed = [
        ("deployment", "dromon-controller"),
        ("service", "dromon-controller"),
        ("clusterrole", "dromon-controller"),
    ];
    assert!(changed.iter().all(|(kind, name)| of_before(kind, name)));
    let identities = || changed.map(|(kind, name)| object(kind, name)["metadata"]["uid"].clone());
    let known = identities();

    let said = dromonctl(kube, &[&["install"][..], &replicas].concat());
    let mut others: Vec<&str> = said.lines().filter(|line| !line.ends_with(" unchanged")).collect();
    others.sort_unstable();
    let expected = [
        "clusterrole/dromon-controller changed",
        "configmap/dromon changed",
        "configmap/dromon-of-before removed",
        "deployment/dromon-controller changed",
        "deployment/dromon-gateway changed",
        "service/dromon-controller changed",
    ];
    assert_eq!(others, expected, "{said}");
    assert_eq!(identities(), known, "in place");
    assert!(!changed.iter().any(|(kind, name)| of_before(kind, name)), "what was before is gone");
    for (app, image) in [("dromon-controller", "dromon-controller"), ("dromon-gateway", "dromon-proxy")] {
        kubectl.wait(&["pods", "-n", SYSTEM, "-l", &format!("app={app}")], |pods| {
            let is_of = |tag: &str| {
                let image = format!("localhost/{image}:{tag}");
                pods["items"]
                    .as_array()
                    .is_some_and(|all| all.iter().any(|it| it["spec"]["containers"][0]["image"] == image))
            };
            (is_of("0.0.1") && is_of(env!("CARGO_PKG_VERSION"))).then_some(())
        });
    }
}

const INSTALLED: &str = "dromon.io/install=dromon";
const MANAGER: &str = "--field-manager=dromonctl";

/// Objects as an earlier version had them: with an argument, a port and a right that are no more.
fn earlier() -> Value {
    let mut values = Values::new();
    for value in ["controller.replicas=3", "image.tag=0.0.1"] {
        values.set(value).expect("a value");
    }
    let mut items = objects(&values);
    items.retain_mut(|it| {
        if it["metadata"]["name"] != "dromon-controller" {
            return false;
        }
        let (field, more) = match it["kind"].as_str() {
            Some("Deployment") => ("/spec/template/spec/containers/0/args", json!("--of-before")),
            Some("Service") => {
                ("/spec/ports", json!({"name": "of-before", "port": 15000, "protocol": "TCP"}))
            }
            Some("ClusterRole") => {
                ("/rules", json!({"apiGroups": ["of-before"], "resources": ["a"], "verbs": ["get"]}))
            }
            _ => return false,
        };
        it.pointer_mut(field).and_then(Value::as_array_mut).expect("a list").push(more);
        true
    });
    json!({"apiVersion": "v1", "kind": "List", "items": items})
}

/// Uninstalls with a user's rule in the cluster, which stays until it is purged.
fn uninstall(kube: &ApiServer) {
    let kubectl = kube.kubectl();
    let rule = "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {name: kept, namespace: default}\nspec: {host: a}\n";
    kubectl.apply(rule);
    let gone = dromonctl(kube, &["uninstall"]);
    assert!(gone.contains("destinationrules.networking.istio.io stays: there are 1 objects"), "{gone}");
    assert!(kubectl.get(&["destinationrule", "kept"]).is_some(), "nobody's rules go by the way");
    dromonctl(kube, &["uninstall", "--purge"]);
    for arguments in [
        &["namespace", SYSTEM][..],
        &["clusterrole", "dromon-controller"],
        &["clusterrolebinding", "dromon-controller"],
        &["mutatingwebhookconfiguration", "dromon-sidecar-injector"],
        &["validatingwebhookconfiguration", "dromon-validator"],
        &["ingressclass", "dromon"],
    ] {
        assert_eq!(kubectl.get(arguments), None, "{arguments:?}");
    }
    kubectl.wait_gone(&["crd", "destinationrules.networking.istio.io"]);
    let crds = kubectl.get(&["crd"]).expect("a list");
    assert_eq!(crds["items"], json!([]), "nothing is left");
}

/// What is missing only is brought: definitions of others stay as they are.
#[test]
fn definitions_of_others_are_left_alone() {
    let Some(kube) = Setup::default().controller_manager().start("kube_api_install") else { return };
    let kubectl = kube.kubectl();
    kubectl.apply(
        "apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: sidecars.networking.istio.io, labels: {chart: theirs}}
spec:
  group: networking.istio.io
  names: {kind: Sidecar, plural: sidecars, singular: sidecar, listKind: SidecarList}
  scope: Namespaced
  versions:
  - {name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}}
",
    );
    let crd = ["crd", "sidecars.networking.istio.io"];
    let before = kubectl.get(&crd).expect("there")["spec"].clone();
    dromonctl(&kube, &["install", "--timeout", "0"]);
    assert_eq!(kubectl.get(&crd).expect("there")["spec"], before);
    dromonctl(&kube, &["uninstall"]);
    assert_eq!(kubectl.get(&crd).expect("there")["spec"], before);
}

fn pod(name: &str, namespace: &str, labels: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, namespace: {namespace}, labels: {{{labels}}}}}\n\
         spec: {{containers: [{{name: app, image: app, readinessProbe: {{httpGet: {{port: 80}}}}}}]}}\n"
    )
}

fn sidecar(kubectl: &Kubectl, name: &str, namespace: &str) -> Option<String> {
    let found = kubectl.get(&["pod", name, "-n", namespace]).expect("the pod was admitted");
    let inits = found["spec"]["initContainers"].as_array()?;
    inits.iter().find(|it| it["name"] == "dromon-proxy")?["restartPolicy"].as_str().map(str::to_owned)
}

#[test]
fn the_api_server_has_pods_injected_and_rules_validated() {
    let Some(kube) = Setup::default().controller_manager().start("kube_api_install") else { return };
    let kubectl = kube.kubectl();
    dromonctl(&kube, &["install", "--timeout", "0"]);
    let values = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(values.path(), "sidecar: {logLevel: debug}\n").expect("written");
    let values = values.path().to_str().expect("a path of text");
    let account = kube.account(SYSTEM, "dromon-controller");
    let mut controller = Controller::with(&account, "one", &["--values", values]);
    controller.answers(kubectl, "mutatingwebhookconfiguration", "dromon-sidecar-injector", "/inject");
    controller.answers(kubectl, "validatingwebhookconfiguration", "dromon-validator", "/validate");
    for (namespace, labels) in [
        ("shop", "dromon.io/inject: enabled"),
        ("plain", "a: b"),
        ("tight", "dromon.io/inject: enabled, pod-security.kubernetes.io/enforce: restricted"),
    ] {
        kubectl.apply(&format!(
            "apiVersion: v1\nkind: Namespace\nmetadata: {{name: {namespace}, labels: {{{labels}}}}}\n"
        ));
        kubectl.wait(&["serviceaccount", "default", "-n", namespace], |_| Some(()));
    }
    // A webhook configuration takes a moment to be in force.
    eventually("a pod with a sidecar", || {
        kubectl.call(&["delete", "pod", "one", "-n", "shop", "--ignore-not-found", "--force"], "");
        kubectl.apply(&pod("one", "shop", "a: b"));
        sidecar(kubectl, "one", "shop").filter(|policy| policy == "Always")
    });
    let one = kubectl.get(&["pod", "one", "-n", "shop"]).expect("there");
    assert_eq!(one["spec"]["initContainers"][0]["name"], "dromon-init");
    assert!(
        one["spec"]["initContainers"][1]["args"].to_string().contains("\"--log-level\",\"debug\""),
        "{one}"
    );
    let probe = &one["spec"]["containers"][0]["readinessProbe"]["httpGet"];
    assert_eq!((&probe["path"], &probe["port"]), (&json!("/app-health/app/readyz"), &json!(15020)));
    let secret =
        kubectl.get(&["secret", "dromon.default", "-n", "shop"]).expect("made before the pod was admitted");
    assert_eq!(secret["type"], "dromon.io/key-and-cert");
    let told = dromonctl(&kube, &["certs"]);
    assert!(told.contains("shop/default"), "{told}");

    kubectl.apply(&pod("out", "shop", "sidecar.dromon.io/inject: 'false'"));
    assert_eq!(sidecar(kubectl, "out", "shop"), None);
    kubectl.apply(&pod("two", "plain", "a: b"));
    assert_eq!(sidecar(kubectl, "two", "plain"), None);
    let tried = kubectl.call(
        &["apply", "--dry-run=server", "-f", "-"],
        &pod("dry", "plain", "sidecar.dromon.io/inject: 'true'"),
    );
    assert!(tried.ok, "{tried:?}");
    assert_eq!(
        kubectl.get(&["secret", "dromon.default", "-n", "plain"]),
        None,
        "a dry run leaves nothing behind"
    );
    kubectl.apply(&pod("in", "plain", "sidecar.dromon.io/inject: 'true'"));
    assert_eq!(sidecar(kubectl, "in", "plain").as_deref(), Some("Always"));

    let refusal = kubectl.refused(&pod("refused", "tight", "a: b"));
    assert!(refusal.contains("NET_ADMIN") && refusal.contains("kubectl label namespace tight"), "{refusal}");

    rules(kubectl);
    controller.process.signal(15);
    controller.process.wait();
    // failurePolicy: without an answer no pod runs open that should have a sidecar; rules are admitted.
    let refusal = kubectl.refused(&pod("late", "shop", "a: b"));
    assert!(refusal.contains("failed calling webhook"), "{refusal}");
    kubectl.apply(&pod("late", "plain", "a: b"));
    kubectl.apply(RULE);
}

const RULE: &str = "
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: web, namespace: shop}
spec: {hosts: [web], http: [{route: [{destination: {host: web}}]}]}
";

fn rules(kubectl: &Kubectl) {
    let wrong = RULE.replace("destination: {host: web}", "destination: {host: web}, weight: many");
    let refusal = eventually("the validator to be in force", || {
        let said = kubectl.call(&["apply", "-f", "-"], &wrong);
        (!said.ok).then_some(said.err)
    });
    assert!(refusal.contains("error: VirtualService/shop/web spec.http[0].route[0].weight"), "{refusal}");
    // What is not there yet may come: admitted, with a word.
    let early = kubectl.call(&["apply", "-f", "-"], &RULE.replace("{host: web}", "{host: web, subset: v9}"));
    let told = "Warning: VirtualService/shop/web spec.http[0].route[0].destination";
    assert!(early.ok && early.err.contains(told), "{early:?}");
    kubectl.apply(RULE);
    one_after_another(kubectl);
    for (kind, spec) in WRONG {
        refused_as_analyzed(kubectl, kind, spec);
    }
    nothing_is_said_of_others(kubectl);
}

/// Objects of another controller's classes, of which none fits our types, are let in without a word; the same ones of ours are
/// refused.
fn nothing_is_said_of_others(kubectl: &Kubectl) {
    let group = "gateway.networking.k8s.io/v1";
    kubectl.apply(CLASSES_OF_OTHERS);
    let gateway = |class: &str| {
        let listener = "{name: http, port: many, protocol: HTTP, tls: {options: {a: b}}}";
        format!(
            "apiVersion: {group}
kind: Gateway
metadata: {{name: of-{class}, namespace: shop}}
spec: {{gatewayClassName: {class}, defaultScope: All, listeners: [{listener}]}}
"
        )
    };
    let route = |parent: &str| {
        format!(
            "apiVersion: {group}
kind: HTTPRoute
metadata: {{name: of-others, namespace: shop}}
spec: {{parentRefs: [{{name: {parent}}}], rules: [{{filters: [{{type: Nothing}}]}}]}}
"
        )
    };
    let ingress = |class: &str| {
        let backend = "{resource: {apiGroup: example.com, kind: Bucket, name: a}}";
        format!(
            "apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {{name: of-{class}, namespace: shop}}
spec: {{ingressClassName: {class}, defaultBackend: {backend}}}
"
        )
    };
    // Classes are heard of by their watch.
    eventually("the class to be known as theirs", || {
        kubectl.call(&["apply", "--dry-run=server", "-f", "-"], &gateway("theirs")).ok.then_some(())
    });
    eventually("the IngressClass to be known as theirs", || {
        let said = kubectl.call(&["apply", "--dry-run=server", "-f", "-"], &ingress("theirs"));
        said.err.is_empty().then_some(())
    });
    assert_eq!(kubectl.apply(&(gateway("theirs") + "---\n" + &ingress("theirs"))), "");
    let refusal = kubectl.refused(&gateway("dromon"));
    assert!(refusal.contains("error: Gateway/shop/of-dromon spec.listeners[0].port"), "{refusal}");
    assert!(kubectl.apply(&ingress("dromon")).contains("Warning: Ingress/shop/of-dromon"), "of ours is told");
    // A Gateway of theirs that fits is known, and with it the routes that hang on nothing else.
    kubectl.apply(&gateway("theirs").replace("many", "80"));
    eventually("a route on a Gateway of theirs to be let in", || {
        let said = kubectl.call(&["apply", "-f", "-"], &route("of-theirs"));
        (said.ok && said.err.is_empty()).then_some(())
    });
    let refusal = kubectl.refused(&route("of-dromon"));
    assert!(refusal.contains("error: HTTPRoute/shop/of-others"), "{refusal}");
    let folder = tempfile::tempdir().expect("a folder");
    let all = [CLASSES_OF_OTHERS, &gateway("theirs"), &ingress("theirs")].join("---\n");
    std::fs::write(folder.path().join("theirs.yaml"), all).expect("written");
    let analyzed =
        Command::new(bin("dromonctl")).arg("analyze").arg(folder.path()).output().expect("it runs");
    let said = String::from_utf8_lossy(&analyzed.stdout);
    assert!(said.ends_with("no problems\n"), "{said}");
}

const CLASSES_OF_OTHERS: &str = "
apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: {name: theirs}
spec: {controllerName: example.com/other}
---
apiVersion: networking.k8s.io/v1
kind: IngressClass
metadata: {name: theirs}
spec: {controller: example.com/other}
";

/// Rules of one file of which each names the one before are applied without a word, when they are new and when they change.
fn one_after_another(kubectl: &Kubectl) {
    let service = "apiVersion: v1\nkind: Service\nmetadata: {name: front, namespace: shop}\nspec: {ports: [{name: http, port: 80}]}\n";
    kubectl.apply(service);
    let rules = |name: &str, subset: &str| {
        format!(
            "apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {{name: {name}, namespace: shop}}
spec: {{selector: {{app: dromon-gateway}}, servers: [{{port: {{number: 80, name: http, protocol: HTTP}}, hosts: [{name}.example]}}]}}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{name: {name}, namespace: shop}}
spec: {{host: front, subsets: [{{name: {subset}, labels: {{version: {subset}}}}}]}}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: {name}, namespace: shop}}
spec:
  hosts: [{name}.example]
  gateways: [{name}]
  http: [{{route: [{{destination: {{host: front, subset: {subset}}}}}]}}]
"
        )
    };
    // The Service is heard of by its watch alone.
    eventually("the Service to be known", || {
        let said = kubectl.call(&["apply", "--dry-run=server", "-f", "-"], &rules("front", "v1"));
        (said.ok && !said.err.contains("no service has the host")).then_some(())
    });
    for (name, subset) in [("front", "v1"), ("front", "v2"), ("other", "v1")] {
        let told = kubectl.apply(&rules(name, subset));
        let is_missing = |line: &&str| {
            ["there is no", "no service", "no subset", "no DestinationRule"]
                .iter()
                .any(|it| line.contains(it))
        };
        assert_eq!(told.lines().find(is_missing), None, "{name} {subset}: {told}");
    }
    kubectl.run(&[
        "delete",
        "gateway.networking.istio.io,destinationrule,virtualservice",
        "--all",
        "-n",
        "shop",
    ]);
    kubectl.apply(RULE);
}

/// Objects of every kind that are wrong in themselves. The installed definitions keep every field, so it is the webhook that refuses.
const WRONG: [(&str, &str); 17] = [
    (
        "networking.istio.io/v1 VirtualService",
        "{hosts: ['a:80', b], http: [{}, {timeout: '5', route: [{destination: {host: a}}]}]}",
    ),
    ("networking.istio.io/v1 DestinationRule", "{host: a, subsets: [{name: v1}, {name: v1}]}"),
    (
        "networking.istio.io/v1 Gateway",
        "{servers: [{port: {number: 80, name: a, protocol: HTPP}, hosts: []}]}",
    ),
    ("networking.istio.io/v1 ServiceEntry", "{hosts: ['a:80'], ports: [{number: 0, name: a}]}"),
    ("networking.istio.io/v1 WorkloadEntry", "{address: 192.0.2.1, ports: {http: many}}"),
    ("networking.istio.io/v1 Sidecar", "{egress: [{hosts: []}, {hosts: [a]}]}"),
    ("security.istio.io/v1 PeerAuthentication", "{mtls: {mode: SOMETIMES}}"),
    ("telemetry.istio.io/v1 Telemetry", "{accessLogging: [{disabled: perhaps}]}"),
    (
        "policy.dromon.io/v1 RateLimit",
        "{direction: Outbound, limits: [{requests: 1, unit: Second, when: {path: {regex: '('}}}]}",
    ),
    ("gateway.networking.k8s.io/v1 GatewayClass", "{controllerName: ''}"),
    ("gateway.networking.k8s.io/v1 Gateway", "{gatewayClassName: dromon, listeners: []}"),
    (
        "gateway.networking.k8s.io/v1 HTTPRoute",
        "{parentRefs: [{name: a}], rules: [{matches: [{path: {type: Exact, value: a}}], filters: [{type: Nothing}]}]}",
    ),
    (
        "gateway.networking.k8s.io/v1 GRPCRoute",
        "{parentRefs: [{name: a}], rules: [{matches: [{method: {type: RegularExpression, service: '('}}]}]}",
    ),
    ("gateway.networking.k8s.io/v1 TLSRoute", "{parentRefs: [{name: a}], rules: []}"),
    ("gateway.networking.k8s.io/v1 TCPRoute", "{parentRefs: [{name: a}], rules: []}"),
    ("gateway.networking.k8s.io/v1beta1 ReferenceGrant", "{from: nobody, to: [{kind: Service}]}"),
    ("gateway.networking.k8s.io/v1 BackendTLSPolicy", "{targetRefs: [], validation: {hostname: ''}}"),
];

/// What the API server says is what `dromonctl analyze` says of the same file, but for the file and its line.
fn refused_as_analyzed(kubectl: &Kubectl, kind: &str, spec: &str) {
    let (api, kind) = kind.split_once(' ').expect("version and kind");
    let served = kubectl.run(&["api-resources", "--no-headers", "-o", "wide"]);
    let is_it = |line: &&str| {
        line.split_whitespace().any(|it| it == kind)
            && line.contains(api.split('/').next().unwrap_or_default())
    };
    let line = served.lines().find(is_it).unwrap_or_else(|| panic!("{kind} is not served:\n{served}"));
    let api = line.split_whitespace().find(|it| it.contains('/')).expect("a version");
    let text = format!("apiVersion: {api}\nkind: {kind}\nmetadata: {{name: wrong}}\nspec: {spec}\n");
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("wrong.yaml"), &text).expect("written");
    let analyzed =
        Command::new(bin("dromonctl")).arg("analyze").arg(folder.path()).output().expect("it runs");
    assert_eq!(analyzed.status.code(), Some(1), "{kind}: {analyzed:?}");
    let analyzed = String::from_utf8_lossy(&analyzed.stdout).into_owned();
    let errors = analyzed.lines().filter_map(|line| line.strip_prefix("error: wrong.yaml"));
    let errors: Vec<String> = errors
        .map(|rest| format!("error: {}", rest.split_once(": ").expect("a place, then words").1))
        .collect();
    let refusal = kubectl.refused(&text);
    let said = refusal.split_once("denied the request: ").unwrap_or_else(|| panic!("{kind}: {refusal}")).1;
    assert_eq!(said.trim_end(), errors.join("\n"), "{kind}");
    assert!(!errors.is_empty(), "{kind}: {analyzed}");
}

/// A CA that somebody else keeps, as cert-manager does, then another of theirs: a change of root of three steps.
#[test]
fn the_ca_may_be_somebody_elses() {
    let Some(kube) = ApiServer::start("kube_api_install") else { return };
    let kubectl = kube.kubectl();
    dromonctl(&kube, &["install", "--timeout", "0", "--set", "ca.secret=of-ours"]);
    let deployment = kubectl.get(&["deployment", "dromon-controller", "-n", SYSTEM]).expect("there");
    assert!(deployment.to_string().contains("--ca-secret=of-ours"), "{deployment}");
    let first = authority(kubectl);
    let account = kube.account(SYSTEM, "dromon-controller");
    let controller = Controller::with(&account, "one", &["--ca-secret=of-ours"]);
    let root = |it: &Value| it["data"]["ca.crt"].as_str().map(str::to_owned);
    assert_eq!(kubectl.wait(&["secret", "dromon-ca", "-n", SYSTEM], root), first);
    let roots = || controller.page("/certs")["roots"].as_array().cloned().unwrap_or_default();
    let old = roots();
    let second = authority(kubectl);
    kubectl.wait(&["secret", "dromon-ca", "-n", SYSTEM], |it| root(it).filter(|it| *it == second));
    eventually("the change of root to be done", || {
        let rests = controller.page("/certs").get("rotation").is_none();
        (rests && roots().len() == 1 && roots() != old).then_some(())
    });
}

/// Puts a new authority into the Secret `of-ours`; its root as it stands there.
fn authority(kubectl: &Kubectl) -> String {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name).to_str().expect("a path of text").to_owned();
    let (key, certificate) = (at("tls.key"), at("tls.crt"));
    let curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
    let of_ca = ["-addext", "keyUsage=critical,keyCertSign,cRLSign", "-subj", "/CN=ours", "-days", "30"];
    let made = certs::run(
        "openssl",
        &[&["req", "-x509", "-keyout", &key, "-out", &certificate][..], &curve, &of_ca].concat(),
    );
    assert!(made.status.success(), "{made:?}");
    let from = ["tls.key", "tls.crt"].map(|name| format!("--from-file={name}={}", at(name)));
    let create = ["create", "secret", "generic", "of-ours", "-n", SYSTEM, "--dry-run=client", "-o", "json"];
    let root = format!("--from-file=ca.crt={certificate}");
    let secret = kubectl.run(&[&create[..], &[&from[0], &from[1], &root]].concat());
    kubectl.apply(&secret);
    let secret: Value = serde_json::from_str(&secret).expect("JSON");
    secret["data"]["ca.crt"].as_str().expect("a root").to_owned()
}
