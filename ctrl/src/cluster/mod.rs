//! What the controller does in a cluster beside reading it: it speaks to the API server ([`client`]), agrees with its
//! replicas on who writes ([`election`]), and says what it thinks of objects ([`status`], [`events`]).

pub mod client;
pub mod election;
pub mod events;
pub mod live;
pub mod status;
pub mod statuses;
