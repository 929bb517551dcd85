use dromon_core::config::model::Kind;

use super::*;

const GOOD: &str = r#"[{"kind":"Host","body":{"name":"a"}},{"kind":"Host","body":{"name":"b"}}]"#;

async fn next(events: &mut mpsc::Receiver<Event>) -> Loaded {
    match tokio::time::timeout(Duration::from_secs(10), events.recv()).await.expect("an event in time") {
        Some(Event::Static(loaded)) => loaded,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_change_is_read_a_broken_file_is_told_and_a_missing_one_too() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("config.json");
    std::fs::write(&path, GOOD).expect("written");
    let (sender, mut events) = mpsc::channel(4);
    let watcher = tokio::spawn(watch(path.clone(), sender));
    let first = next(&mut events).await.expect("good");
    assert_eq!(first.len(), 2);
    assert_eq!((first[0].resource.kind(), first[0].resource.name()), (Kind::Host, "a"));

    std::fs::write(&path, "[{").expect("written");
    let error = next(&mut events).await.expect_err("broken");
    assert!(error.contains("config.json"), "{error}");

    let beside = dir.path().join("new.json");
    std::fs::write(&beside, "[]").expect("written");
    std::fs::rename(&beside, &path).expect("renamed");
    assert!(next(&mut events).await.expect("good again").is_empty());

    std::fs::remove_file(&path).expect("removed");
    assert!(next(&mut events).await.is_err());
    watcher.abort();
}
