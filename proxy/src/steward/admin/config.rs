//! `/config`: the configuration in force, with what is known of where it came from.

use dromon_auth::certificate::{CertificateInfo, read_chain};
use dromon_core::config::describe::dump;
use dromon_core::config::model::Credential;
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
    if let Some(table) = status.table.as_deref() {
        page["credentials"] = table.credentials().map(|it| credential(it)).collect();
    }
    format!("{page:#}\n")
}

/// What is shown of a credential: whose certificate it is, and until when.
fn credential(credential: &Credential) -> Value {
    if credential.cert_chain.is_empty() {
        return json!({"name": credential.name});
    }
    let leaf = read_chain(credential.cert_chain.as_bytes())
        .and_then(|chain| chain.first().map(|leaf| CertificateInfo::of(leaf)).transpose());
    match leaf {
        Ok(Some(leaf)) => json!({
            "name": credential.name,
            "subject": leaf.subject,
            "dnsNames": leaf.dns_names,
            "notAfter": leaf.not_after,
        }),
        Ok(None) => json!({"name": credential.name}),
        Err(error) => json!({"name": credential.name, "error": error.to_string()}),
    }
}
