//! Ends what a run started, should the run itself be killed.
//!
//! A small process of its own that reads a pipe: `+GROUP` and `-GROUP` lines tell it which process groups live. When the
//! pipe closes, however the run ended, it kills the groups that are left and removes the run's own directory.
//!
//! A program may leave its group (a daemon does). What it starts inherits its environment, so everything of a run carries a
//! mark there ([`MARK`]) by which it is found and ended.

use std::collections::BTreeSet;
use std::io::{self, BufRead, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};

use super::child::OWN_PROGRAM;

/// The variable that marks what belongs to a run: the run's name, a slash, the part's name.
pub const MARK: &str = "DROMON_RUN";

/// The run's end of the pipe. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Guard {
    pipe: Arc<Mutex<Option<ChildStdin>>>,
    run: Arc<str>,
}

/// The guard's process, to be waited for.
#[derive(Debug)]
pub struct Process {
    guard: Guard,
    child: Child,
}

impl Process {
    /// Starts the guard of a run of this name. `remove` is deleted at the end.
    ///
    /// # Errors
    /// The process cannot be started.
    pub fn start(run: &str, remove: Option<&Path>) -> io::Result<Process> {
        use std::os::unix::process::CommandExt;
        let mut command = Command::new(OWN_PROGRAM);
        command.arg0("dromonctl").arg("guard").arg(run).args(remove);
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        // Away from the terminal's signals: it has to outlive the run.
        let mut child = command.process_group(0).spawn()?;
        let pipe = Arc::new(Mutex::new(child.stdin.take()));
        Ok(Process { guard: Guard { pipe, run: run.into() }, child })
    }

    /// The run's end of the pipe.
    pub fn guard(&self) -> Guard {
        self.guard.clone()
    }

    /// Closes the pipe and waits until the guard has done its work.
    pub fn finish(mut self) {
        self.guard.pipe.lock().unwrap_or_else(PoisonError::into_inner).take();
        let _ = self.child.wait();
    }
}

impl Guard {
    /// The mark of a part of this run.
    pub fn mark(&self, part: &str) -> String {
        format!("{}/{part}", self.run)
    }

    /// From now on this group must not outlive the run.
    pub fn watch(&self, group: u32) {
        self.tell('+', group);
    }

    /// This group has ended; its number may be given to somebody else.
    pub fn forget(&self, group: u32) {
        self.tell('-', group);
    }

    fn tell(&self, sign: char, group: u32) {
        let mut pipe = self.pipe.lock().unwrap_or_else(PoisonError::into_inner);
        // A guard that was killed guards nothing; the children still die with their parent.
        if let Some(pipe) = pipe.as_mut() {
            let _ = pipe.write_all(format!("{sign}{group}\n").as_bytes());
        }
    }
}

/// Kills every process whose mark is this one, or begins with it where it ends in a slash.
pub fn kill_marked(mark: &str) {
    let own = std::process::id();
    // What is killed may have been starting another one: looked for until none is left, but not forever.
    for _ in 0..10 {
        let marked = super::listening::processes()
            .filter(|(pid, process)| *pid != own && is_marked(process, mark))
            .filter_map(|(pid, _)| Pid::from_raw(i32::try_from(pid).ok()?));
        let marked: Vec<Pid> = marked.collect();
        if marked.is_empty() {
            return;
        }
        for pid in marked {
            let _ = kill_process(pid, Signal::KILL);
        }
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
}

fn is_marked(process: &Path, mark: &str) -> bool {
    let Ok(environment) = std::fs::read(process.join("environ")) else { return false };
    let value = |entry: &[u8]| -> Option<bool> {
        let value = entry.strip_prefix(MARK.as_bytes())?.strip_prefix(b"=")?;
        Some(if mark.ends_with('/') { value.starts_with(mark.as_bytes()) } else { value == mark.as_bytes() })
    };
    environment.split(|byte| *byte == 0).find_map(value).unwrap_or(false)
}

/// What `dromonctl guard RUN [DIR]` does: waits for the pipe to close, then ends what is left, and takes away the pods of the run, which has started it.
pub fn keep(input: impl BufRead, run: &str, remove: Option<PathBuf>) {
    let owner = std::os::unix::process::parent_id();
    let mut groups = BTreeSet::new();
    for line in input.lines() {
        let Ok(line) = line else { break };
        let Some((sign, group)) = line.split_at_checked(1) else { continue };
        let Some(group) = group.parse().ok().and_then(Pid::from_raw) else { continue };
        match sign {
            "+" => groups.insert(group.as_raw_nonzero()),
            _ => groups.remove(&group.as_raw_nonzero()),
        };
    }
    for group in groups {
        if let Some(group) = Pid::from_raw(group.get()) {
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
    kill_marked(&format!("{run}/"));
    super::pods::remove_of(owner);
    if let Some(directory) = remove {
        let _ = std::fs::remove_dir_all(directory);
    }
}
