//! Choosing an endpoint, the caps of a destination, and the state that all shards share about both.

mod circuit;
mod pick;
mod shares;
mod state;

pub use circuit::{ConnectionToken, Overflow, PendingToken, WaitingToken};
pub(crate) use circuit::{give, take};
pub use pick::{Avoid, pick};
pub use shares::Shares;
pub use state::{DestinationState, EndpointState, Padded};

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
