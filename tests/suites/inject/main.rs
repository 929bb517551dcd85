//! `dromonctl inject` against files that were looked over: what a workload of each kind becomes, and that nothing else changes.
//!
//! `GOLDEN=write cargo test --test inject` writes them anew; read the difference before it is committed.

use std::path::{Path, PathBuf};
use std::process::Command;

use dromon_tests::{bin, root};

fn folder() -> PathBuf {
    root().join("tests/suites/inject/golden")
}

/// Injects a file for a version of Kubernetes; the text, and what was said.
fn inject(file: &Path, version: &str) -> (String, String) {
    let mut command = Command::new(bin("dromonctl"));
    command.args(["inject", "--kubernetes-version", version, "-f"]).arg(file);
    let output = command.output().expect("dromonctl runs");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{}: {said}", file.display());
    (String::from_utf8(output.stdout).expect("UTF-8"), said)
}

/// Compares with a golden file, or writes it.
fn check(golden: &Path, text: &str) {
    // The files hold no version, so that a release does not change them.
    let text = text.replace(env!("CARGO_PKG_VERSION"), "VERSION");
    if std::env::var("GOLDEN").is_ok_and(|it| it == "write") {
        std::fs::write(golden, &text).expect("written");
    }
    let wanted = std::fs::read_to_string(golden).unwrap_or_default();
    assert_eq!(text, wanted, "{} differs; GOLDEN=write writes it anew", golden.display());
}

fn inputs() -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder()).expect("goldens");
    let mut inputs: Vec<PathBuf> = entries.map(|it| it.expect("entry").path()).collect();
    inputs.retain(|path| path.to_string_lossy().ends_with(".in.yaml"));
    inputs.sort();
    inputs
}

#[test]
fn every_kind_becomes_what_its_golden_says() {
    let inputs = inputs();
    assert!(inputs.len() >= 8, "{inputs:?}");
    for input in inputs {
        let name = input.to_string_lossy().replace(".in.yaml", "");
        for version in ["1.28", "1.33"] {
            let (once, said) = inject(&input, version);
            assert!(said.contains("injected"), "{said}");
            check(Path::new(&format!("{name}.{version}.yaml")), &once);
            let again = tempfile::NamedTempFile::new().expect("a file");
            std::fs::write(again.path(), &once).expect("written");
            assert_eq!(inject(again.path(), version).0, once, "{name}: injecting twice is injecting once");
        }
    }
}

#[test]
fn a_workload_that_must_not_be_injected_stops_the_file() {
    let file = tempfile::NamedTempFile::new().expect("a file");
    let text = "apiVersion: v1\nkind: Pod\nmetadata:\n  name: p\n  annotations: {traffic.dromon.io/excludeInboundPorts: http}\n\
                spec: {containers: [{name: c}]}\n";
    std::fs::write(file.path(), text).expect("written");
    let output =
        Command::new(bin("dromonctl")).args(["inject", "-f"]).arg(file.path()).output().expect("runs");
    assert!(!output.status.success());
    assert!(output.stdout.is_empty(), "half a file would be worse than none");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("Pod p") && said.contains("excludeInboundPorts"), "{said}");
}

/// `dromonctl manifest --helm` writes a whole chart, and what an earlier version had of it goes.
#[test]
fn a_chart_is_written_whole() {
    let folder = tempfile::tempdir().expect("a folder");
    let chart = folder.path().join("dromon");
    std::fs::create_dir_all(chart.join("templates")).expect("made");
    std::fs::write(chart.join("templates/99-old.yaml"), "kind: Old\n").expect("written");
    let output =
        Command::new(bin("dromonctl")).args(["manifest", "--helm"]).arg(&chart).output().expect("runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let files = files(&chart);
    let has = |end: &str| files.iter().any(|(path, _)| path.to_string_lossy().ends_with(end));
    for end in
        ["Chart.yaml", "values.yaml", "deployment-dromon-controller.yaml", "ratelimits.policy.dromon.io.yaml"]
    {
        assert!(has(end), "{end} in {files:?}");
    }
    assert!(!has("99-old.yaml"));
}

/// The files below a folder, by path.
fn files(folder: &Path) -> Vec<(PathBuf, String)> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(&next).expect("a folder") {
            let path = entry.expect("entry").path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let text = std::fs::read_to_string(&path).expect("text");
                files.push((path.strip_prefix(folder).expect("below").to_owned(), text));
            }
        }
    }
    files.sort();
    files
}
