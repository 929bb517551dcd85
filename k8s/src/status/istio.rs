//! Istio-style status of Istio's kinds and ours: a condition `Reconciled` whose message names fields, and `validationMessages`.
//!
//! Istio's definitions leave `validationMessages` no room for a text, and the API server drops what they do not have: written
//! there, it would differ from what is there for ever.
//!
//! Written only where there is something to say, or where something was said before: thousands of sound objects need no
//! write each.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::analyze;
use crate::api::Kind;
use crate::diagnostic::{Diagnostic, Severity};
use crate::objects::Key;

use super::conditions::merged;
use super::{Condition, Writes};

const RECONCILED: &str = "Reconciled";
/// Findings that one object's status tells.
const MESSAGES_MAX: usize = 32;

/// The kinds with a status of this form.
pub(super) fn is_of_form(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::VirtualService
            | Kind::DestinationRule
            | Kind::Gateway
            | Kind::ServiceEntry
            | Kind::WorkloadEntry
            | Kind::Sidecar
            | Kind::PeerAuthentication
            | Kind::Telemetry
            | Kind::RateLimit
    )
}

/// Writes the status of every object of these kinds that has something to be told, or had.
pub(super) fn write(writes: &mut Writes<'_>) {
    let inputs = writes.inputs;
    let mut across: BTreeMap<String, Vec<Diagnostic>> = BTreeMap::new();
    for finding in analyze::analyze(inputs.set) {
        across.entry(finding.object.clone()).or_default().push(finding);
    }
    let in_force = inputs.set.iter().map(|it| &it.key).filter(|key| is_of_form(key.kind));
    let refused = inputs.outside.told.keys().filter(|key| is_of_form(key.kind));
    let keys: std::collections::BTreeSet<&Key> = in_force.chain(refused).collect();
    for key in keys {
        let told = inputs.outside.told.get(key);
        let own = told.iter().flat_map(|it| &it.findings);
        let refused = own.clone().any(|it| it.severity == Severity::Error);
        // Of a refused version only what refuses it is told: the rest is about the one before, which stays in force.
        let others = across.get(&key.to_string()).into_iter().flatten().filter(|_| !refused);
        let mut findings: Vec<&Diagnostic> = own.chain(others).collect();
        findings.sort();
        findings.dedup();
        let previous = writes.previous(key);
        if findings.is_empty() && previous.get("conditions").is_none() {
            continue;
        }
        let generation = told.and_then(|it| it.generation).or_else(|| writes.generation(key));
        let condition = reconciled(&findings, refused, inputs.set.get(key).is_some());
        let mut status = previous.clone();
        let before = previous.get("conditions");
        status["conditions"] = merged(&[condition], &[RECONCILED], before, generation, inputs.now);
        status["validationMessages"] = findings.iter().take(MESSAGES_MAX).map(|it| message(it)).collect();
        if let Some(generation) = generation {
            status["observedGeneration"] = json!(generation);
        }
        writes.put(key, &previous, status);
    }
}

fn reconciled(findings: &[&Diagnostic], refused: bool, in_force: bool) -> Condition {
    let of = |severity| findings.iter().filter(move |it| it.severity == severity).map(|it| text(it));
    let all: Vec<String> = [Severity::Error, Severity::Warning, Severity::Info]
        .into_iter()
        .flat_map(of)
        .take(MESSAGES_MAX)
        .collect();
    let all = all.join("; ");
    match findings.iter().any(|it| it.severity == Severity::Error) {
        true if refused && in_force => {
            Condition::fails(RECONCILED, "Invalid", format!("{all}; the last good version stays in force"))
        }
        true => Condition::fails(RECONCILED, if refused { "Invalid" } else { "Unresolved" }, all),
        false if all.is_empty() => Condition::holds(RECONCILED, RECONCILED, "the object is in force"),
        false => Condition::holds(RECONCILED, RECONCILED, format!("the object is in force; {all}")),
    }
}

/// A finding as `validationMessages` has it (Istio's `AnalysisMessageBase`).
fn message(finding: &Diagnostic) -> Value {
    let level = match finding.severity {
        Severity::Error => "ERROR",
        Severity::Warning => "WARNING",
        Severity::Info => "INFO",
    };
    json!({"type": {"name": "DromonAnalysis"}, "level": level})
}

/// A finding without its object, which the reader looks at.
fn text(finding: &Diagnostic) -> String {
    let field = if finding.field.is_empty() { String::new() } else { format!("{}: ", finding.field) };
    let hint = if finding.hint.is_empty() { String::new() } else { format!(" ({})", finding.hint) };
    format!("{field}{}{hint}", finding.message)
}
