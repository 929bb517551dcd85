//! The TLS configurations of every role, ready to use.
//!
//! | who | server | client |
//! |---|---|---|
//! | sidecar | [`server::mesh_server`] | [`client::mesh_client`] |
//! | gateway | [`server::gateway_server`] (SIMPLE, MUTUAL, OPTIONAL_MUTUAL by [`Clients`]) | [`client::mesh_client`] |
//! | egress, DestinationRule `tls` | | [`client::origination`] |
//!
//! All are built from bytes that are already read; building them fails with a reason and changes nothing.
//!
//! [`Clients`]: crate::verify::clients::Clients

pub mod client;
pub mod server;
pub mod sni;
#[cfg(test)]
mod tests;
