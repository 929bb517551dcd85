//! From objects to a table that every shard has: compiling, sockets, roll-out.

pub mod compiler;
pub mod listeners;
pub mod rollout;
pub mod sockets;
