//! A process that must not outlive the run.
//!
//! Every child is started through `dromonctl child`, which asks the kernel to kill it when its parent dies and then becomes
//! the program. That covers the child itself; its own children are covered by a process group of its own, which the
//! [`super::guard`] kills should the run die. Both without `unsafe`: nothing runs between fork and exec.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::process::{Child as Process, Command};
use tokio::time::timeout;

use super::guard::{Guard, MARK, kill_marked};
use super::output;

/// The running program, also after its file was replaced by a newer build.
pub(super) const OWN_PROGRAM: &str = "/proc/self/exe";

/// What to start.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Program {
    /// Its name in messages and before its lines.
    pub name: String,
    /// Program file and arguments.
    pub command: Vec<String>,
    /// Set in addition to the run's own environment.
    pub env: BTreeMap<String, String>,
    /// Where it runs; the run's own directory unless set.
    pub directory: Option<PathBuf>,
    /// Its standard output is not passed on.
    pub is_silent: bool,
    /// It is one of ours: it gets none of the run's environment but what every program needs.
    pub is_own: bool,
    /// Lines with this in them are not passed on: the run says the same in its own words.
    pub muted: &'static [&'static str],
}

/// What our own programs keep of the run's environment.
const KEPT: [&str; 6] = ["PATH", "LANG", "TZ", "TMPDIR", "RUST_BACKTRACE", "RUST_LOG"];

/// A running process.
#[derive(Debug)]
pub struct Child {
    name: String,
    process: Process,
    group: u32,
    mark: String,
    guard: Guard,
}

impl Child {
    /// Starts a program; its lines go to standard error under its name.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start(program: &Program, guard: &Guard) -> io::Result<Child> {
        let mut command = Command::new(OWN_PROGRAM);
        command
            .arg0("dromonctl")
            .arg("child")
            .arg(std::process::id().to_string())
            .arg("--")
            .args(&program.command);
        let stdout = if program.is_silent { Stdio::null() } else { Stdio::piped() };
        if program.is_own {
            let kept = KEPT.into_iter().filter_map(|name| Some((name, std::env::var_os(name)?)));
            command.env_clear().envs(kept);
        }
        let mark = guard.mark(&program.name);
        command.env(MARK, &mark);
        command.envs(&program.env).stdin(Stdio::null()).stdout(stdout).stderr(Stdio::piped());
        command.process_group(0).kill_on_drop(true);
        if let Some(directory) = &program.directory {
            command.current_dir(directory);
        }
        let mut process = command.spawn()?;
        let group = process.id().unwrap_or_default();
        guard.watch(group);
        if let Some(stdout) = process.stdout.take() {
            tokio::spawn(output::follow(program.name.clone(), stdout, program.muted));
        }
        if let Some(stderr) = process.stderr.take() {
            tokio::spawn(output::follow(program.name.clone(), stderr, program.muted));
        }
        Ok(Child { name: program.name.clone(), process, group, mark, guard: guard.clone() })
    }

    /// Its process group, which has the number of its first process.
    pub fn group(&self) -> u32 {
        self.group
    }

    /// Waits until it has ended. What it started and left behind is ended too.
    pub async fn wait(&mut self) -> io::Result<ExitStatus> {
        let status = self.process.wait().await?;
        self.signal(Signal::KILL);
        self.guard.forget(self.group);
        kill_marked(&self.mark);
        Ok(status)
    }

    /// Sends its group a signal.
    pub fn signal(&self, signal: Signal) {
        if let Some(group) = i32::try_from(self.group).ok().and_then(Pid::from_raw) {
            // The only failure is that nobody is left.
            let _ = kill_process_group(group, signal);
        }
    }

    /// Asks it to end, and ends it when it does not within `patience`.
    pub async fn stop(&mut self, patience: Duration) {
        self.signal(Signal::TERM);
        if timeout(patience, self.wait()).await.is_err() {
            output::say(&format!("{} did not end within {}: killed", self.name, output::seconds(patience)));
            self.signal(Signal::KILL);
            let _ = self.wait().await;
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if self.process.id().is_some() {
            self.signal(Signal::KILL);
        }
    }
}

/// What `dromonctl child PARENT -- COMMAND…` does: becomes the command, and dies with its parent. Returns only on failure.
pub fn become_child(parent: u32, command: &[String]) -> io::Error {
    use std::os::unix::process::CommandExt;
    if let Err(error) = rustix::process::set_parent_process_death_signal(Some(Signal::KILL)) {
        return error.into();
    }
    // The parent may have died before the request was made.
    let now = rustix::process::getppid().map(|pid| pid.as_raw_nonzero().get());
    if now != i32::try_from(parent).ok() {
        return io::Error::other("the run is gone");
    }
    let Some((program, arguments)) = command.split_first() else {
        return io::Error::new(io::ErrorKind::InvalidInput, "no command");
    };
    std::process::Command::new(program).args(arguments).exec()
}

/// Finds a program: a bare name beside dromonctl, in `PATH`, then in the configuration folder; a path below the
/// configuration folder, the current directory, then beside dromonctl. A name without a match is returned as it is, so
/// that the message of the failed start names it.
pub fn find(program: &str, folder: &Path) -> PathBuf {
    let name = Path::new(program);
    if name.is_absolute() {
        return name.to_owned();
    }
    let own = std::env::current_exe().ok();
    let beside = own.as_deref().and_then(Path::parent).map(Path::to_owned);
    let search = std::env::var_os("PATH").unwrap_or_default();
    let places: Vec<PathBuf> = if name.components().count() == 1 {
        let path = std::env::split_paths(&search);
        beside.into_iter().chain(path).chain([folder.to_owned()]).collect()
    } else {
        [folder.to_owned()].into_iter().chain(std::env::current_dir().ok()).chain(beside).collect()
    };
    places
        .into_iter()
        .map(|place| place.join(name))
        .find(|path| executable(path))
        .map_or_else(|| name.to_owned(), |path| std::path::absolute(&path).unwrap_or(path))
}

fn executable(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    std::fs::metadata(path).is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}
