//! Connections that were turned away: counted where it happens, told of by the steward.
//!
//! The count is the shard's own and travels with its other numbers, so it is exact whatever the steward is busy with. The
//! text for the log goes by mailbox, and is lost where that is full.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::SocketAddr;

use thiserror::Error;

use crate::mailbox::FromShard;
use crate::shard::Shard;

/// Which end of this proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Side {
    /// Towards clients.
    Downstream,
    /// Towards upstreams.
    Upstream,
}

impl Side {
    /// As a metric's label.
    pub fn name(self) -> &'static str {
        match self {
            Side::Downstream => "downstream",
            Side::Upstream => "upstream",
        }
    }
}

/// What a connection was turned away for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Offence {
    /// A TLS handshake that failed, or a client refused for not shaking hands.
    Handshake,
    /// HTTP/2 that costs more than it is worth.
    Http2Abuse,
}

/// A kind of refusal: a metric's labels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Error)]
#[error("{}: {reason}", match (offence, side) {
    (Offence::Handshake, Side::Downstream) => "TLS from clients",
    (Offence::Handshake, Side::Upstream) => "TLS to upstreams",
    (Offence::Http2Abuse, Side::Downstream) => "HTTP/2 abuse by clients",
    (Offence::Http2Abuse, Side::Upstream) => "HTTP/2 abuse by upstreams",
})]
pub struct Ground {
    /// What for.
    pub offence: Offence,
    /// Where.
    pub side: Side,
    /// Why: a stable name.
    pub reason: &'static str,
}

/// One connection that was turned away.
#[derive(Clone, Debug, Error)]
#[error("{} {peer} ({at}): {}: {detail}", match (ground.offence, ground.side) {
    (Offence::Handshake, Side::Downstream) => "TLS from",
    (Offence::Handshake, Side::Upstream) => "TLS to",
    (Offence::Http2Abuse, Side::Downstream) => "HTTP/2 abuse from",
    (Offence::Http2Abuse, Side::Upstream) => "HTTP/2 abuse by",
}, ground.reason)]
pub struct Refusal {
    /// Its kind.
    pub ground: Ground,
    /// Whose connection.
    pub peer: SocketAddr,
    /// The listener's or the destination's name.
    pub at: Box<str>,
    /// For an operator.
    pub detail: String,
}

/// How many connections were turned away, by kind.
pub type Counts = BTreeMap<Ground, u64>;

/// A shard's counts since it was last asked.
#[derive(Debug, Default)]
pub struct Refusals(RefCell<Counts>);

impl Refusals {
    fn count(&self, ground: Ground) {
        *self.0.borrow_mut().entry(ground).or_default() += 1;
    }

    /// The counts, which start again from 0.
    pub fn take(&self) -> Counts {
        self.0.take()
    }
}

impl Shard {
    /// Counts a connection that is turned away, and tells of it.
    pub fn refused(&self, refusal: Refusal) {
        self.refusals.count(refusal.ground);
        // A full mailbox costs the log a line; the count above stands.
        let _ = self.outbox.try_send(FromShard::Refused(Box::new(refusal)));
    }
}
