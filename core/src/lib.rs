//! The mesh's model and every decision, as pure code.
//!
//! Nothing here opens a socket, reads a clock, spawns a thread or draws its own randomness: time comes in
//! as a [`time::Tick`], randomness as a seeded [`rng::Rng`], so that every run can be replayed. The proxy does
//! what this crate decides; the controller produces the [`config::model`] it decides by.
#![forbid(unsafe_code)]

pub mod app_health;
pub mod balance;
pub mod base64;
pub mod capture;
pub mod client_hello;
pub mod config;
pub mod date;
pub mod exchange;
pub mod fault;
pub mod h1;
pub mod h2;
pub mod health;
pub mod limit;
pub mod limits;
pub mod peer_exchange;
pub mod proxy_protocol;
pub mod retry;
pub mod rng;
pub mod route;
pub mod settings;
pub mod speech;
pub mod telemetry;
pub mod time;
