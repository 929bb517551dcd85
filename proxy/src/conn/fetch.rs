//! Waiting for rules that the controller has not sent yet.

use std::sync::Arc;

use dromon_core::config::model::Kind;
use dromon_core::exchange::{End, Input};
use dromon_core::limits::FETCH_WAITERS_MAX;
use dromon_core::time::Tick;

use super::client::Client;
use crate::io::Interrupted;
use crate::mailbox::FromShard;

/// Asks for an object and waits for the next table, until then at the longest. What came of it is what the exchange wants
/// to know.
pub(super) async fn wait(client: &Client, kind: Kind, name: Arc<str>, until: Tick) -> Input {
    let shard = &client.shard;
    if shard.gauges.route_waits_active.get() >= FETCH_WAITERS_MAX {
        shard.gauges.route_waits_refused.add(1);
        return Input::NoRoom;
    }
    let _waiting = shard.gauges.route_waits_active.hold();
    let changed = shard.table_changed.notified();
    // A full mailbox means that the steward is behind; the wait then ends with its deadline.
    let _ = shard.outbox.try_send(FromShard::Need { kind, name });
    match client.alarm.watch(until, &client.stream, changed).await {
        Ok(()) => Input::Table,
        Err(Interrupted::Deadline) => Input::Timer,
        // Who has gone must not keep a place from others.
        Err(Interrupted::Gone) => Input::Finished(End::DownstreamClosed),
    }
}
