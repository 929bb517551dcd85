//! What drives a connection beside its bytes: the end of an idle one, and pings that find a dead one.
//!
//! A peer that has vanished without a word is found by a ping, sent when streams are open and nothing has been heard for a
//! while. Not more often: servers count pings without traffic of their own as abuse (gRPC's closes the connection after
//! the third within minutes), so after one that was answered the next waits for traffic, or for five minutes.

use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use dromon_core::config::table::Destination;
use dromon_core::h2::Trip;
use dromon_core::limits::{H2_PING_AGAIN_MS, H2_PING_DEADLINE_MS, H2_PING_QUIET_MS};
use dromon_core::time::Tick;
use h2::client;
use h2::{Ping, PingPong};

use super::connection::Connection;
use crate::conn::h2::memio::{Engine, Io};
use crate::sys::clock;

/// The client's side of an HTTP/2 connection.
pub(super) struct Client {
    h2: client::Connection<Io, Bytes>,
    /// Taken with the first ping: once it is, `h2` arms a waker of its own with every frame.
    ping: Option<PingPong>,
    connection: Rc<Connection>,
    keepalive: Keepalive,
    /// The server has spent a budget.
    abused: bool,
    /// The server has sent something.
    heard: bool,
}

impl Client {
    pub(super) fn new(
        h2: client::Connection<Io, Bytes>,
        connection: Rc<Connection>,
        keepalive: Keepalive,
    ) -> Client {
        Client { h2, ping: None, connection, keepalive, abused: false, heard: false }
    }

    /// Whether the server has ever said anything.
    pub(super) fn was_heard(&self) -> bool {
        self.heard
    }

    /// Ends the connection of a server that has spent a budget. What is under way on it fails.
    fn judge(&mut self, spent: Result<(), Trip>) {
        if let Err(trip) = spent
            && !std::mem::replace(&mut self.abused, true)
        {
            self.connection.abused(trip);
        }
    }

    /// False once the peer has left a ping unanswered for too long.
    fn poll_ping(&mut self, context: &mut Context<'_>, now: Tick) -> bool {
        if self.keepalive.waits() && self.ping.as_mut().is_some_and(|ping| ping.poll_pong(context).is_ready())
        {
            self.keepalive.answered();
        }
        let quiet_since = self.connection.used();
        if (self.connection.active() > 0 || self.keepalive.always) && self.keepalive.due(quiet_since, now) {
            if self.ping.is_none() {
                self.ping = self.h2.ping_pong();
            }
            // A ping that cannot be sent says that the connection is ending by itself.
            let sent = |ping: &mut PingPong| {
                ping.send_ping(Ping::opaque()).is_ok() && ping.poll_pong(context).is_pending()
            };
            match self.ping.as_mut().is_some_and(sent) {
                true => self.keepalive.sent(now),
                false => self.keepalive.postponed(now),
            }
            // The connection is to be polled again: it has something to write.
            context.waker().wake_by_ref();
        }
        !self.keepalive.is_lost(now)
    }
}

impl Engine for Client {
    fn inspect(&mut self, bytes: &[u8], now: Tick) -> usize {
        self.heard |= !bytes.is_empty();
        self.keepalive.heard(now);
        let (good, spent) = self.connection.inspect(bytes, now);
        self.judge(spent);
        good
    }

    fn wake_at(&self) -> Tick {
        let ping_at = match self.connection.active() {
            0 if !self.keepalive.always => self.keepalive.lost_at(),
            _ => self.keepalive.wake_at(self.connection.used()),
        };
        ping_at.min(self.connection.idle_until()).min(self.connection.head_until())
    }

    fn hears_last_words(&self) -> bool {
        true
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let now = clock::now();
        if now >= self.connection.idle_until() {
            self.connection.retire();
        }
        self.judge(self.connection.check_time(now));
        if self.abused {
            // `h2` gives a client's side no way to say why.
            self.connection.retire();
            return Poll::Ready(());
        }
        self.connection.polled();
        // Polled first: what it says to the streams wakes them within the same turn.
        if Pin::new(&mut self.h2).poll(context).is_ready() || !self.poll_ping(context, now) {
            self.connection.retire();
            return Poll::Ready(());
        }
        Poll::Pending
    }
}

/// When to ping, and when to give up.
#[derive(Clone, Copy, Debug)]
pub(super) struct Keepalive {
    quiet_ms: u64,
    deadline_ms: u64,
    /// A rule asks for pings: whether streams are open, and however long there is nothing else.
    always: bool,
    /// When bytes last came.
    heard: Tick,
    /// When the ping under way was sent.
    sent: Option<Tick>,
    /// No ping before.
    allowed_at: Tick,
}

impl Keepalive {
    /// By the destination's `http2KeepAlive`, or its `tcpKeepalive`, whose times serve here too, else by this proxy's own.
    pub(super) fn of(destination: Option<&Arc<Destination>>) -> Keepalive {
        let pool = destination.map(|destination| &destination.model.pool);
        let asked = pool.and_then(|pool| pool.http2_keepalive).unwrap_or_default();
        let probes = pool.and_then(|pool| pool.tcp_keepalive);
        let millis = |seconds: Option<u32>, default_ms: u64| match seconds {
            Some(seconds @ 1..) => u64::from(seconds) * 1_000,
            _ => default_ms,
        };
        let answer_s = probes.map(|it| it.interval_s.saturating_mul(it.probes.max(1)));
        let or = |asked_ms: u64, else_ms: u64| if asked_ms > 0 { asked_ms } else { else_ms };
        Keepalive {
            quiet_ms: or(asked.interval_ms, millis(probes.map(|it| it.time_s), H2_PING_QUIET_MS)),
            deadline_ms: or(asked.timeout_ms, millis(answer_s, H2_PING_DEADLINE_MS)),
            always: asked.interval_ms > 0,
            heard: clock::now(),
            sent: None,
            allowed_at: Tick::ZERO,
        }
    }

    fn waits(&self) -> bool {
        self.sent.is_some()
    }

    fn heard(&mut self, now: Tick) {
        self.heard = now;
        if self.sent.is_none() {
            // The peer has had something to say: it has no reason to count the next ping as abuse.
            self.allowed_at = Tick::ZERO;
        }
    }

    fn due_at(&self, used: Tick) -> Tick {
        self.heard.max(used).plus_millis(self.quiet_ms).max(self.allowed_at)
    }

    fn due(&self, used: Tick, now: Tick) -> bool {
        self.sent.is_none() && now >= self.due_at(used)
    }

    fn sent(&mut self, now: Tick) {
        self.sent = Some(now);
        if !self.always {
            self.allowed_at = now.plus_millis(H2_PING_AGAIN_MS);
        }
    }

    fn postponed(&mut self, now: Tick) {
        self.allowed_at = now.plus_millis(self.quiet_ms);
    }

    fn answered(&mut self) {
        self.sent = None;
    }

    fn lost_at(&self) -> Tick {
        self.sent.map_or(Tick::NEVER, |sent| sent.plus_millis(self.deadline_ms))
    }

    fn is_lost(&self, now: Tick) -> bool {
        now >= self.lost_at()
    }

    fn wake_at(&self, used: Tick) -> Tick {
        match self.sent {
            Some(_) => self.lost_at(),
            None => self.due_at(used),
        }
    }
}

#[cfg(test)]
mod tests;
