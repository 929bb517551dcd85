use serde_json::json;

use super::*;
use crate::testing::set;

mod gateway_api;

/// The statuses of a text's objects at a time, given those that they had.
fn told(text: &str, previous: &BTreeMap<Key, Value>, now: &str) -> Vec<StatusWrite> {
    told_outside(text, previous, now, &Outside::default())
}

fn told_outside(
    text: &str,
    previous: &BTreeMap<Key, Value>,
    now: &str,
    outside: &Outside,
) -> Vec<StatusWrite> {
    let set = set(text);
    let mesh = Mesh::new(&set);
    let previous = |key: &Key| previous.get(key).cloned();
    let now = now.parse().expect("a time");
    statuses(&Inputs { set: &set, mesh: &mesh, outside, previous: &previous, now })
}

const CLASS: &str = "apiVersion: gateway.networking.k8s.io/v1\nkind: GatewayClass\nmetadata: {name: dromon, generation: 3}\nspec: {controllerName: dromon.io/controller}\n";

#[test]
fn a_class_of_ours_is_accepted_and_others_are_left_alone() {
    let foreign = CLASS.replace("dromon.io/controller", "example.com/other").replace("dromon,", "other,");
    let text = format!("{CLASS}---\n{foreign}");
    let writes = told(&text, &BTreeMap::new(), "2026-05-01T10:00:00Z");
    assert_eq!(writes.len(), 1, "{writes:#?}");
    assert_eq!(writes[0].name, "dromon");
    assert_eq!(
        writes[0].status["conditions"],
        json!([{"type": "Accepted", "status": "True", "reason": "Accepted", "observedGeneration": 3,
            "message": "Gateways of this class are served", "lastTransitionTime": "2026-05-01T10:00:00Z"}])
    );
}

#[test]
fn equal_statuses_are_not_written_and_times_stay_where_nothing_changed() {
    let first = told(CLASS, &BTreeMap::new(), "2026-05-01T10:00:00Z");
    let previous: BTreeMap<Key, Value> = first.into_iter().map(|it| (it.key, it.status)).collect();
    assert_eq!(told(CLASS, &previous, "2026-05-02T10:00:00Z"), Vec::new());
    let bumped = CLASS.replace("generation: 3", "generation: 4");
    let writes = told(&bumped, &previous, "2026-05-02T10:00:00Z");
    let condition = &writes[0].status["conditions"][0];
    assert_eq!(condition["observedGeneration"], 4);
    assert_eq!(condition["lastTransitionTime"], "2026-05-01T10:00:00Z");
    let refused = format!(
        "{}  parametersRef: {{group: '', kind: ConfigMap, name: x}}\n",
        CLASS.replace(
            "spec: {controllerName: dromon.io/controller}",
            "spec:\n  controllerName: dromon.io/controller"
        )
    );
    let writes = told(&refused, &previous, "2026-05-02T10:00:00Z");
    let condition = &writes[0].status["conditions"][0];
    assert_eq!((&condition["status"], &condition["reason"]), (&json!("False"), &json!("InvalidParameters")));
    assert_eq!(condition["lastTransitionTime"], "2026-05-02T10:00:00Z");
}

const DANGLING: &str = "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: a, namespace: default, generation: 2}\nspec: {hosts: [a.example], http: [{route: [{destination: {host: nowhere}}]}]}\n";

#[test]
fn istio_objects_are_told_the_field_that_is_bad_and_nothing_once_all_is_well() {
    let writes = told(DANGLING, &BTreeMap::new(), "2026-05-01T10:00:00Z");
    let status = &writes[0].status;
    assert_eq!(status["conditions"][0]["type"], "Reconciled");
    assert_eq!(status["conditions"][0]["status"], "False");
    let message = status["conditions"][0]["message"].as_str().expect("a text");
    assert!(message.starts_with("spec.http[0].route[0].destination.host: "), "{message}");
    assert_eq!(status["validationMessages"], json!([{"type": {"name": "DromonAnalysis"}, "level": "ERROR"}]));
    assert_eq!(status["observedGeneration"], 2);
    let previous: BTreeMap<Key, Value> = writes.into_iter().map(|it| (it.key, it.status)).collect();
    let service = "---\napiVersion: v1\nkind: Service\nmetadata: {name: nowhere, namespace: default}\nspec: {ports: [{port: 80, name: http}]}\n";
    let healed = told(&format!("{DANGLING}{service}"), &previous, "2026-05-02T10:00:00Z");
    assert_eq!(healed[0].status["conditions"][0]["status"], "True");
    assert_eq!(healed[0].status["conditions"][0]["lastTransitionTime"], "2026-05-02T10:00:00Z");
    assert_eq!(healed[0].status["validationMessages"], json!([]));
    // Sound from the start: nothing is written.
    assert_eq!(told(&format!("{DANGLING}{service}"), &BTreeMap::new(), "2026-05-02T10:00:00Z"), Vec::new());
}

#[test]
fn an_object_that_was_refused_is_told_why() {
    let key = Key { kind: Kind::VirtualService, namespace: "default".into(), name: "bad".into() };
    let finding = Diagnostic::error("spec.http[0].timeout", "`5` is not a duration");
    let told = Told { generation: Some(7), findings: vec![finding] };
    let outside = Outside { told: [(key.clone(), told)].into(), ..Outside::default() };
    let writes = told_outside("", &BTreeMap::new(), "2026-05-01T10:00:00Z", &outside);
    assert_eq!(writes[0].key, key);
    assert_eq!(writes[0].status["conditions"][0]["reason"], "Invalid");
    assert_eq!(writes[0].status["conditions"][0]["message"], "spec.http[0].timeout: `5` is not a duration");
}
