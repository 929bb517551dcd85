//! The feed: streams to each proxy what concerns it, as incremental xDS (`envoy.service.discovery.v3`, delta variant)
//! over gRPC on a unix socket.
//!
//! A [`view::View`] is everything one proxy may have; a [`session::Session`] knows what it has and says what to send,
//! without I/O; the [`hub::Hub`] joins views and sessions and wakes the streams that a view concerns; [`server`] moves the bytes. The latest view wins: a proxy
//! that reads slowly skips versions and holds nobody back.

mod framing;
pub mod hub;
pub mod pushes;
pub mod server;
pub mod session;
pub mod socket;
pub mod tcp;
#[cfg(test)]
mod tests;
pub mod view;
