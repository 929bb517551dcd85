use serde_json::{Value, json};

use super::{addresses, ports};

fn service(spec: Value, status: Value) -> k8s_openapi::api::core::v1::Service {
    serde_json::from_value(json!({"spec": spec, "status": status})).expect("a Service")
}

#[test]
fn the_load_balancers_addresses_come_before_the_services_own() {
    let spec = json!({"clusterIP": "10.96.0.7", "ports": [{"port": 80}, {"port": 443}]});
    let given = json!({"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}, {"hostname": "lb.example"}]}});
    assert_eq!(addresses(&service(spec.clone(), given)), ["192.0.2.1", "lb.example"]);
    let pending = service(spec.clone(), json!({"loadBalancer": {}}));
    assert_eq!(addresses(&pending), ["10.96.0.7"]);
    assert_eq!(ports(&pending).into_iter().collect::<Vec<_>>(), [80, 443]);
    let routed = json!({"clusterIP": "10.96.0.7", "externalIPs": ["198.51.100.4"]});
    assert_eq!(addresses(&service(routed, json!({}))), ["198.51.100.4"]);
}
