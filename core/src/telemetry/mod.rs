//! What is counted and logged about exchanges, laid out for one writer per shard.
//!
//! A shard owns a [`Recorder`] and calls [`Recorder::record`] once per finished exchange: one hash over addresses, a few
//! additions, no allocation once a series is known. On a scrape it hands over an [`Interval`]; the steward adds the
//! intervals of all shards to its [`Merged`] totals and renders them for Prometheus. Names and labels are Istio's, so
//! that dashboards people own keep working. Access logs are rendered by a [`LogFormat`] compiled once.
//!
//! Nothing here reads a clock or writes a file.

mod hist;
mod interval;
mod labels;
mod log;
mod prometheus;
mod record;
mod recorder;

pub use hist::{BOUNDS_THOUSANDTHS, Buckets};
pub use interval::{HttpCounters, Interval, Merged, Percentiles, TcpCounters};
pub use log::{
    Details, FormatError, LogFormat, NoMessage, RESPONSE_VIA_UPSTREAM, ResponseView, default_json,
    default_text,
};
pub use prometheus::{Family, FamilyKind, Sample};
pub use record::{Principals, Protocol, Record, Reporter, Security, Sides};
pub use recorder::Recorder;

#[cfg(test)]
mod tests;
