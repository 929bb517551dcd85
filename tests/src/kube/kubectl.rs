//! The real `kubectl`, as one user of one cluster.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use super::program;
use crate::eventually;

/// What a call of `kubectl` gave.
#[derive(Clone, Debug)]
pub struct Said {
    /// Whether its exit code was 0.
    pub ok: bool,
    /// Standard output.
    pub out: String,
    /// Standard error: refusals and warnings.
    pub err: String,
}

/// `kubectl` with a kubeconfig.
#[derive(Clone, Debug)]
pub struct Kubectl {
    kubeconfig: PathBuf,
    /// Command and arguments that come before `kubectl`, for a cluster that is reached from a namespace of its own.
    within: Vec<String>,
}

impl Kubectl {
    /// As the user of a kubeconfig.
    pub fn new(kubeconfig: &Path) -> Kubectl {
        Kubectl { kubeconfig: kubeconfig.to_owned(), within: Vec::new() }
    }

    /// The same, started by another command, such as `nsenter`.
    #[must_use]
    pub fn within(mut self, command: Vec<String>) -> Kubectl {
        self.within = command;
        self
    }

    /// The kubeconfig.
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    fn command(&self) -> Command {
        let kubectl = program("kubectl");
        let mut command = match self.within.split_first() {
            None => Command::new(kubectl),
            Some((first, rest)) => {
                let mut command = Command::new(first);
                command.args(rest).arg(kubectl);
                command
            }
        };
        // Discovery is cached next to the kubeconfig and not in the user's home.
        let cache = self.kubeconfig.with_extension("cache");
        command.arg("--kubeconfig").arg(&self.kubeconfig).arg("--cache-dir").arg(cache);
        command
    }

    /// Calls `kubectl` with `input` on its standard input.
    ///
    /// # Panics
    /// If it cannot be started.
    pub fn call(&self, arguments: &[&str], input: &str) -> Said {
        let mut command = self.command();
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
        let mut stdin = child.stdin.take().expect("piped");
        let input = input.to_owned();
        // One that ends early takes no more input; what it said tells why.
        let writer = std::thread::spawn(move || drop(stdin.write_all(input.as_bytes())));
        let output = child.wait_with_output().expect("a child can be waited for");
        writer.join().expect("the writer does not panic");
        Said {
            ok: output.status.success(),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Calls `kubectl` and gives what it printed.
    ///
    /// # Panics
    /// If it fails, with what it said.
    pub fn run(&self, arguments: &[&str]) -> String {
        let said = self.call(arguments, "");
        assert!(said.ok, "kubectl {arguments:?}: {}{}", said.out, said.err);
        said.out
    }

    /// `kubectl apply -f -`; gives what came on standard error, which is where warnings go.
    ///
    /// # Panics
    /// If it is refused.
    pub fn apply(&self, yaml: &str) -> String {
        let said = self.call(&["apply", "-f", "-"], yaml);
        assert!(said.ok, "kubectl apply: {}\n{yaml}", said.err);
        said.err
    }

    /// `kubectl apply -f -` of what must be refused; gives the refusal's text.
    ///
    /// # Panics
    /// If it is admitted.
    pub fn refused(&self, yaml: &str) -> String {
        let said = self.call(&["apply", "-f", "-"], yaml);
        assert!(!said.ok, "kubectl apply admitted what should be refused: {}\n{yaml}", said.out);
        said.err
    }

    /// `kubectl delete -f -`, waiting until the objects are gone.
    ///
    /// # Panics
    /// If it fails.
    pub fn delete(&self, yaml: &str) {
        let said = self.call(&["delete", "-f", "-"], yaml);
        assert!(said.ok, "kubectl delete: {}", said.err);
    }

    /// `kubectl get … -o json`; None if there is no such object or kind.
    pub fn get(&self, arguments: &[&str]) -> Option<Value> {
        let arguments: Vec<&str> = ["get"].iter().chain(arguments).chain(&["-o", "json"]).copied().collect();
        let said = self.call(&arguments, "");
        if said.ok { serde_json::from_str(&said.out).ok() } else { None }
    }

    /// Waits until `kubectl get …` gives something that `check` finds a value in.
    ///
    /// # Panics
    /// After the deadline, with the object as it was last seen.
    pub fn wait<T>(&self, arguments: &[&str], check: impl Fn(&Value) -> Option<T>) -> T {
        let start = std::time::Instant::now();
        loop {
            let seen = self.get(arguments);
            if let Some(value) = seen.as_ref().and_then(&check) {
                return value;
            }
            let late = start.elapsed() > crate::DEADLINE;
            assert!(!late, "waited in vain for kubectl get {arguments:?}; last seen: {seen:#?}");
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
    }

    /// Waits until `kubectl get …` finds nothing.
    ///
    /// # Panics
    /// After the deadline.
    pub fn wait_gone(&self, arguments: &[&str]) {
        eventually(&format!("{arguments:?} to be gone"), || self.get(arguments).is_none().then_some(()));
    }
}
