use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::{Duration, Instant};

use super::settle::Settle;
use super::{Batch, FileState, Folder, links};

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
    symlink(outside.path().join("real.yaml"), dir.path().join("a.yaml")).unwrap();
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
    symlink(outside.path().join("set"), dir.path().join("sub")).unwrap();
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

/// Puts a new link in the place of another one, as a ConfigMap's writer does.
fn swap(link: &Path, target: &str) {
    let temporary = link.with_file_name("swap");
    symlink(target, &temporary).unwrap();
    fs::rename(temporary, link).unwrap();
}

#[test]
fn every_link_of_a_chain_outside_the_folder_is_watched() {
    let dir = tempfile::tempdir().unwrap();
    let outside = tempfile::tempdir().unwrap();
    let at = |name: &str| outside.path().join(name);
    for (name, text) in [("v1", "1"), ("v2", "2"), ("v3", "3")] {
        fs::create_dir_all(at("store").join(name)).unwrap();
        fs::write(at("store").join(name).join("rules.yaml"), text).unwrap();
    }
    // a.yaml → current/rules.yaml, current → ..data → store/v1
    symlink("store/v1", at("..data")).unwrap();
    symlink("..data", at("current")).unwrap();
    symlink(at("current/rules.yaml"), dir.path().join("a.yaml")).unwrap();
    symlink(at("current"), dir.path().join("all")).unwrap();
    let (mut folder, batch) = open(dir.path());
    assert_eq!(names(&batch), [("a.yaml", "1"), ("all/rules.yaml", "1")]);
    swap(&at("..data"), "store/v2");
    assert_eq!(names(&next(&mut folder)), [("a.yaml", "2"), ("all/rules.yaml", "2")], "the last link");
    swap(&at("current"), "store/v3");
    assert_eq!(names(&next(&mut folder)), [("a.yaml", "3"), ("all/rules.yaml", "3")], "the link before it");
    fs::write(at("store/v3/rules.yaml"), "4").unwrap();
    assert_eq!(names(&next(&mut folder)), [("a.yaml", "4"), ("all/rules.yaml", "4")], "the file");
    // What the chain does not lead to any more is nobody's business.
    fs::write(at("store/v2/rules.yaml"), "5").unwrap();
    swap(&at("..data"), "store/v1");
    assert_eq!(folder.next(QUIET).unwrap(), None);
}

#[test]
fn a_folder_that_is_reached_by_links_follows_them() {
    let outside = tempfile::tempdir().unwrap();
    let at = |name: &str| outside.path().join(name);
    for name in ["v1", "v2"] {
        fs::create_dir(at(name)).unwrap();
    }
    fs::write(at("v2/a.yaml"), "2").unwrap();
    symlink("v1", at("..data")).unwrap();
    symlink("..data", at("rules")).unwrap();
    let (mut folder, batch) = open(&at("rules"));
    assert_eq!(names(&batch), []);
    swap(&at("..data"), "v2");
    assert_eq!(names(&next(&mut folder)), [("a.yaml", "2")]);
}

#[test]
fn what_a_link_leads_to_is_noticed_when_it_comes() {
    let dir = tempfile::tempdir().unwrap();
    let outside = tempfile::tempdir().unwrap();
    symlink(outside.path().join("sub/a.yaml"), dir.path().join("a.yaml")).unwrap();
    let (mut folder, batch) = open(dir.path());
    assert!(batch.changes.is_empty() && batch.notes.len() == 1, "{batch:?}");
    fs::create_dir(outside.path().join("sub")).unwrap();
    assert_eq!(folder.next(QUIET).unwrap(), None);
    fs::write(outside.path().join("sub/a.yaml"), "1").unwrap();
    assert_eq!(names(&next(&mut folder)), [("a.yaml", "1")]);
}

#[test]
fn two_links_to_one_directory_are_both_new() {
    let dir = tempfile::tempdir().unwrap();
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("a.yaml"), "1").unwrap();
    for name in ["one", "two"] {
        symlink(outside.path(), dir.path().join(name)).unwrap();
    }
    let (mut folder, _) = open(dir.path());
    fs::write(outside.path().join("a.yaml"), "2").unwrap();
    assert_eq!(names(&next(&mut folder)), [("one/a.yaml", "2"), ("two/a.yaml", "2")]);
}

#[test]
fn a_way_has_every_step_and_ends_where_it_leads() {
    let dir = tempfile::tempdir().unwrap();
    let root = fs::canonicalize(dir.path()).unwrap();
    fs::create_dir(root.join("real")).unwrap();
    symlink("real", root.join("near")).unwrap();
    symlink("../near/missing", root.join("real/far")).unwrap();
    symlink("loop", root.join("loop")).unwrap();
    let way = links::follow(&root.join("near/far"));
    let steps = ["near", "real", "real/far", "real/missing"].map(|name| root.join(name));
    assert_eq!(way.steps, steps.into());
    assert_eq!(way.end, root.join("real/missing"));
    assert!(links::follow(&root.join("real")).steps.is_empty());
    assert_eq!(links::follow(&root.join("loop")).steps, [root.join("loop")].into(), "and it ends");
}

/// Saves files one after another, `gap` apart; whether no pause came close to one that would end a version.
fn copy(directory: &Path, files: usize, text: &str, gap: Duration) -> bool {
    let mut last = Instant::now();
    let mut steady = true;
    for file in 0..files {
        fs::write(directory.join(format!("{file:03}.yaml")), text).unwrap();
        std::thread::sleep(gap);
        // Four files make a copy, and until then less is quiet.
        let most = Duration::from_millis(if file < 4 { 10 } else { 25 });
        steady &= last.elapsed() < most;
        last = Instant::now();
    }
    steady
}

#[test]
fn a_long_copy_of_many_files_is_one_version() {
    for _ in 0..20 {
        let dir = tempfile::tempdir().unwrap();
        let (mut folder, _) = open(dir.path());
        let path = dir.path().to_owned();
        let writer = std::thread::spawn(move || copy(&path, 200, "x", Duration::from_micros(1_500)));
        let batch = next(&mut folder);
        // A machine that pauses the writer makes two copies of it, and says nothing about the rule.
        if writer.join().unwrap() {
            assert_eq!(batch.changes.len(), 200);
            assert_eq!(folder.next(QUIET).unwrap(), None, "and only one");
            return;
        }
    }
    panic!("the machine never left the writer alone for half a second");
}

#[test]
fn a_version_waits_for_further_files_but_not_for_one_that_is_saved_again() {
    let start = Instant::now();
    let at = |ms: u64| start + Duration::from_millis(ms);
    let left = |settle: &Settle, ms: u64| settle.left(at(ms)).as_millis();
    let mut settle = Settle::new(start, 1);
    assert_eq!(left(&settle, 5), 15, "one file waits for nobody");
    settle.more(at(10), 0);
    assert_eq!(left(&settle, 20), 0, "saved again");
    settle.more(at(15), 3);
    assert_eq!(left(&settle, 15), 50, "a copy may be slow");
    for ms in (15..5_000).step_by(40) {
        settle.more(at(ms), 1);
    }
    assert_eq!(left(&settle, 1_999), 1, "and comes to an end");
}

#[test]
fn an_editor_that_saves_by_rename_removes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    fs::write(at("a.yaml"), "old").unwrap();
    let (mut folder, _) = open(dir.path());
    for (backup, text) in [("a.yaml~", "1"), ("a.yaml.~12~", "2"), ("a.yaml___jb_old___", "3")] {
        fs::rename(at("a.yaml"), at(backup)).unwrap();
        assert_eq!(folder.next(QUIET).unwrap(), None, "no removal while it is written: {backup}");
        fs::write(at("a.yaml"), text).unwrap();
        fs::remove_file(at(backup)).unwrap();
        assert_eq!(names(&next(&mut folder)), [("a.yaml", text)]);
    }
}

#[test]
fn a_file_put_aside_for_good_is_removed() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("a.yaml"), "1").unwrap();
    let (mut folder, _) = open(dir.path());
    fs::rename(dir.path().join("a.yaml"), dir.path().join("a.yaml~")).unwrap();
    assert_eq!(names(&next(&mut folder)), [("a.yaml", "<removed>")]);
}

#[test]
fn a_file_whose_mode_is_set_while_it_is_written_is_not_read_yet() {
    use std::io::Write;
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let (mut folder, _) = open(dir.path());
    let mut file = fs::File::create(dir.path().join("a.yaml")).unwrap();
    file.set_permissions(fs::Permissions::from_mode(0o600)).unwrap();
    file.write_all(b"half").unwrap();
    assert_eq!(folder.next(QUIET).unwrap(), None);
    file.write_all(b" and half").unwrap();
    drop(file);
    assert_eq!(names(&next(&mut folder)), [("a.yaml", "half and half")]);
}
