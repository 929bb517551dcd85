//! The rig: what stands around a proxy under test. A load generator, an origin server and the relay that parses
//! nothing; each one thread over one epoll instance, cheap enough that the proxy's core is the busy one.

pub mod cpu;
pub mod hold;
pub mod load;
pub mod origin;
pub mod poll;
pub mod relay;
pub mod response;
pub mod schedule;
pub mod tls;
pub mod wire;

#[cfg(test)]
mod tests;
