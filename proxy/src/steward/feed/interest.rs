//! What a proxy wants to be told: everything at a gateway, the index and what is in use at a sidecar.
//!
//! A host's rules, or the destination of one port of a host without rules, come into use by the first request that needs
//! them (or from the copy on disk). With rules come all destinations that they name, with a destination its endpoints and
//! the credential that it names.
//! A host that is in use stays so when it gains rules or loses them: what it needs next is asked for before it is needed.
//! What no request has needed for long leaves use again ([`super::uses`]), so memory follows use both ways.

use std::collections::BTreeSet;

use dromon_core::config::model::{
    Destination, Host, HttpAction, HttpRule, Kind, Role, VirtualHost, WeightedDestination, destination_name,
};

/// What is wanted of one type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// Every object: `*`.
    All,
    /// These.
    Named(BTreeSet<String>),
}

impl Wanted {
    /// Whether an object of this name is wanted.
    pub fn covers(&self, name: &str) -> bool {
        match self {
            Wanted::All => true,
            Wanted::Named(names) => names.contains(name),
        }
    }
}

/// What a sidecar uses: names of [`Kind::VirtualHost`] and [`Kind::Destination`].
pub type InUse = BTreeSet<(Kind, String)>;

/// What is wanted of every type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interest {
    wanted: [Wanted; Kind::ALL.len()],
}

/// Where [`Interest::of`] looks hosts and rules up.
pub trait Known {
    /// An entry of the index.
    fn host(&self, name: &str) -> Option<&Host>;
    /// A host's rules, the newest that have come.
    fn virtual_host(&self, name: &str) -> Option<&VirtualHost>;
    /// A destination, the newest that has come.
    fn destination(&self, name: &str) -> Option<&Destination>;
}

impl Interest {
    /// Everything of every type: a gateway's interest.
    pub fn everything() -> Interest {
        Interest { wanted: std::array::from_fn(|_| Wanted::All) }
    }

    /// What a proxy of this role wants when these rules and destinations are in use.
    pub fn of(role: Role, in_use: &InUse, known: &impl Known) -> Interest {
        if role == Role::Gateway {
            return Interest::everything();
        }
        let mut virtual_hosts = BTreeSet::new();
        let mut destinations = BTreeSet::new();
        for (kind, name) in in_use {
            let need = Need::of(*kind, name, known);
            virtual_hosts.extend(need.rules);
            destinations.extend(need.destinations);
        }
        let credentials = destinations.iter().filter_map(|name| credential_of(known.destination(name)?));
        let mut interest = Interest::everything();
        interest.wanted[Kind::Credential as usize] = Wanted::Named(credentials.map(str::to_owned).collect());
        interest.wanted[Kind::VirtualHost as usize] = Wanted::Named(virtual_hosts);
        interest.wanted[Kind::Endpoints as usize] = Wanted::Named(destinations.clone());
        interest.wanted[Kind::Destination as usize] = Wanted::Named(destinations);
        interest
    }

    /// What is wanted of this type.
    pub fn wanted(&self, kind: Kind) -> &Wanted {
        &self.wanted[kind as usize]
    }
}

/// What it takes to serve the requests that brought something into use.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Need {
    /// The host, where it has rules.
    pub rules: Option<String>,
    /// Destinations, as far as they are known.
    pub destinations: BTreeSet<String>,
    /// The rules answer some requests themselves, or are still to come.
    pub answers: bool,
}

impl Need {
    /// What these rules or this destination in use need.
    pub fn of(kind: Kind, name: &str, known: &impl Known) -> Need {
        let mut need = Need::default();
        let host_name = if kind == Kind::Destination { host_of(name) } else { name };
        let Some(host) = known.host(host_name) else { return need };
        if kind == Kind::Destination {
            need.destinations.insert(name.to_owned());
        }
        if host.routed {
            need.rules = Some(host_name.to_owned());
            let rules = known.virtual_host(host_name);
            need.destinations.extend(rules.into_iter().flat_map(|rules| destinations_of(rules, host)));
            let answers = |rule: &HttpRule| !matches!(rule.action, HttpAction::Route { .. });
            need.answers = rules.is_none_or(|rules| rules.http.iter().any(answers));
        } else if kind == Kind::VirtualHost {
            need.destinations.extend(default_destinations(host));
        }
        need
    }
}

/// Name of the credential that a destination's TLS settings refer to.
pub fn credential_of(destination: &Destination) -> Option<&str> {
    let credential = destination.tls.as_ref()?.credential.as_str();
    (!credential.is_empty()).then_some(credential)
}

/// The host in a destination's name.
pub fn host_of(destination: &str) -> &str {
    destination.rsplit('|').next().unwrap_or_default()
}

/// Where requests for a host without rules go.
pub fn default_destinations(host: &Host) -> impl Iterator<Item = String> {
    host.ports.iter().map(|port| destination_name(port.number, "", &host.name))
}

/// Names of the destinations that rules refer to. A destination without a port takes the port that the request came
/// for, which may be any port of the host the rules belong to.
pub fn destinations_of(rules: &VirtualHost, host: &Host) -> BTreeSet<String> {
    let http = rules.http.iter().filter_map(|rule| match &rule.action {
        HttpAction::Route { destinations } => Some(destinations),
        HttpAction::Redirect(_) | HttpAction::DirectResponse { .. } => None,
    });
    let tls = rules.tls.iter().map(|rule| &rule.destinations);
    let tcp = rules.tcp.iter().map(|rule| &rule.destinations);
    let mut names = BTreeSet::new();
    let all = http.chain(tls).chain(tcp).flatten();
    for WeightedDestination { host: target, subset, port, .. } in all.filter(|it| it.refuse.is_none()) {
        match port {
            Some(port) => {
                names.insert(destination_name(*port, subset, target));
            }
            None => names.extend(host.ports.iter().map(|port| destination_name(port.number, subset, target))),
        }
    }
    names
}

#[cfg(test)]
mod tests;
