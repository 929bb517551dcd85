//! Which sockets to open and which to close when a table's listeners differ from those that are open.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

/// A listener's name and where it listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The listener's name in the table.
    pub name: Arc<str>,
    /// Its address.
    pub address: SocketAddr,
}

/// What to do, in this order.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Open these.
    pub open: Vec<Place>,
    /// Close these.
    pub close: Vec<Arc<str>>,
    /// Open these once every shard has closed: their address or their name is still held by one that closes.
    pub open_after_close: Vec<Place>,
}

/// The difference between what is open and what is wanted. Two wanted listeners of one name are one, the first.
pub fn plan(open: &BTreeMap<Arc<str>, SocketAddr>, wanted: &[Place]) -> Plan {
    let keeps = |name: &Arc<str>, address: SocketAddr| {
        wanted.iter().find(|place| place.name == *name).is_some_and(|place| place.address == address)
    };
    let closing: BTreeMap<&Arc<str>, SocketAddr> =
        open.iter().filter(|(name, address)| !keeps(name, **address)).map(|(name, at)| (name, *at)).collect();
    let mut plan = Plan { close: closing.keys().map(|name| (*name).clone()).collect(), ..Plan::default() };
    for (at, place) in wanted.iter().enumerate() {
        let is_open = open.get(&place.name) == Some(&place.address);
        let is_repeated = wanted.iter().take(at).any(|earlier| earlier.name == place.name);
        if is_open || is_repeated {
            continue;
        }
        let blocked = closing.contains_key(&place.name)
            || closing.values().any(|&address| overlaps(address, place.address));
        if blocked { plan.open_after_close.push(place.clone()) } else { plan.open.push(place.clone()) }
    }
    plan
}

/// Whether two sockets cannot listen at once: one port, and one address or a wildcard among them.
fn overlaps(one: SocketAddr, other: SocketAddr) -> bool {
    one.port() == other.port()
        && (one.ip() == other.ip() || one.ip().is_unspecified() || other.ip().is_unspecified())
}

#[cfg(test)]
mod tests;
