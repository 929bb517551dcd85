//! Injection of manifests: text in, text out, for `dromonctl inject`.
//!
//! Documents that hold no workload, or one that stays as it is, leave byte for byte as they came, comments and all.

use serde_json::Value;
use thiserror::Error;

use super::{Config, Outcome, Scope, pod};
use crate::emit;
use crate::parse::{Chunk, chunks};

/// Where the template of a pod is in a workload of each kind; a Pod is its own.
const TEMPLATES: &[(&str, &str)] = &[
    ("Pod", ""),
    ("Deployment", "/spec/template"),
    ("StatefulSet", "/spec/template"),
    ("DaemonSet", "/spec/template"),
    ("ReplicaSet", "/spec/template"),
    ("ReplicationController", "/spec/template"),
    ("Job", "/spec/template"),
    ("CronJob", "/spec/jobTemplate/spec/template"),
];

/// Why a text cannot be injected.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum FileError {
    /// It is no YAML.
    #[error("line {line}: {message}")]
    Yaml {
        /// From 1.
        line: u32,
        /// What is wrong.
        message: String,
    },
    /// A workload must not be injected.
    #[error("{object}: {message}")]
    Refused {
        /// Kind and name.
        object: String,
        /// Why.
        message: String,
    },
}

/// A text with its workloads injected.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Injected {
    /// The text.
    pub text: String,
    /// What was injected, what was left and why, and what may surprise; a line each.
    pub notes: Vec<String>,
}

/// Injects every workload of a text: YAML documents, or JSON.
///
/// # Errors
/// See [`FileError`]. Nothing is injected then: half a file would be worse than none.
pub fn text(text: &str, config: &Config) -> Result<Injected, FileError> {
    let mut injected = Injected::default();
    for (at, chunk) in chunks(text).into_iter().enumerate() {
        if at > 0 {
            injected.text.push_str("---");
        }
        let changed = document(&chunk, config, &mut injected.notes)?;
        match changed {
            None => injected.text.push_str(chunk.text),
            Some(value) => {
                if at > 0 {
                    injected.text.push('\n');
                }
                injected.text.push_str(&written(&value, chunk.text));
            }
        }
    }
    Ok(injected)
}

/// A document in the form that it had: JSON stays JSON.
fn written(value: &Value, before: &str) -> String {
    let json = before.trim_start().starts_with('{');
    let pretty = json.then(|| serde_json::to_string_pretty(value).ok()).flatten();
    pretty.map(|text| text + "\n").unwrap_or_else(|| emit::yaml(value))
}

/// The document with its workloads injected; none if nothing changes.
fn document(chunk: &Chunk, config: &Config, notes: &mut Vec<String>) -> Result<Option<Value>, FileError> {
    let read = chunk.read.as_ref();
    let document =
        read.map_err(|error| FileError::Yaml { line: error.line, message: error.message.clone() })?;
    let Some(document) = document else { return Ok(None) };
    let mut value = document.value.clone();
    Ok(object(&mut value, config, notes)?.then_some(value))
}

/// Injects an object, or each of a List; whether anything changed.
fn object(value: &mut Value, config: &Config, notes: &mut Vec<String>) -> Result<bool, FileError> {
    let kind = value["kind"].as_str().unwrap_or_default().to_owned();
    if kind.ends_with("List") {
        let mut changed = false;
        for item in value.get_mut("items").and_then(Value::as_array_mut).into_iter().flatten() {
            changed |= object(item, config, notes)?;
        }
        return Ok(changed);
    }
    let Some((_, at)) = TEMPLATES.iter().find(|(name, _)| *name == kind) else { return Ok(false) };
    let name = value["metadata"]["name"].as_str().or(value["metadata"]["generateName"].as_str());
    let name = format!("{kind} {}", name.unwrap_or("without a name"));
    let namespace = value["metadata"]["namespace"].as_str().unwrap_or_default().to_owned();
    let Some(template) = value.pointer_mut(at) else { return Ok(false) };
    match pod(template, &Scope { namespace, namespace_labels: None }, config) {
        Outcome::Skipped(why) => {
            notes.push(format!("{name}: left as it is: {why}"));
            Ok(false)
        }
        Outcome::Refused(message) => Err(FileError::Refused { object: name, message }),
        Outcome::Injected { pod, warnings } => {
            *template = pod;
            notes.extend(warnings.into_iter().map(|warning| format!("{name}: {warning}")));
            if kind.ends_with("Job") && !config.native {
                notes.push(format!(
                    "{name}: this Kubernetes has no native sidecars, so the job ends only if it asks the sidecar to end too \
                     (POST http://127.0.0.1:15020/quitquitquit)"
                ));
            }
            notes.push(format!("{name}: injected"));
            Ok(true)
        }
    }
}
