//! The Kubernetes and Istio dialect as pure code: objects → model.
//!
//! Text becomes [`api`] objects in [`parse`], is gathered in an [`objects::ObjectSet`], indexed once as a
//! [`mesh::Mesh`], and turned into each proxy's configuration by [`translate`]; [`analyze`] says what is wrong across
//! objects. [`inject`] gives pods their sidecars; [`install`] makes the manifests that put a mesh into a cluster. Nothing here opens a file or a socket, or asks for the time.
#![forbid(unsafe_code)]

pub mod admission;
pub mod analyze;
pub mod api;
pub mod diagnostic;
pub mod emit;
pub mod inject;
pub mod install;
pub mod mesh;
pub mod objects;
pub mod others;
pub mod parse;
pub mod status;
#[cfg(test)]
mod testing;
pub mod translate;

pub use diagnostic::{Diagnostic, Severity};
pub use mesh::Mesh;
pub use objects::{Key, ObjectSet, Sourced, Workload, WorkloadPort};
pub use translate::{ProxyIdentity, View, translate};
