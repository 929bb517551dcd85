//! What the controller does in a cluster beside reading it: it speaks to the API server ([`client`]), agrees with its
//! replicas on who writes ([`election`]), says what it thinks of objects ([`status`], [`events`]), and gives Gateways that are in
//! each other's way addresses of their own ([`gateways`]).

pub mod client;
pub mod election;
pub mod events;
pub mod gateways;
pub mod live;
pub mod status;
pub mod statuses;
