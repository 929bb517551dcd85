//! One supervised process of a run: started, probed, started again when it ends, stopped when asked.

use std::cell::Cell;
use std::net::SocketAddr;
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use super::child::{Child, Program};
use super::guard::Guard;
use super::pods::Pod;
use super::{output, probe};

/// First pause before a process that ended is started again.
const BACKOFF: Duration = Duration::from_millis(100);
/// Longest such pause.
const BACKOFF_MAX: Duration = Duration::from_secs(10);
/// A process that lived so long is taken to have been well.
const WELL: Duration = Duration::from_secs(30);
/// How often a process that is not ready yet is asked.
const IMPATIENT: Duration = Duration::from_millis(25);

/// Exit status of a program that could not be started, as shells have it.
pub const NOT_STARTED: i32 = 127;

/// How a process is asked whether it is ready.
#[derive(Clone, Debug, PartialEq)]
pub enum Question {
    /// It is, once it runs.
    Running,
    /// By a connection.
    Tcp(SocketAddr),
    /// By a GET that is answered with 200 to 399.
    Http(SocketAddr, String),
}

/// When a process counts as ready.
#[derive(Clone, Debug, PartialEq)]
pub struct Readiness {
    /// How it is asked.
    pub question: Question,
    /// Where it is asked from; none: from here.
    pub pod: Option<Pod>,
    /// How often, once it is ready.
    pub period: Duration,
    /// How long an answer may take.
    pub within: Duration,
    /// Not before so long after its start.
    pub delay: Duration,
    /// So many bad answers in a row, and it is not ready any more.
    pub failures: u32,
}

impl Readiness {
    /// Asked every second, three bad answers count: Kubernetes' defaults, a little quicker.
    pub fn new(question: Question) -> Readiness {
        let second = Duration::from_secs(1);
        Readiness { question, pod: None, period: second, within: second, delay: Duration::ZERO, failures: 3 }
    }
}

/// Whether a process that ended is started again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Restart {
    /// Always.
    Always,
    /// Unless it ended well.
    OnFailure,
    /// Never.
    Never,
}

/// What to supervise.
#[derive(Clone, Debug, PartialEq)]
pub struct Spec {
    /// The program.
    pub program: Program,
    /// When it is ready.
    pub readiness: Readiness,
    /// What happens when it ends.
    pub restart: Restart,
    /// How long it may take to end when asked.
    pub patience: Duration,
    /// For an application: what it was told to listen on, to find out whether it does.
    pub told: Option<Told>,
}

/// Where an application was told to listen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// `$DROMON_BIND`.
    pub address: std::net::IpAddr,
    /// The ports that it declares.
    pub ports: Vec<u16>,
}

/// What becomes of a part.
#[derive(Clone, Debug, PartialEq)]
pub enum Fate {
    /// It runs under this number.
    Started(u32),
    /// It is ready, or is not any more.
    Ready(bool),
    /// It ended, was not started at all, or does what it must not; the rest need not wait for it.
    Failed(String),
}

/// A supervised process.
#[derive(Debug)]
pub struct Part {
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Part {
    /// Starts supervising. `tell` gets the part's fate, tagged by the caller.
    pub fn start<T: Send + 'static>(
        spec: Spec,
        guard: Guard,
        tell: mpsc::UnboundedSender<T>,
        tag: impl Fn(Fate) -> T + Send + 'static,
    ) -> Part {
        let (stop, stopped) = watch::channel(false);
        let tell = move |fate| {
            // Nobody listens any more when the run itself is ending.
            let _ = tell.send(tag(fate));
        };
        let task = tokio::task::spawn_local(supervise(spec, guard, stopped, tell));
        Part { stop, task }
    }

    /// Ends it and waits until it has ended.
    pub async fn stop(self) {
        self.stop.send_replace(true);
        let _ = self.task.await;
    }
}

async fn supervise(spec: Spec, guard: Guard, mut stop: watch::Receiver<bool>, tell: impl Fn(Fate)) {
    let mut pause = BACKOFF;
    loop {
        let began = Instant::now();
        let was_ready = Cell::new(false);
        let tell = |fate: Fate| {
            was_ready.set(was_ready.get() || fate == Fate::Ready(true));
            tell(fate);
        };
        let end = match Child::start(&spec.program, &guard) {
            Ok(child) => {
                tell(Fate::Started(child.group()));
                match live(child, &spec, &mut stop, &tell).await {
                    Some(end) => end,
                    None => return,
                }
            }
            Err(error) => Err(format!("cannot be started: {error}")),
        };
        tell(Fate::Ready(false));
        // A program that was not found never had the chance to bind anything.
        let ran = end.as_ref().is_ok_and(|status| status.code() != Some(NOT_STARTED));
        let early = spec.told.as_ref().filter(|_| ran && !was_ready.get());
        let again = match (spec.restart, &end) {
            (Restart::Always, _) => true,
            (Restart::OnFailure, end) => !end.as_ref().is_ok_and(ExitStatus::success),
            (Restart::Never, _) => false,
        };
        if began.elapsed() >= WELL {
            pause = BACKOFF;
        }
        let what = end.map_or_else(|error| error, |status| format!("ended with {status}"));
        let next =
            if again { format!("; starting it again in {}", output::seconds(pause)) } else { String::new() };
        let hint = early.map(Told::hint).unwrap_or_default();
        tell(Fate::Failed(format!("{what}{hint}{next}")));
        if !again {
            return;
        }
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            _ = stop.wait_for(|stop| *stop) => return,
        }
        pause = (pause * 2).min(BACKOFF_MAX);
    }
}

/// One life of a process; `None` when it ended because it was asked to.
async fn live(
    mut child: Child,
    spec: &Spec,
    stop: &mut watch::Receiver<bool>,
    tell: &impl Fn(Fate),
) -> Option<Result<ExitStatus, String>> {
    let group = child.group();
    tokio::select! {
        biased;
        _ = stop.wait_for(|stop| *stop) => {
            child.stop(spec.patience).await;
            return None;
        }
        status = child.wait() => return Some(status.map_err(|error| error.to_string())),
        () = ask(spec, group, tell) => {}
    }
    None
}

/// Asks forever, and tells what changes.
async fn ask(spec: &Spec, group: u32, tell: &impl Fn(Fate)) {
    let Readiness { question, pod, period, within, delay, failures } = &spec.readiness;
    tokio::time::sleep(*delay).await;
    let (mut ready, mut bad, mut complained) = (false, 0, false);
    loop {
        let answer = match question {
            Question::Running => Ok(()),
            Question::Tcp(address) => probe::tcp(pod.as_ref(), *address, *within).await,
            Question::Http(address, path) => probe::http_get(pod.as_ref(), *address, path, *within).await,
        };
        // Checked where it matters: before it counts, and while nobody answers at the address it was given.
        let wrong = (!ready).then(|| spec.told.as_ref().and_then(|told| told.disobeyed(group))).flatten();
        if let (Some(wrong), false) = (&wrong, complained) {
            complained = true;
            tell(Fate::Failed(wrong.clone()));
        }
        let good = answer.is_ok() && wrong.is_none();
        bad = if good { 0 } else { bad + 1 };
        if good && !ready {
            ready = true;
            tell(Fate::Ready(true));
        } else if ready && bad >= (*failures).max(1) {
            ready = false;
            tell(Fate::Ready(false));
        }
        tokio::time::sleep(if ready { *period } else { IMPATIENT }).await;
    }
}

impl Told {
    /// What to look at when the application ended before it was ready.
    fn hint(&self) -> String {
        let Some(port) = self.ports.first() else { return String::new() };
        let address = self.address;
        format!(
            " before it was ready (it has to bind {address}:{port}, as $DROMON_BIND and $PORT say; \
             0.0.0.0:{port} is not free, because sidecars listen there)"
        )
    }

    /// What is wrong with where a process group listens, if anything is.
    fn disobeyed(&self, group: u32) -> Option<String> {
        super::listening::of_group(group).into_iter().find_map(|address| {
            let wrong = self.ports.contains(&address.port()) && address.ip() != self.address;
            let Told { address: told, .. } = self;
            let port = address.port();
            wrong.then(|| {
                format!(
                    "listens on {address} in place of {told}:{port}: it has to bind the address in $DROMON_BIND, \
                     or its port is open beside the mesh"
                )
            })
        })
    }
}
