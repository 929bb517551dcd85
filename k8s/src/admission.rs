//! Whether an object may be applied: what is wrong in itself refuses it, what depends on others is a warning.
//!
//! The texts are those of `dromonctl analyze`: the same code finds them. An object may come before what it names, so a
//! subset that is not there yet or a dangling reference never refuses it; its status goes on telling ([`crate::status`]).

use serde_json::Value;

use crate::analyze;
use crate::diagnostic::{Diagnostic, Severity};
use crate::objects::ObjectSet;
use crate::others::Whose;
use crate::parse;

#[cfg(test)]
mod tests;

/// What is said of an object that is to be applied.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// What is wrong in the object itself. Any: it is refused.
    pub errors: Vec<Diagnostic>,
    /// What is odd about it, and what depends on other objects.
    pub warnings: Vec<Diagnostic>,
    /// Some warnings are of how the object and others go together, so they may be over once another has come.
    pub waits: bool,
}

impl Verdict {
    /// Whether it may be applied.
    pub fn is_allowed(&self) -> bool {
        self.errors.is_empty()
    }

    /// Why it may not, one finding a line, as `dromonctl analyze` prints them.
    pub fn refusal(&self) -> String {
        let lines: Vec<String> = self.errors.iter().map(Diagnostic::to_string).collect();
        lines.join("\n")
    }

    /// The warnings, each as `dromonctl analyze` prints it but for the word before: kubectl says `Warning:` itself.
    pub fn warning_texts(&self) -> Vec<String> {
        let text = |it: &Diagnostic| it.to_string().trim_start_matches("warning: ").to_owned();
        self.warnings.iter().map(text).collect()
    }
}

/// Objects up to which a review looks across them. What depends on others is looked for in the whole set, for every write: in a
/// larger mesh that would hold up the controller, and an object's status tells the same a moment later.
pub const OBJECTS_MAX: usize = 2_000;

/// Reviews an object as an API server sends it. `others` are the objects in force, an earlier version of it included. Of another
/// controller's objects nothing is said ([`crate::others`]).
pub fn review(object: Value, others: &ObjectSet) -> Verdict {
    let mut verdict = Verdict::default();
    if Whose::of(&object).is_some_and(|it| it.is_others(others)) {
        return verdict;
    }
    let parsed = parse::json(object);
    for finding in parsed.diagnostics {
        match finding.severity {
            Severity::Error => verdict.errors.push(finding),
            Severity::Warning => verdict.warnings.push(finding),
            Severity::Info => {}
        }
    }
    if !verdict.errors.is_empty() || parsed.objects.is_empty() || others.len() > OBJECTS_MAX {
        return verdict;
    }
    let mut set = others.clone();
    let names: Vec<String> = parsed.objects.iter().map(|it| it.key.to_string()).collect();
    parsed.objects.into_iter().for_each(|it| set.insert(it));
    let across = analyze::analyze(&set);
    // Who is to use an object comes after it.
    let is_told = |it: &Diagnostic| {
        names.contains(&it.object)
            && it.severity != Severity::Info
            && !it.message.starts_with(analyze::UNBOUND)
    };
    verdict.waits = across.iter().any(is_told);
    // A reference that leads nowhere is an error where files are analyzed as a whole. Here the rest may be still to come.
    let lenient = |it: Diagnostic| Diagnostic { severity: Severity::Warning, ..it };
    verdict.warnings.extend(across.into_iter().filter(|it| is_told(it)).map(lenient));
    verdict
}
