//! HTTP/2 as far as it is a matter of decisions and of mapping: no frames, no streams, no I/O (those are the `h2` crate's).
//!
//! Requests and responses are the `http` crate's heads here. Decisions see them through the same traits as HTTP/1 heads
//! ([`RequestView`](crate::exchange::RequestView), [`ResponseView`](crate::telemetry::ResponseView)).

mod edit;
pub mod grpc;
pub mod grpc_web;
mod meter;
mod request;
mod response;
mod upstream;
mod view;
mod websocket;

pub use edit::edit;
pub use meter::{Meter, PREFACE, Trip};
pub use request::{
    ATTEMPT_COUNT, CLIENT_CERT, Checked, Line, Onward, REQUEST_ID, Sending, check, client_value, fields,
    keep_out_of_tables, to_h1,
};
pub use response::{from_h1, from_switch, trailers_from_h1, trailers_to_h1};
pub use upstream::{end_here, request_from_h1, response_to_h1};
pub use view::PartsRef;
pub use websocket::{WEBSOCKET, websocket_connect, websocket_key, websocket_switch};

#[cfg(test)]
mod tests;
