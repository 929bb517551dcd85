//! The ways out: ExternalName Services and an egress gateway.

use dromon_core::config::model::{ClientTlsMode, Discovery, HttpAction, OutboundPolicy};

use crate::testing::{Seen, gateway, seen, set, sidecar};

/// Istio's egress gateway task: requests for a host outside leave through one place, which begins TLS.
const THROUGH: &str = "apiVersion: v1
kind: ConfigMap
metadata: {name: dromon, namespace: istio-system}
data: {mesh: 'outboundTrafficPolicy: {mode: REGISTRY_ONLY}'}
---
apiVersion: v1
kind: Service
metadata: {name: dromon-egress-gateway, namespace: dromon-system}
spec: {ports: [{name: http, port: 80, targetPort: 8080}], selector: {istio: egressgateway}}
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: cnn, namespace: default}
spec:
  hosts: [edition.cnn.com]
  ports: [{number: 80, name: http, protocol: HTTP}, {number: 443, name: https, protocol: HTTPS}]
  resolution: DNS
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: egress, namespace: default}
spec: {selector: {istio: egressgateway}, servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: [edition.cnn.com]}]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: cnn, namespace: default}
spec:
  hosts: [edition.cnn.com]
  gateways: [egress, mesh]
  http:
  - match: [{gateways: [mesh], port: 80}]
    route: [{destination: {host: dromon-egress-gateway.dromon-system.svc.cluster.local, port: {number: 80}}}]
  - match: [{gateways: [egress], port: 80}]
    route: [{destination: {host: edition.cnn.com, port: {number: 443}}}]
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: cnn, namespace: default}
spec: {host: edition.cnn.com, trafficPolicy: {portLevelSettings: [{port: {number: 443}, tls: {mode: SIMPLE}}]}}
";

fn leads_to(seen: &Seen, host: &str) -> Vec<(String, Option<u16>)> {
    let rules = seen.http(host).iter().map(|rule| match &rule.action {
        HttpAction::Route { destinations } => (destinations[0].host.clone(), destinations[0].port),
        other => panic!("{other:?}"),
    });
    rules.collect()
}

#[test]
fn a_host_outside_is_reached_through_the_egress_gateway_only() {
    let set = set(THROUGH);
    let client = seen(&set, &sidecar(&[]));
    assert_eq!(client.proxy().outbound_policy, OutboundPolicy::RegistryOnly);
    let there = "dromon-egress-gateway.dromon-system.svc.cluster.local".to_owned();
    assert_eq!(leads_to(&client, "edition.cnn.com"), [(there, Some(80))]);
    let mut egress = gateway(&[80]);
    egress.labels = [("istio".to_owned(), "egressgateway".to_owned())].into();
    let egress = seen(&set, &egress);
    let outside = ("edition.cnn.com".to_owned(), Some(443));
    assert_eq!(leads_to(&egress, "gateway/80/edition.cnn.com"), [outside]);
    let destination = egress.destination("edition.cnn.com", 443, "");
    assert_eq!(destination.discovery, Discovery::Dns);
    let tls = destination.tls.as_ref().expect("TLS begins here");
    assert_eq!(tls.mode, ClientTlsMode::Simple);
    let ingress = seen(&set, &gateway(&[80]));
    assert!(ingress.proxy().listeners.is_empty(), "the way in is no way out");
}

#[test]
fn an_external_name_is_a_host_of_the_mesh_under_its_service_name() {
    let text = "apiVersion: v1\nkind: Service\nmetadata: {name: out, namespace: default}\nspec: {type: ExternalName, externalName: api.example.com, ports: [{name: http, port: 80}, {name: tcp-db, port: 5432}]}\n";
    let seen = seen(&set(text), &sidecar(&[]));
    assert!(seen.host("out.default.svc.cluster.local").domains.contains(&"out".to_owned()));
    for port in [80, 5432] {
        let destination = seen.destination("out.default.svc.cluster.local", port, "");
        assert_eq!((destination.discovery, destination.tls.is_none()), (Discovery::Dns, true));
        let endpoints = seen.endpoints("out.default.svc.cluster.local", port, "");
        assert_eq!(endpoints, [format!("api.example.com:{port}")]);
    }
}
