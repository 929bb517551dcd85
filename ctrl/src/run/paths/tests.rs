use std::sync::atomic::{AtomicBool, Ordering};

use super::*;

#[test]
fn a_directory_in_use_is_refused_and_free_again_afterwards() {
    let base = tempfile::tempdir().unwrap();
    let path = base.path().join("run-1");
    let first = RunDir::take(Some(&path)).unwrap();
    assert!(alive(&path));
    assert!(matches!(RunDir::take(Some(&path)), Err(RunDirError::InUse(_))));
    drop(first);
    assert!(!alive(&path));
    assert!(RunDir::take(Some(&path)).is_ok());
}

#[test]
fn only_what_dead_runs_left_is_swept() {
    let base = tempfile::tempdir().unwrap();
    let (dead, living) = (base.path().join("run-1"), base.path().join("run-2"));
    drop(RunDir::take(Some(&dead)).unwrap());
    let _run = RunDir::take(Some(&living)).unwrap();
    sweep(base.path());
    assert!(!dead.exists() && living.exists());
    let left: Vec<_> =
        std::fs::read_dir(base.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["run-2"], "something of the dead run was left");
}

/// Sets its flag when it goes, be it by a panic.
struct OnDrop<'a>(&'a AtomicBool);

impl Drop for OnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn a_run_that_starts_while_others_sweep_and_look_has_its_directory() {
    let base = tempfile::tempdir().unwrap();
    let path = base.path().join("run-1");
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        // A failed round ends the others too, which the scope waits for.
        let _end = OnDrop(&done);
        let look = |what: fn(&Path)| {
            let (base, done) = (base.path(), &done);
            scope.spawn(move || {
                while !done.load(Ordering::Relaxed) {
                    what(base);
                    std::thread::sleep(Duration::from_micros(50));
                }
            });
        };
        look(sweep);
        look(|base| {
            alive(&base.join("run-1"));
        });
        for round in 0..300 {
            let run = RunDir::take(Some(&path)).unwrap_or_else(|error| panic!("round {round}: {error}"));
            std::fs::write(path.join("kept"), "").unwrap_or_else(|error| panic!("round {round}: {error}"));
            std::thread::yield_now();
            assert!(path.join("kept").exists(), "round {round}: swept under a living run");
            drop(run);
        }
    });
}
