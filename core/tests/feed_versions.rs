//! What earlier versions of the feed have sent, kept as it was (`feed/VERSION.json`): it is read, and means what it meant.

use dromon_core::config::model::{Kind, Resource};
use dromon_core::config::snapshot::Update;
use dromon_core::config::wire::DeltaResponse;
use prost::Message;
use serde_json::{Value, json};

/// Every version that a proxy or controller of this one has to get on with.
const VERSIONS: [(&str, &str); 1] = [("0.1", include_str!("feed/0.1.json"))];

fn sent(version: &str) -> Vec<(Kind, Value)> {
    let (_, text) = VERSIONS.iter().find(|(name, _)| *name == version).expect("a version");
    let file: Value = serde_json::from_str(text).expect("JSON");
    let kind = |it: &Value| serde_json::from_value(it["kind"].clone()).expect("a kind");
    let resources = file["resources"].as_array().expect("a list");
    resources.iter().map(|it| (kind(it), it["body"].clone())).collect()
}

fn read(kind: Kind, body: &Value) -> Resource {
    let name = body["name"].as_str().expect("a name");
    let read = Update::decode(kind, name, "1", body.to_string().as_bytes());
    read.unwrap_or_else(|refused| panic!("{refused}")).resource
}

/// Whether all of one value is found in another.
fn holds(whole: &Value, part: &Value) -> bool {
    match (whole, part) {
        (Value::Object(whole), Value::Object(part)) => {
            part.iter().all(|(name, value)| whole.get(name).is_some_and(|it| holds(it, value)))
        }
        (Value::Array(whole), Value::Array(part)) => {
            whole.len() == part.len() && whole.iter().zip(part).all(|(whole, part)| holds(whole, part))
        }
        _ => whole == part,
    }
}

#[test]
fn no_field_of_an_earlier_version_has_lost_its_name_or_its_meaning() {
    for (version, _) in VERSIONS {
        for (kind, body) in sent(version) {
            let again = serde_json::to_value(read(kind, &body)).expect("JSON");
            assert!(holds(&again["body"], &body), "{version} {kind:?}: {body:#} was read as {again:#}");
        }
    }
}

#[test]
fn what_a_later_version_adds_is_passed_over() {
    fn later(value: &Value) -> Value {
        match value {
            Value::Object(fields) => {
                let mut fields: serde_json::Map<_, _> =
                    fields.iter().map(|(name, value)| (name.clone(), later(value))).collect();
                // An object of one field may be a choice such as `{"exact": …}`, where another field would be another choice.
                if fields.len() > 1 {
                    fields.insert("ofALaterVersion".into(), json!([{"a": 1}, null]));
                }
                Value::Object(fields)
            }
            Value::Array(items) => items.iter().map(later).collect(),
            other => other.clone(),
        }
    }
    for (kind, body) in sent("0.1") {
        assert_eq!(read(kind, &later(&body)), read(kind, &body));
    }
}

#[test]
fn fields_of_messages_that_are_unknown_are_passed_over() {
    let known = DeltaResponse { nonce: "7".into(), type_url: "a".into(), ..DeltaResponse::default() };
    let mut bytes = known.encode_to_vec();
    // Field 100, a text, and field 101, a number, as protobuf has them.
    bytes.extend([0xa2, 0x06, 3, b'n', b'e', b'w', 0xa8, 0x06, 1]);
    assert_eq!(DeltaResponse::decode(bytes.as_slice()), Ok(known));
}
