//! `/config`: the configuration in force, with what is known of where it came from.

use dromon_core::config::describe::dump;
use serde_json::{Value, json};

use super::super::Settings;
use super::super::status::Status;

/// The page.
pub fn page(status: &Status, settings: &Settings) -> String {
    let mut page = json!({
        "id": settings.id,
        "feed": status.feed,
        "systemVersions": status.system_versions,
        "refused": status.refused,
        "listeners": status.listeners,
    });
    if let (Value::Object(page), Some(Value::Object(table))) = (&mut page, status.table.as_deref().map(dump))
    {
        page.extend(table);
    }
    format!("{page:#}\n")
}
