//! What a shard holds, reachable by all of its tasks through one `Rc`.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

use dromon_core::config::table::Table;
use dromon_core::limits::H2_REQUESTS_PER_CONNECTION_MAX;
use dromon_core::rng::Rng;
use dromon_core::time::Tick;

use super::buffers::Buffers;
use super::captured::Captured;
use super::handover::Siblings;
use super::names::Names;
use super::notify::{Notify, Roster};
use super::peers::Peers;
use super::stats::{Gauges, ShardStats};
use super::telemetry::Telemetry;
use crate::conn::SpareWork;
use crate::conn::h2::Workers;
use crate::io::tls::Scratch;
use crate::mailbox::{FromShard, Sender, ShardId};
use crate::pool::Pools;
use crate::refusal::Refusals;
use crate::sys::clock;
use crate::sys::congestion::LocalHops;
use crate::tls::{self, TlsTable};

/// A shard's state. Everything is for one thread: `Cell` and `RefCell`, borrowed for a moment and never across an await.
pub struct Shard {
    /// Which shard.
    pub id: ShardId,
    /// The other shards.
    pub siblings: Siblings,
    /// Requests after which an HTTP/2 client is told to come anew; 0: never.
    pub http2_requests_max: Cell<u64>,
    /// Sockets must not block (epoll).
    pub nonblocking: bool,
    /// How connections within the machine send.
    pub local_hops: LocalHops,
    /// Counts of connections and exchanges.
    pub gauges: Gauges,
    /// Connections that were turned away.
    pub refusals: Refusals,
    /// Where messages for the steward go.
    pub outbox: Sender<FromShard>,
    /// Random numbers.
    pub rng: RefCell<Rng>,
    /// Counters and access log.
    pub telemetry: Telemetry,
    /// Upstream connections.
    pub pools: Pools,
    /// Spare body buffers.
    pub buffers: Buffers,
    /// Spare exchange states.
    pub works: SpareWork,
    /// Tasks that wait for a stream of HTTP/2 to serve.
    pub h2_workers: Workers,
    /// Names outside the index.
    pub names: Names,
    /// Listeners that netfilter brings connections for.
    pub captured: Captured,
    /// A new table came into force.
    pub table_changed: Notify,
    /// Connections that a drain is to wake.
    pub roster: Roster,
    /// Client configurations of the table in force.
    pub tls_clients: tls::Clients,
    /// Who is at either end of mutual TLS.
    pub peers: Peers,
    /// What TLS connections work with.
    pub tls_scratch: Rc<Scratch>,
    table: RefCell<Option<Arc<Table>>>,
    tls: RefCell<Arc<TlsTable>>,
    identity: Cell<u32>,
    draining: Cell<bool>,
}

impl Shard {
    /// A shard without a table: it accepts nothing yet.
    pub fn new(
        id: ShardId,
        siblings: Siblings,
        rng: Rng,
        outbox: Sender<FromShard>,
        nonblocking: bool,
    ) -> Rc<Shard> {
        Rc::new(Shard {
            id,
            siblings,
            http2_requests_max: Cell::new(H2_REQUESTS_PER_CONNECTION_MAX),
            nonblocking,
            local_hops: LocalHops::probe(),
            gauges: Gauges::default(),
            refusals: Refusals::default(),
            outbox,
            rng: RefCell::new(rng),
            telemetry: Telemetry::default(),
            pools: Pools::default(),
            buffers: Buffers::default(),
            works: SpareWork::default(),
            h2_workers: Workers::default(),
            names: Names::default(),
            captured: Captured::default(),
            table_changed: Notify::default(),
            roster: Roster::default(),
            tls_clients: tls::Clients::default(),
            peers: Peers::default(),
            tls_scratch: Rc::default(),
            table: RefCell::new(None),
            tls: RefCell::default(),
            identity: Cell::new(0),
            draining: Cell::new(false),
        })
    }

    /// Now.
    pub fn now(&self) -> Tick {
        clock::now()
    }

    /// Now, as precisely as an access log wants it, where there is one.
    pub fn now_for_log(&self) -> Tick {
        if self.telemetry.logs() { clock::now() } else { clock::coarse() }
    }

    /// The table in force, none before the first.
    pub fn table(&self) -> Option<Arc<Table>> {
        self.table.borrow().clone()
    }

    /// Looks at the table in force; none before the first. Cheaper than [`Shard::table`], whose count of holders is
    /// a word that all shards write.
    pub fn with_table<R>(&self, look: impl FnOnce(&Table) -> R) -> Option<R> {
        self.table.borrow().as_deref().map(look)
    }

    /// The TLS side of the table in force.
    pub fn tls(&self) -> Arc<TlsTable> {
        self.tls.borrow().clone()
    }

    /// Which of the proxy's own certificates and roots are in force; see [`TlsTable::identity_number`].
    pub fn identity(&self) -> u32 {
        self.identity.get()
    }

    /// Puts a table in force. Gives back the one before, to be freed elsewhere.
    pub fn swap(&self, table: Arc<Table>, tls: Arc<TlsTable>) -> (Option<Arc<Table>>, Arc<TlsTable>) {
        self.tls_clients.forget();
        self.identity.set(tls.identity_number());
        let tls_before = self.tls.replace(tls);
        self.telemetry.table_changed(&table.proxy);
        let before = self.table.replace(Some(table));
        self.table_changed.notify_all();
        (before, tls_before)
    }

    /// Whether the shard is going away.
    pub fn draining(&self) -> bool {
        self.draining.get()
    }

    /// Stops keep-alive.
    pub fn drain(&self) {
        self.draining.set(true);
        self.roster.wake_all();
    }

    /// The numbers since the last call.
    pub fn take_stats(&self) -> ShardStats {
        self.gauges.take()
    }
}
