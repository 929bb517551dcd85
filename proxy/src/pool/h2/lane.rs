//! The connections to one endpoint of a destination, and the requests that wait for a stream of them.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Poll, Waker};

use dromon_core::balance::DestinationState;
use dromon_core::fault::Reason;
use dromon_core::limits::{H2_CONNECTIONS_PER_POOL_MAX, H2_FALLBACK_MS};
use dromon_core::time::Tick;

use super::connection::{self, Connection, H2Call};
use crate::pool::Wanted;
use crate::shard::Shard;
use crate::sys::clock;

/// Connections to one endpoint, and the line before them.
pub(in crate::pool) struct Lane {
    /// It is for one request.
    private: bool,
    connections: RefCell<Vec<Rc<Connection>>>,
    /// By number, the lowest first.
    line: RefCell<VecDeque<Waiter>>,
    next: Cell<u64>,
    /// A connection is being made.
    connecting: Cell<bool>,
    /// The peer has chosen HTTP/1.1; it is not asked again before.
    http1_until: Cell<Tick>,
    /// Streams that the peer allowed on its latest connection; 0 before the first. A new connection begins with it, since
    /// its own word comes only after the first requests have gone.
    streams_learned: Cell<usize>,
    /// Keeps the state's address, by which the lane is found, from being taken by another.
    _state: Option<Arc<DestinationState>>,
}

struct Waiter {
    number: u64,
    waker: Option<Waker>,
    /// What it waited for has failed, with the text that is there of it.
    failed: Option<(Reason, Box<str>)>,
}

impl Lane {
    pub(in crate::pool) fn new(state: Option<Arc<DestinationState>>) -> Lane {
        Lane {
            private: false,
            connections: RefCell::default(),
            line: RefCell::default(),
            next: Cell::new(0),
            connecting: Cell::new(false),
            http1_until: Cell::new(Tick::ZERO),
            streams_learned: Cell::new(0),
            _state: state,
        }
    }

    /// A lane for one request, on a connection of its own.
    pub(super) fn private(state: Option<Arc<DestinationState>>) -> Lane {
        Lane { private: true, ..Lane::new(state) }
    }

    /// See [`Lane::private`].
    pub(super) fn is_private(&self) -> bool {
        self.private
    }

    /// A stream of the first connection that has one to give. Forgets those that give none any more.
    pub(super) fn take(&self) -> Option<H2Call> {
        let now = clock::coarse();
        let mut ended = false;
        let taken = self.connections.borrow().iter().find_map(|connection| {
            let call = connection.open(now);
            ended |= !connection.takes_more();
            call
        });
        if ended {
            self.connections.borrow_mut().retain(|connection| connection.takes_more());
        }
        taken
    }

    /// Makes another connection, unless one is being made or there are too many.
    pub(super) fn grow(self: &Rc<Lane>, shard: &Rc<Shard>, wanted: Wanted<'_>) {
        if self.connections.borrow().len() < H2_CONNECTIONS_PER_POOL_MAX && !self.connecting.replace(true) {
            connection::make(shard, self, wanted);
        }
    }

    /// Streams that a new connection may begin with; none if nothing is known.
    pub(super) fn streams_learned(&self) -> Option<usize> {
        Some(self.streams_learned.get()).filter(|streams| *streams > 0)
    }

    /// The peer allows so many streams.
    pub(super) fn learn_streams(&self, streams: usize) {
        self.streams_learned.set(streams);
    }

    /// A connection has been made.
    pub(super) fn add(&self, connection: Rc<Connection>) {
        self.connecting.set(false);
        self.connections.borrow_mut().push(connection);
        self.wake_first();
    }

    /// A connection takes no more, or is gone.
    pub(super) fn remove(&self, connection: &Rc<Connection>) {
        self.connections.borrow_mut().retain(|other| !Rc::ptr_eq(other, connection));
        self.wake_first();
    }

    /// The connection that was to be made is not wanted any more.
    pub(super) fn abandoned(&self) {
        self.connecting.set(false);
        self.wake_first();
    }

    /// The connection could not be made: whoever waits for it hears why.
    pub(super) fn failed(&self, reason: Reason, text: &str) {
        self.connecting.set(false);
        self.tell_all(Some((reason, text)));
    }

    /// The peer has chosen HTTP/1.1.
    pub(super) fn chose_http1(&self) {
        self.connecting.set(false);
        self.http1_until.set(clock::now().plus_millis(H2_FALLBACK_MS));
        self.tell_all(None);
    }

    /// The peer is known to choose HTTP/1.1.
    pub(super) fn is_http1(&self, now: Tick) -> bool {
        now < self.http1_until.get()
    }

    /// Nobody stands in line.
    pub(super) fn is_empty(&self) -> bool {
        self.line.borrow().is_empty()
    }

    /// How many stand in line.
    pub(super) fn waiting(&self) -> usize {
        self.line.borrow().len()
    }

    /// Nothing would be lost with it.
    pub(super) fn is_unused(&self, now: Tick) -> bool {
        let connections = self.connections.borrow();
        connections.is_empty() && self.is_empty() && !self.connecting.get() && !self.is_http1(now)
    }

    /// Closes a connection that serves nobody now; false if there is none.
    pub(super) fn close_one_idle(&self) -> bool {
        let idle = self.connections.borrow().iter().find(|connection| connection.is_idle()).cloned();
        if let Some(connection) = &idle {
            connection.retire();
        }
        idle.is_some()
    }

    /// Closes all connections that serve nobody now.
    pub(super) fn close_idle(&self) {
        while self.close_one_idle() {}
    }

    /// Stands at the end of the line until dropped.
    pub(super) fn join(self: &Rc<Lane>) -> Place {
        let number = self.next.replace(self.next.get() + 1);
        self.line.borrow_mut().push_back(Waiter { number, waker: None, failed: None });
        Place { lane: self.clone(), number }
    }

    /// A stream may have come free.
    pub(super) fn wake_first(&self) {
        let waker = self.line.borrow_mut().front_mut().and_then(|waiter| waiter.waker.take());
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn tell_all(&self, failed: Option<(Reason, &str)>) {
        let mut wakers = Vec::new();
        for waiter in self.line.borrow_mut().iter_mut() {
            waiter.failed = failed.map(|(reason, text)| (reason, text.into()));
            wakers.extend(waiter.waker.take());
        }
        wakers.into_iter().for_each(Waker::wake);
    }
}

/// A place in line.
pub(super) struct Place {
    lane: Rc<Lane>,
    number: u64,
}

impl Place {
    /// It is this one's turn.
    pub(super) fn is_first(&self) -> bool {
        self.lane.line.borrow().front().is_some_and(|first| first.number == self.number)
    }

    /// Waits until there may be something to be had; a reason, and the text there is of it, where what was waited for has
    /// failed.
    pub(super) async fn moved(&self) -> Option<(Reason, Box<str>)> {
        let mut registered = false;
        poll_fn(|context| {
            let mut line = self.lane.line.borrow_mut();
            let found = line.binary_search_by_key(&self.number, |waiter| waiter.number).ok();
            let Some(waiter) = found.and_then(|at| line.get_mut(at)) else { return Poll::Ready(None) };
            if waiter.failed.is_some() || (registered && waiter.waker.is_none()) {
                return Poll::Ready(waiter.failed.take());
            }
            registered = true;
            waiter.waker = Some(context.waker().clone());
            Poll::Pending
        })
        .await
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let was_first = self.is_first();
        let mut line = self.lane.line.borrow_mut();
        if let Ok(at) = line.binary_search_by_key(&self.number, |waiter| waiter.number) {
            line.remove(at);
        }
        drop(line);
        if self.lane.private {
            // What was made for this one and not taken.
            self.lane.close_idle();
        }
        if was_first {
            self.lane.wake_first();
        }
    }
}
