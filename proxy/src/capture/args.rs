//! The command line of `dromon-proxy capture`.

use clap::{Args as ClapArgs, ValueEnum};
use dromon_core::capture::{CaptureError, Mode, PROXY_USER, Ports, Ranges, Settings};

/// Have new TCP connections of this network namespace pass through the proxy, by netfilter rules
///
/// Installs the rules, reads them back and compares; a second run changes nothing. Needs CAP_NET_ADMIN (and CAP_NET_RAW for
/// iptables' legacy back-end). Where anything fails nothing stays half installed and the exit code is 1.
#[derive(Clone, Debug, ClapArgs)]
pub struct Args {
    /// Show the rules and change nothing
    #[arg(long, conflicts_with = "remove")]
    pub print: bool,
    /// Take the rules away
    #[arg(long)]
    pub remove: bool,
    /// What carries the rules to the kernel: iptables or nftables
    #[arg(long, default_value = "iptables", value_parser = Mode::parse)]
    pub mode: Mode,
    /// Which of iptables' back-ends: auto (what iptables-restore is, else the one that works), nft or legacy
    #[arg(long, value_enum, default_value_t = Backend::Auto)]
    pub iptables_backend: Backend,
    /// The proxy's user: its own connections are not captured
    #[arg(long, value_name = "UID", default_value_t = PROXY_USER)]
    pub proxy_uid: u32,
    /// The proxy's group: connections of this group are not captured
    #[arg(long, value_name = "GID", default_value_t = PROXY_USER)]
    pub proxy_gid: u32,
    /// Ports of the workload to capture: * or a list; an empty one captures nothing inbound
    #[arg(long, value_name = "*|LIST", default_value = "*")]
    pub inbound_ports: String,
    /// Ports of the workload to leave alone
    #[arg(long, value_name = "LIST", default_value = "")]
    pub exclude_inbound_ports: String,
    /// Ports of others to capture, whatever the address
    #[arg(long, value_name = "LIST", default_value = "")]
    pub include_outbound_ports: String,
    /// Ports of others to leave alone
    #[arg(long, value_name = "LIST", default_value = "")]
    pub exclude_outbound_ports: String,
    /// Addresses of others to capture: * or a list; an empty one captures nothing outbound
    #[arg(long, value_name = "*|CIDRS", default_value = "*")]
    pub include_outbound_ranges: String,
    /// Addresses of others to leave alone
    #[arg(long, value_name = "CIDRS", default_value = "")]
    pub exclude_outbound_ranges: String,
    /// Network interfaces to leave alone, in both directions
    #[arg(long, value_name = "LIST", default_value = "")]
    pub exclude_interfaces: String,
    /// Leave IPv6 alone
    #[arg(long)]
    pub no_ipv6: bool,
    /// How to say what was done
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    pub output: Output,
}

/// iptables' back-ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Backend {
    /// What `iptables-restore` is; where that does not work, another one that does.
    Auto,
    /// `iptables-nft-restore`.
    Nft,
    /// `iptables-legacy-restore`.
    Legacy,
}

/// How results are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people
    Text,
    /// For programs
    Json,
}

impl Args {
    /// What they ask for.
    ///
    /// # Errors
    /// A list cannot be read; the message names its flag.
    pub fn settings(&self) -> Result<Settings, String> {
        fn read<T>(flag: &str, read: Result<T, CaptureError>) -> Result<T, String> {
            read.map_err(|error| format!("--{flag}: {error}"))
        }
        let ports = |flag: &str, text: &str| read(flag, Settings::ports(text));
        Ok(Settings {
            mode: self.mode,
            proxy_uid: self.proxy_uid,
            proxy_gid: self.proxy_gid,
            inbound_ports: read("inbound-ports", Ports::parse(&self.inbound_ports))?,
            excluded_inbound_ports: ports("exclude-inbound-ports", &self.exclude_inbound_ports)?,
            included_outbound_ports: ports("include-outbound-ports", &self.include_outbound_ports)?,
            excluded_outbound_ports: ports("exclude-outbound-ports", &self.exclude_outbound_ports)?,
            outbound_ranges: read("include-outbound-ranges", Ranges::parse(&self.include_outbound_ranges))?,
            excluded_outbound_ranges: read(
                "exclude-outbound-ranges",
                Settings::ranges(&self.exclude_outbound_ranges),
            )?,
            excluded_interfaces: read("exclude-interfaces", Settings::interfaces(&self.exclude_interfaces))?,
            ipv6: !self.no_ipv6,
            ..Settings::default()
        })
    }
}
