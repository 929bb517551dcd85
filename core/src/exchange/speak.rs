//! Which protocol a try speaks with its upstream.

use super::Exchange;
use crate::config::model::Protocol;

/// What to speak with an upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Speak {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2.
    Http2,
    /// HTTP/2 where mutual TLS negotiates it, else HTTP/1.1.
    Http2IfNegotiated,
}

impl Exchange {
    /// What the try under way speaks. `client_http2`: its client speaks HTTP/2. `tunnel`: a client of HTTP/1 asks for an
    /// upgrade, which HTTP/1.1 passes on as it is and HTTP/2 as an extended CONNECT. `gateway`: the client comes from outside the mesh.
    ///
    /// A destination speaks what its port is declared to. What is not declared is spoken to as the client speaks, since
    /// client and service have agreed on it without this proxy (Istio's `use_downstream_protocol`, which is for sidecars:
    /// clients of a gateway know nothing of the service). So is a destination that is to be (`useClientProtocol`). The upgrade to HTTP/2 between sidecars (`h2UpgradePolicy`) concerns ports declared HTTP only:
    /// there the other sidecar knows that its application speaks HTTP/1.1.
    pub fn speak(&self, client_http2: bool, tunnel: bool, gateway: bool) -> Speak {
        let as_client = if client_http2 { Speak::Http2 } else { Speak::Http1 };
        let Some(destination) = &self.destination else { return as_client };
        let model = &destination.model;
        if tunnel {
            // A tunnel for one client gains nothing by sharing a connection; what speaks HTTP/2 only gets it so.
            let declared = matches!(model.protocol, Protocol::Http2 | Protocol::Grpc);
            return if declared && !model.use_client_protocol { Speak::Http2 } else { Speak::Http1 };
        }
        match model.protocol {
            _ if model.use_client_protocol => as_client,
            Protocol::Http2 | Protocol::Grpc => Speak::Http2,
            Protocol::Http if model.h2_upgrade && self.endpoint().is_some_and(|it| it.model.mtls) => {
                Speak::Http2IfNegotiated
            }
            Protocol::Http => Speak::Http1,
            Protocol::Auto if gateway => Speak::Http1,
            Protocol::Auto | Protocol::Tcp | Protocol::Tls => as_client,
        }
    }
}
