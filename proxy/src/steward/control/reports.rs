//! What shards report, and the numbers gathered from them.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::{Control, Phase};
use crate::mailbox::{FromShard, ShardId, ToShard};

/// How long a scrape waits for the shards; one that does not answer is left out.
const SCRAPE_MAX: Duration = Duration::from_secs(1);

/// A round of gathering numbers.
#[derive(Debug, Default)]
pub struct Scraping {
    awaited: BTreeSet<ShardId>,
    replies: Vec<oneshot::Sender<()>>,
    due: Option<Instant>,
}

impl Scraping {
    /// When the round ends at the latest.
    pub fn due(&self) -> Option<Instant> {
        self.due
    }

    fn finish(&mut self) {
        self.due = None;
        self.awaited.clear();
        for reply in self.replies.drain(..) {
            // Who asked may have gone.
            let _ = reply.send(());
        }
    }
}

impl Control {
    pub(super) async fn reported(&mut self, report: FromShard) {
        match report {
            FromShard::Started { shard, driver } => {
                let mut status = self.handle.status.borrow_mut();
                if let Some(known) = status.shards.get_mut(shard.0) {
                    known.driver = Some(driver);
                }
            }
            FromShard::Failed { shard, error } => {
                self.log.error(format_args!("shard {} cannot run: {error}", shard.0));
                self.ending.fail();
            }
            FromShard::Ack { shard, version } => {
                if let Some(known) = self.handle.status.borrow_mut().shards.get_mut(shard.0) {
                    known.version = known.version.max(version);
                }
                if let Phase::RollingOut { rollout, .. } = &mut self.phase {
                    rollout.acknowledged(shard, version);
                }
                self.finish_if_complete().await;
            }
            FromShard::Listening { shard, listener, error } => self.listening(shard, listener, error).await,
            FromShard::Unlistened { shard, listener } => {
                self.with_rollout(|rollout| rollout.unlistened(shard, &listener)).await;
            }
            FromShard::Stats { shard, stats, exchanges, refusals } => {
                self.handle.totals.borrow_mut().add(shard, *stats, *exchanges, refusals);
                self.scraping.awaited.remove(&shard);
                if self.scraping.awaited.is_empty() {
                    self.scraping.finish();
                }
            }
            FromShard::Need { kind, name } => self.needed(kind, &name),
            FromShard::Resolve { shard, host } => {
                if let Some(mailbox) = self.mailboxes.get(shard.0) {
                    self.dns.answer(mailbox.clone(), host);
                }
            }
            FromShard::Refused(refusal) => self.refused(&refusal),
            FromShard::AccessLog(lines) => self.access_log.write(lines),
            // The last one to hold a table frees it: that is this thread, not a shard.
            FromShard::Dropped(table, tls) => drop((table, tls)),
            FromShard::Drained { shard } => self.drained(shard).await,
            FromShard::Stopped { shard } => self.stopped(shard),
        }
    }

    async fn listening(&mut self, shard: ShardId, listener: Arc<str>, error: Option<String>) {
        if let Some(error) = error {
            let text = format!("listener {listener} cannot accept at shard {}: {error}", shard.0);
            if let Some(status) = self.handle.status.borrow_mut().listeners.get_mut(&listener) {
                status.error = Some(text.clone());
            }
            self.open.remove(&listener);
            self.note_listener(&listener, Some(text));
        }
        self.with_rollout(|rollout| {
            rollout.listening(shard, &listener);
            Vec::new()
        })
        .await;
    }

    /// Changes the roll-out under way, opens the sockets that it frees, and ends it when it is complete.
    async fn with_rollout(
        &mut self,
        change: impl FnOnce(
            &mut crate::steward::apply::rollout::Rollout,
        ) -> Vec<crate::steward::apply::listeners::Place>,
    ) {
        let Phase::RollingOut { mut rollout, table, begun, told } =
            std::mem::replace(&mut self.phase, Phase::Idle)
        else {
            return;
        };
        let freed = change(&mut rollout);
        self.open_sockets(&mut rollout, freed).await;
        self.phase = Phase::RollingOut { rollout, table, begun, told };
        self.finish_if_complete().await;
    }

    /// Asks every shard for its numbers; those who ask meanwhile get the same answer.
    pub(super) async fn scrape(&mut self, reply: oneshot::Sender<()>) {
        self.scraping.replies.push(reply);
        if self.scraping.due.is_some() {
            return;
        }
        self.scraping.due = Some(Instant::now() + SCRAPE_MAX);
        self.scraping.awaited = self.shard_ids().collect();
        for shard in self.shard_ids() {
            self.tell(shard, ToShard::Scrape).await;
        }
        self.handle.totals.borrow_mut().access_log_dropped_bytes = self.access_log.dropped_bytes();
    }

    pub(super) fn scrape_timed_out(&mut self) {
        if self.scraping.due.is_some_and(|due| due <= Instant::now()) {
            self.scraping.finish();
        }
    }

    /// A thread that has ended without having been told to has panicked: the process must not go on with a part of its
    /// sockets unattended, so it ends, and its supervisor starts it anew.
    pub(super) fn look_after_threads(&mut self) {
        if self.ending.is_stopping() {
            return;
        }
        if let Some(shard) = self.threads.iter().position(std::thread::JoinHandle::is_finished) {
            self.log.error(format_args!("shard {shard} has ended unexpectedly; the process ends with it"));
            self.ending.fail();
        }
    }

    /// A shard's mailbox is gone.
    pub(super) fn lost(&mut self, shard: ShardId) {
        if let Some(known) = self.handle.status.borrow_mut().shards.get_mut(shard.0) {
            known.lost = true;
        }
        if !self.ending.is_stopping() {
            self.log.error(format_args!("shard {} is gone; the process ends with it", shard.0));
            self.ending.fail();
        }
    }

    pub(super) fn all_shards_gone(&mut self) {
        if !self.ending.is_stopping() {
            self.log.error("all shards have ended unexpectedly; the process ends with them");
            self.ending.fail();
        }
    }
}
