//! A local mesh around ordinary processes: `dromonctl run`.
//!
//! The run is a supervisor and nothing else: a `dromon-controller` on the folder, a gateway proxy, one sidecar per
//! `Process` object, and the processes. It tells the controller what only it knows (addresses, what is ready) through
//! [`crate::local`]. A part that dies is started again; when the run ends, however it ends, nothing stays behind.

pub mod address;
mod changes;
pub mod child;
pub mod command;
pub mod env;
pub mod flow;
pub mod gateway_ports;
pub mod guard;
pub mod listening;
pub mod options;
pub mod output;
pub mod part;
pub mod paths;
pub mod plan;
pub mod pods;
pub mod ports;
pub mod probe;
pub mod programs;
pub mod ready;
pub mod supervisor;
#[cfg(test)]
mod tests;
pub mod workload;
