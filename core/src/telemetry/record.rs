//! What the data plane tells of an exchange.

use std::sync::Arc;

use crate::config::model;
use crate::exchange::Flags;
use crate::fault::Reason;

/// Which side of an exchange reports: label `reporter`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Reporter {
    /// The client's sidecar, or a gateway.
    #[default]
    Source,
    /// The service's sidecar.
    Destination,
}

/// What was spoken: label `request_protocol`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// HTTP of any version.
    #[default]
    Http,
    /// gRPC: an HTTP/2 request with a `content-type` of `application/grpc`.
    Grpc,
    /// Opaque bytes.
    Tcp,
}

/// How the mesh connection was protected: label `connection_security_policy`, known at the destination only.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Security {
    /// The source does not tell (as Istio's).
    #[default]
    Unknown,
    /// Plain text.
    None,
    /// mTLS.
    MutualTls,
}

/// Between whom. Objects are told apart by address, so that recording hashes no string.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sides<'a> {
    /// Who reports.
    pub reporter: Reporter,
    /// The destination, or the inbound listener's own; none where nothing was routed to.
    pub destination: Option<&'a Arc<model::Destination>>,
    /// The endpoint that answered; its workload is the destination's for [`Reporter::Source`].
    pub endpoint: Option<&'a Arc<model::Endpoint>>,
    /// The client's workload for [`Reporter::Destination`], where its identity tells.
    pub peer: Option<&'a Arc<model::Workload>>,
    /// How the connection was protected.
    pub security: Security,
    /// Who is at either end, where that was proved.
    pub principals: Option<&'a Arc<Principals>>,
}

/// Who is at either end of a connection, by SPIFFE ids without their scheme, as Istio's labels have them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Principals {
    /// The client.
    pub source: String,
    /// The server.
    pub destination: String,
}

/// One finished HTTP exchange.
#[derive(Clone, Copy, Debug, Default)]
pub struct Record<'a> {
    /// Between whom.
    pub sides: Sides<'a>,
    /// HTTP or gRPC.
    pub protocol: Protocol,
    /// Status sent to the client; 0 where it went away before one.
    pub response_code: u16,
    /// Why the response was made here, or why it ended early.
    pub reason: Option<Reason>,
    /// What else is told of it beside the reason: a delay injected, tries used up.
    pub flags: Flags,
    /// gRPC status, from head or trailers.
    pub grpc_status: Option<u8>,
    /// Bytes of the request, head and body.
    pub request_bytes: u64,
    /// Bytes of the response, head and body.
    pub response_bytes: u64,
    /// From the request's head being complete to the last byte of the response, in ns.
    pub duration_ns: u64,
}
