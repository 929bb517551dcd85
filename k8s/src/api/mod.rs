//! The objects: Kubernetes' own from `k8s-openapi`, Istio's and ours as serde types of this crate.
//!
//! Types here say what may be written, complete enough that nothing valid is called unknown; what is carried out
//! of it is the translator's matter, and what is not is reported by [`crate::parse`].

pub mod destination_rule;
pub mod gateway;
pub mod gateway_api;
pub mod mesh_config;
pub mod peer_authentication;
pub mod pod;
pub mod process;
pub mod rate_limit;
pub mod scalar;
pub mod service_entry;
pub mod sidecar;
pub mod telemetry;
pub mod virtual_service;

mod object;

pub use object::{Kind, Meta, Object, Rule};
