//! The difference between two objects as a JSON Patch (RFC 6902), which is what a webhook answers with.

use serde_json::{Value, json};

/// The operations that turn one value into the other. Lists that differ are replaced as a whole.
pub fn diff(before: &Value, after: &Value) -> Vec<Value> {
    let mut operations = Vec::new();
    compare(before, after, "", &mut operations);
    operations
}

fn compare(before: &Value, after: &Value, path: &str, operations: &mut Vec<Value>) {
    let (Value::Object(old), Value::Object(new)) = (before, after) else {
        if before != after {
            operations.push(json!({"op": "replace", "path": path, "value": after}));
        }
        return;
    };
    for key in old.keys().filter(|key| !new.contains_key(*key)) {
        operations.push(json!({"op": "remove", "path": format!("{path}/{}", escaped(key))}));
    }
    for (key, value) in new {
        let inner = format!("{path}/{}", escaped(key));
        match old.get(key) {
            Some(old) => compare(old, value, &inner, operations),
            None => operations.push(json!({"op": "add", "path": inner, "value": value})),
        }
    }
}

/// A key as a JSON Pointer has it (RFC 6901).
fn escaped(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}
