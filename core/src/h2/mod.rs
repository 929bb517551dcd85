//! HTTP/2 as far as it is a matter of decisions and of mapping: no frames, no streams, no I/O (those are the `h2` crate's).
//!
//! Requests and responses are the `http` crate's heads here. Decisions see them through the same traits as HTTP/1 heads
//! ([`RequestView`](crate::exchange::RequestView), [`ResponseView`](crate::telemetry::ResponseView)).

mod edit;
mod view;

pub use edit::edit;
pub use view::PartsRef;

#[cfg(test)]
mod tests;
