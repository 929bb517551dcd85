//! A shard: one thread, one runtime, everything of its own.

pub mod stats;
