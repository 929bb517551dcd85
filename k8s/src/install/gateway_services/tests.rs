use serde_json::json;

use super::*;
use crate::mesh::Mesh;
use crate::testing::set;

fn gateway(name: &str, ports: &[u16]) -> String {
    let listeners: Vec<String> =
        ports.iter().map(|port| format!("{{name: l{port}, port: {port}, protocol: HTTP}}")).collect();
    format!(
        "apiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: {{name: {name}, namespace: default}}\nspec: {{gatewayClassName: dromon, listeners: [{}]}}\n---\n",
        listeners.join(", ")
    )
}

fn changed(text: &str, there: &[Service]) -> Changes {
    changes(&Mesh::new(&set(text)).gateway_api.gateways, there, "dromon-system", &Values::new())
}

fn stored(object: &Value) -> Service {
    serde_json::from_value(object.clone()).expect("a Service")
}

#[test]
fn a_port_that_an_older_gateway_has_needs_a_service_with_targets_of_its_own() {
    assert_eq!(changed(&(gateway("a", &[80]) + &gateway("b", &[8080])), &[]), Changes::default());
    let text = gateway("a", &[80]) + &gateway("b", &[80, 443]) + &gateway("c", &[80]);
    let all = changed(&text, &[]).apply;
    assert_eq!(all.len(), 2, "{all:#?}");
    let targets: BTreeSet<_> = all
        .iter()
        .flat_map(|it| it["spec"]["ports"].as_array().cloned().unwrap_or_default())
        .map(|it| it["targetPort"].as_u64().expect("a number"))
        .collect();
    assert_eq!(targets.len(), 3, "none twice: {all:#?}");
    assert!(targets.iter().all(|it| (20_000..30_000).contains(it)));
    assert_eq!(all[0]["spec"]["selector"], json!({"app": "dromon-gateway"}));
    assert_eq!(all[0]["spec"]["type"], "LoadBalancer");
    assert_eq!(all[0]["metadata"]["namespace"], "dromon-system");
}

#[test]
fn a_service_stays_as_it_is_follows_listeners_and_goes_with_its_gateway() {
    let both = gateway("a", &[80]) + &gateway("b", &[80]);
    let first = changed(&both, &[]).apply;
    let there = [stored(&first[0])];
    assert_eq!(changed(&both, &there), Changes::default());
    let more = changed(&(gateway("a", &[80]) + &gateway("b", &[80, 443])), &there).apply;
    let ports = more[0]["spec"]["ports"].as_array().expect("ports");
    assert_eq!((ports.len(), &ports[0]), (2, &first[0]["spec"]["ports"][0]), "what was there stays");
    let name = first[0]["metadata"]["name"].as_str().expect("a name").to_owned();
    assert_eq!(changed(&gateway("a", &[80]), &there), Changes { apply: Vec::new(), remove: vec![name] });
}

#[test]
fn a_port_that_the_installed_service_lacks_needs_one_too() {
    let installed = "apiVersion: v1\nkind: Service\nmetadata: {name: dromon-gateway, namespace: istio-system}\nspec: {ports: [{name: http, port: 80}]}\n---\n";
    assert_eq!(changed(&(installed.to_owned() + &gateway("a", &[80])), &[]), Changes::default());
    let all = changed(&(installed.to_owned() + &gateway("a", &[80, 9000])), &[]).apply;
    assert_eq!(all[0]["spec"]["ports"][1]["port"], 9000, "{all:#?}");
}
