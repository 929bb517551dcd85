//! The shards of a process among themselves: how many connections each has, and sockets that one hands to another.
//!
//! `SO_REUSEPORT` spreads connections by hash, so a few of them may meet on one shard (measured: 10 connections over two
//! shards put 60 % on one on average, 80 % at worst), and a client of HTTP/2 or gRPC keeps its few for hours. So a shard
//! that has just accepted a connection hands it to the one with the fewest, where that has clearly fewer. Once
//! accepted, a connection stays where it is; one of HTTP/2 is told to go after so many requests, and its successor is
//! placed anew.

use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::mailbox::{Receiver, Sender, ShardId, mailbox};
use dromon_core::limits::HANDOVERS_MAX;

/// A socket on its way to another shard.
#[derive(Debug)]
pub struct Handover {
    /// The listener that it was accepted for.
    pub listener: Arc<str>,
    /// The socket.
    pub socket: TcpStream,
    /// The client.
    pub peer: SocketAddr,
}

/// A number on a cache line of its own: each is written by its own shard, nearly always.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Load(AtomicU64);

/// All shards as one of them sees them.
#[derive(Debug)]
pub struct Siblings {
    own: ShardId,
    loads: Arc<[Load]>,
    doors: Vec<Sender<Handover>>,
}

/// What each of `count` shards gets: the others, and where its handovers come in.
pub fn introduce(count: usize) -> Vec<(Siblings, Receiver<Handover>)> {
    let loads: Arc<[Load]> = (0..count).map(|_| Load::default()).collect();
    let (doors, inboxes): (Vec<_>, Vec<_>) = (0..count).map(|_| mailbox(HANDOVERS_MAX)).unzip();
    let siblings =
        (0..count).map(|own| Siblings { own: ShardId(own), loads: loads.clone(), doors: doors.clone() });
    siblings.zip(inboxes).collect()
}

impl Siblings {
    /// Counts a connection that this shard takes.
    pub fn enter(&self) {
        self.add(self.own, 1);
    }

    /// Counts one that has ended.
    pub fn leave(&self) {
        self.add(self.own, u64::MAX);
    }

    /// The shard that a connection accepted here is to go to, if another one has clearly fewer; counts it there.
    pub fn choose(&self) -> Option<ShardId> {
        if self.loads.len() < 2 {
            return None;
        }
        let load = |shard: &Load| shard.0.load(Ordering::Relaxed);
        let own = self.loads.get(self.own.0).map(load)?;
        let (least, fewest) = self.loads.iter().map(load).enumerate().min_by_key(|(_, load)| *load)?;
        let to = ShardId(least);
        // Among many connections a small difference does not matter, and a handover costs a wake-up.
        let clearly = own >= fewest + 1 + own / 8 && to != self.own;
        clearly.then(|| self.add(to, 1)).map(|()| to)
    }

    /// Hands a socket over; gives it back, and takes it off that shard's count, if that has no room for it.
    pub fn hand_over(&self, to: ShardId, handover: Handover) -> Result<(), Handover> {
        let Some(door) = self.doors.get(to.0) else { return Err(handover) };
        door.try_send(handover).map_err(|refused| {
            self.add(to, u64::MAX);
            refused.into_inner()
        })
    }

    fn add(&self, shard: ShardId, by: u64) {
        if let Some(load) = self.loads.get(shard.0) {
            load.0.fetch_add(by, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests;
