//! Configuration on its way to a proxy: wire [`model`] → validated snapshot → compiled table.

pub mod model;
pub mod table;
pub mod wire;
