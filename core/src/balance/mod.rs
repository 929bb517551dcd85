//! Choosing an endpoint, and the state that all shards share about destinations and endpoints.

mod shares;
mod state;

pub use shares::Shares;
pub use state::{DestinationState, EndpointState, Padded};
