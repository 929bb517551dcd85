//! The schema of RateLimit's `spec`.

use serde_json::{Value, json};

/// Types are checked by the API server; fields that nobody knows are kept, so that admission can name them.
pub fn spec() -> Value {
    let text = || json!({"type": "string"});
    let object = |properties: Value| json!({"type": "object", "properties": properties, "x-kubernetes-preserve-unknown-fields": true});
    let matches = || object(json!({"exact": text(), "prefix": text(), "regex": text()}));
    let named_matches = || json!({"type": "object", "additionalProperties": matches()});
    let empty = || json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    let count = |minimum: u64| json!({"type": "integer", "format": "int64", "minimum": minimum});
    let targets = object(json!({"group": text(), "kind": text(), "name": text(), "namespace": text()}));
    let keys = object(json!({
        "header": text(), "sourceAddress": empty(), "sourcePrincipal": empty(), "path": empty(), "method": empty(),
    }));
    let when = object(json!({
        "path": matches(), "method": matches(), "authority": matches(),
        "headers": named_matches(), "withoutHeaders": named_matches(), "queryParams": named_matches(),
        "port": {"type": "integer", "minimum": 1, "maximum": 65_535},
    }));
    let units = [
        "Second", "Minute", "Hour", "Day", "second", "minute", "hour", "day", "SECOND", "MINUTE", "HOUR",
        "DAY",
    ];
    let mut limit = object(json!({
        "requests": count(0), "burst": count(1),
        "unit": {"type": "string", "enum": units},
        "per": {"type": "array", "items": keys},
        "when": when,
    }));
    limit["required"] = json!(["requests", "unit"]);
    object(json!({
        "targetRefs": {"type": "array", "items": targets},
        "selector": object(json!({
            "matchLabels": {"type": "object", "additionalProperties": text()},
        })),
        "direction": {"type": "string", "enum": ["Inbound", "Outbound", "Gateway"]},
        "limits": {"type": "array", "items": limit},
    }))
}
