//! Whose matter an object is, by the class that it names: Ingresses, Gateways and routes of another controller's are not ours to
//! judge. It is told from the text, before anything is read into its type: what their controller takes may not fit ours.

use serde::Deserialize;
use serde_json::Value;

use crate::api::gateway_api::{CONTROLLER, GROUP, ParentReference};
use crate::api::{Kind, Object};
use crate::diagnostic::Diagnostic;
use crate::mesh::ingress;
use crate::objects::{Key, ObjectSet};
use crate::parse::{self, DEFAULT_NAMESPACE};

#[cfg(test)]
mod tests;

/// Routes of Gateway API.
const ROUTES: [&str; 5] = ["HTTPRoute", "GRPCRoute", "TLSRoute", "TCPRoute", "UDPRoute"];

/// What decides whose an object is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Whose {
    /// An Ingress, by its IngressClass.
    IngressClass(String),
    /// A Gateway of Gateway API, by its GatewayClass.
    GatewayClass(String),
    /// A route, by the Gateways that it hangs on.
    Gateways(Vec<Key>),
}

impl Whose {
    /// Of an object as it is written; none where every object of its kind is ours to read, or it names nothing.
    pub fn of(object: &Value) -> Option<Whose> {
        let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str);
        let group = text("/apiVersion")?.split_once('/')?.0;
        match (group, text("/kind")?) {
            ("networking.k8s.io", "Ingress") => {
                let annotation =
                    || object.get("metadata")?.get("annotations")?.get(ingress::CLASS_ANNOTATION);
                let named = text("/spec/ingressClassName").or_else(|| annotation()?.as_str());
                Some(Whose::IngressClass(named?.to_owned()))
            }
            (GROUP, "Gateway") => Some(Whose::GatewayClass(text("/spec/gatewayClassName")?.to_owned())),
            (GROUP, kind) if ROUTES.contains(&kind) => {
                let own =
                    text("/metadata/namespace").filter(|it| !it.is_empty()).unwrap_or(DEFAULT_NAMESPACE);
                let parents = object.pointer("/spec/parentRefs")?.as_array()?;
                let parents: Result<Vec<_>, _> = parents.iter().map(ParentReference::deserialize).collect();
                Whose::of_parents(&parents.ok()?, own)
            }
            _ => None,
        }
    }

    /// Of a route's parents, in a namespace; none where there are none, or one is no Gateway.
    pub(crate) fn of_parents(parents: &[ParentReference], own: &str) -> Option<Whose> {
        let key = |it: &ParentReference| {
            let key = || Key {
                kind: Kind::KubeGateway,
                namespace: it.namespace(own).to_owned(),
                name: it.name.clone(),
            };
            it.is_gateway().then(key)
        };
        let all: Option<Vec<Key>> = parents.iter().map(key).collect();
        all.filter(|it| !it.is_empty()).map(Whose::Gateways)
    }

    /// Whether that is another controller's: a class that is there and says so, or nothing but Gateways of such classes.
    pub fn is_others(&self, set: &ObjectSet) -> bool {
        let class = |kind, name: &str| Key { kind, namespace: String::new(), name: name.to_owned() };
        match self {
            Whose::IngressClass(name) => match set.get(&class(Kind::IngressClass, name)).map(|it| &it.object)
            {
                Some(Object::IngressClass(class)) => {
                    let controller = class.spec.as_ref().and_then(|it| it.controller.as_deref());
                    controller != Some(ingress::CONTROLLER)
                }
                _ => false,
            },
            Whose::GatewayClass(name) => match set.get(&class(Kind::GatewayClass, name)).map(|it| &it.object)
            {
                Some(Object::GatewayClass(class)) => class.spec.controller_name != CONTROLLER,
                _ => false,
            },
            Whose::Gateways(all) => all.iter().all(|key| match set.get(key).map(|it| &it.object) {
                _ if set.whose(key).is_some_and(|it| it.is_others(set)) => true,
                Some(Object::KubeGateway(it)) => {
                    Whose::GatewayClass(it.spec.gateway_class_name.clone()).is_others(set)
                }
                _ => false,
            }),
        }
    }
}

/// What reading a text says of objects in it that are another controller's.
pub fn said_of_others(text: &str, set: &ObjectSet) -> Vec<Diagnostic> {
    let is_others = |it: &Value| Whose::of(it).is_some_and(|it| it.is_others(set));
    let theirs = parse::values(text).into_iter().filter(is_others);
    theirs.flat_map(|it| parse::json(it).diagnostics).collect()
}
