//! The corpora of the fuzz targets and mutations of them, fed to the targets without a fuzzer.

use std::panic::catch_unwind;
use std::path::{Path, PathBuf};

use dromon_core::rng::Rng;
use dromon_tests::fuzz::{TARGETS, Target, mutate};
use dromon_tests::root;

/// Mutations of all files of a target together; some seconds for all.
const MUTATIONS: usize = 20_000;

/// The files of a target: its own corpus, and for HTTP/1 the examples of each rule.
fn corpus(target: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let mut folders = vec![root().join("tests/fuzz/corpus").join(target)];
    let examples = ["h1_request", "h1_response", "h1_chunked"].contains(&target);
    if let Some(kind) = target.strip_prefix("h1_").filter(|_| examples) {
        folders.push(root().join("core/tests/corpus/h1").join(kind));
    }
    let mut files: Vec<PathBuf> = folders.iter().flat_map(|folder| files_of(folder)).collect();
    files.sort();
    let read = |path: PathBuf| {
        let bytes = std::fs::read(&path).expect("a readable file");
        (path, bytes)
    };
    files.into_iter().map(read).collect()
}

fn files_of(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    entries.map(|entry| entry.expect("a readable folder").path()).collect()
}

fn feed(name: &str, target: Target, what: &str, bytes: &[u8]) {
    if catch_unwind(|| target(bytes)).is_err() {
        let text = bytes.escape_ascii();
        panic!("{name} fails for {what}; printf '{text}' > tests/fuzz/corpus/{name}/NAME keeps it");
    }
}

fn replay(name: &str, target: Target) {
    let corpus = corpus(name);
    assert!(corpus.len() > 2, "{name} has hardly a corpus");
    for (path, bytes) in &corpus {
        feed(name, target, &path.display().to_string(), bytes);
    }
    let mut rng = Rng::new(1);
    for number in 0..MUTATIONS {
        let (path, bytes) = &corpus[number % corpus.len()];
        let (_, other) = &corpus[rng.below(corpus.len() as u32) as usize];
        let changed = mutate(bytes, other, &mut rng);
        feed(name, target, &format!("mutation {number} of {}", path.display()), &changed);
    }
}

#[test]
fn every_target_holds_for_its_corpus_and_mutations_of_it() {
    std::thread::scope(|scope| {
        for (name, target) in TARGETS {
            scope.spawn(move || replay(name, target));
        }
    });
}

#[test]
fn every_target_can_be_run_under_a_fuzzer() {
    let manifest = std::fs::read_to_string(root().join("tests/fuzz/Cargo.toml")).expect("the manifest");
    let files = files_of(&root().join("tests/fuzz/fuzz_targets"));
    assert_eq!(files.len(), TARGETS.len());
    for (name, _) in TARGETS {
        let text = std::fs::read_to_string(root().join(format!("tests/fuzz/fuzz_targets/{name}.rs")));
        assert!(text.expect("a target's file").contains(&format!("fuzz::{name}(bytes)")), "{name}");
        assert!(manifest.contains(&format!("name = \"{name}\"")), "{name}");
    }
}
