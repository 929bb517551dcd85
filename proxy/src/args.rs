//! The command line.

use std::ffi::OsString;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use clap::{Parser, Subcommand};
use dromon_core::app_health::{AppMetrics, AppProbes, METRICS_ENV, PROBES_ENV};
use dromon_core::limits;
use dromon_core::settings::{Driver, Pin};

use crate::{capture, hook};

/// What `dromon-proxy` does.
#[derive(Clone, Debug, Parser)]
#[command(name = "dromon-proxy", version, max_term_width = 110)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct CommandLine {
    /// Something else than to serve.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// How to serve; none with a command.
    #[command(flatten)]
    pub serve: Option<Args>,
}

impl CommandLine {
    /// Reads this process's. What the environment says of serving counts for serving only: a hook runs in the container of the
    /// proxy that serves, and so with its environment.
    pub fn read() -> CommandLine {
        CommandLine::of(std::env::args_os().collect())
    }

    fn of(words: Vec<OsString>) -> CommandLine {
        let first = words.get(1).and_then(|word| word.to_str());
        match first.is_some_and(Command::has_subcommand) {
            true => CommandLine { command: Some(Beside::parse_from(words).command), serve: None },
            false => CommandLine::parse_from(words),
        }
    }
}

/// The same without serving.
#[derive(Clone, Debug, Parser)]
#[command(name = "dromon-proxy", version, max_term_width = 110)]
struct Beside {
    #[command(subcommand)]
    command: Command,
}

/// What `dromon-proxy` does besides serving.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Have new TCP connections of this network namespace pass through the proxy, by netfilter rules
    Capture(capture::Args),
    /// Wait until the proxy of this pod is ready: a sidecar's postStart hook, before the application starts
    Wait(hook::Wait),
    /// Have the proxy of this pod take no new inbound work: a sidecar's preStop hook, while the application still ends
    Drain(hook::Drain),
}

/// The data plane of a Dromon mesh: one process beside a workload (sidecar) or at the mesh's edge (gateway).
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Who this proxy is: sidecar~NAME.NAMESPACE or gateway~NAME.NAMESPACE
    #[arg(long, env = "DROMON_PROXY_ID")]
    pub id: String,
    /// The controller's feed: unix:PATH, or HOST:PORT by TLS, proving by --certs who this proxy is
    #[arg(long, value_name = "unix:PATH|HOST:PORT", required_unless_present = "config")]
    pub feed: Option<String>,
    /// Read resources from this file (a JSON array) in place of a feed, and again whenever it changes
    #[arg(long, value_name = "FILE.json", conflicts_with = "feed")]
    pub config: Option<PathBuf>,
    /// Where the last good configuration is kept, to start from when the controller is away
    #[arg(long, value_name = "DIR")]
    pub state_dir: Option<PathBuf>,
    /// This workload's certificate: cert-chain.pem, key.pem and root-cert.pem in this directory, read again when they change
    #[arg(long, value_name = "DIR")]
    pub certs: Option<PathBuf>,
    /// How shards do their I/O: auto (io_uring where the kernel allows it, else epoll), io_uring or epoll
    #[arg(long, default_value = "auto", value_parser = Driver::parse)]
    pub driver: Driver,
    /// Worker threads; by default as many as the processors this process may use, at most 2 for a sidecar
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub shards: Option<u16>,
    /// Pin shards to processors: auto, off, or a list such as 0,2-3
    #[arg(long, default_value = "auto", value_parser = Pin::parse)]
    pub pin: Pin,
    /// Admin endpoints (loopback only)
    #[arg(long, default_value = "127.0.0.1:15000")]
    pub admin_addr: SocketAddr,
    /// Merged metrics and the application's health
    #[arg(long, value_name = "IP:15020|*:15020", value_parser = own_address)]
    pub metrics_addr: Option<SocketAddr>,
    /// Readiness at /healthz/ready
    #[arg(long, value_name = "IP:15021|*:15021", value_parser = own_address)]
    pub health_addr: Option<SocketAddr>,
    /// The proxy's own metrics at /stats/prometheus
    #[arg(long, value_name = "IP:15090|*:15090", value_parser = own_address)]
    pub stats_addr: Option<SocketAddr>,
    /// How long SIGTERM lets exchanges finish
    #[arg(long, value_name = "SECONDS", default_value_t = 5)]
    pub drain_seconds: u64,
    /// Requests after which an HTTP/2 client is told to connect anew, perhaps to another shard; 0: never
    #[arg(long, value_name = "COUNT", default_value_t = limits::H2_REQUESTS_PER_CONNECTION_MAX)]
    pub http2_max_requests: u64,
    /// Count no HTTP requests, for measuring what metrics cost
    #[arg(long)]
    pub no_metrics: bool,
    /// A sidecar forgets rules and endpoints that no request has needed for so long, and asks for them again when one does;
    /// 0: never
    #[arg(long, value_name = "SECONDS", default_value_t = limits::UNUSED_S)]
    pub forget_after: u64,
    /// error, warn, info or debug
    #[arg(long, default_value = "info")]
    pub log_level: String,
    /// The pod's address, where the application is asked for its health and metrics
    #[arg(long, env = "POD_IP", value_name = "IP", hide = true)]
    pub pod_ip: Option<IpAddr>,
    /// Probes of the application that are served here, as injection writes them
    #[arg(long, env = PROBES_ENV, value_name = "JSON", value_parser = AppProbes::from_json, hide = true)]
    pub app_probes: Option<AppProbes>,
    /// Where the application's metrics are, as injection writes it
    #[arg(long, env = METRICS_ENV, value_name = "JSON", value_parser = AppMetrics::from_json, hide = true)]
    pub app_metrics: Option<AppMetrics>,
}

/// Reads `IP:PORT`, or `*:PORT` for every address of either family.
fn own_address(text: &str) -> Result<SocketAddr, String> {
    let address = match text.strip_prefix("*:") {
        Some(port) => format!("[::]:{port}"),
        None => text.to_owned(),
    };
    address.parse().map_err(|_| "want IP:PORT, or *:PORT for every address".to_owned())
}

#[cfg(test)]
mod tests;
