//! Access logs in Envoy's format operators, compiled once and rendered without allocation.
//!
//! What a client or an upstream sent is escaped: nobody forges a line, a field or a terminal sequence by a header.
//! (Envoy leaves such bytes as they are in text formats.)

mod escape;
mod format;
mod operator;
mod time;

pub use format::{LogFormat, default_json, default_text};
pub use operator::FormatError;

use std::net::SocketAddr;

use super::record::Record;
use crate::exchange::RequestView;
use crate::h1::{ResponseRef, Rule};

/// `%RESPONSE_CODE_DETAILS%` of a response that came from upstream (Envoy's word for it).
pub const RESPONSE_VIA_UPSTREAM: &str = "via_upstream";

/// What an access log tells of an exchange beside its [`Record`] and its heads.
#[derive(Clone, Copy, Debug, Default)]
pub struct Details<'a> {
    /// The wall clock when the request came, in ns since 1970.
    pub start_unix_ns: u64,
    /// `HTTP/1.1`, `HTTP/1.0`, `HTTP/2`; empty for TCP.
    pub protocol: &'a str,
    /// The safety rule that the client or the upstream broke, if that ended the exchange.
    pub rule: Option<Rule>,
    /// Fields that the proxy set on the request (its request id, say), looked up before the client's. Lower-case names.
    pub request_fields: &'a [(&'a str, &'a [u8])],
    /// Body bytes received from the client.
    pub bytes_received: u64,
    /// Body bytes sent to the client.
    pub bytes_sent: u64,
    /// From the request's head being complete to its last byte being read, in ns.
    pub request_duration_ns: Option<u64>,
    /// From the request's head being complete to the response's head, in ns.
    pub response_duration_ns: Option<u64>,
    /// From the request being sent upstream to the response's head, in ns.
    pub upstream_service_ns: Option<u64>,
    /// Why a transport to the upstream failed; empty for none.
    pub upstream_failure: &'a str,
    /// Why the connection was ended from here; empty for none.
    pub connection_termination: &'a str,
    /// The endpoint.
    pub upstream_host: Option<SocketAddr>,
    /// Our address on the connection to it.
    pub upstream_local: Option<SocketAddr>,
    /// The destination's name, e.g. `outbound|9080||reviews.default.svc.cluster.local`; empty for none.
    pub upstream_cluster: &'a str,
    /// The address that the client connected to.
    pub downstream_local: Option<SocketAddr>,
    /// The client.
    pub downstream_remote: Option<SocketAddr>,
    /// SNI; empty for none.
    pub server_name: &'a str,
    /// The route's name; empty for none.
    pub route_name: &'a str,
    /// Tries made.
    pub attempts: u32,
}

/// What an access log may ask of a response, whatever protocol it came by.
pub trait ResponseView {
    /// The first value of a header; `name` is lower case.
    fn header(&self, name: &str) -> Option<&[u8]>;
}

impl ResponseView for ResponseRef<'_> {
    fn header(&self, name: &str) -> Option<&[u8]> {
        self.head.fields().value(name, self.bytes)
    }
}

/// No request or no response: TCP, a refused head, an answer made here.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoMessage;

impl RequestView for NoMessage {
    fn method(&self) -> &[u8] {
        b""
    }
    fn path_and_query(&self) -> &[u8] {
        b""
    }
    fn authority(&self) -> &[u8] {
        b""
    }
    fn scheme(&self) -> &[u8] {
        b""
    }
    fn header(&self, _: &str) -> Option<&[u8]> {
        None
    }
    fn header_all<'a>(&'a self, _: &'a str) -> impl Iterator<Item = &'a [u8]> {
        std::iter::empty()
    }
}

impl ResponseView for NoMessage {
    fn header(&self, _: &str) -> Option<&[u8]> {
        None
    }
}

/// Everything that one line is rendered from.
struct Entry<'a, Q, P> {
    record: &'a Record<'a>,
    details: &'a Details<'a>,
    request: &'a Q,
    response: &'a P,
}
