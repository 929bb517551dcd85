//! The gateway's ports: which are asked for, which are served, and what people are told of it: once each time it changes.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use super::flow::Listeners;
use super::listening;
use super::plan::Plan;
use crate::local::Gateway;

/// The gateway's ports.
#[derive(Debug, Default)]
pub struct GatewayPorts {
    wanted: BTreeMap<SocketAddr, Wanted>,
    /// Those of which it was said that they are not served.
    lost: BTreeSet<SocketAddr>,
}

/// A port that Gateways ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Wanted {
    /// As they name it.
    port: u16,
    /// The Gateways.
    objects: String,
}

impl GatewayPorts {
    /// These are asked for now; whether others were before.
    pub fn want(&mut self, plan: &Plan, gateway: &Gateway) -> bool {
        let wanted = plan.gateway_ports.iter().map(|(port, objects)| {
            let address = SocketAddr::new(gateway.bind, gateway.port(*port));
            let objects = objects.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
            (address, Wanted { port: *port, objects })
        });
        let wanted = wanted.collect();
        let is_new = self.wanted != wanted;
        self.wanted = wanted;
        self.lost.retain(|address| self.wanted.contains_key(address));
        is_new
    }

    /// Those that somebody else has, by this system's word.
    pub fn taken(&mut self) -> Vec<String> {
        let taken = |address: &SocketAddr| super::ports::taken(*address);
        let taken: Vec<SocketAddr> = self.wanted.keys().copied().filter(taken).collect();
        taken.into_iter().filter_map(|address| self.is_lost(address, None)).collect()
    }

    /// The gateway has these; what there is to say.
    pub fn seen(&mut self, listeners: &Listeners) -> Vec<String> {
        let mut lines = Vec::new();
        for address in &listeners.open {
            if self.lost.remove(address)
                && let Some(Wanted { port, objects }) = self.wanted.get(address)
            {
                lines.push(format!("{address} is free: port {port} of {objects} is served there now"));
            }
        }
        let failed = listeners.failed.iter();
        lines.extend(failed.filter_map(|(address, error)| self.is_lost(*address, Some(error))));
        lines
    }

    /// Whether the gateway serves all that is asked for.
    pub fn are_served(&self, listeners: &Listeners) -> bool {
        self.wanted.keys().all(|address| listeners.open.contains(address))
    }

    /// What to say of a port that is not served; nothing if it was said.
    fn is_lost(&mut self, address: SocketAddr, error: Option<&str>) -> Option<String> {
        let Wanted { port, objects } = self.wanted.get(&address)?;
        if !self.lost.insert(address) {
            return None;
        }
        let owner = listening::owner(address).map(|(pid, name)| format!("{name} (process {pid})"));
        Some(match (owner, error) {
            (None, Some(error)) => {
                format!("the gateway's {error} (port {port} of {objects}); the rest goes on")
            }
            (owner, _) => format!(
                "{address} is taken by {}, so port {port} of {objects} is not served there \
                 (--port-map {port}:PORT chooses another); the rest goes on",
                owner.as_deref().unwrap_or("another process")
            ),
        })
    }
}
