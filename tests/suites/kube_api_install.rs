//! Installation and injection against a real API server: `dromonctl install`, upgrade and `uninstall`, and the webhooks as it
//! calls them, the controller having the rights that an installation gives it and no more.

use std::path::Path;
use std::process::Command;

use dromon_tests::kube::api_server::{ApiServer, Setup};
use dromon_tests::kube::kubectl::Kubectl;
use dromon_tests::process::Process;
use dromon_tests::{bin, eventually, free_port};
use serde_json::{Value, json};

const SYSTEM: &str = "dromon-system";

/// Runs dromonctl against the cluster; what it printed.
fn dromonctl(kube: &ApiServer, arguments: &[&str]) -> String {
    let mut command = Command::new(bin("dromonctl"));
    command.args(arguments).arg("--kubeconfig").arg(kube.kubeconfig());
    let output = command.output().expect("dromonctl runs");
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "dromonctl {arguments:?}: {out}{err}");
    out.into_owned()
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

/// The controller as an installation runs it, its webhooks at a port of this machine.
fn controller(kube: &ApiServer, values: &Path) -> (Process, u16) {
    let (port, status, feed) = (free_port(), free_port(), free_port());
    let mut command = Command::new(bin("dromon-controller"));
    command.args(["--source", "kube", "--system-namespace", SYSTEM, "--kubeconfig"]);
    command.arg(kube.account(SYSTEM, "dromon-controller")).arg("--values").arg(values);
    for (flag, port) in [("--webhook-addr", port), ("--status-addr", status), ("--feed-tcp", feed)] {
        command.arg(flag).arg(format!("127.0.0.1:{port}"));
    }
    (Process::start(&mut command), port)
}

/// Waits for the CA bundle, then has the API server call this machine in place of a Service that no pod stands behind.
fn call_here(kubectl: &Kubectl, kind: &str, name: &str, path: &str, port: u16) {
    let bundles = kubectl.wait(&[kind, name], |found| {
        let hooks = found["webhooks"].as_array()?.iter();
        hooks
            .map(|hook| hook["clientConfig"]["caBundle"].as_str().map(str::to_owned))
            .collect::<Option<Vec<_>>>()
    });
    let url = format!("https://localhost:{port}{path}");
    let replace = |(at, bundle): (usize, &String)| {
        let value = json!({"url": url, "caBundle": bundle});
        json!({"op": "replace", "path": format!("/webhooks/{at}/clientConfig"), "value": value})
    };
    let patch: Vec<Value> = bundles.iter().enumerate().map(replace).collect();
    kubectl.run(&["patch", kind, name, "--type=json", "-p", &Value::Array(patch).to_string()]);
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
    let (mut controller, port) = controller(&kube, values.path());
    call_here(kubectl, "mutatingwebhookconfiguration", "dromon-sidecar-injector", "/inject", port);
    call_here(kubectl, "validatingwebhookconfiguration", "dromon-validator", "/validate", port);
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
    controller.signal(15);
    controller.wait();
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
}
