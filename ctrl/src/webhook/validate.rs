//! `/validate`: a rule that is about to be applied, looked over as `dromonctl analyze` looks.
//!
//! Objects of one file are applied one after another, each a moment after the one before, sooner than the source hears of that. So
//! what was admitted here just now counts as being there, and a warning that something is missing is given only if that does
//! not come within a moment.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use dromon_k8s::admission::{Verdict, review};
use dromon_k8s::objects::ObjectSet;
use dromon_k8s::parse;
use serde_json::Value;
use tokio::time::timeout_at;

use super::Hooks;
use super::review::{Answer, Request};

/// How long is waited for what is missing: versions are looked at once nothing has come for a fifth of a second.
const WAIT: Duration = Duration::from_millis(500);
/// How long what was admitted counts as being there, whatever the source says.
const RECENT: Duration = Duration::from_secs(3);
/// Objects that are remembered, and the bytes of their text.
const RECENT_MAX: (usize, usize) = (256, 4 * 1024 * 1024);

/// Refuses what is wrong in itself; what depends on other objects is a warning.
pub async fn answer(hooks: &Hooks, request: &Request) -> Answer {
    if request.object.is_null() {
        return Answer::default();
    }
    let others = hooks.objects.borrow().clone();
    let mut verdict = review(request.object.clone(), &others);
    if verdict.is_allowed() {
        if verdict.waits {
            verdict = patiently(hooks, &request.object).await;
        }
        if !request.dry_run {
            hooks.admitted.remember(&request.object, Instant::now());
        }
    }
    let refusal = (!verdict.is_allowed()).then(|| verdict.refusal());
    Answer { refusal, patch: Vec::new(), warnings: verdict.warning_texts() }
}

/// Reviews until nothing is missing, or it has not come in time.
async fn patiently(hooks: &Hooks, object: &Value) -> Verdict {
    let until = tokio::time::Instant::now() + WAIT;
    let mut objects = hooks.objects.clone();
    loop {
        let mut set = ObjectSet::clone(&objects.borrow_and_update());
        hooks.admitted.lay_over(&mut set, Instant::now());
        let verdict = review(object.clone(), &set);
        if !verdict.waits || !matches!(timeout_at(until, objects.changed()).await, Ok(Ok(()))) {
            return verdict;
        }
    }
}

/// What was admitted just now.
#[derive(Debug, Default)]
pub struct Admitted(Mutex<VecDeque<(Instant, usize, Value)>>);

impl Admitted {
    /// Notes an object; the oldest are forgotten.
    pub fn remember(&self, object: &Value, now: Instant) {
        let mut recent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        recent.push_back((now, object.to_string().len(), object.clone()));
        let is_too_much = |recent: &VecDeque<(Instant, usize, Value)>| {
            let bytes: usize = recent.iter().map(|(_, bytes, _)| bytes).sum();
            recent.len() > RECENT_MAX.0 || bytes > RECENT_MAX.1
        };
        while is_too_much(&recent) || recent.front().is_some_and(|it| now.duration_since(it.0) > RECENT) {
            recent.pop_front();
        }
    }

    /// Puts what is remembered over what a set has.
    pub fn lay_over(&self, set: &mut ObjectSet, now: Instant) {
        let recent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for (_, _, object) in recent.iter().filter(|it| now.duration_since(it.0) <= RECENT) {
            parse::json(object.clone()).objects.into_iter().for_each(|it| set.insert(it));
        }
    }
}
