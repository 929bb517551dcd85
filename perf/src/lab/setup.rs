//! The table that a proxy under test carries, and the requests that exercise it.

use dromon_core::config::model::Protocol;

use crate::rig::load;

/// What is configured, the same for every proxy.
#[derive(Clone, Debug, PartialEq)]
pub struct Setup {
    /// Worker threads.
    pub workers: usize,
    /// Virtual hosts.
    pub hosts: usize,
    /// Routes of each host, told apart by path prefix.
    pub routes: usize,
    /// A rate limit over everything.
    pub limit: Option<RateLimit>,
    /// Where proxies stand.
    pub place: Place,
    /// What is spoken: `Http` is HTTP/1.1.
    pub protocol: Protocol,
    /// The mesh's side of a sidecar is under mutual TLS.
    pub mtls: bool,
    /// Dromon keeps its metrics.
    pub metrics: bool,
}

/// Where proxies stand between client and server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// One at the mesh's edge, with a table of virtual hosts.
    Gateway,
    /// The client's sidecar only.
    Client,
    /// The server's sidecar only.
    Server,
    /// Both sidecars.
    Pair,
}

/// One proxy on the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hop {
    /// Where it stands; never [`Place::Pair`].
    pub place: Place,
    /// Its clients come under mutual TLS.
    pub tls_down: bool,
    /// It goes on under mutual TLS.
    pub tls_up: bool,
}

impl Hop {
    /// At the edge, in plaintext.
    pub const GATEWAY: Hop = Hop { place: Place::Gateway, tls_down: false, tls_up: false };

    /// Its name, of which its folder and its identity are made.
    pub const fn name(self) -> &'static str {
        match self.place {
            Place::Client => "client",
            Place::Server => "server",
            Place::Gateway | Place::Pair => "gateway",
        }
    }
}

/// A rate limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimit {
    /// Requests a second.
    pub per_second: u64,
    /// Requests admitted at once beyond that.
    pub burst: u64,
}

impl Default for Setup {
    /// The setup that the goals are stated for: one worker, 100 routes.
    fn default() -> Setup {
        Setup {
            workers: 1,
            hosts: 100,
            routes: 1,
            limit: None,
            place: Place::Gateway,
            protocol: Protocol::Http,
            mtls: false,
            metrics: true,
        }
    }
}

impl Setup {
    /// The name of a host.
    pub fn host(number: usize) -> String {
        format!("h{number:05}.lab.example")
    }

    /// The proxies on the way, the server's first.
    pub fn hops(&self) -> Vec<Hop> {
        let client = Hop { place: Place::Client, tls_down: false, tls_up: self.mtls };
        let server = Hop { place: Place::Server, tls_down: self.mtls, tls_up: false };
        match self.place {
            Place::Gateway => vec![Hop::GATEWAY],
            Place::Client => vec![client],
            Place::Server => vec![server],
            Place::Pair => vec![server, client],
        }
    }

    /// The origin speaks mutual TLS, since it stands where a server's sidecar would.
    pub fn tls_to_origin(&self) -> bool {
        self.mtls && self.place == Place::Client
    }

    /// HTTP/2 is spoken at both ends.
    pub fn is_http2(&self) -> bool {
        matches!(self.protocol, Protocol::Http2 | Protocol::Grpc)
    }

    /// The path prefix of a route; hosts with a single route match everything.
    pub fn prefix(&self, route: usize) -> String {
        if self.routes == 1 { "/".to_owned() } else { format!("/r{route:05}/") }
    }

    /// Requests for this answer that take every host in turn, or with `last` only the last host's last route.
    pub fn requests(&self, answer: &str, last: bool, close: bool) -> Vec<Vec<u8>> {
        let path = format!("{}{answer}", self.prefix(self.routes - 1));
        let first = if last { self.hosts - 1 } else { 0 };
        (first..self.hosts).map(|number| load::request(&Setup::host(number), &path, close)).collect()
    }
}
