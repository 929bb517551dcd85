//! A shard's mailbox loop: tables, listeners, scrapes, draining.

use std::collections::HashMap;
use std::net::TcpListener;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use dromon_core::config::table::Table;
use dromon_core::limits::{DRAIN_POLL_MS, POOL_SWEEP_MS};
use dromon_core::time::Tick;

use super::accept::{self, Accepting};
use super::state::Shard;
use crate::mailbox::{FromShard, Receiver, ToShard};
use crate::sys::heap;
use crate::tls::TlsTable;

/// Serves the mailbox until told to stop, or until the steward is gone.
pub(super) async fn run(shard: Rc<Shard>, mut inbox: Receiver<ToShard>) {
    monoio::spawn(sweep(shard.clone()));
    let mut listeners: HashMap<Arc<str>, Accepting> = HashMap::new();
    while let Some(message) = inbox.recv().await {
        match message {
            ToShard::Table(table, tls) => install(&shard, table, tls).await,
            ToShard::Listen { listener, socket } => listen(&shard, &mut listeners, listener, socket).await,
            ToShard::Unlisten { listener } => match listeners.remove(&listener) {
                Some(accepting) => accepting.stop(),
                None => tell(&shard, FromShard::Unlistened { shard: shard.id, listener }).await,
            },
            ToShard::Scrape => {
                let stats = Box::new(shard.take_stats());
                let exchanges = Box::new(shard.telemetry.take());
                let refusals = shard.refusals.take();
                tell(&shard, FromShard::Stats { shard: shard.id, stats, exchanges, refusals }).await;
            }
            ToShard::Drain { deadline } => {
                shard.drain();
                monoio::spawn(drained(shard.clone(), deadline));
            }
            ToShard::Resolved { host, answer, until } => shard.names.answer(host, answer, until),
            ToShard::Stop => break,
        }
    }
    shard.telemetry.flush(&shard);
    tell(&shard, FromShard::Stopped { shard: shard.id }).await;
}

async fn install(shard: &Rc<Shard>, table: Arc<Table>, tls: Arc<TlsTable>) {
    let version = table.version;
    if let (Some(table), tls) = shard.swap(table, tls) {
        tell(shard, FromShard::Dropped(table, tls)).await;
    }
    tell(shard, FromShard::Ack { shard: shard.id, version }).await;
}

async fn listen(
    shard: &Rc<Shard>,
    listeners: &mut HashMap<Arc<str>, Accepting>,
    listener: Arc<str>,
    socket: TcpListener,
) {
    let (told, name) = (shard.clone(), listener.clone());
    let stopped = move || {
        let (to, message) = (told.clone(), FromShard::Unlistened { shard: told.id, listener: name });
        monoio::spawn(async move { tell(&to, message).await });
    };
    let error = match accept::spawn(shard, listener.clone(), socket, stopped) {
        Ok(accepting) => {
            if let Some(before) = listeners.insert(listener.clone(), accepting) {
                before.stop();
            }
            None
        }
        Err(error) => Some(error.to_string()),
    };
    tell(shard, FromShard::Listening { shard: shard.id, listener, error }).await;
}

/// Waits until nothing is under way or the deadline has come, then says so.
async fn drained(shard: Rc<Shard>, deadline: Tick) {
    while shard.gauges.requests_active.get() > 0 && shard.now() < deadline {
        monoio::time::sleep(Duration::from_millis(DRAIN_POLL_MS)).await;
    }
    shard.telemetry.flush(&shard);
    tell(&shard, FromShard::Drained { shard: shard.id }).await;
}

/// A steward that is gone has nobody to tell.
async fn tell(shard: &Rc<Shard>, message: FromShard) {
    let _ = shard.outbox.send(message).await;
}

/// Closes pooled connections that have been idle for too long, and frees what a burst has left.
async fn sweep(shard: Rc<Shard>) {
    loop {
        monoio::time::sleep(Duration::from_millis(POOL_SWEEP_MS)).await;
        shard.pools.sweep(&shard);
        shard.buffers.trim();
        shard.works.trim();
        shard.h2_workers.trim();
        shard.tls_scratch.trim();
        heap::trim();
    }
}
