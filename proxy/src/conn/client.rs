//! A client's connection as all its exchanges see it.

use std::cell::{Cell, OnceCell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use dromon_auth::SpiffeId;
use dromon_core::config::table::Table;
use dromon_core::exchange::CameBy;
use dromon_core::limits::DOWNSTREAM_IDLE_MS;
use dromon_core::proxy_protocol::Addresses;
use dromon_core::time::Tick;

use super::http::STRAY;
use crate::io::tls::Opening;
use crate::io::{Alarm, Stream};
use crate::shard::peers::Ends;
use crate::shard::{ListenerHandle, Shard};
use crate::sys::buffer::Buffer;
use crate::sys::clock;
use crate::sys::socket::Socket;

/// What the listener is for, as far as a request's treatment depends on it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Port {
    /// Connections come by REDIRECT, or from clients that use it as their HTTP proxy.
    pub(super) outbound: bool,
    /// Requests come for this proxy's own application.
    pub(super) inbound: bool,
    /// Requests come from outside the mesh.
    pub(super) gateway: bool,
    /// Requests for the application come by REDIRECT.
    pub(super) captured: bool,
}

/// Where a client was connecting to, if a REDIRECT brought it to a port that asks.
pub(super) fn original_destination(socket: &Socket, port: Port) -> Option<SocketAddr> {
    if port.outbound || port.captured { redirected_from(socket) } else { None }
}

/// Where a client was connecting to, if a REDIRECT brought it here.
pub(super) fn redirected_from(socket: &Socket) -> Option<SocketAddr> {
    // Without a REDIRECT some kernels answer with the address that was really connected to.
    let redirected = |address: &SocketAddr| Some(*address) != socket.local_address().ok();
    socket.original_destination().filter(redirected)
}

/// One client connection.
pub(super) struct Client {
    pub(super) shard: Rc<Shard>,
    pub(super) listener: Rc<ListenerHandle>,
    pub(super) stream: Stream,
    pub(super) peer: SocketAddr,
    /// Where the client was connecting to, if a REDIRECT brought it here.
    pub(super) original: Option<SocketAddr>,
    /// What the listener is for.
    pub(super) port: Port,
    /// When it was accepted.
    pub(super) opened: Tick,
    /// Its timer.
    pub(super) alarm: Alarm,
    /// Who is at either end, by mutual TLS.
    pub(super) ends: Option<Arc<Ends>>,
    /// Requests it has sent.
    pub(super) requests: Cell<u64>,
    /// Why the latest upstream connection that failed in TLS did; empty before one has.
    pub(super) transport_failure: RefCell<Box<str>>,
    /// Between whom the connection is: as it was introduced, or once an upstream wants to know.
    pub(super) addresses: OnceCell<Option<Box<Addresses>>>,
    /// A ClientHello that was read and is not answered here: its connection is passed on as it is.
    pub(super) opening: RefCell<Option<Box<Opening>>>,
}

impl Client {
    pub(super) fn new(
        shard: Rc<Shard>,
        listener: Rc<ListenerHandle>,
        stream: Stream,
        peer: SocketAddr,
        port: Port,
    ) -> Client {
        let original = original_destination(stream.socket(), port);
        Client {
            shard,
            listener,
            stream,
            peer,
            original,
            port,
            opened: clock::coarse(),
            alarm: Alarm::default(),
            ends: None,
            requests: Cell::new(0),
            transport_failure: RefCell::default(),
            addresses: OnceCell::new(),
            opening: RefCell::default(),
        }
    }

    /// The same, with what has been said of it: an upstream that wants to know is told that, both ends of it.
    pub(super) fn introduced(self, addresses: Option<Box<Addresses>>) -> Client {
        let addresses = addresses.map_or_else(OnceCell::new, |told| OnceCell::from(Some(told)));
        Client { addresses, ..self }
    }

    /// The SPIFFE id that the client has proved; empty for none.
    pub(super) fn principal(&self) -> &str {
        self.stream.peer_identity().map_or("", SpiffeId::as_str)
    }

    /// What the application is told of the client's certificate in `x-forwarded-client-cert`: nothing that the client says of
    /// itself. None where the field is the application's own business.
    pub(super) fn forwarded_certificate(&self) -> Option<&str> {
        let told = || self.ends.as_deref().map_or("", |ends| &ends.forwarded);
        (self.port.inbound || self.port.gateway).then(told)
    }

    /// Whose TLS settings it came by, where the listener has settings of its own. By the name that it asked for, since their
    /// positions change with the table.
    pub(super) fn server_tls(&self, table: &Table) -> Option<CameBy> {
        if !self.port.gateway || !self.secure() {
            return None;
        }
        let listener = table.listeners.get(self.listener.index(table)?)?;
        let found = listener.server_tls(self.stream.sni().map(str::as_bytes));
        Some(found.map_or(CameBy::Gone, |(at, _)| CameBy::Settings(at)))
    }

    /// Whether the client came by TLS.
    pub(super) fn secure(&self) -> bool {
        !matches!(self.stream, Stream::Plain(_))
    }

    /// Waits for the next request's first byte without holding a buffer; false if there will be none.
    pub(super) async fn readable(&self) -> bool {
        let idle_until = clock::coarse().plus_millis(DOWNSTREAM_IDLE_MS);
        matches!(self.alarm.within(idle_until, self.stream.readable()).await, Ok(Ok(())))
    }

    /// Takes a lone line end that has come instead of a request; false if something else has.
    pub(super) fn skip_stray(&self) -> bool {
        let mut bytes = [0; STRAY.len() + 1];
        let count = self.stream.peek_bytes(&mut bytes);
        if bytes.get(..count) != Some(STRAY) {
            return false;
        }
        // What was looked at is there to be read.
        matches!(self.stream.try_read(&mut Buffer::with_capacity(STRAY.len())), Ok(1..))
    }

    /// Waits for the next request's first bytes with a buffer; none if there will be none.
    pub(super) async fn first_bytes(&self, buffer: Buffer) -> Option<Buffer> {
        let idle_until = clock::coarse().plus_millis(DOWNSTREAM_IDLE_MS);
        match self.alarm.within(idle_until, self.stream.read(buffer)).await {
            Ok((Ok(1..), buffer)) => Some(buffer),
            _ => None,
        }
    }
}
