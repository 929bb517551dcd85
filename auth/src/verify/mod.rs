//! What a peer's certificate has to prove.
//!
//! Mesh peers: a chain to the mesh's roots, a life that covers now, the right usage, and exactly one SPIFFE id, which is
//! of the mesh's trust domain and, at a client, one that the service may have (secure naming). Others: the Web's rules
//! (RFC 5280 and RFC 9525 as webpki has them), with a list of names where the rules give one.

pub mod allowed;
mod believed;
pub mod chain;
pub mod clients;
pub mod mesh_servers;
pub mod named_servers;
pub mod peer;
pub(crate) mod servers;
#[cfg(test)]
mod tests;

pub use allowed::Allowed;
pub use peer::{Peer, Vouched, workload_of};
