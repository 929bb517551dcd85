//! Gateway API and Ingress: listeners that cannot be served, routes that hang nowhere, references that lead nowhere. What is
//! told here is what objects' status tells in a cluster.

use std::collections::BTreeSet;

use crate::api::{Kind, Object};
use crate::diagnostic::Diagnostic;
use crate::mesh::MESH_GATEWAY;
use crate::mesh::gateway_api::Route;
use crate::mesh::gateway_api::backends::backend;
use crate::mesh::ingress::class_of;
use crate::objects::Key;
use crate::others::Whose;
use crate::translate::ingress::backend_of;

use super::Analysis;

/// Looks over all of it.
pub fn analyze(analysis: &mut Analysis<'_>) {
    gateways(analysis);
    routes(analysis);
    policies(analysis);
    ingresses(analysis);
}

fn gateways(analysis: &mut Analysis<'_>) {
    let mesh = analysis.mesh;
    let ours: BTreeSet<&Key> = mesh.gateway_api.gateways.iter().map(|it| &it.key).collect();
    for sourced in analysis.set.of_kind(Kind::KubeGateway) {
        let Object::KubeGateway(gateway) = &sourced.object else { continue };
        if !ours.contains(&sourced.key) {
            let class = &gateway.spec.gateway_class_name;
            let message = format!("the class `{class}` is not served here");
            let hint = "`dromon`, or a GatewayClass whose controllerName is dromon.io/controller";
            analysis.report(&sourced.key, Diagnostic::info("spec.gatewayClassName", message).hint(hint));
        }
    }
    for gateway in &mesh.gateway_api.gateways {
        if !gateway.accepted.holds {
            analysis.report(&gateway.key, Diagnostic::error("spec", gateway.accepted.message.clone()));
        }
        for (at, listener) in gateway.listeners.iter().enumerate() {
            let field = format!("spec.listeners[{at}]");
            if !listener.accepted.holds {
                let diagnostic = Diagnostic::error(field.clone(), listener.accepted.message.clone());
                analysis.report(&gateway.key, diagnostic.hint("the listener is not served"));
            }
            if !listener.resolved.holds {
                let diagnostic = Diagnostic::error(field.clone(), listener.resolved.message.clone());
                analysis.report(&gateway.key, diagnostic);
            }
        }
    }
}

fn routes(analysis: &mut Analysis<'_>) {
    let mesh = analysis.mesh;
    let ours: BTreeSet<&Key> = mesh.gateway_api.routes.iter().map(|it| &it.key).collect();
    let kinds = [Kind::HttpRoute, Kind::GrpcRoute, Kind::TlsRoute, Kind::TcpRoute];
    for sourced in kinds.iter().flat_map(|kind| analysis.set.of_kind(*kind)) {
        if ours.contains(&sourced.key) {
            continue;
        }
        let parents = Route::body(sourced).map(|it| it.parents().to_vec()).unwrap_or_default();
        let whose = Whose::of_parents(&parents, &sourced.key.namespace);
        let diagnostic = if whose.is_some_and(|it| it.is_others(analysis.set)) {
            Diagnostic::info("spec.parentRefs", "hangs on Gateways of classes that are not served here")
        } else {
            let message = "hangs on no Gateway that is served here and on no Service, so it has no effect";
            Diagnostic::warning("spec.parentRefs", message)
        };
        analysis.report(&sourced.key, diagnostic);
    }
    for route in &mesh.gateway_api.routes {
        for parent in route.parents.iter().filter(|it| !it.accepted.holds) {
            let at = route.body.parents().iter().position(|it| *it == parent.reference).unwrap_or_default();
            let field = format!("spec.parentRefs[{at}]");
            let message = format!("{}: {}", parent.accepted.reason, parent.accepted.message);
            analysis.report(&route.key, Diagnostic::warning(field, message));
        }
        let from = (route.kind().name(), route.key.namespace.as_str());
        for (field, reference) in route.body.backends() {
            if let Err(error) = backend(mesh.known(), &mesh.gateway_api.grants, from, &reference) {
                let hint = "until then its share of the requests is answered 500";
                analysis.report(&route.key, Diagnostic::error(field, error.to_string()).hint(hint));
            }
        }
    }
    for virtual_service in mesh.virtual_services_of(MESH_GATEWAY) {
        for host in virtual_service.hosts.iter().filter(|it| mesh.gateway_api.has_routes_on(it)) {
            let message =
                format!("routes of Gateway API hang on the Service of {host} and come before this one");
            let diagnostic = Diagnostic::warning("spec.hosts", message);
            analysis
                .report(&virtual_service.held.key, diagnostic.hint("keep the host's rules in one dialect"));
        }
    }
}

fn policies(analysis: &mut Analysis<'_>) {
    let mesh = analysis.mesh;
    for policy in &mesh.gateway_api.backend_tls.policies {
        if !policy.accepted.holds {
            let message = format!("{}: {}", policy.accepted.reason, policy.accepted.message);
            analysis.report(&policy.key, Diagnostic::error("spec", message));
        }
    }
}

fn ingresses(analysis: &mut Analysis<'_>) {
    let mesh = analysis.mesh;
    let ours: BTreeSet<&Key> = mesh.ingresses.iter().map(|it| &it.key).collect();
    for sourced in analysis.set.of_kind(Kind::Ingress) {
        let Object::Ingress(ingress) = &sourced.object else { continue };
        if ours.contains(&sourced.key) {
            continue;
        }
        let message = match class_of(ingress) {
            Some(class) => format!("the class `{class}` is not served here"),
            None => "names no class, and none of ours is the default".to_owned(),
        };
        let hint = "`dromon`, or an IngressClass whose controller is dromon.io/ingress";
        analysis.report(&sourced.key, Diagnostic::info("spec.ingressClassName", message).hint(hint));
    }
    for ingress in &mesh.ingresses {
        let Some(spec) = &ingress.object.spec else { continue };
        let paths = spec.rules.iter().flatten().enumerate().flat_map(|(at, rule)| {
            let paths = rule.http.iter().flat_map(|it| &it.paths).enumerate();
            paths.map(move |(number, it)| (format!("spec.rules[{at}].http.paths[{number}]"), &it.backend))
        });
        let default = spec.default_backend.iter().map(|it| ("spec.defaultBackend".to_owned(), it));
        for (field, to) in paths.chain(default) {
            if let Err(message) = backend_of(mesh, &ingress.key.namespace, to) {
                let hint = "until it is there, its requests are answered 503";
                let diagnostic = Diagnostic::error(format!("{field}.backend"), message);
                analysis.report(&ingress.key, diagnostic.hint(hint));
            }
        }
    }
}
