use k8s_openapi::ByteString;
use serde_json::{Value, json};

use super::review::{Answer, Review};

#[test]
fn reviews_are_read_and_answered_as_the_api_server_wants() {
    let review: Review = serde_json::from_value(json!({
        "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
        "request": {"uid": "u-1", "namespace": "shop", "operation": "CREATE", "object": {"kind": "Pod"}, "dryRun": true},
    }))
    .expect("reads");
    assert!(review.request.dry_run);
    let patch = vec![json!({"op": "add", "path": "/a", "value": 1})];
    let answer = Answer { refusal: None, patch: patch.clone(), warnings: vec!["ä".repeat(300)] };
    let answer = answer.json(&review.request.uid);
    assert_eq!(answer["response"]["uid"], "u-1");
    assert_eq!(answer["response"]["allowed"], true);
    let sent: ByteString = serde_json::from_value(answer["response"]["patch"].clone()).expect("base64");
    assert_eq!(serde_json::from_slice::<Vec<Value>>(&sent.0).expect("JSON"), patch);
    let warning = answer["response"]["warnings"][0].as_str().expect("text");
    assert!(warning.len() <= 256 && warning.ends_with('…'), "{warning}");
    let refused = Answer::refused("no").json("u-2");
    assert_eq!(refused["response"]["allowed"], false);
    assert_eq!(refused["response"]["status"]["message"], "no");
    assert!(refused["response"]["patch"].is_null());
}
