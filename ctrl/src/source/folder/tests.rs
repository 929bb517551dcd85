use std::fs;
use std::path::Path;
use std::time::Duration;

use super::{Batch, FileState, Folder};

const WAIT: Duration = Duration::from_secs(5);
/// Long enough for any event of ours to have been settled and delivered.
const QUIET: Duration = Duration::from_millis(150);

fn open(root: &Path) -> (Folder, Batch) {
    Folder::open(root).expect("the folder opens")
}

fn next(folder: &mut Folder) -> Batch {
    folder.next(WAIT).expect("the watch works").expect("a change in time")
}

fn names(batch: &Batch) -> Vec<(&str, &str)> {
    batch
        .changes
        .iter()
        .map(|change| {
            let state = match &change.state {
                FileState::Text(text) => text.as_ref(),
                FileState::Unreadable(_) => "<unreadable>",
                FileState::Removed => "<removed>",
            };
            (change.file.as_str(), state)
        })
        .collect()
}

#[test]
fn opening_reads_what_is_there_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("sub")).unwrap();
    for name in ["a.yaml", "b.YML", "sub/c.json", ".hidden.yaml", "d.yaml~", "#e.yaml#", "notes.txt"] {
        fs::write(dir.path().join(name), name).unwrap();
    }
    let (_, batch) = open(dir.path());
    assert_eq!(names(&batch), [("a.yaml", "a.yaml"), ("b.YML", "b.YML"), ("sub/c.json", "sub/c.json")]);
}

#[test]
fn a_missing_folder_is_an_error_that_names_it() {
    let dir = tempfile::tempdir().unwrap();
    let error = Folder::open(&dir.path().join("nowhere")).err().expect("refused").to_string();
    assert!(error.contains("nowhere"), "{error}");
}

#[test]
fn a_file_counts_when_it_is_closed_and_not_before() {
    use std::io::Write;
    let dir = tempfile::tempdir().unwrap();
    let (mut folder, _) = open(dir.path());
    let mut file = fs::File::create(dir.path().join("a.yaml")).unwrap();
    file.write_all(b"half").unwrap();
    fs::write(dir.path().join("b.yaml"), "whole").unwrap();
    assert_eq!(names(&next(&mut folder)), [("b.yaml", "whole")]);
    file.write_all(b" and half").unwrap();
    drop(file);
    assert_eq!(names(&next(&mut folder)), [("a.yaml", "half and half")]);
}

#[test]
fn a_file_being_rewritten_is_not_read_for_another_ones_sake() {
    use std::io::Write;
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("a.yaml"), "first").unwrap();
    let (mut folder, _) = open(dir.path());
    let mut file = fs::File::create(dir.path().join("a.yaml")).unwrap();
    file.write_all(b"sec").unwrap();
    fs::write(dir.path().join("b.yaml"), "b").unwrap();
    assert_eq!(names(&next(&mut folder)), [("b.yaml", "b")]);
    file.write_all(b"ond").unwrap();
    drop(file);
    assert_eq!(names(&next(&mut folder)), [("a.yaml", "second")]);
}

#[test]
fn files_saved_together_are_one_version() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("c.yaml"), "old").unwrap();
    let (mut folder, _) = open(dir.path());
    fs::write(dir.path().join("a.yaml"), "1").unwrap();
    fs::write(dir.path().join("b.yaml"), "2").unwrap();
    fs::remove_file(dir.path().join("c.yaml")).unwrap();
    let batch = next(&mut folder);
    assert_eq!(names(&batch), [("a.yaml", "1"), ("b.yaml", "2"), ("c.yaml", "<removed>")]);
    assert_eq!(folder.next(QUIET).unwrap(), None, "and only one");
}

#[test]
fn a_rename_into_place_replaces_and_a_rename_away_removes() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("a.yaml"), "old").unwrap();
    let (mut folder, _) = open(dir.path());
    fs::write(dir.path().join(".a.tmp"), "new").unwrap();
    fs::rename(dir.path().join(".a.tmp"), dir.path().join("a.yaml")).unwrap();
    assert_eq!(names(&next(&mut folder)), [("a.yaml", "new")]);
    fs::rename(dir.path().join("a.yaml"), dir.path().join("b.yaml")).unwrap();
    assert_eq!(names(&next(&mut folder)), [("a.yaml", "<removed>"), ("b.yaml", "new")]);
    fs::rename(dir.path().join("b.yaml"), dir.path().join("b.yaml.off")).unwrap();
    assert_eq!(names(&next(&mut folder)), [("b.yaml", "<removed>")]);
}

#[test]
fn saving_the_same_text_is_no_version() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("a.yaml"), "same").unwrap();
    let (mut folder, _) = open(dir.path());
    fs::write(dir.path().join("a.yaml"), "same").unwrap();
    assert_eq!(folder.next(QUIET).unwrap(), None);
}

#[test]
fn directories_come_and_go_with_their_files() {
    let dir = tempfile::tempdir().unwrap();
    let outside = tempfile::tempdir().unwrap();
    let (mut folder, _) = open(dir.path());
    fs::create_dir(outside.path().join("sub")).unwrap();
    fs::write(outside.path().join("sub/a.yaml"), "a").unwrap();
    fs::rename(outside.path().join("sub"), dir.path().join("sub")).unwrap();
    assert_eq!(names(&next(&mut folder)), [("sub/a.yaml", "a")]);
    fs::write(dir.path().join("sub/a.yaml"), "b").unwrap();
    assert_eq!(names(&next(&mut folder)), [("sub/a.yaml", "b")]);
    fs::remove_dir_all(dir.path().join("sub")).unwrap();
    assert_eq!(names(&next(&mut folder)), [("sub/a.yaml", "<removed>")]);
}

#[test]
fn a_mounted_config_map_swaps_all_its_files_at_once() {
    use std::os::unix::fs::symlink;
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    fs::create_dir(at("..v1")).unwrap();
    fs::write(at("..v1/a.yaml"), "a1").unwrap();
    fs::write(at("..v1/b.yaml"), "b1").unwrap();
    symlink("..v1", at("..data")).unwrap();
    symlink("..data/a.yaml", at("a.yaml")).unwrap();
    symlink("..data/b.yaml", at("b.yaml")).unwrap();
    let (mut folder, batch) = open(dir.path());
    assert_eq!(names(&batch), [("a.yaml", "a1"), ("b.yaml", "b1")]);
    fs::create_dir(at("..v2")).unwrap();
    fs::write(at("..v2/a.yaml"), "a2").unwrap();
    fs::write(at("..v2/b.yaml"), "b1").unwrap();
    symlink("..v2", at("..data_tmp")).unwrap();
    fs::rename(at("..data_tmp"), at("..data")).unwrap();
    fs::remove_dir_all(at("..v1")).unwrap();
    assert_eq!(names(&next(&mut folder)), [("a.yaml", "a2")]);
}

#[test]
fn a_link_follows_its_target_outside_the_folder() {
    let dir = tempfile::tempdir().unwrap();
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("real.yaml"), "1").unwrap();
    std::os::unix::fs::symlink(outside.path().join("real.yaml"), dir.path().join("a.yaml")).unwrap();
    let (mut folder, batch) = open(dir.path());
    assert_eq!(names(&batch), [("a.yaml", "1")]);
    fs::write(outside.path().join("other.yaml"), "x").unwrap();
    fs::write(outside.path().join("real.yaml"), "2").unwrap();
    assert_eq!(names(&next(&mut folder)), [("a.yaml", "2")]);
}

#[test]
fn a_folder_that_goes_away_keeps_its_files_and_says_so_once() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("rules");
    fs::create_dir(&root).unwrap();
    fs::write(root.join("a.yaml"), "1").unwrap();
    let (mut folder, _) = open(&root);
    fs::rename(&root, dir.path().join("away")).unwrap();
    let batch = next(&mut folder);
    assert!(batch.changes.is_empty() && batch.notes.len() == 1, "{batch:?}");
    assert_eq!(folder.next(QUIET).unwrap(), None);
    fs::create_dir(&root).unwrap();
    fs::write(root.join("a.yaml"), "2").unwrap();
    let batch = next(&mut folder);
    assert_eq!(batch.changes.last().map(|change| change.file.as_str()), Some("a.yaml"), "{batch:?}");
}

#[test]
fn bytes_that_are_no_text_are_unreadable() {
    let dir = tempfile::tempdir().unwrap();
    let (mut folder, _) = open(dir.path());
    fs::write(dir.path().join("a.yaml"), [b'a', 0xff]).unwrap();
    assert_eq!(names(&next(&mut folder)), [("a.yaml", "<unreadable>")]);
}

#[test]
fn a_link_that_leads_nowhere_keeps_what_it_led_to_and_says_so_once() {
    let dir = tempfile::tempdir().unwrap();
    let outside = tempfile::tempdir().unwrap();
    fs::create_dir(outside.path().join("set")).unwrap();
    fs::write(outside.path().join("set/a.yaml"), "1").unwrap();
    std::os::unix::fs::symlink(outside.path().join("set"), dir.path().join("sub")).unwrap();
    let (mut folder, batch) = open(dir.path());
    assert_eq!(names(&batch), [("sub/a.yaml", "1")]);
    fs::rename(outside.path().join("set"), outside.path().join("away")).unwrap();
    fs::write(dir.path().join("b.yaml"), "b").unwrap();
    let mut batch = next(&mut folder);
    if batch.changes.is_empty() {
        // The rename may have been noticed on its own.
        let later = next(&mut folder);
        batch.changes = later.changes;
        assert!(later.notes.is_empty(), "told once: {:?}", later.notes);
    }
    assert_eq!(names(&batch), [("b.yaml", "b")]);
    assert!(batch.notes.len() == 1 && batch.notes[0].contains("sub"), "{:?}", batch.notes);
    fs::remove_file(dir.path().join("sub")).unwrap();
    assert_eq!(names(&next(&mut folder)), [("sub/a.yaml", "<removed>")]);
}
