//! What is counted, and how lines and metrics come out.

mod log;
mod metrics;
