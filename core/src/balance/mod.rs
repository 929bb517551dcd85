//! Choosing an endpoint, and the state that all shards share about destinations and endpoints.

/// Shared state of one destination: caps in use, retry budget. One atomic word each.
#[derive(Debug, Default)]
pub struct DestinationState {}

/// Shared state of one endpoint: active requests, consecutive errors, ejection.
#[derive(Debug, Default)]
pub struct EndpointState {}
