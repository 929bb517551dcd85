//! `/validate`: a rule that is about to be applied, looked over as `dromonctl analyze` looks.

use dromon_k8s::{Severity, parse};

use super::Hooks;
use super::review::{Answer, Request};

/// Refuses what is wrong in itself.
pub fn answer(_hooks: &Hooks, request: &Request) -> Answer {
    if request.object.is_null() {
        return Answer::default();
    }
    let found = parse::json(request.object.clone()).diagnostics;
    let (errors, rest): (Vec<_>, Vec<_>) = found.into_iter().partition(|it| it.severity == Severity::Error);
    let errors: Vec<String> = errors.iter().map(ToString::to_string).collect();
    let warnings = rest.iter().filter(|it| it.severity == Severity::Warning).map(ToString::to_string);
    let refusal = (!errors.is_empty()).then(|| errors.join("\n"));
    Answer { refusal, patch: Vec::new(), warnings: warnings.collect() }
}
