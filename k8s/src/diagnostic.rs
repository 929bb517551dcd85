//! What is wrong or suspicious about an object, in words an operator can act on.

use std::fmt;

use serde::{Deserialize, Serialize};

/// How bad a [`Diagnostic`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The object, or the named part of it, is refused or cannot work.
    Error,
    /// It is in force, but not as written, or probably not as meant.
    Warning,
    /// Worth knowing; nothing is wrong.
    Info,
}

/// One finding. Its JSON is what `dromonctl analyze -o json` prints.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Diagnostic {
    /// How bad.
    pub severity: Severity,
    /// File that the object came from; empty for objects of a cluster.
    pub file: String,
    /// Line of the file, from 1, where known.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub line: Option<u32>,
    /// `Kind/namespace/name`; empty when the text could not be read that far.
    pub object: String,
    /// Path of the field, e.g. `spec.http[0].route[1].weight`; empty for the whole object.
    pub field: String,
    /// What is wrong.
    pub message: String,
    /// What to try; may be empty.
    pub hint: String,
}

impl Diagnostic {
    /// A finding about nothing yet; see [`Diagnostic::hint`] and [`Diagnostic::on`].
    pub fn new(severity: Severity, field: impl Into<String>, message: impl Into<String>) -> Diagnostic {
        Diagnostic {
            severity,
            file: String::new(),
            line: None,
            object: String::new(),
            field: field.into(),
            message: message.into(),
            hint: String::new(),
        }
    }

    /// An error at a field.
    pub fn error(field: impl Into<String>, message: impl Into<String>) -> Diagnostic {
        Diagnostic::new(Severity::Error, field, message)
    }

    /// A warning at a field.
    pub fn warning(field: impl Into<String>, message: impl Into<String>) -> Diagnostic {
        Diagnostic::new(Severity::Warning, field, message)
    }

    /// A remark at a field.
    pub fn info(field: impl Into<String>, message: impl Into<String>) -> Diagnostic {
        Diagnostic::new(Severity::Info, field, message)
    }

    /// Adds what to try.
    pub fn hint(mut self, hint: impl Into<String>) -> Diagnostic {
        self.hint = hint.into();
        self
    }

    /// Says which object it is about.
    pub fn on(mut self, object: impl fmt::Display) -> Diagnostic {
        self.object = object.to_string();
        self
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = match self.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
            Severity::Info => "info",
        };
        write!(f, "{severity}: ")?;
        if !self.file.is_empty() {
            write!(f, "{}", self.file)?;
            if let Some(line) = self.line {
                write!(f, ":{line}")?;
            }
            write!(f, ": ")?;
        }
        for part in [&self.object, &self.field] {
            if !part.is_empty() {
                write!(f, "{part} ")?;
            }
        }
        write!(f, "{}", self.message)?;
        if !self.hint.is_empty() {
            write!(f, " ({})", self.hint)?;
        }
        Ok(())
    }
}
