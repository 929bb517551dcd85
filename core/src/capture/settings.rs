//! What is captured and what is not, as annotations and the command line say it.

use thiserror::Error;

use super::{Cidr, INBOUND_PORT, OUTBOUND_PORT, PROXY_USER};
use crate::limits::CAPTURE_ENTRIES_MAX;

/// What is captured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Which program carries the rules to the kernel.
    pub mode: Mode,
    /// The proxy's user: what it sends is not captured.
    pub proxy_uid: u32,
    /// The proxy's group: what anybody of it sends is not captured.
    pub proxy_gid: u32,
    /// Where inbound connections are taken.
    pub inbound_to: u16,
    /// Where outbound connections are taken.
    pub outbound_to: u16,
    /// Ports of the workload whose connections are captured.
    pub inbound_ports: Ports,
    /// Ports of the workload that are left alone.
    pub excluded_inbound_ports: Vec<u16>,
    /// Ports of others that are captured whatever the address.
    pub included_outbound_ports: Vec<u16>,
    /// Ports of others that are left alone.
    pub excluded_outbound_ports: Vec<u16>,
    /// Addresses of others that are captured.
    pub outbound_ranges: Ranges,
    /// Addresses of others that are left alone.
    pub excluded_outbound_ranges: Vec<Cidr>,
    /// Network interfaces whose traffic is left alone, in both directions.
    pub excluded_interfaces: Vec<String>,
    /// IPv6 is captured too.
    pub ipv6: bool,
}

impl Default for Settings {
    /// Everything, through iptables.
    fn default() -> Settings {
        Settings {
            mode: Mode::Iptables,
            proxy_uid: PROXY_USER,
            proxy_gid: PROXY_USER,
            inbound_to: INBOUND_PORT,
            outbound_to: OUTBOUND_PORT,
            inbound_ports: Ports::All,
            excluded_inbound_ports: Vec::new(),
            included_outbound_ports: Vec::new(),
            excluded_outbound_ports: Vec::new(),
            outbound_ranges: Ranges::All,
            excluded_outbound_ranges: Vec::new(),
            excluded_interfaces: Vec::new(),
            ipv6: true,
        }
    }
}

/// Which program carries the rules to the kernel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// `iptables-restore` and `ip6tables-restore`, of either back-end.
    #[default]
    Iptables,
    /// `nft`.
    Nftables,
}

/// A set of ports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ports {
    /// Every port.
    All,
    /// These; none if empty.
    Only(Vec<u16>),
}

/// A set of addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ranges {
    /// Every address.
    All,
    /// Those of these ranges; none if empty.
    Only(Vec<Cidr>),
}

/// A setting that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum CaptureError {
    /// Not a port.
    #[error("{0:?} is not a port: 1 to 65535 are, with commas between them")]
    Port(String),
    /// Not a range of addresses.
    #[error(
        "{0:?} is not a range of addresses: 10.0.0.0/8, fd00::/8 and single addresses are, with commas between them"
    )]
    Range(String),
    /// Not the name of a network interface.
    #[error(
        "{0:?} is not the name of a network interface: at most 15 letters, digits or any of . _ - @ :, with commas between them"
    )]
    Interface(String),
    /// Too many.
    #[error("{0} entries are too many: at most {CAPTURE_ENTRIES_MAX} are taken")]
    TooMany(usize),
    /// No such mode.
    #[error("there is no such mode: iptables and nftables are known")]
    Mode,
}

/// Longest name of a network interface (`IFNAMSIZ` without its zero).
const INTERFACE_BYTES_MAX: usize = 15;
/// What stands for all ports or all addresses.
const ALL: &str = "*";

impl Mode {
    /// Both.
    pub const ALL: [Mode; 2] = [Mode::Iptables, Mode::Nftables];

    /// As command lines have it.
    pub fn name(self) -> &'static str {
        match self {
            Mode::Iptables => "iptables",
            Mode::Nftables => "nftables",
        }
    }

    /// Reads a name.
    ///
    /// # Errors
    /// It names no mode.
    pub fn parse(text: &str) -> Result<Mode, CaptureError> {
        Mode::ALL.into_iter().find(|mode| mode.name() == text).ok_or(CaptureError::Mode)
    }
}

impl Ports {
    /// Reads `*` or a list such as `80,443`; an empty text is an empty list.
    ///
    /// # Errors
    /// An entry is no port.
    pub fn parse(text: &str) -> Result<Ports, CaptureError> {
        if text.trim() == ALL { Ok(Ports::All) } else { Settings::ports(text).map(Ports::Only) }
    }

    /// Whether the port is one of them.
    pub fn contains(&self, port: u16) -> bool {
        match self {
            Ports::All => true,
            Ports::Only(ports) => ports.contains(&port),
        }
    }
}

impl Ranges {
    /// Reads `*` or a list such as `10.0.0.0/8,fd00::/8`; an empty text is an empty list.
    ///
    /// # Errors
    /// An entry is no range.
    pub fn parse(text: &str) -> Result<Ranges, CaptureError> {
        if text.trim() == ALL { Ok(Ranges::All) } else { Settings::ranges(text).map(Ranges::Only) }
    }
}

impl Settings {
    /// Reads a list of ports such as `80,443`; duplicates count once.
    ///
    /// # Errors
    /// An entry is no port.
    pub fn ports(text: &str) -> Result<Vec<u16>, CaptureError> {
        list(text, |entry| {
            let digits = entry.bytes().all(|byte| byte.is_ascii_digit());
            let port = entry.parse().ok().filter(|port| digits && *port > 0);
            port.ok_or_else(|| CaptureError::Port(entry.to_owned()))
        })
    }

    /// Reads a list of ranges such as `10.0.0.0/8,192.0.2.1`; duplicates count once.
    ///
    /// # Errors
    /// An entry is no range.
    pub fn ranges(text: &str) -> Result<Vec<Cidr>, CaptureError> {
        list(text, |entry| Cidr::parse(entry).ok_or_else(|| CaptureError::Range(entry.to_owned())))
    }

    /// Reads a list of network interfaces such as `eth1,net1`; duplicates count once.
    ///
    /// # Errors
    /// An entry cannot be a network interface.
    pub fn interfaces(text: &str) -> Result<Vec<String>, CaptureError> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-@:".contains(&byte);
        list(text, |entry| {
            let fits = entry.len() <= INTERFACE_BYTES_MAX && entry.bytes().all(allowed);
            // A dash in front would be an option to the programs that are told of it.
            let fits = fits && !entry.starts_with('-');
            if fits { Ok(entry.to_owned()) } else { Err(CaptureError::Interface(entry.to_owned())) }
        })
    }

    /// What follows `dromon-proxy capture` on a command line to say the same: the defaults are left out.
    pub fn arguments(&self) -> Vec<String> {
        let default = Settings::default();
        let mut arguments = Vec::new();
        let mut say = |flag: &str, differs: bool, value: String| {
            if differs {
                arguments.extend([flag.to_owned(), value]);
            }
        };
        say("--mode", self.mode != default.mode, self.mode.name().to_owned());
        say("--proxy-uid", self.proxy_uid != default.proxy_uid, self.proxy_uid.to_string());
        say("--proxy-gid", self.proxy_gid != default.proxy_gid, self.proxy_gid.to_string());
        let inbound = match &self.inbound_ports {
            Ports::All => ALL.to_owned(),
            Ports::Only(ports) => joined(ports),
        };
        say("--inbound-ports", self.inbound_ports != default.inbound_ports, inbound);
        let lists = [
            ("--exclude-inbound-ports", joined(&self.excluded_inbound_ports)),
            ("--include-outbound-ports", joined(&self.included_outbound_ports)),
            ("--exclude-outbound-ports", joined(&self.excluded_outbound_ports)),
            ("--exclude-outbound-ranges", joined(&self.excluded_outbound_ranges)),
            ("--exclude-interfaces", joined(&self.excluded_interfaces)),
        ];
        for (flag, value) in lists {
            say(flag, !value.is_empty(), value);
        }
        let ranges = match &self.outbound_ranges {
            Ranges::All => ALL.to_owned(),
            Ranges::Only(ranges) => joined(ranges),
        };
        say("--include-outbound-ranges", self.outbound_ranges != default.outbound_ranges, ranges);
        if !self.ipv6 {
            arguments.push("--no-ipv6".to_owned());
        }
        arguments
    }
}

fn joined<T: ToString>(entries: &[T]) -> String {
    entries.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

fn list<T: PartialEq>(
    text: &str,
    read: impl Fn(&str) -> Result<T, CaptureError>,
) -> Result<Vec<T>, CaptureError> {
    let mut entries = Vec::new();
    for entry in text.split(',').map(str::trim).filter(|entry| !entry.is_empty()) {
        let entry = read(entry)?;
        if !entries.contains(&entry) {
            entries.push(entry);
        }
    }
    match entries.len() {
        0..=CAPTURE_ENTRIES_MAX => Ok(entries),
        count => Err(CaptureError::TooMany(count)),
    }
}
