//! Probes of a Process may name a port, as in Kubernetes: names become numbers before the object is read.

use serde_json::Value;

use crate::diagnostic::Diagnostic;

use super::spelling::nearest;

/// Puts numbers in the place of the names of ports that a Process's probe asks, as Kubernetes finds them: a port of that
/// name, else the text read as a number. A name that means nothing is reported, and is left for the type to refuse.
pub fn resolve(value: &mut Value) -> Option<Diagnostic> {
    ["httpGet", "tcpSocket"].iter().find_map(|probe| probed(value, probe))
}

fn probed(value: &mut Value, probe: &str) -> Option<Diagnostic> {
    let pointer = format!("/spec/readiness/{probe}/port");
    let name = value.pointer(&pointer)?.as_str()?.to_owned();
    let ports = value.pointer("/spec/ports").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let named = ports.iter().filter_map(|it| Some((it.get("name")?.as_str()?, it.get("containerPort")?)));
    let names: Vec<&str> = named.clone().map(|(name, _)| name).collect();
    let number = named.clone().find(|(known, _)| *known == name).map(|(_, number)| number.clone());
    let Some(number) = number.or_else(|| name.parse::<u16>().ok().map(Value::from)) else {
        let message = format!("no entry of `spec.ports` is named `{name}`");
        let diagnostic = Diagnostic::error(format!("spec.readiness.{probe}.port"), message);
        return Some(match nearest(&name, names.iter().copied()) {
            Some(near) => diagnostic.hint(format!("did you mean `{near}`?")),
            None if names.is_empty() => diagnostic.hint("name the port there, or give its number here"),
            None => diagnostic.hint(format!("its ports are named {}", names.join(", "))),
        });
    };
    *value.pointer_mut(&pointer)? = number;
    None
}
