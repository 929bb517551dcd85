//! The lab: runs every subject through every scenario, interleaved, and judges the goals.

pub mod build;
pub mod certs;
pub mod config;
pub mod dromon;
pub mod goals;
pub mod http2;
pub mod launch;
pub mod machine;
pub mod measure;
pub mod origins;
pub mod proc;
pub mod result;
pub mod run;
pub mod scenario;
pub mod setup;
pub mod stats;
pub mod subject;
pub mod tools;

#[cfg(test)]
pub(crate) mod tests;
