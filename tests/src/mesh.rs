//! A local mesh under test: `dromonctl run` on a folder of its own.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::Value;
use tempfile::TempDir;

use crate::process::Process;
use crate::{bin, bin_dir, eventually, free_port, root};

/// One mesh at a time in a test's process: each is a dozen processes, and machines that run tests are small.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// A running mesh.
pub struct Mesh {
    /// `dromonctl run`.
    pub process: Process,
    /// What it said when traffic could flow.
    pub ready: Value,
    /// Where the gateway's logical port 8080 is served.
    pub ingress: SocketAddr,
    config: TempDir,
    _alone: MutexGuard<'static, ()>,
}

/// How to start a mesh.
pub struct Setup {
    config: TempDir,
    arguments: Vec<String>,
    port: u16,
}

impl Setup {
    /// A mesh with an empty folder; the gateway's port 8080 will be a free one.
    pub fn new() -> Setup {
        let port = free_port();
        Setup {
            config: tempfile::tempdir().expect("a temporary folder"),
            arguments: vec!["--port-map".into(), format!("8080:{port}")],
            port,
        }
    }

    /// The Bookinfo sample's folder, with no rules in it.
    pub fn bookinfo() -> Setup {
        let setup = Setup::new();
        for file in ["bookinfo.yaml", "gateway.yaml", "destination-rules.yaml"] {
            let from = root().join("examples/bookinfo/mesh").join(file);
            fs::copy(&from, setup.config.path().join(file)).expect("the sample's files are there");
        }
        setup
    }

    /// As [`Setup::bookinfo`], with the way in and the versions in Gateway API's dialect.
    pub fn bookinfo_in_gateway_api() -> Setup {
        let setup = Setup::new();
        for file in
            ["mesh/bookinfo.yaml", "gateway-api/bookinfo-gateway.yaml", "gateway-api/bookinfo-versions.yaml"]
        {
            let from = root().join("examples/bookinfo").join(file);
            let name = from.file_name().unwrap_or_default();
            fs::copy(&from, setup.config.path().join(name)).expect("the sample's files are there");
        }
        setup
    }

    /// Adds a file.
    pub fn file(self, name: &str, text: &str) -> Setup {
        fs::write(self.config.path().join(name), text).expect("the folder is writable");
        self
    }

    /// Adds arguments to `dromonctl run`.
    pub fn arguments(mut self, more: &[&str]) -> Setup {
        self.arguments.extend(more.iter().map(|it| (*it).to_owned()));
        self
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        self.config.path()
    }

    /// The gateway's real port for its logical port 8080.
    pub fn port(&self) -> u16 {
        self.port
    }

    fn spawn(&self, mut dromonctl: Command, output: &str) -> Process {
        let path = format!("{}:{}", bin_dir().display(), std::env::var("PATH").unwrap_or_default());
        let config = self.config.path();
        dromonctl.args(["run", "--config"]).arg(config).args(["-o", output]).args(&self.arguments);
        Process::start(dromonctl.env("PATH", path))
    }

    /// Starts the mesh and waits until it says that traffic can flow.
    ///
    /// # Panics
    /// If it ends or does not get ready in time.
    pub fn start(self) -> Mesh {
        self.start_by(Command::new(bin("dromonctl")))
    }

    /// As [`Setup::start`], by a command that runs `dromonctl` in some other way, and gets its arguments.
    ///
    /// # Panics
    /// If it ends or does not get ready in time.
    pub fn start_by(self, dromonctl: Command) -> Mesh {
        let alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        let mut process = self.spawn(dromonctl, "json");
        let ready = said(&mut process, |line| serde_json::from_str::<Value>(line).ok());
        assert_eq!(ready["status"], "ready", "{ready}");
        let ingress = SocketAddr::from(([127, 0, 0, 1], self.port));
        Mesh { process, ready, ingress, config: self.config, _alone: alone }
    }

    /// Starts the mesh as a person does, and waits until it says in words that traffic can flow; the line, which `ready` of
    /// the mesh is too.
    ///
    /// # Panics
    /// If it ends or does not get ready in time.
    pub fn start_in_words(self) -> (Mesh, String) {
        let alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        let mut process = self.spawn(Command::new(bin("dromonctl")), "text");
        let line = said(&mut process, |line| line.starts_with("ready").then(|| line.to_owned()));
        let ingress = SocketAddr::from(([127, 0, 0, 1], self.port));
        let ready = Value::String(line.clone());
        (Mesh { process, ready, ingress, config: self.config, _alone: alone }, line)
    }
}

/// What a run says on standard output when it is ready.
fn said<T>(process: &mut Process, line: impl Fn(&str) -> Option<T>) -> T {
    eventually("the mesh to be ready", || {
        if let Some(status) = process.ended() {
            panic!("dromonctl run ended with {status}: {:?}", process.stderr());
        }
        process.stdout().iter().find_map(|it| line(it))
    })
}

impl Default for Setup {
    fn default() -> Setup {
        Setup::new()
    }
}

impl Mesh {
    /// The folder of rules.
    pub fn folder(&self) -> PathBuf {
        self.config.path().to_owned()
    }

    /// Puts a file into the folder at once, as `mv` does.
    pub fn put(&self, name: &str, text: &str) {
        let hidden = self.config.path().join(format!(".{name}.tmp"));
        fs::write(&hidden, text).expect("the folder is writable");
        fs::rename(hidden, self.config.path().join(name)).expect("the folder is writable");
    }

    /// Puts one of the sample's rules into the folder under the name `rule.yaml`.
    pub fn try_rule(&self, name: &str) {
        let path = root().join("examples/bookinfo/try").join(format!("{name}.yaml"));
        self.put("rule.yaml", &fs::read_to_string(path).expect("the sample has this rule"));
    }

    /// As [`Mesh::try_rule`], in Gateway API's dialect.
    pub fn try_route(&self, name: &str) {
        let path = root().join("examples/bookinfo/gateway-api").join(format!("{name}.yaml"));
        self.put("rule.yaml", &fs::read_to_string(path).expect("the sample has this route"));
    }

    /// Takes a file out of the folder.
    pub fn remove(&self, name: &str) {
        fs::remove_file(self.config.path().join(name)).expect("the file was there");
    }

    /// An admin address by the name that the ready line gives it, e.g. `gateway`.
    pub fn admin(&self, name: &str) -> SocketAddr {
        let text =
            self.ready["admin"][name].as_str().unwrap_or_else(|| panic!("no admin {name}: {}", self.ready));
        text.parse().expect("an address")
    }
}
