//! Text → objects, with everything that is wrong about each.
//!
//! A file is cut into documents before it is read, so that a broken one takes no other with it. Each document becomes
//! JSON ([`yaml`]), its kind is looked up ([`kinds`]), it is read into its type with the path of whatever does not
//! fit and of every field that the type does not know ([`typed`]), and is then looked over on its own ([`check`]): what
//! can never work refuses the object, what is not carried out is reported by name. What involves several objects
//! is [`crate::analyze`]'s matter.

use std::sync::Arc;

use serde_json::{Map, Value};

use crate::diagnostic::{Diagnostic, Severity};
use crate::objects::{Key, Lines, Sourced};

mod check;
mod fields;
mod kinds;
mod process_ports;
mod reading;
mod spelling;
#[cfg(test)]
mod tests;
mod typed;
mod yaml;

pub(crate) use spelling::nearest;
pub(crate) use yaml::{Chunk, chunks, documents, plain};

/// What a text held.
#[derive(Clone, Debug, Default)]
pub struct Parsed {
    /// Objects that are fit to be used.
    pub objects: Vec<Sourced>,
    /// Objects that were read well enough to be named, but are refused; their last good version may stay.
    pub refused: Vec<Key>,
    /// A document that could not even be named: any object of the file's last good version may have been meant.
    pub unreadable: bool,
    /// What is wrong or suspicious.
    pub diagnostics: Vec<Diagnostic>,
}

/// Reads a file's text: YAML documents or JSON.
pub fn text(file: &str, text: &str) -> Parsed {
    let mut parsed = Parsed::default();
    let file: Arc<str> = Arc::from(file);
    for document in yaml::documents(text) {
        match document {
            Ok(document) => parsed.document(&file, document.value, document.lines),
            Err(error) => {
                parsed.unreadable = true;
                let diagnostic = Diagnostic::error("", error.message)
                    .hint("the other documents of the file are used; this one is not");
                parsed.diagnostics.push(Diagnostic {
                    file: file.to_string(),
                    line: Some(error.line),
                    ..diagnostic
                });
            }
        }
    }
    parsed.repeated();
    parsed
}

/// The objects of a file's text as they stand there, Lists opened; documents that cannot be read are left out.
pub fn values(text: &str) -> Vec<Value> {
    let mut found = Vec::new();
    let mut left: Vec<Value> = yaml::documents(text).into_iter().flatten().map(|it| it.value).rev().collect();
    while let Some(value) = left.pop() {
        match value {
            Value::Object(mut list) if is_list(&list) => {
                if let Some(Value::Array(items)) = list.remove("items") {
                    left.extend(items.into_iter().rev());
                }
            }
            Value::Object(_) => found.push(value),
            _ => {}
        }
    }
    found
}

/// Reads one object as an API server sends it.
pub fn json(value: Value) -> Parsed {
    let mut parsed = Parsed::default();
    parsed.document(&Arc::from(""), value, Lines::default());
    parsed
}

impl Parsed {
    /// Reads one document: an object, or a List of them.
    fn document(&mut self, file: &Arc<str>, value: Value, lines: Lines) {
        match value {
            Value::Null => {}
            Value::Object(list) if is_list(&list) => self.list(file, list, lines),
            value => self.object(file, value, lines),
        }
    }

    /// Reads the objects of a List; without items it is as good as unreadable: any object may have been meant.
    fn list(&mut self, file: &Arc<str>, mut list: Map<String, Value>, lines: Lines) {
        let kind = list.get("kind").and_then(Value::as_str).unwrap_or_default().to_owned();
        let mut report = |field: &str, diagnostic: Diagnostic| {
            let (file, line) = (file.to_string(), lines.of(field));
            self.diagnostics.push(Diagnostic { file, line, object: kind.clone(), ..diagnostic });
        };
        if !list.contains_key("apiVersion") {
            let diagnostic =
                Diagnostic::warning("apiVersion", "`apiVersion` is missing, so kubectl refuses the list");
            report("apiVersion", diagnostic.hint("write `apiVersion: v1`"));
        }
        match list.remove("items") {
            Some(Value::Array(items)) => {
                for (at, item) in items.into_iter().enumerate() {
                    self.document(file, item, lines.under(&format!("items[{at}]")));
                }
            }
            // An empty list as Go writes it.
            Some(Value::Null) => {}
            other => {
                let message = match other {
                    None => "`items` is missing, so the list holds nothing",
                    Some(_) => "`items` is not a list, so nothing of it is read",
                };
                report("items", Diagnostic::error("items", message).hint("write each object after a `-`"));
                self.unreadable = true;
            }
        }
    }

    fn object(&mut self, file: &Arc<str>, value: Value, lines: Lines) {
        let lines = Arc::new(lines);
        let read = typed::read(value);
        let name = read.key.as_ref().map(|key| key.to_string()).unwrap_or(read.label);
        let mut diagnostics = read.diagnostics;
        if let Some(object) = &read.object {
            let faults = diagnostics.iter().filter(|it| it.severity == Severity::Error);
            let faults: Vec<String> = faults.map(|it| it.field.clone()).collect();
            // What does not fit is empty in the object, so nothing can be said of it or of what it is a part of.
            let is_sound = |it: &Diagnostic| !faults.iter().any(|fault| is_related(fault, &it.field));
            diagnostics.extend(check::object(object).into_iter().filter(is_sound));
        }
        let fit = !diagnostics.iter().any(|it| it.severity == Severity::Error);
        self.diagnostics.extend(diagnostics.into_iter().map(|it| Diagnostic {
            file: file.to_string(),
            line: lines.of(&it.field),
            object: name.clone(),
            ..it
        }));
        match (read.object, read.key) {
            (Some(object), _) if fit => {
                self.objects.push(Sourced::from_file(object, file.clone(), lines));
            }
            (_, Some(key)) if !fit => self.refused.push(key),
            (None, None) if !fit => self.unreadable = true,
            _ => {}
        }
    }

    /// Objects that stand twice in one file: the last is used.
    fn repeated(&mut self) {
        let mut seen = std::collections::HashMap::new();
        for object in &self.objects {
            if let Some(line) = seen.insert(object.key.clone(), object.lines.of("")) {
                let at = line.map(|line| format!(" (first in line {line})")).unwrap_or_default();
                let message = format!("stands twice in this file{at}; the last one is used");
                self.diagnostics.push(object.diagnostic(Diagnostic::warning("", message)));
            }
        }
    }
}

/// Whether a document is a List of objects. Foreign kinds that merely end so have a spec.
fn is_list(document: &Map<String, Value>) -> bool {
    let kind = document.get("kind").and_then(Value::as_str).unwrap_or_default();
    kind.ends_with("List") && (document.contains_key("items") || !document.contains_key("spec"))
}

/// The namespace of an object that names none.
pub const DEFAULT_NAMESPACE: &str = "default";

/// Whether one of two fields is the other or a part of it.
fn is_related(one: &str, other: &str) -> bool {
    let (whole, part) = if one.len() <= other.len() { (one, other) } else { (other, one) };
    part.strip_prefix(whole).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
}
