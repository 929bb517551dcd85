//! The end-to-end harness: starts what a test needs, waits for events with a deadline, ends only what it started.
//!
//! Everything is a real process on loopback addresses: `dromonctl run` with the binaries of the same build.

pub mod certs;
pub mod dns;
pub mod echo;
pub mod frames;
pub mod fuzz;
pub mod http;
pub mod kube;
pub mod load;
pub mod mesh;
pub mod netns;
pub mod origin;
pub mod pair;
pub mod process;
pub mod proxy;
pub mod relay;
pub mod scripted;

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// Longest wait for anything in a test; generous, because machines that run tests are small and busy.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// The folder of the binaries under test: `DROMON_BIN_DIR`, or where this build put them.
pub fn bin_dir() -> PathBuf {
    std::env::var_os("DROMON_BIN_DIR").map_or_else(
        || {
            let test = std::env::current_exe().expect("a test knows its own executable");
            let dir = test.parent().and_then(|deps| deps.parent());
            dir.expect("target/PROFILE/deps/TEST").to_owned()
        },
        PathBuf::from,
    )
}

/// A binary of the build under test.
///
/// # Panics
/// If it has not been built.
pub fn bin(name: &str) -> PathBuf {
    let path = bin_dir().join(name);
    assert!(path.exists(), "{} is missing: run `cargo build --workspace --bins` first", path.display());
    path
}

/// The project's root folder.
pub fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ lies in the tree").to_owned()
}

/// Waits until `check` gives a value, asking every few milliseconds.
///
/// # Panics
/// After [`DEADLINE`], naming what was waited for.
pub fn eventually<T>(what: &str, mut check: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(value) = check() {
            return value;
        }
        assert!(start.elapsed() < DEADLINE, "waited {DEADLINE:?} in vain for {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Notes that a test could not run here; `make test` prints the list, and CI fails on it.
pub fn skip(test: &str, why: &str) {
    use std::io::Write;
    eprintln!("skipped {test}: {why}");
    let Some(list) = std::env::var_os("DROMON_SKIPS") else { return };
    if let Ok(mut file) = std::fs::OpenOptions::new().append(true).create(true).open(list) {
        let _ = writeln!(file, "{test}: {why}");
    }
}

/// A Python that can import a module: the one of `target/python`, which `.ci/tools test` makes, or the machine's own. None
/// where neither can.
pub fn python(module: &str) -> Option<PathBuf> {
    let own = root().join("target/python/bin/python3");
    [own, PathBuf::from("python3")].into_iter().find(|python| {
        let import = std::process::Command::new(python).args(["-c", &format!("import {module}")]).output();
        import.is_ok_and(|output| output.status.success())
    })
}

/// First of the ports that [`free_port`] gives out, and how many there are: above the mesh's own ports and below those
/// that the kernel gives to outgoing connections, which could take a port between its choice and its use.
const PORTS: (u16, u16) = (18_000, 14_000);

/// A loopback port that nothing listens on at this moment, and that no other call in this process gives out.
///
/// # Panics
/// If every port is taken.
pub fn free_port() -> u16 {
    static GIVEN: AtomicU32 = AtomicU32::new(0);
    let (first, count) = PORTS;
    for _ in 0..count {
        // Test programs that run at the same time start at places of their own.
        let turn = std::process::id().wrapping_mul(101).wrapping_add(GIVEN.fetch_add(1, Ordering::Relaxed));
        let port = first + u16::try_from(turn % u32::from(count)).expect("below the number of ports");
        if std::net::TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
    panic!("no loopback port is free");
}
