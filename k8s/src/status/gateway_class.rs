//! GatewayClasses that name our controller.

use serde_json::{Value, json};

use crate::api::gateway_api::{CONTROLLER, GatewayClass};
use crate::api::{Kind, Object};

use super::conditions::merged;
use super::{Condition, Writes};

/// Features of Gateway API that are carried out, as the conformance suite names them (`pkg/features`), in order.
pub(super) const FEATURES: &[&str] = &[
    "BackendTLSPolicy",
    "GRPCRoute",
    "Gateway",
    "GatewayHTTPListenerIsolation",
    "GatewayPort8080",
    "HTTPRoute",
    "HTTPRoute303RedirectStatusCode",
    "HTTPRoute307RedirectStatusCode",
    "HTTPRoute308RedirectStatusCode",
    "HTTPRouteBackendProtocolH2C",
    "HTTPRouteBackendRequestHeaderModification",
    "HTTPRouteBackendTimeout",
    "HTTPRouteDestinationPortMatching",
    "HTTPRouteHostRewrite",
    "HTTPRouteMethodMatching",
    "HTTPRouteNamedRouteRule",
    "HTTPRouteParentRefPort",
    "HTTPRoutePathRedirect",
    "HTTPRoutePathRewrite",
    "HTTPRoutePortRedirect",
    "HTTPRouteQueryParamMatching",
    "HTTPRouteRequestTimeout",
    "HTTPRouteResponseHeaderModification",
    "HTTPRouteSchemeRedirect",
    "Mesh",
    "MeshConsumerRoute",
    "ReferenceGrant",
    "TCPRoute",
    "TLSRoute",
    "TLSRouteModeTerminate",
];

/// Writes the status of every GatewayClass that is ours.
pub(super) fn write(writes: &mut Writes<'_>) {
    for sourced in writes.inputs.set.of_kind(Kind::GatewayClass) {
        let Object::GatewayClass(class) = &sourced.object else { continue };
        if class.spec.controller_name != CONTROLLER {
            continue;
        }
        let previous = writes.previous(&sourced.key);
        let generation = class.meta.generation;
        let conditions = [accepted(&class.spec)];
        let mut status = previous.clone();
        status["conditions"] = merged(
            &conditions,
            &["Accepted", "SupportedVersion"],
            previous.get("conditions"),
            generation,
            writes.inputs.now,
        );
        status["supportedFeatures"] =
            FEATURES.iter().map(|name| json!({"name": name})).collect::<Vec<Value>>().into();
        writes.put(&sourced.key, &previous, status);
    }
}

fn accepted(class: &GatewayClass) -> Condition {
    match &class.parameters_ref {
        None => Condition::holds("Accepted", "Accepted", "Gateways of this class are served"),
        Some(parameters) => Condition::fails(
            "Accepted",
            "InvalidParameters",
            format!(
                "parametersRef: {} {} is of no kind that this class takes; it takes no parameters",
                parameters.kind, parameters.name
            ),
        ),
    }
}
