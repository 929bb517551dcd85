use serde_json::{Value, json};

use super::{documents, yaml};

/// What is written is read back as it was.
#[test]
fn what_is_written_reads_as_it_was() {
    let value = json!({
        "apiVersion": "v1",
        "y": "y", "yes": "yes", "number": "0123", "date": "2026-01-02", "port": 15_020, "half": 0.5,
        "image": "localhost:5000/dromon-proxy:0.1.0",
        "empty": {}, "none": [], "nothing": null, "text": "",
        "script": "line one\n  line two\n\nline four\n",
        "no newline": "a\nb",
        "trailing ": "space at \nthe end ",
        "colon:": ": # not a comment",
        "list": [1, [2, [3]], {"a": [{"b": 1}, {}], "c": "d"}, "*", "- x", "{}"],
        "nested": {"deep": {"list": [{"name": "x", "args": ["--a", "b c", "\u{7}"]}]}},
    });
    let text = yaml(&value);
    let read: Vec<Value> =
        crate::parse::documents(&text).into_iter().map(|it| it.expect(&text).value).collect();
    assert_eq!(read, [value], "{text}");
}

#[test]
fn the_form_is_kubectls() {
    let value = json!({"kind": "List", "items": [{"a": 1, "b": ["x"]}, {"c": {"d": true}}]});
    assert_eq!(yaml(&value), "kind: List\nitems:\n- a: 1\n  b:\n  - x\n- c:\n    d: true\n");
    assert_eq!(documents([&json!({"a": 1}), &json!({})]), "---\na: 1\n---\n{}\n");
}
