//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Parser, ValueEnum};

/// The data plane of a Dromon mesh: one process beside a workload (sidecar) or at the mesh's edge (gateway).
#[derive(Clone, Debug, Parser)]
#[command(name = "dromon-proxy", version, max_term_width = 110)]
pub struct Args {
    /// Who this proxy is: sidecar~NAME.NAMESPACE or gateway~NAME.NAMESPACE
    #[arg(long, env = "DROMON_PROXY_ID")]
    pub id: String,
    /// The controller's feed: unix:PATH
    #[arg(long, value_name = "unix:PATH", required_unless_present = "config")]
    pub feed: Option<String>,
    /// Read resources from this file (a JSON array) in place of a feed, and again whenever it changes
    #[arg(long, value_name = "FILE.json", conflicts_with = "feed")]
    pub config: Option<PathBuf>,
    /// Where the last good configuration is kept, to start from when the controller is away
    #[arg(long, value_name = "DIR")]
    pub state_dir: Option<PathBuf>,
    /// How shards do their I/O
    #[arg(long, value_enum, default_value_t = Driver::Auto)]
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
    #[arg(long, value_name = "IP:15020")]
    pub metrics_addr: Option<SocketAddr>,
    /// Readiness at /healthz/ready
    #[arg(long, value_name = "IP:15021")]
    pub health_addr: Option<SocketAddr>,
    /// The proxy's own metrics at /stats/prometheus
    #[arg(long, value_name = "IP:15090")]
    pub stats_addr: Option<SocketAddr>,
    /// How long SIGTERM lets exchanges finish
    #[arg(long, value_name = "SECONDS", default_value_t = 5)]
    pub drain_seconds: u64,
    /// error, warn, info or debug
    #[arg(long, default_value = "info")]
    pub log_level: String,
}

/// How shards do their I/O.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Driver {
    /// io_uring where the kernel allows it, else epoll
    Auto,
    /// io_uring or nothing
    #[value(name = "io_uring")]
    IoUring,
    /// epoll
    Epoll,
}

/// Which processors shards run on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pin {
    /// Pinned where the process has processors of its own: at gateways, and where each shard has one to itself.
    Auto,
    /// Wherever the kernel puts them.
    Off,
    /// Shard i on the i-th of these, over again from the first.
    List(Vec<usize>),
}

impl Pin {
    /// Reads `auto`, `off` or a list of processors such as `0,2-3`.
    pub fn parse(text: &str) -> Result<Pin, String> {
        match text {
            "auto" => Ok(Pin::Auto),
            "off" => Ok(Pin::Off),
            list => {
                let mut processors = Vec::new();
                for part in list.split(',') {
                    let (first, last) = part.split_once('-').unwrap_or((part, part));
                    let bound = |text: &str| {
                        text.parse::<usize>().ok().filter(|number| *number < 4096).ok_or_else(|| {
                            format!("{part:?} is not a processor or a range of them, such as 2 or 0-3")
                        })
                    };
                    processors.extend(bound(first)?..=bound(last)?);
                }
                Ok(Pin::List(processors))
            }
        }
    }
}

#[cfg(test)]
mod tests;
