//! Messages between the steward and the shards: all that the two kinds of thread ever share beside tables.
//!
//! A mailbox is a bounded queue with wakers, not a runtime's channel, because its two ends live on different runtimes.
//! The lock is held for a push or a pop only, and never on the path of a
//! request: a shard looks at its mailbox when it is woken for it.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::net::{IpAddr, TcpListener};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use dromon_core::config::model::Kind;
use dromon_core::config::table::Table;
use dromon_core::telemetry::Interval;
use dromon_core::time::Tick;
use thiserror::Error;

use crate::refusal::{Counts, Refusal};
use crate::shard::stats::ShardStats;
use crate::tls::TlsTable;

/// Number of a shard, from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ShardId(pub usize);

/// What the steward tells a shard.
#[derive(Debug)]
pub enum ToShard {
    /// The table in force from now on. Answered by [`FromShard::Ack`]; the one before travels back in
    /// [`FromShard::Dropped`].
    Table(Arc<Table>, Arc<TlsTable>),
    /// Accept on this socket (listening, `SO_REUSEPORT`, one per shard) for the listener of that name. Sent after the
    /// table that holds the listener. Answered by [`FromShard::Listening`].
    Listen {
        /// The listener's name in the table.
        listener: Arc<str>,
        /// The socket.
        socket: TcpListener,
    },
    /// Stop accepting for that listener: take what waits in the socket's queue, then close it. Connections it has
    /// accepted live on. Answered by [`FromShard::Unlistened`].
    Unlisten {
        /// The listener's name.
        listener: Arc<str>,
    },
    /// Hand over the interval's counters. Answered by [`FromShard::Stats`].
    Scrape,
    /// Stop keep-alive and let exchanges finish until then. Answered by [`FromShard::Drained`].
    Drain {
        /// What is left then is closed.
        deadline: Tick,
    },
    /// End the thread; what is open is closed.
    Stop,
    /// What DNS says of a name that the shard asked for with [`FromShard::Resolve`].
    Resolved {
        /// The name.
        host: Arc<str>,
        /// Addresses, or why there are none.
        answer: Result<Vec<IpAddr>, String>,
        /// The answer holds until then.
        until: Tick,
    },
}

/// What a shard tells the steward.
#[derive(Debug)]
pub enum FromShard {
    /// The shard's runtime stands.
    Started {
        /// Which.
        shard: ShardId,
        /// What it runs on, and why not on something better.
        driver: DriverReport,
    },
    /// The shard's runtime could not be built; its thread has ended.
    Failed {
        /// Which.
        shard: ShardId,
        /// Why.
        error: String,
    },
    /// The table of this version is in force.
    Ack {
        /// Where.
        shard: ShardId,
        /// The table's version.
        version: u64,
    },
    /// The shard accepts on the listener's socket, or why it cannot.
    Listening {
        /// Where.
        shard: ShardId,
        /// The listener's name.
        listener: Arc<str>,
        /// What is wrong with the socket, if anything.
        error: Option<String>,
    },
    /// The listener's socket is closed.
    Unlistened {
        /// Where.
        shard: ShardId,
        /// The listener's name.
        listener: Arc<str>,
    },
    /// Counters since the last scrape.
    Stats {
        /// Whose.
        shard: ShardId,
        /// The shard's own numbers.
        stats: Box<ShardStats>,
        /// What it has counted about exchanges.
        exchanges: Box<Interval>,
        /// Connections that it has turned away.
        refusals: Counts,
    },
    /// A request came that needs this object of the feed, which the table does not have.
    Need {
        /// [`Kind::VirtualHost`], or [`Kind::Destination`] together with the endpoints of the same name.
        kind: Kind,
        /// The object's name.
        name: Arc<str>,
    },
    /// Look this name up; answer with [`ToShard::Resolved`].
    Resolve {
        /// Who asks.
        shard: ShardId,
        /// The name.
        host: Arc<str>,
    },
    /// Rendered access-log lines.
    AccessLog(Vec<u8>),
    /// A table no longer in use by this shard, to be freed away from it.
    Dropped(Arc<Table>, Arc<TlsTable>),
    /// A connection was turned away. Counted in [`FromShard::Stats`]; this is for the log.
    Refused(Box<Refusal>),
    /// No exchange is open any more, or the deadline of [`ToShard::Drain`] has passed.
    Drained {
        /// Which.
        shard: ShardId,
    },
    /// The shard's thread is about to end, after [`ToShard::Stop`].
    Stopped {
        /// Which.
        shard: ShardId,
    },
}

/// What a shard's runtime stands on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DriverReport {
    /// `io_uring+defer`, `io_uring+coop`, `io_uring` or `epoll`.
    pub driver: &'static str,
    /// Why nothing better, empty where it is the best; for the log.
    pub reason: String,
}

/// Why a message was not taken.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum SendError<T> {
    /// The mailbox is full.
    #[error("the mailbox is full")]
    Full(T),
    /// The other end is gone.
    #[error("the other end of the mailbox is gone")]
    Closed(T),
}

impl<T> SendError<T> {
    /// The message.
    pub fn into_inner(self) -> T {
        match self {
            SendError::Full(message) | SendError::Closed(message) => message,
        }
    }
}

/// A mailbox for at most `capacity` messages.
pub fn mailbox<T>(capacity: usize) -> (Sender<T>, Receiver<T>) {
    let state = State {
        queue: VecDeque::new(),
        capacity,
        receiver: None,
        senders: Vec::new(),
        sender_count: 1,
        receiver_gone: false,
    };
    let shared = Arc::new(Mutex::new(state));
    (Sender { shared: shared.clone() }, Receiver { shared })
}

/// The end that messages go in by. Cloned for each thread that sends.
#[derive(Debug)]
pub struct Sender<T> {
    shared: Arc<Mutex<State<T>>>,
}

impl<T> Sender<T> {
    /// Puts a message in, if there is room.
    pub fn try_send(&self, message: T) -> Result<(), SendError<T>> {
        self.offer(message, None)
    }

    /// Puts a message in, waiting for room. Gives the message back if the other end is gone.
    pub async fn send(&self, message: T) -> Result<(), T> {
        let mut message = Some(message);
        poll_fn(|context| {
            let Some(offered) = message.take() else { return Poll::Ready(Ok(())) };
            match self.offer(offered, Some(context.waker())) {
                Ok(()) => Poll::Ready(Ok(())),
                Err(SendError::Closed(back)) => Poll::Ready(Err(back)),
                Err(SendError::Full(back)) => {
                    message = Some(back);
                    Poll::Pending
                }
            }
        })
        .await
    }

    /// Puts a message in, or has `waker` woken at the next free place.
    fn offer(&self, message: T, waker: Option<&Waker>) -> Result<(), SendError<T>> {
        let mut state = lock(&self.shared);
        if state.receiver_gone {
            return Err(SendError::Closed(message));
        }
        if state.queue.len() >= state.capacity {
            if let Some(waker) = waker.filter(|waker| !state.senders.iter().any(|it| it.will_wake(waker))) {
                state.senders.push(waker.clone());
            }
            return Err(SendError::Full(message));
        }
        state.queue.push_back(message);
        let receiver = state.receiver.take();
        drop(state);
        if let Some(waker) = receiver {
            waker.wake();
        }
        Ok(())
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Sender<T> {
        lock(&self.shared).sender_count += 1;
        Sender { shared: self.shared.clone() }
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        let mut state = lock(&self.shared);
        state.sender_count -= 1;
        let waker = if state.sender_count == 0 { state.receiver.take() } else { None };
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// The end that messages come out of.
#[derive(Debug)]
pub struct Receiver<T> {
    shared: Arc<Mutex<State<T>>>,
}

impl<T> Receiver<T> {
    /// The next message; `None` once the mailbox is empty and all senders are gone. Losing the future loses nothing.
    pub async fn recv(&mut self) -> Option<T> {
        poll_fn(|context| self.poll_recv(context)).await
    }

    /// The next message, if one waits.
    pub fn try_recv(&mut self) -> Option<T> {
        let mut state = lock(&self.shared);
        let message = state.queue.pop_front();
        let wakers = if message.is_some() { std::mem::take(&mut state.senders) } else { Vec::new() };
        drop(state);
        wakers.into_iter().for_each(Waker::wake);
        message
    }

    fn poll_recv(&mut self, context: &Context<'_>) -> Poll<Option<T>> {
        if let Some(message) = self.try_recv() {
            return Poll::Ready(Some(message));
        }
        let mut state = lock(&self.shared);
        if let Some(message) = state.queue.pop_front() {
            return Poll::Ready(Some(message));
        }
        if state.sender_count == 0 {
            return Poll::Ready(None);
        }
        state.receiver = Some(context.waker().clone());
        Poll::Pending
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        let mut state = lock(&self.shared);
        state.receiver_gone = true;
        let left = std::mem::take(&mut state.queue);
        let wakers = std::mem::take(&mut state.senders);
        drop(state);
        drop(left);
        wakers.into_iter().for_each(Waker::wake);
    }
}

#[derive(Debug)]
struct State<T> {
    queue: VecDeque<T>,
    capacity: usize,
    receiver: Option<Waker>,
    senders: Vec<Waker>,
    sender_count: usize,
    receiver_gone: bool,
}

/// A panic of another thread while it held the lock cannot leave the queue half changed, so the lock stays usable.
fn lock<T>(shared: &Mutex<State<T>>) -> MutexGuard<'_, State<T>> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
