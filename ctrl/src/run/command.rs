//! `dromonctl run` from its start to its end.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::Context;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::LocalSet;

use super::address::Addresses;
use super::guard;
use super::options::{Options, Output};
use super::output::{progress, say, seconds};
use super::paths::RunDir;
use super::pods::Pods;
use super::programs::{Endpoints, Programs, STATUS_PORT, well_known_or};
use super::supervisor::{Event, Ready, Supervisor};
use crate::local;
use crate::source::folder::Folder;

/// The file in the run directory that says what runs; for the other commands.
pub const RUN_FILE: &str = "run.json";
/// Stands for the gateway's first address in the notes of Gateway objects.
const GATEWAY_PLACE: &str = "{gateway}";
/// Signals so close together are one request.
const SAME_REQUEST: Duration = Duration::from_millis(100);
/// How long killed processes may take to be gone.
const REAP: Duration = Duration::from_secs(2);
/// How long the end may take beyond the proxies' drain.
const END: Duration = Duration::from_secs(30);

/// Runs a local mesh until SIGINT or SIGTERM.
///
/// # Errors
/// The folder, the run directory or addresses cannot be had.
pub async fn run(options: Options) -> anyhow::Result<()> {
    LocalSet::new().run_until(run_here(options)).await
}

async fn run_here(mut options: Options) -> anyhow::Result<()> {
    let mut signals = Signals::new()?;
    options.config = std::path::absolute(&options.config)?;
    options.certs.ca_dir = options.certs.ca_dir.map(std::path::absolute).transpose()?;
    let (folder, first) = Folder::open(&options.config)?;
    let run_dir = RunDir::take(options.run_dir.as_deref())?;
    let guard = guard::Process::start(&run_dir.path().to_string_lossy(), run_dir.removed_at_end())
        .context("cannot start the guard")?;
    let mut addresses = Addresses::default();
    let own = addresses.of("gateway")?.sidecar;
    let [.., block, _] = own.octets();
    let pods = options.capture.then(|| Pods::new(block)).transpose()?;
    let well_known = addresses.well_known();
    let endpoints = Endpoints::of_gateway(own, well_known);
    let status = well_known_or((own, STATUS_PORT).into(), well_known);
    let drain = Duration::from_secs(options.drain_seconds);
    let output = options.output;
    let programs = Programs { options, run_dir: run_dir.path().to_owned(), status };
    let mut supervisor = Supervisor::new(programs, guard.guard(), addresses, pods, endpoints);
    let events = supervisor.events();
    folder.spawn(move |batch| events.send(Event::Folder(batch)).is_ok())?;
    supervisor.start(&first);
    let mut written = None;
    loop {
        tokio::select! {
            event = supervisor.next() => {
                let Some(event) = event else { break };
                let first = supervisor.handle(event);
                let picture = supervisor.picture();
                if let Some(now) = picture.as_ref().filter(|_| picture != written) {
                    note_down(now, run_dir.path());
                }
                written = picture;
                if let Some(ready) = first {
                    announce(&ready, output, &supervisor);
                }
            }
            () = signals.next() => break,
        }
    }
    progress("");
    signals.calm().await;
    say("ending: what is under way is finished first; once more ends it at once");
    tokio::select! {
        () = supervisor.stop() => {}
        () = signals.next() => say("ended at once"),
        () = tokio::time::sleep(drain * 2 + END) => say("the end took too long: what is left is killed"),
    }
    guard.finish();
    reap();
    Ok(())
}

/// Writes down for `dromonctl`'s other commands how the run is.
fn note_down(ready: &Ready, run_dir: &std::path::Path) {
    let json = serde_json::to_string(ready).unwrap_or_default();
    if let Err(error) = local::replace(&run_dir.join(RUN_FILE), json.as_bytes()) {
        say(&format!("{} cannot be written: {error}", run_dir.join(RUN_FILE).display()));
    }
}

fn announce(ready: &Ready, output: Output, supervisor: &Supervisor) {
    progress("");
    if output == Output::Json {
        println!("{}", serde_json::to_string(ready).unwrap_or_default());
        return;
    }
    // A link to open rather than an address, where the rules tell what is there.
    let page = supervisor.page();
    let shown = |address: &SocketAddr| match &page {
        Some((at, path)) if at == address => format!("http://{address}{path}"),
        _ => address.to_string(),
    };
    let listeners: Vec<String> = ready.listeners.iter().map(shown).collect();
    let listeners =
        if listeners.is_empty() { "no gateway port is open".to_owned() } else { listeners.join(", ") };
    let up = ready.processes.iter().filter(|process| process.ready).count();
    let processes = match ready.processes.len() {
        0 => String::new(),
        all if all == up => format!(", {up} processes"),
        all => format!(", {up} of {all} processes"),
    };
    println!("ready in {}: {listeners}{processes}", seconds(supervisor.took()));
    let Some(gateway) = ready.listeners.first() else { return };
    for note in supervisor.notes() {
        println!("{}", note.trim_end().replace(GATEWAY_PLACE, &gateway.to_string()));
    }
}

/// Collects what was killed rather than waited for, so that nothing of it is left when this process is gone.
fn reap() {
    let patience = Instant::now() + REAP;
    while Instant::now() < patience {
        match rustix::process::wait(rustix::process::WaitOptions::NOHANG) {
            Ok(None) => std::thread::sleep(Duration::from_millis(5)),
            Ok(Some(_)) => {}
            Err(_) => return,
        }
    }
}

/// What ends a run.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Signals> {
        Ok(Signals {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// Lets copies of the same request pass: `timeout`, say, signals both a process and its group.
    async fn calm(&mut self) {
        let _ = tokio::time::timeout(SAME_REQUEST, async {
            loop {
                self.next().await;
            }
        })
        .await;
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            _ = self.hangup.recv() => {}
        }
    }
}
