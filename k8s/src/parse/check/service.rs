//! Kubernetes Service.

use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;

use crate::diagnostic::Diagnostic;

use super::Report;

/// Looks a Service over.
pub fn check(report: &mut Report, service: &Service) {
    let Some(spec) = &service.spec else {
        return report.error("spec", "`spec` is missing", "give ports and a selector");
    };
    let is_external = spec.type_.as_deref() == Some("ExternalName");
    let is_headless = spec.cluster_ip.as_deref() == Some("None");
    let ports = spec.ports.as_deref().unwrap_or_default();
    if ports.is_empty() && !is_headless {
        let message = "it has no ports, so nothing can be sent to it";
        let hint = if is_external { "name the ports that the mesh may use" } else { "give at least one" };
        report.warning("spec.ports", message, hint);
    }
    if is_external && spec.external_name.as_deref().unwrap_or_default().is_empty() {
        report.error("spec.externalName", "the name is missing", "the DNS name that it stands for");
    }
    for (at, port) in ports.iter().enumerate() {
        let path = format!("spec.ports[{at}]");
        if !(1..=65_535).contains(&port.port) {
            report.error(format!("{path}.port"), format!("{} is not a port", port.port), "1 to 65535");
        }
        if let Some(protocol) = port.protocol.as_deref().filter(|it| *it != "TCP") {
            let message = format!("{protocol} is outside the mesh");
            report.findings.push(Diagnostic::info(format!("{path}.protocol"), message));
        }
    }
    let local = |it: &Option<String>| it.as_deref() == Some("Local");
    let not_yet = [
        ("sessionAffinity", spec.session_affinity.as_deref() == Some("ClientIP")),
        ("internalTrafficPolicy", local(&spec.internal_traffic_policy)),
        ("trafficDistribution", spec.traffic_distribution.is_some()),
    ];
    report.not_yet_if("spec", &not_yet);
}

/// Looks an EndpointSlice over.
pub fn slice(report: &mut Report, slice: &EndpointSlice) {
    if slice.address_type == "FQDN" {
        report.not_yet("addressType");
    }
    let service = slice.metadata.labels.as_ref().and_then(|it| it.get("kubernetes.io/service-name"));
    if service.is_none() {
        let message = "without the label `kubernetes.io/service-name` it belongs to no Service";
        report.warning("metadata.labels", message, "name the Service in that label");
    }
}
