use serde_json::json;

use super::merge;

#[test]
fn a_merge_patch_takes_away_what_is_not_wanted_any_more() {
    let before = json!({"conditions": [1], "addresses": ["a"], "deep": {"stays": 1, "goes": 2}});
    let wanted = json!({"conditions": [2], "deep": {"stays": 1, "comes": 3}});
    let patch = merge(&before, &wanted);
    let expected = json!({
        "conditions": [2],
        "deep": {"stays": 1, "comes": 3, "goes": null},
        "addresses": null,
    });
    assert_eq!(patch, expected);
}

#[test]
fn where_nothing_was_everything_is_said() {
    let wanted = json!({"conditions": [{"type": "Accepted"}]});
    assert_eq!(merge(&serde_json::Value::Null, &wanted), wanted);
}
