//! A shard: one thread, one runtime, everything of its own.
//!
//! Nothing here is shared with another shard but what the table holds for that purpose (atomic words of destinations,
//! endpoints and limits). The steward speaks to a shard through its mailbox only.

mod accept;
mod buffers;
mod captured;
mod control;
pub mod flows;
mod handover;
mod names;
pub mod notify;
pub mod peers;
mod plan;
mod start;
mod state;
pub mod stats;
mod telemetry;

pub use accept::ListenerHandle;
#[cfg(test)]
pub use handover::introduce;
pub use plan::{Machine, plan};
pub use start::{Settings, start};
pub use state::Shard;
