//! `dromon-controller`: a folder of rules, or a cluster's, in, a feed for proxies out.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use anyhow::{Context, bail};
use clap::{Parser, ValueEnum};
use dromon_auth::Identity;
use dromon_k8s::diagnostic::Severity;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};

use crate::ca::members::Members;
use crate::ca::settings::Settings;
use crate::ca::{self, keeper};
use crate::feed::hub::Hub;
use crate::feed::server::Log;
use crate::feed::{server, socket, tcp};
use crate::local;
use crate::run::options::Output;
use crate::source::folder::Folder;
use crate::store::oversee::Overseer;
use crate::store::worker::{self, Input, Shared};

pub mod cluster;
pub mod status;

/// Name of the feed's socket in the run directory.
pub const SOCKET: &str = "feed.sock";
/// Name of the file in the run directory that keeps last good texts.
const LAST_GOOD: &str = "last-good";
/// Name of the CA's directory in the run directory.
const CA: &str = "ca";

/// The control plane of a Dromon mesh: reads rules from a folder and streams each proxy what concerns it
#[derive(Clone, Debug, Parser)]
#[command(name = "dromon-controller", version, max_term_width = 110)]
pub struct Args {
    /// Where rules and endpoints come from
    #[arg(long, value_enum, default_value_t = Source::Folder)]
    pub source: Source,
    /// The folder with the rules; watched
    #[arg(long, value_name = "DIR", required_if_eq("source", "folder"))]
    pub config: Option<PathBuf>,
    /// Where the feed's socket and state are kept; made with mode 0700 where it does not exist
    #[arg(long, value_name = "DIR", required_if_eq("source", "folder"))]
    pub run_dir: Option<PathBuf>,
    /// The feed's socket; feed.sock in the run directory unless given
    #[arg(long, value_name = "unix:PATH", value_parser = unix_path)]
    pub feed: Option<PathBuf>,
    /// Serve the feed here too, to proxies that prove by their certificates who they are
    #[arg(long, value_name = "ADDR")]
    pub feed_tcp: Option<SocketAddr>,
    /// Serve /healthz, /status, /certs and /metrics here
    #[arg(long, visible_alias = "health-addr", value_name = "ADDR", default_value = "127.0.0.1:15014")]
    pub status_addr: SocketAddr,
    /// What concerns a cluster
    #[command(flatten)]
    pub cluster: cluster::Options,
    /// How certificates are made
    #[command(flatten)]
    pub certs: Settings,
    /// What to tell on standard error
    #[arg(long, value_enum, default_value_t = LogLevel::Info)]
    pub log_level: LogLevel,
    /// How to say on standard output that the feed is served
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    pub output: Output,
}

/// Where rules and endpoints come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Source {
    /// A folder of YAML files, with processes of this machine
    Folder,
    /// A Kubernetes API server, with pods
    Kube,
}

/// How much is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogLevel {
    /// What is refused
    Error,
    /// And what is in force but not as written, or probably not as meant
    Warn,
    /// And who connects, and other remarks
    Info,
    /// As info
    Debug,
}

impl LogLevel {
    fn severity(self) -> Severity {
        match self {
            LogLevel::Error => Severity::Error,
            LogLevel::Warn => Severity::Warning,
            LogLevel::Info | LogLevel::Debug => Severity::Info,
        }
    }

    /// As the command lines of our programs have it.
    pub fn name(self) -> &'static str {
        match self {
            LogLevel::Error => "error",
            LogLevel::Warn => "warn",
            LogLevel::Info => "info",
            LogLevel::Debug => "debug",
        }
    }
}

/// Reads `unix:PATH`.
fn unix_path(text: &str) -> Result<PathBuf, String> {
    match text.strip_prefix("unix:") {
        Some(path) if !path.is_empty() => Ok(path.into()),
        _ => Err(format!("{text:?} is not of the form unix:PATH")),
    }
}

/// Runs until SIGTERM or SIGINT.
///
/// # Errors
/// The folder, the socket or the status address cannot be used.
pub async fn run(args: Args) -> anyhow::Result<()> {
    let log = log(args.log_level);
    if args.source == Source::Kube {
        return cluster::run(args, log).await;
    }
    let (config, run_dir) = args.directories()?;
    socket::run_dir(run_dir)?;
    let (folder, rules) = Folder::open(config)?;
    let told = run_dir.join(local::DIRECTORY);
    std::fs::create_dir_all(&told).with_context(|| format!("cannot make {}", told.display()))?;
    let (told, first_word) = Folder::open(&told)?;

    let path = args.feed.clone().unwrap_or_else(|| run_dir.join(SOCKET));
    let listener = socket::listen(&path)?;
    let status_listener = TcpListener::bind(args.status_addr)
        .await
        .with_context(|| format!("cannot serve the status on {}", args.status_addr))?;

    let (sender, inputs) = worker::inputs();
    let wanted = sender.clone();
    let hub = Hub::new(Box::new(move |proxy| {
        // The worker ends only with the process.
        let _ = wanted.send(Input::Wanted(proxy.to_owned()));
    }));
    let shared: Shared = Arc::new(Mutex::default());
    let certs = Certs::start(&args, &log)?;
    let keeper = certs.keeper.clone();
    let (known, members) = watch::channel(Members::default());
    let setup = worker::Setup {
        members: Box::new(move |members| {
            known.send_replace(members.clone());
            // The keeper ends only with the process.
            let _ = keeper.send(keeper::Input::Members(members));
        }),
        hub: hub.clone(),
        log: log.clone(),
        last_good: Some(run_dir.join(LAST_GOOD)),
        index: None,
        overseer: Overseer::start(log.clone(), shared.clone(), Vec::new())?,
        shared: shared.clone(),
    };
    worker::start(setup, inputs, rules, &first_word)?;
    let to_store = sender.clone();
    folder.spawn(move |batch| to_store.send(Input::Folder(batch)).is_ok())?;
    told.spawn(move |batch| sender.send(Input::Local(batch)).is_ok())?;

    let told = status::Told { hub: hub.clone(), shared, certs: certs.shared.clone(), cluster: None };
    tokio::spawn(status::serve(status_listener, told));
    let tcp = certs.feed_on(&args, members, &hub, &log).await?;
    announce(&args, Some(&path), tcp);
    let stopped = asked_to_end()?;
    let mut ended = stopped.clone();
    let mut cut = stopped;
    let serving = server::serve(listener, hub, log, async move {
        let _ = ended.wait_for(|stop| *stop).await;
    });
    // Streams never end by themselves: once asked to end, nothing is waited for.
    tokio::select! {
        result = serving => if let Err(error) = result { bail!("the feed ended: {error}") },
        _ = cut.wait_for(|stop| *stop) => {}
    }
    remove(&path);
    Ok(())
}

impl Args {
    /// The folder and the run directory of a folder's controller.
    fn directories(&self) -> anyhow::Result<(&Path, &Path)> {
        match (&self.config, &self.run_dir) {
            (Some(config), Some(run_dir)) => Ok((config, run_dir)),
            _ => bail!("--source folder needs --config and --run-dir"),
        }
    }
}

/// True once SIGTERM or SIGINT has come.
fn asked_to_end() -> anyhow::Result<watch::Receiver<bool>> {
    let (stop, stopped) = watch::channel(false);
    let mut terminated = signal(SignalKind::terminate())?;
    let mut interrupted = signal(SignalKind::interrupt())?;
    tokio::spawn(async move {
        tokio::select! {
            _ = terminated.recv() => {}
            _ = interrupted.recv() => {}
        }
        stop.send_replace(true);
    });
    Ok(stopped)
}

/// Lines to standard error, as much as is wanted.
fn log(level: LogLevel) -> Log {
    let least = level.severity();
    Arc::new(move |severity, line| {
        if severity <= least {
            eprintln!("{line}");
        }
    })
}

/// The CA's parts that others speak to.
struct Certs {
    keeper: std::sync::mpsc::Sender<keeper::Input>,
    shared: ca::status::Shared,
    own: watch::Receiver<Option<Identity>>,
}

impl Certs {
    /// Starts the CA, and what is asked of it.
    fn start(args: &Args, log: &Log) -> anyhow::Result<Certs> {
        let (_, run_dir) = args.directories()?;
        let (keeper, inputs) = std::sync::mpsc::channel();
        let shared = ca::status::Shared::default();
        let (own, seen) = watch::channel(None);
        let (asked, asking) = watch::channel(Vec::new());
        let setup = keeper::Setup {
            settings: args.certs.clone(),
            ca_dir: args.certs.ca_dir.clone().unwrap_or_else(|| run_dir.join(CA)),
            run_dir: run_dir.to_owned(),
            log: log.clone(),
            shared: shared.clone(),
            own,
            asked,
        };
        keeper::start(setup, inputs).context("cannot start the CA")?;
        let control = socket::listen(&run_dir.join(ca::control::SOCKET))?;
        tokio::spawn(ca::control::serve(control, keeper.clone()));
        tokio::spawn(ca::poll::ask(asking, keeper.clone()));
        Ok(Certs { keeper, shared, own: seen })
    }

    /// Serves the feed over TCP, if it is asked for; returns where.
    async fn feed_on(
        &self,
        args: &Args,
        members: watch::Receiver<Members>,
        hub: &Arc<Hub>,
        log: &Log,
    ) -> anyhow::Result<Option<SocketAddr>> {
        let Some(address) = args.feed_tcp else { return Ok(None) };
        let listener = TcpListener::bind(address).await;
        let listener = listener.with_context(|| format!("cannot serve the feed on {address}"))?;
        let address = listener.local_addr()?;
        let (connections, accepted) = mpsc::channel(1);
        tokio::spawn(tcp::accept(listener, self.own.clone(), members.clone(), log.clone(), connections));
        let admit: server::Admit = Arc::new(move |proxy, caller| match caller {
            Some(caller) => members.borrow().admit(proxy, &caller.0),
            None => Err("nobody has said who asks".to_owned()),
        });
        let serving = server::serve_tls(accepted, hub.clone(), log.clone(), admit, std::future::pending());
        tokio::spawn(serving);
        Ok(Some(address))
    }
}

fn announce(args: &Args, path: Option<&Path>, tcp: Option<SocketAddr>) {
    let socket = path.map(|path| format!("unix:{}", path.display()));
    let line = match args.output {
        Output::Text => {
            let tcp = tcp.map(|address| format!("tls://{address}"));
            let feeds: Vec<String> = socket.into_iter().chain(tcp).collect();
            format!("ready: feed on {}, status on http://{}/status", feeds.join(" and "), args.status_addr)
        }
        Output::Json => serde_json::json!({
            "status": "ready",
            "feed": socket,
            "feedTcp": tcp,
            "statusAddr": args.status_addr,
        })
        .to_string(),
    };
    println!("{line}");
}

fn remove(path: &Path) {
    // The next controller replaces a stale socket anyway.
    let _ = std::fs::remove_file(path);
}
