//! Which host a request or connection is for: by name (exact, then the longest wildcard) or by address (the longest
//! network that has the port).

use std::hash::BuildHasher;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use foldhash::fast::FixedState;
use hashbrown::{HashMap, HashTable};
use smallvec::SmallVec;

use crate::config::model;
use crate::config::table::DestinationId;
use crate::limits::HOST_BYTES_MAX;
use crate::route::path::{Backward, Fit, Trie};
use crate::route::rule::CompiledLimit;

/// Splits an authority into its host, without a dot at its end, and its port. None where the port is not one.
pub fn split_authority(authority: &[u8]) -> Option<(&[u8], Option<u16>)> {
    if let Some(rest) = authority.strip_prefix(b"[") {
        let end = memchr::memchr(b']', rest)?;
        return match rest.get(end + 1..)? {
            [] => Some((rest.get(..end)?, None)),
            [b':', port @ ..] => Some((rest.get(..end)?, Some(port_number(port)?))),
            _ => None,
        };
    }
    let (host, port) = match memchr::memrchr(b':', authority) {
        None => (authority, None),
        Some(at) => (authority.get(..at)?, Some(port_number(authority.get(at + 1..)?)?)),
    };
    Some((host.strip_suffix(b".").unwrap_or(host), port))
}

fn port_number(digits: &[u8]) -> Option<u16> {
    if digits.is_empty() || digits.len() > 5 {
        return None;
    }
    let number = digits.iter().try_fold(0u32, |number, digit| {
        digit.is_ascii_digit().then(|| number * 10 + u32::from(digit - b'0'))
    })?;
    u16::try_from(number).ok()
}

/// The address that a host is written as, if it is one.
pub fn as_address(host: &[u8]) -> Option<IpAddr> {
    let first = *host.first()?;
    if !first.is_ascii_hexdigit() && first != b':' {
        return None;
    }
    std::str::from_utf8(host).ok()?.parse().ok()
}

/// Calls `then` with the host in lower case; nothing is copied where it already is. None for a host that is too long.
fn with_lower<T>(host: &[u8], then: impl FnOnce(&[u8]) -> Option<T>) -> Option<T> {
    if !host.iter().any(u8::is_ascii_uppercase) {
        return then(host);
    }
    let mut copy = [0u8; HOST_BYTES_MAX];
    let copy = copy.get_mut(..host.len())?;
    copy.copy_from_slice(host);
    copy.make_ascii_lowercase();
    then(copy)
}

/// Domains → values: exact names first, then the longest `*.suffix`, then `*`.
#[derive(Debug, Default)]
pub struct DomainMap {
    /// The exact names one after another. One that begins the name before it, as a service's short name does, shares its bytes:
    /// sidecars have several names for each of thousands of services.
    names: Box<[u8]>,
    exact: HashTable<Exact>,
    hasher: FixedState,
    wildcards: Trie,
}

/// An exact name: where it is among the names, and its value.
#[derive(Clone, Copy, Debug)]
struct Exact {
    start: u32,
    bytes: u32,
    value: u32,
}

impl Exact {
    fn of(self, names: &[u8]) -> &[u8] {
        let (start, bytes) = (self.start as usize, self.bytes as usize);
        names.get(start..start + bytes).unwrap_or_default()
    }
}

impl DomainMap {
    /// Builds the map; of equal domains the first stays.
    pub fn build<'a>(domains: impl Iterator<Item = (&'a str, u32)>) -> DomainMap {
        let hasher = FixedState::default();
        let (mut names, mut last) = (Vec::<u8>::new(), 0);
        let mut exact = HashTable::new();
        let mut keys: Vec<(Vec<u8>, Fit, u32)> = Vec::new();
        for (domain, value) in domains {
            let domain = domain.to_ascii_lowercase();
            if let Some(suffix) = domain.strip_prefix('*') {
                keys.push((suffix.bytes().rev().collect(), Fit::Longer, value));
                continue;
            }
            let domain = domain.as_bytes();
            let hash = hasher.hash_one(domain);
            if exact.find(hash, |it: &Exact| it.of(&names) == domain).is_some() {
                continue;
            }
            if !names.get(last..).is_some_and(|name| name.starts_with(domain)) {
                last = names.len();
                names.extend_from_slice(domain);
            }
            let entry = Exact { start: last as u32, bytes: domain.len() as u32, value };
            exact.insert_unique(hash, entry, |it| hasher.hash_one(it.of(&names)));
        }
        DomainMap { names: names.into(), exact, hasher, wildcards: Trie::build(keys) }
    }

    /// The value for a host without port.
    pub fn get(&self, host: &[u8]) -> Option<u32> {
        with_lower(host, |host| {
            let exact = self.exact.find(self.hasher.hash_one(host), |it| it.of(&self.names) == host);
            exact.map(|it| it.value).or_else(|| self.wildcards.longest(&Backward(host)))
        })
    }
}

/// A network: an address and how many of its bits count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Cidr {
    v6: bool,
    bits: u8,
    /// Most significant byte first; sidecars keep thousands, which as a number would take a third more.
    network: [u8; 16],
}

impl Cidr {
    /// Parses `ADDRESS` or `ADDRESS/BITS`.
    ///
    /// # Errors
    /// The text for the operator.
    pub fn parse(text: &str) -> Result<Cidr, String> {
        let wrong = || format!("{text:?} is not an address or CIDR");
        let (address, bits) = match text.split_once('/') {
            None => (text, None),
            Some((address, bits)) if !bits.is_empty() && bits.bytes().all(|byte| byte.is_ascii_digit()) => {
                (address, Some(bits.parse::<u8>().map_err(|_| wrong())?))
            }
            Some(_) => return Err(wrong()),
        };
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let widest = if address.is_ipv6() { 128 } else { 32 };
        let bits = bits.unwrap_or(widest);
        if bits > widest {
            return Err(format!("{text:?}: at most {widest} bits"));
        }
        Ok(Cidr::of(address, bits))
    }

    fn of(address: IpAddr, bits: u8) -> Cidr {
        let (v6, all) = number(address);
        let network = if bits == 0 { 0 } else { all & (u128::MAX << (128 - u32::from(bits))) };
        Cidr { v6, bits, network: network.to_be_bytes() }
    }

    /// The address lies in the network.
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        address.is_ipv6() == self.v6 && Cidr::of(address, self.bits) == *self
    }
}

/// The address as 128 bits, an IPv4 one in the highest 32.
fn number(address: IpAddr) -> (bool, u128) {
    match address {
        IpAddr::V4(v4) => (false, u128::from(Ipv4Addr::to_bits(v4)) << 96),
        IpAddr::V6(v6) => (true, Ipv6Addr::to_bits(v6)),
    }
}

/// Networks → hosts, longest first.
#[derive(Debug, Default)]
struct NetMap {
    /// Prefix lengths in use, longest first.
    lengths: [SmallVec<[u8; 4]>; 2],
    /// The first host of each network.
    hosts: HashMap<Cidr, u32, FixedState>,
    /// Further hosts of networks that several have, each for ports of its own.
    others: HashMap<Cidr, Vec<u32>, FixedState>,
}

impl NetMap {
    fn insert(&mut self, net: Cidr, host: u32) {
        if *self.hosts.entry(net).or_insert(host) != host {
            self.others.entry(net).or_default().push(host);
        }
        let lengths = &mut self.lengths[usize::from(net.v6)];
        if let Err(at) = lengths.binary_search_by(|bits| net.bits.cmp(bits)) {
            lengths.insert(at, net.bits);
        }
    }

    fn find(&self, address: IpAddr, mut wanted: impl FnMut(u32) -> bool) -> Option<u32> {
        let address = address.to_canonical();
        self.lengths[usize::from(address.is_ipv6())].iter().find_map(|bits| {
            let net = Cidr::of(address, *bits);
            let first = *self.hosts.get(&net)?;
            if wanted(first) {
                return Some(first);
            }
            self.others.get(&net)?.iter().copied().find(|host| wanted(*host))
        })
    }
}

/// A port of a host in the index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortEntry {
    /// The port.
    pub number: u16,
    /// What is spoken there.
    pub protocol: model::Protocol,
    /// `outbound|PORT||NAME`: where requests go that no rule concerns.
    pub default: DestinationId,
}

/// A host of the index.
#[derive(Debug)]
pub struct HostEntry {
    /// FQDN or wildcard.
    pub name: Arc<str>,
    /// As configured.
    pub model: Arc<model::Host>,
    /// Its ports.
    pub ports: SmallVec<[PortEntry; 2]>,
    /// Rate limits on what this workload sends to it.
    pub limits: Vec<Arc<CompiledLimit>>,
    /// Slot of the rules; none where it has none.
    pub(crate) virtual_host: Option<u32>,
}

impl HostEntry {
    /// The port of this number.
    pub fn port(&self, number: u16) -> Option<&PortEntry> {
        self.ports.iter().find(|port| port.number == number)
    }
}

/// The hosts that a sidecar may call.
#[derive(Debug, Default)]
pub struct HostIndex {
    /// In the order of their names.
    entries: Box<[HostEntry]>,
    domains: DomainMap,
    networks: NetMap,
}

impl HostIndex {
    /// Indexes hosts, given in the order of their names; where two claim the same domain or address the first has it.
    pub fn build(entries: Vec<HostEntry>) -> HostIndex {
        let mut networks = NetMap::default();
        for (position, entry) in entries.iter().enumerate() {
            for net in entry.model.addresses.iter().filter_map(|text| Cidr::parse(text).ok()) {
                networks.insert(net, position as u32);
            }
        }
        let aliases = entries.iter().enumerate();
        let aliases =
            aliases.flat_map(|(at, it)| it.model.domains.iter().map(move |name| (&**name, at as u32)));
        let own = entries.iter().enumerate().map(|(at, it)| (&*it.name, at as u32));
        let domains = DomainMap::build(aliases.chain(own));
        HostIndex { domains, networks, entries: entries.into() }
    }

    /// All hosts, by name.
    pub fn entries(&self) -> &[HostEntry] {
        &self.entries
    }

    /// The host that answers to this name (without port), or to this address written as a name.
    pub fn by_domain(&self, host: &[u8], port: u16) -> Option<&HostEntry> {
        if let Some(at) = self.domains.get(host) {
            return self.entries.get(at as usize);
        }
        self.by_address(as_address(host)?, port)
    }

    /// The host that has this address and port; of several networks the longest.
    pub fn by_address(&self, address: IpAddr, port: u16) -> Option<&HostEntry> {
        let has = |at: u32| self.entries.get(at as usize).is_some_and(|entry| entry.port(port).is_some());
        let at = self.networks.find(address, has)?;
        self.entries.get(at as usize)
    }

    /// The host of this name, whatever else it answers to.
    pub fn by_name(&self, name: &str) -> Option<&HostEntry> {
        if let Some(entry) = self.domains.get(name.as_bytes()).and_then(|at| self.entries.get(at as usize))
            && &*entry.name == name
        {
            return Some(entry);
        }
        let at = self.entries.binary_search_by(|entry| (*entry.name).cmp(name)).ok()?;
        self.entries.get(at)
    }
}

#[cfg(test)]
mod tests;
