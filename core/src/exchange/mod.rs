//! One request's life as a state machine: `begin` → [`Step`], then [`Exchange::handle`] with what happened → next
//! [`Step`]. The proxy does only what a step says, so the whole data plane can be driven in simulation.
//!
//! Order of decisions: host and rule → fault → rate limit → caps and endpoint → tries → accounting.
//! An exchange holds the route and destination it uses, never the table; counters it has taken are returned when it is
//! dropped, wherever it stands.
//!
//! ```text
//! let (mut exchange, mut step) = Exchange::begin(&table, &arrival, &request, path, now, &mut rng);
//! loop { carry out step; step = exchange.handle(what_happened, now, &mut rng); }    // until Step::Done
//! ```
//! What a try needs beside the [`Attempt`] is asked of the exchange: `destination()`, `endpoint()`, and what to change in
//! the head. TCP connections go the same way by `Exchange::begin_tcp` and [`Input::Connected`].

use std::net::SocketAddr;
use std::sync::Arc;

use crate::config::model::Kind;
use crate::fault::Reason;
use crate::route::rule::HeaderChange;
use crate::time::Tick;

mod answer;
mod begin;
mod flags;
mod speak;
mod state;
mod step;
pub mod unserved;

pub use flags::Flags;
pub use speak::Speak;
pub use state::Exchange;

/// What the exchange may ask of a request, whatever protocol it came by.
pub trait RequestView {
    /// The method, as sent.
    fn method(&self) -> &[u8];
    /// Path and query, as sent, without scheme and authority; `*` for OPTIONS.
    fn path_and_query(&self) -> &[u8];
    /// Host as sent, possibly with a port, case kept; empty for HTTP/1.0 without one.
    fn authority(&self) -> &[u8];
    /// `http` or `https`.
    fn scheme(&self) -> &[u8];
    /// The SPIFFE id that the client has proved; empty for none.
    fn principal(&self) -> &str {
        ""
    }
    /// The first value of a header; `name` is lower case.
    fn header(&self, name: &str) -> Option<&[u8]>;
    /// All values of a header; `name` is lower case.
    fn header_all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]>;
}

/// What is known of the client's side when a request arrives.
#[derive(Clone, Copy, Debug)]
pub struct Arrival {
    /// Index of the listener in the table.
    pub listener: usize,
    /// When the request's head was complete. Times of the whole exchange count from here, also where `begin` is run again on
    /// a newer table.
    pub arrived: Tick,
    /// The client.
    pub peer: SocketAddr,
    /// Where the client thought it was connecting to (`SO_ORIGINAL_DST`).
    pub original_destination: Option<SocketAddr>,
    /// The proxy was addressed as an explicit proxy (absolute-form target).
    pub absolute_form: bool,
    /// A body follows.
    pub has_body: bool,
    /// The request asks for an upgrade, so it cannot be tried twice.
    pub upgrade: bool,
    /// The shard that serves it, from 0: shares of fast rate limits are lent by shard.
    pub shard: usize,
    /// Whose TLS settings a gateway's connection came by; none where it ended no TLS by settings of its own.
    pub server_tls: Option<CameBy>,
}

/// The TLS settings that a connection came by, as the table in force knows them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CameBy {
    /// Those at this position in the listener's list.
    Settings(usize),
    /// Settings that the listener has no more.
    Gone,
}

/// What is known of a TCP connection when it arrives.
#[derive(Clone, Copy, Debug)]
pub struct TcpArrival<'a> {
    /// Index of the listener in the table.
    pub listener: usize,
    /// Where the client thought it was connecting to (`SO_ORIGINAL_DST`).
    pub original_destination: Option<SocketAddr>,
    /// The client.
    pub peer: SocketAddr,
    /// The server name of the ClientHello that the connection begins with, where it does and is passed on unread.
    pub hello: Option<Option<&'a [u8]>>,
    /// When the client connected, also where this is run again on a newer table.
    pub arrived: Tick,
}

/// What to do next.
#[derive(Debug)]
pub enum Step {
    /// Answer from here, then [`Input::Finished`].
    Respond(Local),
    /// Wait until then, then [`Input::Timer`].
    Wait(Tick),
    /// Ask the controller for this object, wait for the next table or until then: [`Input::Table`] or
    /// [`Input::Timer`]; [`Input::NoRoom`] where no more may wait.
    Fetch {
        /// [`Kind::VirtualHost`], or [`Kind::Destination`] together with the endpoints of the same name.
        kind: Kind,
        /// The object's name.
        name: Arc<str>,
        /// Longest wait.
        until: Tick,
    },
    /// Send the request to this target; answer with [`Input::AttemptFailed`] or [`Input::ResponseHead`] (TCP:
    /// [`Input::Connected`]).
    Attempt(Attempt),
    /// Send the response on as it comes; then [`Input::Finished`].
    Forward,
    /// Give up the answer now coming (close or drain its connection), then as the inner step says.
    Discard(Box<Step>),
    /// The exchange is over: nothing is left to do.
    Done,
}

/// A response made here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Local {
    /// HTTP status.
    pub status: u16,
    /// Why.
    pub reason: Reason,
    /// What happened, to whom, what to try; the body of the response inside the mesh, and the log's detail.
    pub detail: String,
    /// `Location`, for redirects.
    pub location: Option<String>,
    /// `Retry-After` in seconds, for rate limits.
    pub retry_after_s: Option<u64>,
    /// A rule's body (`directResponse`), replacing the detail.
    pub body: Option<String>,
    /// What the rule does to the headers of its redirect or direct response; `content-type`, say.
    pub changes: HeaderChange,
}

/// One try.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// Where to.
    pub target: Target,
    /// Connect by then, if connecting begins at once; a wait for a place under a cap before it does not count.
    pub connect_by: Tick,
    /// The response head must have come by then ([`Tick::NEVER`] without a limit), however long a connection had to be
    /// waited for; else
    /// [`Reason::PerTryTimeout`].
    pub head_by: Tick,
    /// The whole exchange must be over by then; else [`Reason::RequestTimeout`].
    pub finish_by: Tick,
    /// 1 for the first.
    pub number: u32,
}

/// Where a try goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// The endpoint that `Exchange::endpoint` tells more about.
    Endpoint(SocketAddr),
    /// An address outside the index, or where the client was going.
    Address(SocketAddr),
    /// A name outside the index; resolve it.
    Name {
        /// DNS name.
        host: Arc<str>,
        /// Port.
        port: u16,
    },
}

/// What happened.
#[derive(Debug)]
pub enum Input {
    /// The time waited for has come.
    Timer,
    /// A new table is in force while the exchange waited for one: drop it and run `begin` again. Needs no `handle`.
    Table,
    /// The wait for a table cannot be begun: too many wait already.
    NoRoom,
    /// The try ended without an answer.
    AttemptFailed {
        /// Why.
        reason: Reason,
        /// Bytes of the request were written to the connection.
        request_bytes_sent: bool,
        /// The connection had served another request before.
        connection_reused: bool,
        /// The request can be sent again from its start: all of its body that was read is still here. Without that
        /// there is no other try, even if nothing was sent.
        replayable: bool,
    },
    /// The final response head (not 1xx) has come.
    ResponseHead {
        /// Its status.
        status: u16,
        /// Its `grpc-status`, where the head has one.
        grpc_status: Option<u8>,
        /// The request can be sent again from its start.
        replayable: bool,
    },
    /// TCP: the try has a connection.
    Connected,
    /// The exchange is over; may come at any time. The next step is [`Step::Done`].
    Finished(End),
}

/// How an exchange ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The whole response was sent on.
    Complete,
    /// The upstream broke off after its head.
    UpstreamAborted,
    /// The time ran out after the head.
    TimedOut,
    /// An upgraded or TCP connection carried nothing for its idle time.
    Idle,
    /// The client went away.
    DownstreamClosed,
    /// The client's body broke a rule before there was an answer; refused for this reason.
    Refused(Reason),
}

#[cfg(test)]
mod tests;
