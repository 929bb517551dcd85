//! JSON → the type of its kind, with the path of whatever does not fit and of every field that the type does not know.

use std::sync::Arc;

use k8s_openapi::api::core::v1 as core;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::api::process::Process;
use crate::api::{Kind, Object, Rule};
use crate::diagnostic::Diagnostic;
use crate::objects::Key;

use super::kinds::{self, Known};
use super::spelling::nearest;
use super::{DEFAULT_NAMESPACE, fields, process_ports, reading, yaml};

/// What reading one document gave.
#[derive(Default)]
pub struct Read {
    /// The object, where it could be read; with errors among the diagnostics, only what is left of it.
    pub object: Option<Object>,
    /// Its key, where it could be told and its kind is kept.
    pub key: Option<Key>,
    /// What to call it where it has no key.
    pub label: String,
    /// What is wrong; objects and files are filled in by the caller.
    pub diagnostics: Vec<Diagnostic>,
}

/// A rule as it stands in a file.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Manifest<T> {
    #[serde(rename = "apiVersion")]
    _api_version: IgnoredText,
    #[serde(rename = "kind")]
    _kind: IgnoredText,
    metadata: ObjectMeta,
    #[serde(default)]
    spec: Option<T>,
    #[serde(rename = "status", default)]
    _status: Option<Value>,
}

#[derive(Deserialize)]
struct IgnoredText(#[allow(dead_code)] String);

/// A ConfigMap with the mesh's settings.
#[derive(Deserialize)]
struct MeshManifest {
    metadata: ObjectMeta,
    data: std::collections::BTreeMap<String, String>,
}

/// Reads one document.
pub fn read(value: Value) -> Read {
    let text = |pointer: &str| value.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
    let (kind_text, name, namespace) = (text("/kind"), text("/metadata/name"), text("/metadata/namespace"));
    let namespace = if namespace.is_empty() { DEFAULT_NAMESPACE.to_owned() } else { namespace };
    let label = if kind_text.is_empty() { String::new() } else { format!("{kind_text}/{namespace}/{name}") };
    let kind = match kinds::lookup(&value) {
        Known::Kept(kind) => kind,
        Known::Not(diagnostic) => {
            return Read { label, diagnostics: diagnostic.into_iter().collect(), ..Read::default() };
        }
    };
    if name.is_empty() {
        let diagnostic = Diagnostic::error("metadata.name", "the object has no name");
        return Read { label, diagnostics: vec![diagnostic], ..Read::default() };
    }
    let namespace = if kind.is_cluster_wide() { String::new() } else { namespace };
    let key = Key { kind, namespace, name };
    let mut diagnostics = Vec::new();
    let mut object = object(kind, value, &mut diagnostics);
    if let Some(object) = &mut object {
        let namespace = (!kind.is_cluster_wide()).then(|| key.namespace.clone());
        object.set_namespace(namespace);
    }
    Read { object, key: Some(key), label, diagnostics }
}

fn object(kind: Kind, value: Value, diagnostics: &mut Vec<Diagnostic>) -> Option<Object> {
    Some(match kind {
        Kind::Namespace => Object::Namespace(Arc::new(typed(value, diagnostics)?)),
        Kind::Node => Object::Node(Arc::new(typed(value, diagnostics)?)),
        Kind::Service => Object::Service(Arc::new(typed(value, diagnostics)?)),
        Kind::Endpoints => Object::Endpoints(Arc::new(typed(value, diagnostics)?)),
        Kind::EndpointSlice => Object::EndpointSlice(Arc::new(typed(value, diagnostics)?)),
        Kind::Pod => Object::Pod(Arc::new(typed::<core::Pod>(value, diagnostics)?.into())),
        Kind::Secret => Object::Secret(Arc::new(typed(value, diagnostics)?)),
        Kind::ServiceAccount => Object::ServiceAccount(Arc::new(typed(value, diagnostics)?)),
        Kind::ConfigMap => Object::ConfigMap(Arc::new(typed(value, diagnostics)?)),
        Kind::Ingress => Object::Ingress(Arc::new(typed(value, diagnostics)?)),
        Kind::IngressClass => Object::IngressClass(Arc::new(typed(value, diagnostics)?)),
        Kind::GatewayClass => Object::GatewayClass(Arc::new(rule(value, diagnostics)?)),
        Kind::KubeGateway => Object::KubeGateway(Arc::new(rule(value, diagnostics)?)),
        Kind::HttpRoute => Object::HttpRoute(Arc::new(rule(value, diagnostics)?)),
        Kind::GrpcRoute => Object::GrpcRoute(Arc::new(rule(value, diagnostics)?)),
        Kind::TlsRoute => Object::TlsRoute(Arc::new(rule(value, diagnostics)?)),
        Kind::TcpRoute => Object::TcpRoute(Arc::new(rule(value, diagnostics)?)),
        Kind::ReferenceGrant => Object::ReferenceGrant(Arc::new(rule(value, diagnostics)?)),
        Kind::BackendTlsPolicy => Object::BackendTlsPolicy(Arc::new(rule(value, diagnostics)?)),
        Kind::MeshConfig => Object::MeshConfig(Arc::new(mesh_config(value, diagnostics)?)),
        Kind::Process => Object::Process(Arc::new(process(value, diagnostics)?)),
        Kind::VirtualService => Object::VirtualService(Arc::new(rule(value, diagnostics)?)),
        Kind::DestinationRule => Object::DestinationRule(Arc::new(rule(value, diagnostics)?)),
        Kind::Gateway => Object::Gateway(Arc::new(rule(value, diagnostics)?)),
        Kind::ServiceEntry => Object::ServiceEntry(Arc::new(rule(value, diagnostics)?)),
        Kind::WorkloadEntry => Object::WorkloadEntry(Arc::new(rule(value, diagnostics)?)),
        Kind::Sidecar => Object::Sidecar(Arc::new(rule(value, diagnostics)?)),
        Kind::PeerAuthentication => Object::PeerAuthentication(Arc::new(rule(or_empty(value), diagnostics)?)),
        Kind::Telemetry => Object::Telemetry(Arc::new(rule(value, diagnostics)?)),
        Kind::RateLimit => Object::RateLimit(Arc::new(rule(value, diagnostics)?)),
    })
}

fn rule<T: DeserializeOwned + Default>(value: Value, diagnostics: &mut Vec<Diagnostic>) -> Option<Rule<T>> {
    let manifest: Manifest<T> = typed(value, diagnostics)?;
    if manifest.spec.is_none() {
        // Where it is there and does not fit, that has been said.
        if !diagnostics.iter().any(|it| it.field == "spec") {
            diagnostics.push(Diagnostic::error("spec", "`spec` is missing"));
        }
        return None;
    }
    Some(Rule { meta: manifest.metadata, spec: manifest.spec.unwrap_or_default() })
}

/// Kinds whose every field may be left out may leave out all of them.
fn or_empty(mut value: Value) -> Value {
    if let Value::Object(fields) = &mut value
        && fields.get("spec").is_none_or(Value::is_null)
    {
        fields.insert("spec".to_owned(), Value::Object(serde_json::Map::new()));
    }
    value
}

/// The probe's port may be a name.
fn process(mut value: Value, diagnostics: &mut Vec<Diagnostic>) -> Option<Rule<Process>> {
    let unresolved = process_ports::resolve(&mut value);
    let read = rule(value, diagnostics);
    if let Some(unresolved) = unresolved {
        // The type wants a number there; that the name is wrong says more.
        diagnostics.retain(|it| it.field != unresolved.field);
        diagnostics.push(unresolved);
    }
    read
}

/// The settings are a YAML text inside a ConfigMap: its paths go on below `data.mesh`.
fn mesh_config(
    value: Value,
    diagnostics: &mut Vec<Diagnostic>,
) -> Option<Rule<crate::api::mesh_config::MeshConfig>> {
    let manifest: MeshManifest = match serde_path_to_error::deserialize(value) {
        Ok(manifest) => manifest,
        Err(error) => {
            diagnostics.push(Diagnostic::error(error.path().to_string(), error.inner().to_string()));
            return None;
        }
    };
    let text = manifest.data.get("mesh").map(String::as_str).unwrap_or_default();
    let mut documents = yaml::documents(text).into_iter();
    let inner = match documents.next() {
        None => Value::Object(serde_json::Map::new()),
        Some(Ok(document)) => document.value,
        Some(Err(error)) => {
            let message = format!("line {} of the settings: {}", error.line, error.message);
            diagnostics.push(Diagnostic::error("data.mesh", message));
            return None;
        }
    };
    let mut found = Vec::new();
    let spec = typed(inner, &mut found);
    diagnostics
        .extend(found.into_iter().map(|it| Diagnostic { field: format!("data.mesh.{}", it.field), ..it }));
    Some(Rule { meta: manifest.metadata, spec: spec? })
}

/// Reads a value; reports the fields that do not fit (errors) and those that are not known (warnings). After an error
/// the rest is still there to be looked over.
fn typed<T: DeserializeOwned>(value: Value, diagnostics: &mut Vec<Diagnostic>) -> Option<T> {
    let reading = reading::read::<T>(value);
    diagnostics.extend(reading.unknown.iter().map(|path| unknown_field::<T>(path)));
    diagnostics.extend(reading.faults.into_iter().map(|fault| {
        let hint = type_hint(&fault.message);
        let diagnostic = Diagnostic::error(fault.path, fault.message);
        match hint {
            Some(hint) => diagnostic.hint(hint),
            None => diagnostic,
        }
    }));
    reading.typed
}

fn unknown_field<T: DeserializeOwned>(path: &str) -> Diagnostic {
    let (parent, name) = path.rsplit_once('.').unwrap_or(("", path));
    let diagnostic = Diagnostic::warning(path, format!("the field `{name}` is not known and has no effect"));
    let known = fields::at::<T>(parent).unwrap_or_default();
    match nearest(name, known.iter().copied()) {
        Some(near) => diagnostic.hint(format!("did you mean `{near}`?")),
        None => diagnostic.hint("see docs/rules.md for the fields that are read"),
    }
}

/// What serde's error suggests: `unknown variant` names what was possible, and the nearest of it is the hint.
fn type_hint(message: &str) -> Option<String> {
    if message.starts_with("invalid type: ") && message.ends_with("expected a string") {
        return Some("put the value in quotes".to_owned());
    }
    let numbers = ["u8", "u16", "u32", "u64", "i32", "i64", "f64"];
    let is_number = message.rsplit_once("expected ").is_some_and(|(_, wanted)| numbers.contains(&wanted));
    if message.starts_with("invalid type: string ") && is_number {
        return Some("a number, without quotes".to_owned());
    }
    let rest = message.strip_prefix("unknown variant `")?;
    let (given, rest) = rest.split_once('`')?;
    let candidates: Vec<&str> = rest.split('`').skip(1).step_by(2).collect();
    nearest(given, candidates).map(|near| format!("did you mean `{near}`?"))
}
