use std::collections::BTreeSet;

use serde_json::Value;

use super::{Values, crds, helm, objects, rbac};
use crate::api::Kind;

fn find<'a>(objects: &'a [Value], kind: &str, name: &str) -> &'a Value {
    let is_it = |it: &&Value| it["kind"] == kind && it["metadata"]["name"] == name;
    objects.iter().find(is_it).unwrap_or_else(|| panic!("no {kind} {name}"))
}

#[test]
fn values_reach_the_objects() {
    let mut values = Values::new();
    for assignment in [
        "controller.replicas=3",
        "image.tag=1.0",
        "gateway.enabled=false",
        "controller.resources.limits.memory=2Gi",
        "ca.secret=of-ours",
    ] {
        values.set(assignment).expect(assignment);
    }
    let objects = objects(&values);
    let controller = find(&objects, "Deployment", "dromon-controller");
    assert_eq!(controller["spec"]["replicas"], 3);
    let container = &controller["spec"]["template"]["spec"]["containers"][0];
    assert_eq!(container["image"], "localhost/dromon-controller:1.0");
    assert_eq!(container["resources"]["limits"]["memory"], "2Gi");
    assert!(container["args"].to_string().contains("--ca-secret=of-ours"), "{container}");
    assert_eq!(container["resources"]["requests"]["cpu"], "100m", "what is not set stays");
    assert!(
        !objects.iter().any(|it| it["metadata"]["name"] == "dromon-gateway" && it["kind"] == "Deployment")
    );
}

#[test]
fn values_that_are_wrong_are_named() {
    let refused = |assignment: &str| Values::new().set(assignment).expect_err(assignment).to_string();
    assert_eq!(
        refused("controller.replica=3"),
        "no value is called \"controller.replica\"; did you mean \"replicas\"?"
    );
    assert_eq!(refused("controller.replicas=many"), "controller.replicas: want a number, found \"many\"");
    assert_eq!(refused("seccomp=off"), "seccomp: \"off\" is none of RuntimeDefault, Localhost, Unconfined");
    assert!(refused("controller").contains("PATH=VALUE"));
    assert!(Values::from_yaml("global: {a: 1}\nlogLevel: debug\n").is_ok(), "Helm adds `global`");
}

/// The running controller reads the values from the ConfigMap: what is installed says what it says.
#[test]
fn the_controller_reads_the_values_that_were_installed() {
    let mut values = Values::new();
    values.set("sidecar.logLevel=debug").expect("known");
    let objects = objects(&values);
    let text = find(&objects, "ConfigMap", "dromon")["data"]["values"].as_str().expect("text");
    assert_eq!(Values::from_yaml(text).expect("reads"), values);
}

/// Other values make other pods; the same ones make the same.
#[test]
fn pods_are_made_anew_when_values_change() {
    let hash = |values: &Values| {
        let objects = objects(values);
        find(&objects, "Deployment", "dromon-controller")["spec"]["template"]["metadata"]["annotations"]
            ["dromon.io/values-hash"]
            .clone()
    };
    let mut other = Values::new();
    other.set("sidecar.logLevel=debug").expect("known");
    assert_eq!(hash(&Values::new()), hash(&Values::new()));
    assert_ne!(hash(&Values::new()), hash(&other));
}

#[test]
fn every_object_is_labelled_and_named_once() {
    let mut seen = BTreeSet::new();
    let mut values = Values::new();
    values.set("egress.enabled=true").expect("known");
    values.set("injection.istioLabels=true").expect("known");
    for object in objects(&values) {
        assert_eq!(object["metadata"]["labels"]["dromon.io/install"], "dromon", "{object}");
        assert!(
            seen.insert((object["kind"].to_string(), object["metadata"]["name"].to_string())),
            "{object}"
        );
        let containers =
            object["spec"]["template"]["spec"]["containers"].as_array().cloned().unwrap_or_default();
        for container in containers {
            let context = &container["securityContext"];
            assert_eq!(context["runAsNonRoot"], true, "{container}");
            assert_eq!(context["readOnlyRootFilesystem"], true, "{container}");
            assert_eq!(context["capabilities"]["drop"][0], "ALL", "{container}");
            assert!(container["resources"]["requests"]["cpu"].is_string(), "{container}");
        }
    }
}

/// Every kind that rules are read from has a definition here, or is Kubernetes' own.
#[test]
fn every_kind_that_is_read_has_a_definition() {
    let builtin = ["", "discovery.k8s.io", "networking.k8s.io", "run.dromon.io"];
    for kind in Kind::ALL.iter().filter(|kind| !builtin.contains(&kind.group())) {
        let defined = crds::ALL.iter().any(|crd| crd.group == kind.group() && crd.kind == kind.name());
        assert!(defined, "{kind} of {}", kind.group());
    }
    for crd in crds::ALL {
        let of_kind = |plural: &str| {
            rbac::CONTROLLER_CLUSTER.iter().any(|it| it.group == crd.group && it.resources.contains(&plural))
        };
        assert!(of_kind(crd.plural), "the controller may not read {}", crd.name());
    }
}

/// Nobody but the webhooks of ours may be changed, and no verb is a wildcard.
#[test]
fn roles_hold_no_wildcards() {
    for grant in rbac::CONTROLLER_CLUSTER.iter().chain(rbac::CONTROLLER_NAMESPACE) {
        let all = grant.resources.iter().chain(grant.verbs).chain(grant.names);
        assert!(all.clone().all(|it| !it.contains('*')), "{grant:?}");
        if grant.group == "admissionregistration.k8s.io" && grant.verbs.contains(&"patch") {
            assert!(!grant.names.is_empty(), "{grant:?}");
        }
    }
}

/// Templates are checked by filling them in with the values that `values.yaml` has: the result must be the manifests.
#[test]
fn the_chart_says_what_the_manifests_say() {
    let mut values = Values::new();
    values.set("egress.enabled=true").expect("known");
    values.set("injection.istioLabels=true").expect("known");
    let rendered: Vec<Value> = helm::chart(&values)
        .iter()
        .filter(|file| file.path.starts_with("templates/"))
        .flat_map(|file| {
            let text = fill(&file.text, &values);
            let read = crate::parse::documents(&text).into_iter().map(|it| it.expect(&text).value);
            read.collect::<Vec<_>>()
        })
        .map(without_hash)
        .collect();
    let wanted: Vec<Value> =
        objects(&values).into_iter().filter(|it| it["kind"] != "Namespace").map(without_hash).collect();
    assert_eq!(rendered, wanted);
}

fn without_hash(mut object: Value) -> Value {
    if let Some(annotations) =
        object.pointer_mut("/spec/template/metadata/annotations").and_then(Value::as_object_mut)
    {
        annotations.remove("dromon.io/values-hash");
    }
    object
}

/// As Helm fills in the few forms that charts of ours have.
fn fill(text: &str, values: &Values) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("{{") {
        let (action, after) = after.split_once("}}").expect("closed");
        let action = action.trim_start_matches('-').trim();
        out.push_str(before);
        if let Some(path) = action.strip_prefix("if .Values.") {
            assert!(values.is_set(path), "{path}");
        } else if action == "toJson .Values | toJson" {
            out.push_str(&Value::String(values.tree().to_string()).to_string());
        } else if action == "toJson .Values | sha256sum | quote" {
            out.push_str("\"0\"");
        } else if let Some(path) =
            action.strip_prefix("toYaml .Values.").and_then(|it| it.strip_suffix(" | toJson"))
        {
            out.push_str(&Value::String(crate::emit::yaml(&values.get(path))).to_string());
        } else if let Some(path) = action.strip_prefix("toJson .Values.") {
            out.push_str(&values.get(path).to_string());
        } else if let Some(path) = action.strip_prefix(".Values.") {
            out.push_str(&values.text(path));
        } else {
            assert_eq!(action, "end", "an unknown form");
        }
        rest = after;
    }
    out + rest
}
