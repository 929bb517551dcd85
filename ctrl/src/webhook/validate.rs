//! `/validate`: a rule that is about to be applied, looked over as `dromonctl analyze` looks.

use dromon_k8s::admission::review;

use super::Hooks;
use super::review::{Answer, Request};

/// Refuses what is wrong in itself; what depends on other objects is a warning.
pub fn answer(hooks: &Hooks, request: &Request) -> Answer {
    if request.object.is_null() {
        return Answer::default();
    }
    let others = hooks.objects.borrow().clone();
    let verdict = review(request.object.clone(), &others);
    let refusal = (!verdict.is_allowed()).then(|| verdict.refusal());
    Answer { refusal, patch: Vec::new(), warnings: verdict.warning_texts() }
}
