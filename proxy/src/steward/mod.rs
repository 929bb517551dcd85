//! The control thread: keeps the shards' configuration, answers operators, and ends the process.
//!
//! One loop ([`control`]) owns all state and decides; everything around it (the feed's stream, the configuration file, DNS,
//! compiling, the copy on disk, HTTP endpoints) only tells it what happened ([`event::Event`]) or carries out what it
//! says. Nothing here is on the path of a request, and nothing here waits for a disk, a peer or a shard without a
//! deadline, so `/healthz/ready` always answers.

mod access_log;
mod admin;
mod app;
mod apply;
mod certs;
mod control;
mod disk;
mod dns;
mod event;
mod feed;
mod handle;
mod lifecycle;
mod log;
mod static_config;
mod status;
mod store;
mod told;
mod totals;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::thread::JoinHandle;
use std::time::Duration;

use dromon_core::config::model::Role;
use dromon_core::rng::Rng;
use thiserror::Error;

use feed::target::{Target, TargetError};

use crate::mailbox::{FromShard, Receiver, Sender, ToShard};

/// A helper thread's stack, in bytes: deep enough for nested JSON, small because it stays resident once touched.
const HELPER_STACK_BYTES: usize = 512 * 1024;
/// How long an idle helper thread lives.
const HELPER_KEEP_ALIVE: Duration = Duration::from_secs(2);

/// Where the configuration comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// The controller.
    Feed(feed::target::Target),
    /// A file.
    File(PathBuf),
}

/// How the steward is to run.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The proxy's id.
    pub id: String,
    /// Its role, as the id says.
    pub role: Role,
    /// Where the configuration comes from.
    pub source: Source,
    /// Where the last good configuration is kept.
    pub state_dir: Option<PathBuf>,
    /// Where the workload's certificate is, if it has one.
    pub certs: Option<PathBuf>,
    /// Admin endpoints.
    pub admin_addr: SocketAddr,
    /// Merged metrics, readiness, quitting.
    pub metrics_addr: Option<SocketAddr>,
    /// Readiness.
    pub health_addr: Option<SocketAddr>,
    /// The proxy's metrics.
    pub stats_addr: Option<SocketAddr>,
    /// How long a drain may take.
    pub drain: Duration,
    /// How long without use something stays in use; zero: always.
    pub forget_after: Duration,
    /// Least important lines to print.
    pub log_level: String,
    /// The application beside this proxy, as its pod speaks of it.
    pub application: app::Application,
    /// Where random sequences start.
    pub seed: u64,
}

/// Why the settings cannot be used.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum SettingsError {
    /// The id has another form.
    #[error("--id {0:?}: want sidecar~NAME.NAMESPACE or gateway~NAME.NAMESPACE")]
    Id(String),
    /// The feed has another form.
    #[error("--feed {0:?}: want unix:PATH or HOST:PORT")]
    Feed(String),
    /// The feed is over TCP, and nothing says who this proxy is.
    #[error(
        "--feed {0:?} needs --certs DIR: the controller gives a proxy its view only if it proves who it is"
    )]
    FeedCerts(String),
    /// Neither a feed nor a file.
    #[error("no configuration: give --feed unix:PATH, --feed HOST:PORT or --config FILE.json")]
    Source,
    /// The admin endpoints would be open to others.
    #[error(
        "--admin-addr {0}: the admin endpoints are for this machine only; use an address of 127.0.0.0/8 or ::1"
    )]
    Admin(SocketAddr),
}

impl TryFrom<&crate::args::Args> for Settings {
    type Error = SettingsError;

    fn try_from(args: &crate::args::Args) -> Result<Settings, SettingsError> {
        let source = match (&args.config, &args.feed) {
            (Some(file), _) => Source::File(file.clone()),
            (None, Some(feed)) => match Target::parse(feed, args.certs.as_deref()) {
                Ok(target) => Source::Feed(target),
                Err(TargetError::Form) => return Err(SettingsError::Feed(feed.clone())),
                Err(TargetError::Certs) => return Err(SettingsError::FeedCerts(feed.clone())),
            },
            (None, None) => return Err(SettingsError::Source),
        };
        if !args.admin_addr.ip().is_loopback() {
            return Err(SettingsError::Admin(args.admin_addr));
        }
        Ok(Settings {
            role: role(&args.id)?,
            id: args.id.clone(),
            source,
            state_dir: args.state_dir.clone(),
            certs: args.certs.clone(),
            admin_addr: args.admin_addr,
            metrics_addr: args.metrics_addr,
            health_addr: args.health_addr,
            stats_addr: args.stats_addr,
            drain: Duration::from_secs(args.drain_seconds),
            forget_after: Duration::from_secs(args.forget_after),
            log_level: args.log_level.clone(),
            application: app::Application {
                address: args.pod_ip,
                probes: args.app_probes.clone().unwrap_or_default(),
                metrics: args.app_metrics.clone(),
            },
            seed: lifecycle::seed(),
        })
    }
}

fn role(id: &str) -> Result<Role, SettingsError> {
    let wrong = || SettingsError::Id(id.to_owned());
    let (role, workload) = id.split_once('~').ok_or_else(wrong)?;
    match workload.split_once('.') {
        Some((name, namespace)) if !name.is_empty() && !namespace.is_empty() => {}
        _ => return Err(wrong()),
    }
    match role {
        "sidecar" => Ok(Role::Sidecar),
        "gateway" => Ok(Role::Gateway),
        _ => Err(wrong()),
    }
}

/// The shards, seen from here.
#[derive(Debug)]
pub struct Shards {
    /// A mailbox for each, by its number.
    pub mailboxes: Vec<Sender<ToShard>>,
    /// What they say, all in one.
    pub inbox: Receiver<FromShard>,
    /// Their threads, by number.
    pub threads: Vec<JoinHandle<()>>,
}

/// Runs until the process is to end; the shards have ended when this returns, or have been given up.
pub fn run(settings: Settings, shards: Shards) -> ExitCode {
    let log = log::Log::new(&settings.log_level);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(2)
        .thread_stack_size(HELPER_STACK_BYTES)
        .thread_keep_alive(HELPER_KEEP_ALIVE)
        .thread_name("steward-helper")
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            log.error(format_args!("cannot start: no runtime for the control thread: {error}"));
            return ExitCode::FAILURE;
        }
    };
    let rng = Rng::new(settings.seed);
    let local = tokio::task::LocalSet::new();
    let code = local.block_on(&runtime, control::run(settings, shards, rng, log));
    // A helper that hangs on a disk is not waited for.
    runtime.shutdown_background();
    code
}

#[cfg(test)]
mod tests;
