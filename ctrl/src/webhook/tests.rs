use std::time::{Duration, Instant};

use dromon_k8s::objects::ObjectSet;
use k8s_openapi::ByteString;
use serde_json::{Value, json};

use super::review::{Answer, Review};
use super::validate::Admitted;

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

#[test]
fn what_was_admitted_counts_for_a_moment_and_not_without_end() {
    let admitted = Admitted::default();
    let gateway = |name: &str| {
        json!({"apiVersion": "networking.istio.io/v1", "kind": "Gateway", "metadata": {"name": name, "namespace": "default"},
            "spec": {"servers": [{"port": {"number": 80, "name": "http", "protocol": "HTTP"}, "hosts": ["*"]}]}})
    };
    let begun = Instant::now();
    let seen = |after: u64| {
        let mut set = ObjectSet::new();
        admitted.lay_over(&mut set, begun + Duration::from_secs(after));
        set.len()
    };
    admitted.remember(&gateway("one"), begun);
    admitted.remember(&gateway("one"), begun);
    assert_eq!((seen(0), seen(1), seen(4)), (1, 1, 0));
    for number in 0..1_000 {
        admitted.remember(&gateway(&format!("of-many-{number}")), begun);
    }
    assert_eq!(seen(0), 256);
}
