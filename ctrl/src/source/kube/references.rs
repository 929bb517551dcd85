//! Which Secrets and ConfigMaps rules name: only those are read.
//!
//! Looked for in the objects as they come, by the names that fields have in all dialects, so that a kind that is new is
//! not forgotten. A name may be meant in several namespaces: Istio looks in the gateway's own first.

use std::collections::BTreeSet;

use serde_json::Value;

use super::resources::Resource;

/// What is named.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs)]
pub enum Holder {
    Secret,
    ConfigMap,
}

/// A Secret or ConfigMap by namespace and name.
pub type Reference = (Holder, String, String);

/// Istio's ending of the Secret with the CA beside the one with certificate and key.
const CA_SUFFIX: &str = "-cacert";

/// What an object names. `homes` are namespaces in which gateways run.
pub fn of(resource: &Resource, namespace: &str, object: &Value, homes: &[String]) -> BTreeSet<Reference> {
    let mut found = Found { namespace, homes, names: BTreeSet::new() };
    match (resource.group, resource.kind) {
        ("networking.istio.io", "Gateway" | "DestinationRule") => {
            found.istio(object.get("spec").unwrap_or(&Value::Null))
        }
        ("gateway.networking.k8s.io", _) => found.gateway_api(object.get("spec").unwrap_or(&Value::Null)),
        ("networking.k8s.io", "Ingress") => {
            for tls in object.pointer("/spec/tls").and_then(Value::as_array).into_iter().flatten() {
                if let Some(name) = tls.get("secretName").and_then(Value::as_str) {
                    found.add(Holder::Secret, namespace, name);
                }
            }
        }
        _ => {}
    }
    found.names
}

struct Found<'a> {
    namespace: &'a str,
    homes: &'a [String],
    names: BTreeSet<Reference>,
}

impl Found<'_> {
    fn add(&mut self, holder: Holder, namespace: &str, name: &str) {
        if !name.is_empty() {
            self.names.insert((holder, namespace.to_owned(), name.to_owned()));
        }
    }

    /// `credentialName` and its like, wherever they stand.
    fn istio(&mut self, value: &Value) {
        match value {
            Value::Array(items) => items.iter().for_each(|it| self.istio(it)),
            Value::Object(fields) => {
                for (field, value) in fields {
                    match (field.as_str(), value) {
                        ("credentialName" | "caCertCredentialName", Value::String(name)) => {
                            self.credential(name)
                        }
                        ("credentialNames", Value::Array(names)) => {
                            names.iter().filter_map(Value::as_str).for_each(|name| self.credential(name));
                        }
                        _ => self.istio(value),
                    }
                }
            }
            _ => {}
        }
    }

    fn credential(&mut self, name: &str) {
        let name = name.strip_prefix("kubernetes://").unwrap_or(name);
        let base = name.strip_suffix(CA_SUFFIX).unwrap_or(name);
        for namespace in self.homes.iter().map(String::as_str).chain([self.namespace]) {
            for name in [name.to_owned(), format!("{base}{CA_SUFFIX}")] {
                self.names.insert((Holder::Secret, namespace.to_owned(), name));
            }
        }
    }

    /// `certificateRefs` and its like, wherever they stand.
    fn gateway_api(&mut self, value: &Value) {
        match value {
            Value::Array(items) => items.iter().for_each(|it| self.gateway_api(it)),
            Value::Object(fields) => {
                for (field, value) in fields {
                    match (field.as_str(), value) {
                        ("certificateRefs" | "caCertificateRefs", Value::Array(refs)) => {
                            refs.iter().for_each(|it| self.object_reference(it));
                        }
                        ("clientCertificateRef", value) => self.object_reference(value),
                        _ => self.gateway_api(value),
                    }
                }
            }
            _ => {}
        }
    }

    fn object_reference(&mut self, value: &Value) {
        let text = |field: &str| value.get(field).and_then(Value::as_str).unwrap_or_default();
        let holder = match (text("group"), text("kind")) {
            ("", "" | "Secret") => Holder::Secret,
            ("", "ConfigMap") => Holder::ConfigMap,
            _ => return,
        };
        let namespace = if text("namespace").is_empty() { self.namespace } else { text("namespace") };
        let (namespace, name) = (namespace.to_owned(), text("name").to_owned());
        self.add(holder, &namespace, &name);
    }
}
