//! A client's connection: settings, new streams, budgets, signs of life, and its end.

use std::cell::{Cell, RefCell};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use dromon_core::h2::{Meter, Trip, client_value};
use dromon_core::limits::{
    DOWNSTREAM_IDLE_MS, H2_CONNECTION_WINDOW_BYTES, H2_HEADER_TABLE_BYTES, H2_PING_AFTER_MS,
    H2_PING_ANSWER_MS, H2_SEND_BUFFER_BYTES, H2_STREAM_ERRORS_MAX, H2_STREAM_WINDOW_BYTES, H2_STREAMS_MAX,
    HEAD_BYTES_MAX, HEAD_DEADLINE_MS, WRITE_STALL_MS,
};
use dromon_core::time::Tick;
use h2::server::{Builder, Connection, Handshake};
use h2::{Ping, PingPong};
use http::HeaderValue;

use super::memio::{self, Engine, Io};
use super::stream::Work;
use crate::conn::admission::tell_of_end;
use crate::conn::client::Client;
use crate::refusal::{Ground, Offence, Refusal, Side};
use crate::sys::buffer::Buffer;
use crate::sys::clock;

/// The reason where it is not a budget of the meter that was spent but one of the `h2` crate's own, on resets above all: its
/// error does not say which.
const OF_LIBRARY: &str = "h2_limit";

/// What the streams of a connection share.
pub(super) struct Conn {
    pub(super) client: Client,
    meter: RefCell<Meter>,
    trip: Cell<Option<Trip>>,
    /// It counts among the abused.
    counted: Cell<bool>,
    /// Streams under way.
    open: Cell<u32>,
    /// Streams that are over here and may have bytes that have not left yet: as long they count as under way, so that a
    /// drain waits for them.
    leaving: Cell<u32>,
    /// The client's address as requests tell it upstream.
    address: Option<HeaderValue>,
    waker: RefCell<Option<Waker>>,
}

impl Conn {
    fn new(client: Client) -> Conn {
        Conn {
            address: client.port.gateway.then(|| client_value(client.peer.ip())).flatten(),
            client,
            meter: RefCell::new(Meter::of_client()),
            trip: Cell::new(None),
            counted: Cell::new(false),
            open: Cell::new(0),
            leaving: Cell::new(0),
            waker: RefCell::new(None),
        }
    }

    /// The client's address as requests tell it upstream, where they do.
    pub(super) fn address_value(&self) -> Option<&HeaderValue> {
        self.address.as_ref()
    }

    /// A drain has begun: the end of an answer that is over may still be on its way.
    fn hold(&self) {
        if self.leaving.get() == 0 && self.client.stream.socket().unsent_bytes() > 0 {
            self.leaving.set(1);
            self.client.shard.gauges.requests_active.add(1);
        }
    }

    /// What was under way has left.
    fn left(&self) {
        self.client.shard.gauges.requests_active.sub(u64::from(self.leaving.replace(0)));
    }

    /// A DATA frame was sent.
    pub(super) fn data_sent(&self) {
        self.meter.borrow_mut().data_sent();
    }

    /// A stream's answer has begun.
    pub(super) fn answered(&self) {
        self.meter.borrow_mut().answered();
    }

    /// The client has reset a stream before its answer had begun.
    pub(super) fn reset_unanswered(&self) {
        let spent = self.meter.borrow_mut().reset_unanswered();
        self.judge(spent);
    }

    /// A stream was answered with an error of the client's making.
    pub(super) fn stream_error(&self) {
        let spent = self.meter.borrow_mut().stream_error();
        self.judge(spent);
    }

    /// Counts the connection among those that abuse has ended, once.
    fn abused(&self, reason: &'static str, detail: String) {
        if !self.counted.replace(true) {
            let Client { shard, listener, peer, .. } = &self.client;
            let ground = Ground { offence: Offence::Http2Abuse, side: Side::Downstream, reason };
            shard.refused(Refusal { ground, peer: *peer, at: (*listener.name).into(), detail });
        }
    }

    fn judge(&self, spent: Result<(), Trip>) {
        let Err(trip) = spent else { return };
        if self.trip.replace(Some(trip)).is_none() {
            self.abused(trip.name(), trip.to_string());
            if let Some(waker) = self.waker.borrow_mut().take() {
                waker.wake();
            }
        }
    }
}

/// One of a connection's streams under way, until it is dropped.
pub(super) struct Open(pub(super) Rc<Conn>);

impl Open {
    fn new(conn: Rc<Conn>) -> Open {
        conn.client.shard.gauges.requests_active.add(1);
        conn.open.set(conn.open.get() + 1);
        Open(conn)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let conn = &*self.0;
        conn.open.set(conn.open.get().saturating_sub(1));
        if conn.leaving.replace(conn.leaving.get() + 1) == 0
            && let Some(waker) = &*conn.waker.borrow()
        {
            waker.wake_by_ref();
        }
    }
}

/// Serves a client's connection to its end; `first` are the bytes that told its protocol.
pub(in crate::conn) async fn serve(client: Client, first: Buffer) {
    let conn = Rc::new(Conn::new(client));
    let client = &conn.client;
    let (io, pump) = memio::pair(&client.shard);
    let pump = pump.with_ahead(first);
    let mut server = Server::new(conn.clone(), io);
    memio::drive(&client.shard, &client.stream, &client.alarm, &pump, &mut server).await;
    tell_of_end(client);
}

enum State {
    Handshake(Handshake<Io, Bytes>),
    Open(Connection<Io, Bytes>),
}

/// What a client that was told to go, and has no stream under way, has not acknowledged.
#[derive(Default)]
struct Tail {
    unsent_bytes: usize,
    /// When it last became another number.
    moved: Tick,
    /// When the client counts as gone.
    lost_at: Tick,
}

/// The connection's engine.
struct Server {
    conn: Rc<Conn>,
    state: State,
    /// Streams taken.
    accepted: u64,
    /// When the connection began.
    began: Tick,
    /// When bytes came last; at first, when the connection began.
    heard: Tick,
    /// When the connection was told to go, if it was.
    leaving: Option<Tick>,
    /// What it has still to take then.
    tail: Tail,
    /// It knows that the shard drains.
    draining: bool,
    /// It was told to stop at once.
    stopped: bool,
    /// Taken with the first ping: once it is, `h2` arms a waker of its own with every frame.
    pinger: Option<PingPong>,
    pinged: Option<Tick>,
    /// Its place among the tasks that are woken for a drain.
    place: Option<u64>,
}

impl Server {
    fn new(conn: Rc<Conn>, io: Io) -> Server {
        let handshake = Builder::new()
            .initial_window_size(H2_STREAM_WINDOW_BYTES)
            .initial_connection_window_size(H2_CONNECTION_WINDOW_BYTES)
            .max_concurrent_streams(H2_STREAMS_MAX)
            .max_header_list_size(HEAD_BYTES_MAX as u32)
            .header_table_size(H2_HEADER_TABLE_BYTES)
            .max_send_buffer_size(H2_SEND_BUFFER_BYTES)
            .max_local_error_reset_streams(Some(H2_STREAM_ERRORS_MAX as usize))
            .enable_connect_protocol()
            .handshake(io);
        Server {
            conn,
            state: State::Handshake(handshake),
            accepted: 0,
            began: clock::coarse(),
            heard: clock::coarse(),
            leaving: None,
            tail: Tail::default(),
            draining: false,
            stopped: false,
            pinger: None,
            pinged: None,
            place: None,
        }
    }

    /// Lets streams and a drain wake the task.
    fn enlist(&mut self, context: &Context<'_>) {
        let mut waker = self.conn.waker.borrow_mut();
        if waker.is_none() {
            *waker = Some(context.waker().clone());
        }
        if self.place.is_none() {
            self.place = Some(self.conn.client.shard.roster.join(context.waker().clone()));
        }
    }

    /// Ends what must end: at once after abuse; politely for a drain, after enough requests and after a long idle time.
    /// True if something changed.
    fn steer(&mut self, now: Tick) -> bool {
        let State::Open(connection) = &mut self.state else { return false };
        if self.conn.trip.get().is_some() && !self.stopped {
            self.stopped = true;
            connection.abrupt_shutdown(h2::Reason::ENHANCE_YOUR_CALM);
            return true;
        }
        let draining = self.conn.client.shard.draining();
        if draining && !std::mem::replace(&mut self.draining, true) {
            self.conn.hold();
        }
        let idle = self.conn.open.get() == 0 && now >= self.heard.plus_millis(DOWNSTREAM_IDLE_MS);
        let most = self.conn.client.shard.http2_requests_max.get();
        let enough = most > 0 && self.accepted >= most;
        if self.leaving.is_none() && (idle || enough || draining) {
            self.leaving = Some(now);
            connection.graceful_shutdown();
            return true;
        }
        false
    }

    /// Preface and SETTINGS must come in the time of a head, however they trickle in.
    fn is_late(&self, now: Tick) -> bool {
        now >= self.began.plus_millis(HEAD_DEADLINE_MS) && !self.conn.meter.borrow().is_greeted()
    }

    /// Whether a client that was told to go does not: it has nothing to take any more, or takes nothing.
    fn stays(&mut self, since: Tick, now: Tick) -> bool {
        let State::Open(connection) = &self.state else { return false };
        let unsent_bytes = self.conn.client.stream.socket().unsent_bytes();
        let tail = &mut self.tail;
        if tail.unsent_bytes != unsent_bytes {
            tail.unsent_bytes = unsent_bytes;
            tail.moved = now;
        }
        tail.lost_at = match unsent_bytes > 0 || connection.has_streams() {
            true => since.max(self.heard).max(tail.moved).plus_millis(WRITE_STALL_MS),
            false => since.max(tail.moved).plus_millis(H2_PING_ANSWER_MS),
        };
        now >= tail.lost_at
    }

    /// Whether the client is gone without a word: it answers no ping, or does not go when told to.
    fn is_lost(&mut self, now: Tick, context: &mut Context<'_>) -> bool {
        let unanswered = |since: Tick| now >= since.plus_millis(H2_PING_ANSWER_MS);
        if self.conn.open.get() == 0 {
            return self.leaving.is_some_and(|since| self.stays(since, now));
        }
        let quiet = now >= self.heard.plus_millis(H2_PING_AFTER_MS);
        match (self.pinged, &mut self.pinger) {
            (Some(_), Some(pinger)) if !quiet => {
                // Any byte is a sign of life; the pong is taken so that there can be another ping.
                if pinger.poll_pong(context).is_ready() {
                    self.pinged = None;
                }
                false
            }
            (Some(since), _) => quiet && unanswered(since),
            (None, pinger) if quiet => {
                if let (State::Open(connection), None) = (&mut self.state, &pinger) {
                    *pinger = connection.ping_pong();
                }
                if let Some(pinger) = pinger {
                    let _ = pinger.send_ping(Ping::opaque());
                }
                self.pinged = Some(now);
                // The connection is to be polled again: it has something to write.
                context.waker().wake_by_ref();
                false
            }
            (None, _) => false,
        }
    }

    /// Every header block that has come so far was a request's, and was taken.
    fn has_all(&self) -> bool {
        self.accepted == self.conn.meter.borrow().blocks()
    }

    fn take(&mut self, request: http::Request<h2::RecvStream>, respond: h2::server::SendResponse<Bytes>) {
        let conn = &self.conn;
        self.accepted += 1;
        conn.client.requests.set(conn.client.requests.get() + 1);
        let begin = || Work::new(Open::new(conn.clone()), request, respond);
        conn.client.shard.h2_workers.serve(begin);
    }
}

impl Engine for Server {
    fn inspect(&mut self, bytes: &[u8], now: Tick) -> usize {
        self.heard = now;
        let (good, spent) = self.conn.meter.borrow_mut().inspect(bytes, now);
        self.conn.judge(spent);
        good
    }

    fn wake_at(&self) -> Tick {
        let life = match (&self.state, self.conn.open.get(), self.leaving) {
            (State::Handshake(_), ..) => Tick::NEVER,
            (State::Open(_), 0, Some(_)) => self.tail.lost_at,
            (State::Open(_), 0, None) => self.heard.plus_millis(DOWNSTREAM_IDLE_MS),
            (State::Open(_), ..) => match self.pinged {
                Some(since) => {
                    since.plus_millis(H2_PING_ANSWER_MS).max(self.heard.plus_millis(H2_PING_AFTER_MS))
                }
                None => self.heard.plus_millis(H2_PING_AFTER_MS),
            },
        };
        let meter = self.conn.meter.borrow();
        let greeting =
            if meter.is_greeted() { Tick::NEVER } else { self.began.plus_millis(HEAD_DEADLINE_MS) };
        life.min(meter.deadline()).min(greeting)
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        self.enlist(context);
        let now = clock::now();
        if self.is_late(now) {
            return Poll::Ready(());
        }
        let in_time = self.conn.meter.borrow().check_time(now);
        self.conn.judge(in_time);
        if let State::Handshake(handshake) = &mut self.state {
            match Pin::new(handshake).poll(context) {
                Poll::Ready(Ok(connection)) => self.state = State::Open(connection),
                Poll::Ready(Err(_)) => return Poll::Ready(()),
                Poll::Pending if self.conn.trip.get().is_some() => return Poll::Ready(()),
                Poll::Pending => return Poll::Pending,
            }
        }
        self.steer(now);
        loop {
            let State::Open(connection) = &mut self.state else { return Poll::Ready(()) };
            match connection.poll_accept(context) {
                Poll::Ready(Some(Ok((request, respond)))) => {
                    self.take(request, respond);
                    // To ask once more costs as much as to poll the connection.
                    if self.has_all() && !self.steer(now) {
                        return Poll::Pending;
                    }
                }
                Poll::Ready(Some(Err(error))) => {
                    // The crate has limits of its own, on resets above all.
                    if error.reason() == Some(h2::Reason::ENHANCE_YOUR_CALM) && !error.is_remote() {
                        self.conn.abused(OF_LIBRARY, error.to_string());
                    }
                    return Poll::Ready(());
                }
                Poll::Ready(None) => return Poll::Ready(()),
                Poll::Pending if self.steer(now) => {}
                Poll::Pending if self.is_lost(now, context) => return Poll::Ready(()),
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    /// What has left counts no longer. At a drain it does until the connection is over: a client that still reads, and gives
    /// windows back to a process that has ended, is told that its connection was reset.
    fn flushed(&mut self) {
        if self.conn.leaving.get() > 0 && !self.conn.client.shard.draining() {
            self.conn.left();
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.conn.left();
        if let Some(place) = self.place {
            self.conn.client.shard.roster.leave(place);
        }
    }
}
