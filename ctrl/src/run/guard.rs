//! Ends what a run started, should the run itself be killed.
//!
//! A small process of its own that reads a pipe: `+GROUP` and `-GROUP` lines tell it which process groups live. When the
//! pipe closes, however the run ended, it kills the groups that are left and removes the run's own directory.

use std::collections::BTreeSet;
use std::io::{self, BufRead, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::process::{Pid, Signal, kill_process_group};

use super::child::OWN_PROGRAM;

/// The run's end of the pipe. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Guard {
    pipe: Arc<Mutex<Option<ChildStdin>>>,
}

/// The guard's process, to be waited for.
#[derive(Debug)]
pub struct Process {
    guard: Guard,
    child: Child,
}

impl Process {
    /// Starts the guard. `remove` is deleted at the end.
    ///
    /// # Errors
    /// The process cannot be started.
    pub fn start(remove: Option<&Path>) -> io::Result<Process> {
        use std::os::unix::process::CommandExt;
        let mut command = Command::new(OWN_PROGRAM);
        command.arg0("dromonctl").arg("guard").args(remove);
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        // Away from the terminal's signals: it has to outlive the run.
        let mut child = command.process_group(0).spawn()?;
        let pipe = Arc::new(Mutex::new(child.stdin.take()));
        Ok(Process { guard: Guard { pipe }, child })
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

/// What `dromonctl guard [DIR]` does: waits for the pipe to close, then ends what is left.
pub fn keep(input: impl BufRead, remove: Option<PathBuf>) {
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
    if let Some(directory) = remove {
        let _ = std::fs::remove_dir_all(directory);
    }
}
