//! Kubernetes' conditions (`metav1.Condition`), whose time of transition stays where their status does.

use k8s_openapi::jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::Condition;

/// The most that a condition's message may have (`maxLength` of its schema).
const MESSAGE_BYTES_MAX: usize = 32_768;

/// Conditions as they are written. `previous` are the ones that were: a time is theirs where the status is the same, and
/// those of types that are not among `ours` stay as they are, because others may write conditions beside ours.
pub(super) fn merged(
    conditions: &[Condition],
    ours: &[&str],
    previous: Option<&Value>,
    generation: Option<i64>,
    now: Timestamp,
) -> Value {
    let before = previous.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let of_type = |kind: &str| before.iter().find(|it| it.get("type").and_then(Value::as_str) == Some(kind));
    let mut all: Vec<Value> = conditions
        .iter()
        .map(|condition| {
            let status = if condition.holds { "True" } else { "False" };
            let same = of_type(condition.kind).filter(|it| it.get("status") == Some(&json!(status)));
            let since = same.and_then(|it| it.get("lastTransitionTime")).and_then(Value::as_str);
            let mut written = Map::new();
            written.insert("type".to_owned(), json!(condition.kind));
            written.insert("status".to_owned(), json!(status));
            written.insert("reason".to_owned(), json!(condition.reason));
            written.insert("message".to_owned(), json!(shortened(&condition.message)));
            let since = since.map_or_else(|| time(now), str::to_owned);
            written.insert("lastTransitionTime".to_owned(), json!(since));
            if let Some(generation) = generation {
                written.insert("observedGeneration".to_owned(), json!(generation));
            }
            Value::Object(written)
        })
        .collect();
    let is_foreign =
        |it: &&Value| it.get("type").and_then(Value::as_str).is_some_and(|kind| !ours.contains(&kind));
    all.extend(before.iter().filter(is_foreign).cloned());
    Value::Array(all)
}

/// A time as Kubernetes writes it: UTC, in seconds.
pub(super) fn time(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

fn shortened(message: &str) -> &str {
    let mut end = message.len().min(MESSAGE_BYTES_MAX);
    while !message.is_char_boundary(end) {
        end -= 1;
    }
    message.get(..end).unwrap_or_default()
}
