//! `dromonctl run`'s command line.

use std::net::IpAddr;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use dromon_core::settings::{Driver, Pin, SettingError};

use crate::ca::settings::Settings;
use crate::controller::LogLevel;

/// Run a local mesh on a folder of YAML files: a controller, a gateway for its Gateway objects, and a sidecar around
/// each of its Process objects
///
/// Rules are the ones people feed to Kubernetes (networking.istio.io, Service, Endpoints, EndpointSlice) and ours
/// (policy.dromon.io RateLimit, run.dromon.io Process). Saving a file changes routing at once. Standard output says when
/// traffic can flow, standard error everything else. Ctrl-C drains and leaves nothing behind.
#[derive(Clone, Debug, Args)]
pub struct Options {
    /// The folder with the rules
    #[arg(long, value_name = "DIR")]
    pub config: PathBuf,
    /// Address that the gateway's ports are opened on
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1")]
    pub bind: IpAddr,
    /// Open a Gateway's port at another one; may be given several times
    #[arg(long = "port-map", value_name = "PORT:PORT", value_parser = port_map)]
    pub port_map: Vec<(u16, u16)>,
    /// How the proxies do their I/O: auto (io_uring where the kernel allows it, else epoll), io_uring or epoll
    #[arg(long, default_value = "auto", value_parser = Driver::parse)]
    pub driver: Driver,
    /// Give each process a network namespace of its own, like a pod, and have its connections captured: no http_proxy, and
    /// services have virtual addresses. Needs root, iproute2 and iptables
    #[arg(long)]
    pub capture: bool,
    /// Worker threads of each proxy
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub shards: Option<u16>,
    /// Pin the gateway's worker threads to processors: auto, off, or a list such as 0,2-3
    #[arg(long, value_name = "auto|off|LIST", value_parser = pin)]
    pub pin: Option<String>,
    /// Where sockets and state are kept; a fresh directory unless given
    #[arg(long, value_name = "DIR")]
    pub run_dir: Option<PathBuf>,
    /// How long a proxy lets exchanges finish when it has to end
    #[arg(long, value_name = "SECONDS", default_value_t = 5)]
    pub drain_seconds: u64,
    /// How long processes may take to become ready before the rest goes on without them
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    pub start_seconds: u64,
    /// How certificates are made
    #[command(flatten)]
    pub certs: Settings,
    /// What the controller and the proxies tell on standard error
    #[arg(long, value_enum, default_value_t = LogLevel::Warn)]
    pub log_level: LogLevel,
    /// How to say that traffic can flow
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    pub output: Output,
}

/// How results are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people
    Text,
    /// For programs
    Json,
}

/// Reads `80:8080`.
///
/// # Errors
/// It is not two ports.
pub fn port_map(text: &str) -> Result<(u16, u16), String> {
    let port = |text: &str| text.parse::<u16>().ok().filter(|port| *port > 0);
    text.split_once(':')
        .and_then(|(named, opened)| Some((port(named)?, port(opened)?)))
        .ok_or_else(|| format!("{text:?} is not of the form 80:8080"))
}

/// Reads what the gateway's `--pin` takes, to be passed on.
fn pin(text: &str) -> Result<String, SettingError> {
    Pin::parse(text).map(|_| text.to_owned())
}
