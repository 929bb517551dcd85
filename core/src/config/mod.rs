//! Configuration on its way to a proxy: wire [`model`] → validated snapshot → compiled table.

pub mod compile;
pub mod describe;
pub mod model;
pub mod snapshot;
pub mod table;
pub mod wire;
