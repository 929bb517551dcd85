//! Waiting for rules that the controller has not sent yet.

use std::sync::Arc;

use dromon_core::config::model::Kind;
use dromon_core::exchange::{End, Input};
use dromon_core::limits::FETCH_WAITERS_MAX;
use dromon_core::time::Tick;

use super::client::Client;
use crate::io::Interrupted;
use crate::mailbox::FromShard;
use crate::shard::Shard;
use crate::shard::stats::Held;

/// Asks for an object and waits for the next table, until then at the longest. What came of it is what the exchange wants
/// to know.
pub(super) async fn wait(client: &Client, kind: Kind, name: Arc<str>, until: Tick) -> Input {
    let Some((_waiting, changed)) = ask(&client.shard, kind, name) else { return Input::NoRoom };
    outcome(client.alarm.watch(until, &client.stream, changed).await)
}

/// Asks for an object: a place among those that wait, and the next table to wait for. None if too many wait already.
pub(super) fn ask(
    shard: &Shard,
    kind: Kind,
    name: Arc<str>,
) -> Option<(Held<'_>, impl Future<Output = ()> + '_)> {
    if shard.gauges.route_waits_active.get() >= FETCH_WAITERS_MAX {
        shard.gauges.route_waits_refused.add(1);
        return None;
    }
    let waiting = shard.gauges.route_waits_active.hold();
    let changed = shard.table_changed.notified();
    // A full mailbox means that the steward is behind; the wait then ends with its deadline.
    let _ = shard.outbox.try_send(FromShard::Need { kind, name });
    Some((waiting, changed))
}

/// How a wait has ended.
pub(super) fn outcome(waited: Result<(), Interrupted>) -> Input {
    match waited {
        Ok(()) => Input::Table,
        Err(Interrupted::Deadline) => Input::Timer,
        // Who has gone must not keep a place from others.
        Err(Interrupted::Gone) => Input::Finished(End::DownstreamClosed),
    }
}
