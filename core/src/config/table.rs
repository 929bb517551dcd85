//! What shards read: immutable, compiled once per version, shared without locks.

use std::sync::Arc;

use crate::balance::{DestinationState, EndpointState, Shares};
use crate::config::model;

/// Index of a destination in its table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct DestinationId(pub u32);

/// The table in force. Built only by [`crate::config::compile`]; versions share what did not change.
#[derive(Debug)]
pub struct Table {
    /// Counts up with every table of this process.
    pub version: u64,
    /// What this proxy is.
    pub proxy: Arc<model::Proxy>,
    /// Listeners, in the order of `proxy.listeners`.
    pub listeners: Vec<Arc<ListenerTable>>,
}

/// A listener with what it needs to route.
#[derive(Debug)]
pub struct ListenerTable {
    /// As configured.
    pub model: model::Listener,
}

/// A destination with its endpoints, as an exchange holds it while it needs it.
#[derive(Debug)]
pub struct Destination {
    /// As configured.
    pub model: Arc<model::Destination>,
    /// Usable endpoints; an endpoint that drains is not among them.
    pub endpoints: Vec<Endpoint>,
    /// Counters and circuit state; outlives a swap while the destination's name stays.
    pub state: Arc<DestinationState>,
    /// The endpoints' weights, compiled.
    pub shares: Shares,
}

impl Destination {
    /// Joins a destination's configuration, endpoints and state.
    pub fn new(
        model: Arc<model::Destination>,
        endpoints: Vec<Endpoint>,
        state: Arc<DestinationState>,
    ) -> Destination {
        let shares = Shares::new(&endpoints);
        Destination { model, endpoints, state, shares }
    }
}

/// An endpoint with its address known.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// Where it listens.
    pub address: std::net::SocketAddr,
    /// As configured.
    pub model: Arc<model::Endpoint>,
    /// Load and health; outlives a swap while address and destination stay.
    pub state: Arc<EndpointState>,
}
