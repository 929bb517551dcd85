use std::path::Path;
use std::time::{Duration, Instant};

use super::*;

fn log_to(path: &Path) -> AccessLog {
    let mut log = AccessLog::new(Log::new("error"));
    log.set_path(path.to_str().expect("text"));
    log
}

fn wait_for(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !holds() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn lines_are_appended_and_a_rotated_file_is_opened_anew() {
    let dir = tempfile::tempdir().expect("a directory");
    let (path, moved) = (dir.path().join("access.log"), dir.path().join("access.log.1"));
    std::fs::write(&path, "before\n").expect("written");
    let mut log = log_to(&path);
    log.write(b"one\n".to_vec());
    wait_for("the first line", || std::fs::read(&path).is_ok_and(|text| text == b"before\none\n"));
    std::fs::rename(&path, &moved).expect("moved");
    log.reopen();
    log.write(b"two\n".to_vec());
    wait_for("a new file", || std::fs::read(&path).is_ok_and(|text| text == b"two\n"));
    assert_eq!(std::fs::read(&moved).expect("kept"), b"before\none\n");
    assert_eq!(log.dropped_bytes(), 0);
}

#[test]
fn a_stalled_sink_costs_lines_and_never_time() {
    let dir = tempfile::tempdir().expect("a directory");
    let pipe = dir.path().join("pipe");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status().expect("mkfifo runs");
    assert!(made.success());
    let mut log = log_to(&pipe);
    let begun = Instant::now();
    for _ in 0..10 * ACCESS_LOG_BATCHES_MAX {
        log.write(vec![b'x'; 100]);
    }
    assert!(begun.elapsed() < Duration::from_secs(5), "nobody reads the pipe, and nobody waits for it");
    assert!(log.dropped_bytes() >= 100 * 8 * ACCESS_LOG_BATCHES_MAX as u64);
}

#[test]
fn without_a_path_nothing_is_written_or_counted() {
    let mut log = AccessLog::new(Log::new("error"));
    log.write(b"one\n".to_vec());
    assert_eq!(log.dropped_bytes(), 0);
}
