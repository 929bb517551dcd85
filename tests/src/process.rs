//! Child processes that end with the test that started them.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::eventually;

/// A running child: its output is kept line by line, and it is ended when dropped.
pub struct Process {
    child: Child,
    stdout: Arc<Mutex<Vec<String>>>,
    stderr: Arc<Mutex<Vec<String>>>,
}

impl Process {
    /// Starts a command with both outputs captured.
    ///
    /// # Panics
    /// If it cannot be started.
    pub fn start(command: &mut Command) -> Process {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
        let stdout = keep(child.stdout.take().expect("piped"));
        let stderr = keep(child.stderr.take().expect("piped"));
        Process { child, stdout, stderr }
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Lines written to standard output so far.
    pub fn stdout(&self) -> Vec<String> {
        self.stdout.lock().expect("no reader panics").clone()
    }

    /// Lines written to standard error so far.
    pub fn stderr(&self) -> Vec<String> {
        self.stderr.lock().expect("no reader panics").clone()
    }

    /// Waits for a line of standard error that contains all of `parts`.
    ///
    /// # Panics
    /// After the deadline, or when the process has ended without it.
    pub fn expect_stderr(&mut self, parts: &[&str]) -> String {
        eventually(&format!("standard error to say {parts:?}"), || {
            self.stderr().into_iter().find(|line| parts.iter().all(|part| line.contains(part)))
        })
    }

    /// As [`Process::expect_stderr`], among lines that come after the first `seen` (see [`Process::stderr`]): one that an
    /// earlier case has caused proves nothing about a later one.
    ///
    /// # Panics
    /// After the deadline, or when the process has ended without it.
    pub fn expect_stderr_after(&self, seen: usize, parts: &[&str]) -> String {
        eventually(&format!("standard error to go on and say {parts:?}"), || {
            let lines = self.stderr().into_iter().skip(seen);
            lines.into_iter().find(|line| parts.iter().all(|part| line.contains(part)))
        })
    }

    /// Sends a signal by its number.
    pub fn signal(&self, signal: i32) {
        let number = signal.to_string();
        let status = Command::new("kill").args(["-s", &number, &self.pid().to_string()]).status();
        assert!(status.is_ok_and(|it| it.success()), "cannot signal {}", self.pid());
    }

    /// The exit status, if it has ended.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("a child can be waited for")
    }

    /// Waits for the end.
    ///
    /// # Panics
    /// After the deadline.
    pub fn wait(&mut self) -> ExitStatus {
        eventually("a process to end", || self.ended())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.ended().is_none() {
            self.signal(15);
            let start = Instant::now();
            while self.ended().is_none() && start.elapsed() < Duration::from_secs(15) {
                std::thread::sleep(Duration::from_millis(10));
            }
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
        if std::thread::panicking() {
            eprintln!("--- standard error of process {} (last lines)", self.pid());
            let lines = self.stderr();
            for line in &lines[lines.len().saturating_sub(60)..] {
                eprintln!("    {line}");
            }
        }
    }
}

fn keep(from: impl std::io::Read + Send + 'static) -> Arc<Mutex<Vec<String>>> {
    let lines = Arc::new(Mutex::new(Vec::new()));
    let to = Arc::clone(&lines);
    std::thread::spawn(move || {
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            to.lock().expect("no reader panics").push(line);
        }
    });
    lines
}
