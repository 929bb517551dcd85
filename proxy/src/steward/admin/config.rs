//! `/config`: the configuration in force.

use serde_json::json;

use super::super::Settings;
use super::super::status::Status;

/// The page.
pub fn page(status: &Status, settings: &Settings) -> String {
    let table = status.table.as_ref();
    let page = json!({
        "id": settings.id,
        "version": table.map(|table| table.version),
        "feed": status.feed,
        "systemVersions": status.system_versions,
        "refused": status.refused,
        "listeners": status.listeners,
        "proxy": table.map(|table| &table.proxy),
    });
    format!("{page:#}\n")
}
