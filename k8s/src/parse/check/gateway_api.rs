//! Gateway API's kinds and Ingress, each object by itself. What the CRDs' own validation refuses is refused here too, because
//! files meet no API server.

use std::collections::BTreeSet;

use k8s_openapi::api::networking::v1::Ingress;

use crate::api::gateway_api::{
    BackendTlsPolicy, GatewayClass, GrpcRoute, HttpBackendRef, HttpFilter, HttpRoute, KubeGateway, StreamRule,
};
use crate::api::{Object, Rule};
use crate::mesh::gateway_api::{RouteBody, is_carried_out};
use crate::translate::gateway_api::refused;

use super::{RULES_PAGE, Report};

/// Looks over an object of one of these kinds; others are let pass.
pub fn check(report: &mut Report, object: &Object) {
    match object {
        Object::GatewayClass(it) => class(report, &it.spec),
        Object::KubeGateway(it) => gateway(report, &it.spec),
        Object::HttpRoute(it) => {
            http_route(report, &it.spec);
            carried_out(report, &RouteBody::Http(it.clone()));
        }
        Object::GrpcRoute(it) => {
            grpc_route(report, &it.spec);
            carried_out(report, &RouteBody::Grpc(it.clone()));
        }
        Object::TlsRoute(it) => {
            hostnames(report, &it.spec.hostnames);
            stream_rules(report, &it.spec.rules);
        }
        Object::TcpRoute(it) => stream_rules(report, &it.spec.rules),
        Object::BackendTlsPolicy(it) => backend_tls(report, it),
        Object::Ingress(it) => ingress(report, it),
        _ => {}
    }
}

fn class(report: &mut Report, class: &GatewayClass) {
    if class.controller_name.is_empty() {
        report.error(
            "spec.controllerName",
            "says nothing",
            "`dromon.io/controller` for Gateways served here",
        );
    }
}

fn gateway(report: &mut Report, gateway: &KubeGateway) {
    if gateway.gateway_class_name.is_empty() {
        report.error("spec.gatewayClassName", "says nothing", "`dromon`, or another class of yours");
    }
    if gateway.listeners.is_empty() {
        report.error("spec.listeners", "there is no listener", "at least one is needed");
    }
    let mut names = BTreeSet::new();
    for (at, it) in gateway.listeners.iter().enumerate() {
        let path = format!("spec.listeners[{at}]");
        if it.name.is_empty() {
            report.error(format!("{path}.name"), "says nothing", "routes name it as `sectionName`");
        } else if !names.insert(&it.name) {
            report.error(format!("{path}.name"), format!("`{}` stands twice", it.name), "names are unique");
        }
        report.port(format!("{path}.port"), it.port);
        if let Some(hostname) = it.hostname.as_ref().filter(|it| !it.is_empty()) {
            report.host(format!("{path}.hostname"), hostname);
        }
        if it.tls.is_some() && matches!(it.protocol.as_str(), "HTTP" | "TCP") {
            report.error(format!("{path}.tls"), format!("{} has no TLS", it.protocol), "HTTPS or TLS");
        }
        if let Some(tls) = &it.tls {
            let parts = [
                ("frontendValidation", tls.frontend_validation.is_some()),
                ("options", !tls.options.is_empty()),
            ];
            report.not_yet_if(&format!("{path}.tls"), &parts);
        }
    }
    let infrastructure = gateway.infrastructure.as_ref();
    let has = |it: fn(&crate::api::gateway_api::Infrastructure) -> bool| infrastructure.is_some_and(it);
    let parts = [
        ("allowedListeners", gateway.allowed_listeners.is_some()),
        ("tls", gateway.tls.is_some()),
        ("defaultScope", gateway.default_scope.is_some()),
        ("infrastructure.labels", has(|it| !it.labels.is_empty())),
        ("infrastructure.annotations", has(|it| !it.annotations.is_empty())),
    ];
    report.not_yet_if("spec", &parts);
}

fn hostnames(report: &mut Report, hostnames: &[String]) {
    for (at, hostname) in hostnames.iter().enumerate() {
        report.host(format!("spec.hostnames[{at}]"), hostname);
    }
}

/// What a proxy would refuse is refused here, by the code that does it there.
fn carried_out(report: &mut Report, route: &RouteBody) {
    if let Some((field, reason)) = refused(route) {
        report.error(field, reason, "no proxy could carry it out");
    }
}

fn http_route(report: &mut Report, route: &HttpRoute) {
    hostnames(report, &route.hostnames);
    report.not_yet_if("spec", &[("useDefaultGateways", route.use_default_gateways.is_some())]);
    for (at, rule) in route.rules.iter().flatten().enumerate() {
        let path = format!("spec.rules[{at}]");
        for (number, it) in rule.matches.iter().enumerate() {
            let value = it.path.as_ref().and_then(|it| it.value.as_deref());
            let is_expression = it
                .path
                .as_ref()
                .is_some_and(|it| it.kind == crate::api::gateway_api::PathMatchType::RegularExpression);
            if let Some(value) = value.filter(|it| !it.starts_with('/') && !is_expression) {
                let message = format!("`{value}` does not begin with a slash");
                report.error(format!("{path}.matches[{number}].path.value"), message, "as in `/shop`");
            }
        }
        if let (Some(request), Some(backend)) = (
            rule.timeouts.and_then(|it| it.request).filter(|it| it.millis() > 0),
            rule.timeouts.and_then(|it| it.backend_request),
        ) && backend > request
        {
            let message = "longer than `request`, of which it is a part";
            report.error(format!("{path}.timeouts.backendRequest"), message, "at most as long");
        }
        report.not_yet_if(&path, &[("sessionPersistence", rule.session_persistence.is_some())]);
        let is_redirect = rule.filters.iter().any(|it| it.kind == "RequestRedirect");
        if is_redirect && !rule.backend_refs.is_empty() {
            report.error(
                format!("{path}.backendRefs"),
                "a redirect goes nowhere else",
                "leave one of them out",
            );
        }
        filters(report, &path, &rule.filters, false);
        backends(report, &path, &rule.backend_refs);
    }
}

fn grpc_route(report: &mut Report, route: &GrpcRoute) {
    hostnames(report, &route.hostnames);
    report.not_yet_if("spec", &[("useDefaultGateways", route.use_default_gateways.is_some())]);
    for (at, rule) in route.rules.iter().enumerate() {
        let path = format!("spec.rules[{at}]");
        report.not_yet_if(&path, &[("sessionPersistence", rule.session_persistence.is_some())]);
        filters(report, &path, &rule.filters, false);
        backends(report, &path, &rule.backend_refs);
    }
}

fn filters(report: &mut Report, path: &str, filters: &[HttpFilter], on_backend: bool) {
    let mut seen = BTreeSet::new();
    for (at, it) in filters.iter().enumerate() {
        let field = format!("{path}.filters[{at}]");
        let once = matches!(it.kind.as_str(), "RequestRedirect" | "URLRewrite");
        if !seen.insert(it.kind.as_str()) && (once || it.kind.ends_with("HeaderModifier")) {
            report.error(field, format!("a second {}", it.kind), "one of each type");
            continue;
        }
        let body = match it.kind.as_str() {
            "RequestHeaderModifier" => it.request_header_modifier.is_some(),
            "ResponseHeaderModifier" => it.response_header_modifier.is_some(),
            "RequestRedirect" => it.request_redirect.is_some(),
            "URLRewrite" => it.url_rewrite.is_some(),
            "RequestMirror" | "CORS" | "ExternalAuth" | "ExtensionRef" => true,
            other => {
                report.error(field, format!("`{other}` is no type of filter"), RULES_PAGE);
                continue;
            }
        };
        if !body {
            report.error(field, format!("a {} without what it is to do", it.kind), RULES_PAGE);
        } else if !is_carried_out(it, on_backend) {
            let message = format!(
                "the filter {} is not carried out here; requests of the rule are answered 500",
                it.kind
            );
            report.warning(field, message, RULES_PAGE);
        }
    }
    if seen.contains("RequestRedirect") && seen.contains("URLRewrite") {
        report.error(format!("{path}.filters"), "redirects and rewrites at once", "leave one of them out");
    }
}

fn backends(report: &mut Report, path: &str, backends: &[HttpBackendRef]) {
    for (at, it) in backends.iter().enumerate() {
        let path = format!("{path}.backendRefs[{at}]");
        backend_port(report, &path, it.kind.as_deref(), it.port);
        filters(report, &path, &it.filters, true);
    }
}

fn backend_port(report: &mut Report, path: &str, kind: Option<&str>, port: Option<u16>) {
    if kind.unwrap_or("Service") == "Service" && port.is_none() {
        report.error(format!("{path}.port"), "a Service needs a port", "one of its ports");
    }
}

fn stream_rules(report: &mut Report, rules: &[StreamRule]) {
    if rules.is_empty() {
        report.error("spec.rules", "there is no rule", "at least one is needed");
    }
    if rules.len() > 1 {
        report.warning("spec.rules[1]", "only the first rule counts: none has a condition", RULES_PAGE);
    }
    for (at, rule) in rules.iter().enumerate() {
        for (number, it) in rule.backend_refs.iter().enumerate() {
            let path = format!("spec.rules[{at}].backendRefs[{number}]");
            backend_port(report, &path, it.kind.as_deref(), it.port);
        }
    }
}

fn backend_tls(report: &mut Report, policy: &Rule<BackendTlsPolicy>) {
    let validation = &policy.spec.validation;
    if policy.spec.target_refs.is_empty() {
        report.error("spec.targetRefs", "names nothing", "the Service that is spoken to");
    }
    if validation.hostname.is_empty() {
        report.error("spec.validation.hostname", "says nothing", "the server name to ask for");
    } else {
        report.host("spec.validation.hostname".to_owned(), &validation.hostname);
    }
    let (refs, system) =
        (!validation.ca_certificate_refs.is_empty(), validation.well_known_ca_certificates.is_some());
    if refs == system {
        let message = "exactly one of `caCertificateRefs` and `wellKnownCACertificates` says whom to trust";
        report.error("spec.validation", message, RULES_PAGE);
    }
    report.not_yet_if("spec", &[("options", !policy.spec.options.is_empty())]);
}

fn ingress(report: &mut Report, ingress: &Ingress) {
    let Some(spec) = &ingress.spec else { return };
    for (at, rule) in spec.rules.iter().flatten().enumerate() {
        if let Some(host) = rule.host.as_ref().filter(|it| !it.is_empty()) {
            report.host(format!("spec.rules[{at}].host"), host);
        }
        for (number, it) in rule.http.iter().flat_map(|it| &it.paths).enumerate() {
            let field = format!("spec.rules[{at}].http.paths[{number}]");
            let text = it.path.as_deref().unwrap_or("/");
            if !text.is_empty() && !text.starts_with('/') {
                let message = format!("`{text}` does not begin with a slash");
                report.error(format!("{field}.path"), message, "as in `/shop`");
            }
            if !matches!(it.path_type.as_str(), "Exact" | "Prefix" | "ImplementationSpecific") {
                let message = format!("`{}` is no type of path", it.path_type);
                report.error(format!("{field}.pathType"), message, "Exact, Prefix or ImplementationSpecific");
            }
            if it.backend.resource.is_some() {
                report.not_yet(format!("{field}.backend.resource"));
            }
        }
    }
    if spec.default_backend.as_ref().is_some_and(|it| it.resource.is_some()) {
        report.not_yet("spec.defaultBackend.resource");
    }
}
