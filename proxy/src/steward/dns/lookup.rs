//! Names → addresses: literal addresses, `localhost`, the hosts file, then DNS as `resolv.conf` says.
//!
//! Both files are looked at on every lookup, so that a change counts at once, and the resolver is built by the first
//! name that needs it, because it is the largest thing that an idle proxy would otherwise hold.

use std::cell::RefCell;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

use dromon_core::limits::{DNS_TTL_S_MAX, DNS_TTL_S_MIN};
use hickory_resolver::TokioResolver;
use hickory_resolver::config::{LookupIpStrategy, ResolveHosts, ResolverConfig};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::system_conf::parse_resolv_conf;

/// How long an answer of the hosts file holds.
const HOSTS_TTL: Duration = Duration::from_secs(5);
/// How long an address given literally holds: it does not change.
const LITERAL_TTL: Duration = Duration::from_secs(DNS_TTL_S_MAX);

/// Addresses and how long they hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The first that was answered, by preference an IPv4 one; the others after it, sorted, IPv4 first. None twice, at least
    /// one.
    pub addresses: Vec<IpAddr>,
    /// Within [`DNS_TTL_S_MIN`] and [`DNS_TTL_S_MAX`].
    pub ttl: Duration,
}

/// Looks names up. See the module's text.
#[derive(Debug)]
pub struct Lookup {
    hosts: PathBuf,
    resolv_conf: PathBuf,
    port: u16,
    resolver: RefCell<Option<(Option<SystemTime>, TokioResolver)>>,
}

impl Lookup {
    /// As this machine is set up.
    pub fn system() -> Lookup {
        Lookup::new("/etc/hosts".into(), "/etc/resolv.conf".into(), 53)
    }

    /// With these files, and name servers on this port.
    pub fn new(hosts: PathBuf, resolv_conf: PathBuf, port: u16) -> Lookup {
        Lookup { hosts, resolv_conf, port, resolver: RefCell::new(None) }
    }

    /// The addresses of a name, or why there are none.
    pub async fn addresses(&self, name: &str) -> Result<Answer, String> {
        let name = name.trim_end_matches('.');
        let literal = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(name);
        if let Ok(address) = literal.parse() {
            return Ok(Answer { addresses: vec![address], ttl: LITERAL_TTL });
        }
        let hosts = std::fs::read_to_string(&self.hosts).unwrap_or_default();
        let mut addresses = in_hosts_file(&hosts, name);
        if addresses.is_empty() && is_localhost(name) {
            // RFC 6761 section 6.3: never asked of a name server.
            addresses = vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
        }
        if !addresses.is_empty() {
            return Ok(Answer { addresses: in_order(addresses), ttl: HOSTS_TTL });
        }
        self.ask(name).await
    }

    async fn ask(&self, name: &str) -> Result<Answer, String> {
        let resolver = self.resolver()?;
        let found = resolver.lookup_ip(name).await.map_err(|error| error.to_string())?;
        let addresses = in_order(found.iter().collect());
        if addresses.is_empty() {
            return Err("the name has no address".into());
        }
        let ttl = found.valid_until().saturating_duration_since(Instant::now());
        let ttl = ttl.clamp(Duration::from_secs(DNS_TTL_S_MIN), Duration::from_secs(DNS_TTL_S_MAX));
        Ok(Answer { addresses, ttl })
    }

    /// The resolver, built anew where `resolv.conf` has changed.
    fn resolver(&self) -> Result<TokioResolver, String> {
        let changed = std::fs::metadata(&self.resolv_conf).and_then(|meta| meta.modified()).ok();
        if let Some((built_for, resolver)) = &*self.resolver.borrow()
            && *built_for == changed
        {
            return Ok(resolver.clone());
        }
        let wrong = |error: &dyn std::fmt::Display| format!("{}: {error}", self.resolv_conf.display());
        let text = std::fs::read(&self.resolv_conf).map_err(|error| wrong(&error))?;
        let (config, mut options) = parse_resolv_conf(text).map_err(|error| wrong(&error))?;
        let (domain, search, mut servers) = config.into_parts();
        for connection in servers.iter_mut().flat_map(|server| &mut server.connections) {
            connection.port = self.port;
        }
        let config = ResolverConfig::from_parts(domain, search, servers);
        options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
        options.use_hosts_file = ResolveHosts::Never;
        options.cache_size = 0;
        let resolver =
            TokioResolver::builder_with_config(config, TokioRuntimeProvider::default()).with_options(options);
        let resolver = resolver.build().map_err(|error| wrong(&error))?;
        *self.resolver.borrow_mut() = Some((changed, resolver.clone()));
        Ok(resolver)
    }
}

fn is_localhost(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    name == "localhost" || name.ends_with(".localhost")
}

/// The addresses that a hosts file (hosts(5)) gives a name.
fn in_hosts_file(text: &str, name: &str) -> Vec<IpAddr> {
    let mut addresses = Vec::new();
    for line in text.lines() {
        let mut words = line.split('#').next().unwrap_or_default().split_ascii_whitespace();
        let Some(Ok(address)) = words.next().map(str::parse::<IpAddr>) else { continue };
        if words.any(|alias| alias.trim_end_matches('.').eq_ignore_ascii_case(name)) {
            addresses.push(address);
        }
    }
    addresses
}

/// Name servers turn the order of their answers to spread clients: what comes first counts, the rest does not.
fn in_order(mut addresses: Vec<IpAddr>) -> Vec<IpAddr> {
    let first = addresses.iter().find(|address| address.is_ipv4()).or(addresses.first()).copied();
    addresses.sort_unstable_by_key(|address| (Some(*address) != first, *address));
    addresses.dedup();
    addresses
}

#[cfg(test)]
mod tests;
