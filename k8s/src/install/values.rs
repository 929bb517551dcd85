//! The values of an installation: what `--set`, a values file and the Helm chart's `values.yaml` may say.
//!
//! A tree of JSON whose shape the defaults give: a path that they do not have, or a value of another type, is refused by
//! name. Manifests take leaves by path, so that the same code writes plain YAML (the leaf itself) and the Helm chart
//! (a reference to it, see [`Values::references`]).

use serde_json::{Map, Value, json};
use thiserror::Error;

use crate::parse::documents;

/// Begins a reference to a value in a string of a chart: a character for private use that no manifest contains.
pub(super) const REFERENCE_BEGIN: char = '\u{e000}';
/// Ends it.
pub(super) const REFERENCE_END: char = '\u{e001}';
/// Maps that take any keys.
const OPEN: &[&str] = &[
    "mesh",
    "controller.resources",
    "controller.nodeSelector",
    "gateway.resources",
    "gateway.nodeSelector",
    "gateway.service.annotations",
    "sidecar.resources",
];

/// A value that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ValuesError {
    /// `--set` of another form.
    #[error("--set {0:?}: want PATH=VALUE, as in --set controller.replicas=3")]
    Form(String),
    /// No such value.
    #[error("no value is called {path:?}{near}")]
    Unknown {
        /// As it was given.
        path: String,
        /// What was probably meant.
        near: String,
    },
    /// A value of another type than the default's.
    #[error("{path}: want {want}, found {found}")]
    Type {
        /// Where.
        path: String,
        /// What the default is.
        want: &'static str,
        /// What was given.
        found: String,
    },
    /// A word that is none of those known.
    #[error("{path}: {found:?} is none of {of}")]
    Word {
        /// Where.
        path: String,
        /// What was given.
        found: String,
        /// What there is.
        of: String,
    },
    /// A values file that is no YAML.
    #[error("values: line {line}: {message}")]
    Yaml {
        /// From 1.
        line: u32,
        /// What is wrong.
        message: String,
    },
}

/// The values, complete.
#[derive(Clone, Debug, PartialEq)]
pub struct Values(Value);

/// Words that a value may be, where not any will do.
const WORDS: &[(&str, &[&str])] = &[
    ("image.pullPolicy", &["Always", "IfNotPresent", "Never"]),
    ("seccomp", &["RuntimeDefault", "Localhost", "Unconfined"]),
    ("capture.mode", &["iptables", "nftables"]),
    ("sidecar.native", &["auto", "always", "never"]),
    ("sidecar.driver", &["auto", "io_uring", "epoll"]),
    ("logLevel", &["error", "warn", "info", "debug"]),
    ("sidecar.logLevel", &["error", "warn", "info", "debug"]),
    ("gateway.service.type", &["LoadBalancer", "NodePort", "ClusterIP"]),
];

impl Values {
    /// The defaults of this version.
    pub fn new() -> Values {
        Values(json!({
            "image": {
                "registry": "localhost",
                "tag": env!("CARGO_PKG_VERSION"),
                "pullPolicy": "IfNotPresent",
            },
            // Settings of the mesh, as a mesh config file has them.
            "mesh": {},
            "logLevel": "info",
            // A Secret of the system namespace with a CA of one's own; empty: one is made.
            "ca": {"secret": ""},
            "controller": {
                "replicas": 1,
                "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"memory": "1Gi"}},
                "nodeSelector": {},
                "tolerations": [],
            },
            "gateway": {
                "enabled": true,
                "minReplicas": 1,
                "maxReplicas": 5,
                "targetCPUPercent": 80,
                "resources": {"requests": {"cpu": "100m", "memory": "64Mi"}, "limits": {"memory": "1Gi"}},
                "nodeSelector": {},
                "tolerations": [],
                "service": {"type": "LoadBalancer", "annotations": {}},
            },
            "egress": {"enabled": false, "replicas": 1},
            "sidecar": {
                // A native sidecar where every kubelet knows them (1.29).
                "native": "auto",
                "resources": {"requests": {"cpu": "20m", "memory": "32Mi"}, "limits": {"memory": "512Mi"}},
                "logLevel": "info",
                "driver": "auto",
                "drainSeconds": 5,
            },
            "capture": {"mode": "iptables"},
            "injection": {
                // Whether namespaces labelled istio-injection=enabled are injected too.
                "istioLabels": false,
                "prometheusMerge": true,
            },
            "seccomp": "RuntimeDefault",
            "seccompProfile": "dromon/proxy.json",
        }))
    }

    /// The values that a running controller is told, or `values.yaml`: the defaults with these in their place.
    ///
    /// # Errors
    /// See [`ValuesError`].
    pub fn from_yaml(text: &str) -> Result<Values, ValuesError> {
        let mut values = Values::new();
        values.merge_yaml(text)?;
        Ok(values)
    }

    /// Takes what a values file says.
    ///
    /// # Errors
    /// See [`ValuesError`].
    pub fn merge_yaml(&mut self, text: &str) -> Result<(), ValuesError> {
        for document in documents(text) {
            let document =
                document.map_err(|error| ValuesError::Yaml { line: error.line, message: error.message })?;
            let mut value = document.value;
            if let Value::Object(map) = &mut value {
                // Helm adds values that all charts share.
                map.shift_remove("global");
            }
            merge(&mut self.0, value, "")?;
        }
        self.check_words()
    }

    /// Takes one `PATH=VALUE`; the value is read as YAML, so that `3` is a number and `[a, b]` a list.
    ///
    /// # Errors
    /// See [`ValuesError`].
    pub fn set(&mut self, assignment: &str) -> Result<(), ValuesError> {
        let form = || ValuesError::Form(assignment.to_owned());
        let (path, text) = assignment.split_once('=').ok_or_else(form)?;
        let is_name = |part: &str| !part.is_empty();
        if !path.split('.').all(is_name) {
            return Err(form());
        }
        let mut value = match documents(text).pop() {
            Some(Ok(document)) => document.value,
            Some(Err(_)) => return Err(form()),
            None => Value::String(String::new()),
        };
        if matches!(self.get(path), Value::String(_)) && !value.is_object() && !value.is_array() {
            // A tag such as 1.0 is text.
            value = Value::String(text.to_owned());
        }
        for part in path.rsplit('.') {
            value = json!({ part: value });
        }
        merge(&mut self.0, value, "")?;
        self.check_words()
    }

    /// The value at a path; null where there is none.
    pub fn get(&self, path: &str) -> Value {
        self.at(path).cloned().unwrap_or(Value::Null)
    }

    /// The text at a path; empty where there is none.
    pub fn text(&self, path: &str) -> String {
        match self.at(path) {
            Some(Value::String(text)) => text.clone(),
            Some(Value::Null) | None => String::new(),
            Some(other) => other.to_string(),
        }
    }

    /// Whether the value at a path is true.
    pub fn is_set(&self, path: &str) -> bool {
        self.at(path) == Some(&Value::Bool(true))
    }

    /// All of them, as `values.yaml` has them.
    pub fn tree(&self) -> &Value {
        &self.0
    }

    /// The same tree, each leaf in the place of its value refers to it: what charts are made of.
    pub(super) fn references(&self) -> Values {
        Values(reference(&self.0, ""))
    }

    fn at(&self, path: &str) -> Option<&Value> {
        path.split('.').try_fold(&self.0, |value, part| value.get(part))
    }

    fn check_words(&self) -> Result<(), ValuesError> {
        for (path, words) in WORDS {
            let found = self.text(path);
            if !words.contains(&found.as_str()) {
                return Err(ValuesError::Word { path: (*path).to_owned(), found, of: words.join(", ") });
            }
        }
        Ok(())
    }
}

impl Default for Values {
    fn default() -> Values {
        Values::new()
    }
}

fn merge(into: &mut Value, from: Value, path: &str) -> Result<(), ValuesError> {
    let (open, mismatch) = (OPEN.contains(&path), type_name(into) != type_name(&from));
    if mismatch {
        let (want, path) = (type_name(into), path.to_owned());
        return Err(ValuesError::Type { path, want, found: from.to_string() });
    }
    match (into, from) {
        (into, from) if open => overlay(into, from),
        (Value::Object(into), Value::Object(from)) => {
            for (key, value) in from {
                let inner = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                match into.get_mut(&key) {
                    Some(old) => merge(old, value, &inner)?,
                    None => return Err(unknown(into, &key, inner)),
                }
            }
        }
        (into, from) => *into = from,
    }
    Ok(())
}

/// Lays one tree over another of which nothing is known.
fn overlay(into: &mut Value, from: Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (key, value) in from {
                overlay(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (into, from) => *into = from,
    }
}

fn unknown(siblings: &Map<String, Value>, key: &str, path: String) -> ValuesError {
    let near = crate::parse::nearest(key, siblings.keys().map(String::as_str));
    let near = near.map(|near| format!("; did you mean {near:?}?")).unwrap_or_default();
    ValuesError::Unknown { path, near }
}

fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "nothing",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "a map",
    }
}

fn reference(value: &Value, path: &str) -> Value {
    match value {
        Value::Object(map) if !OPEN.contains(&path) => {
            let inner = |key: &str| if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
            Value::Object(
                map.iter().map(|(key, value)| (key.clone(), reference(value, &inner(key)))).collect(),
            )
        }
        _ => Value::String(format!("{REFERENCE_BEGIN}{path}{REFERENCE_END}")),
    }
}
