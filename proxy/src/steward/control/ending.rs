//! Draining and ending.

use std::collections::BTreeSet;
use std::process::ExitCode;
use std::time::Duration;

use tokio::time::Instant;

use super::Control;
use crate::mailbox::{ShardId, ToShard};
use crate::steward::lifecycle::Signal;
use crate::sys::clock;

/// How long a shard may take to end its thread once told.
const STOP_MAX: Duration = Duration::from_secs(1);
/// What a shard gets beyond the drain's deadline to say that it has drained.
const DRAIN_GRACE: Duration = Duration::from_millis(500);

/// How far the end has come.
#[derive(Debug, Default)]
pub struct Ending {
    draining: BTreeSet<ShardId>,
    stopping: BTreeSet<ShardId>,
    due: Option<Instant>,
    exits: bool,
    state: State,
    code: Option<u8>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Running,
    Draining,
    Drained,
    Stopping,
}

impl Ending {
    /// When the present step is given up.
    pub fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Shards have been told to end.
    pub fn is_stopping(&self) -> bool {
        self.state == State::Stopping || self.code.is_some()
    }

    /// The process ends at once, as failed.
    pub fn fail(&mut self) {
        self.code.get_or_insert(1);
    }
}

impl Control {
    /// The exit code, once there is nothing more to do.
    pub(super) fn ended(&self) -> Option<ExitCode> {
        self.ending.code.map(ExitCode::from)
    }

    pub(super) async fn signalled(&mut self, signal: Signal) {
        match signal {
            Signal::Reopen => self.access_log.reopen(),
            Signal::End { number } if self.ending.exits => {
                self.log.warn("second signal: ending at once");
                self.ending.code = Some(128 + number);
            }
            Signal::End { .. } => self.drain(true).await,
        }
    }

    /// Readiness goes off, shards finish what they have; the process ends then if `exits`.
    pub(super) async fn drain(&mut self, exits: bool) {
        self.ending.exits |= exits;
        match self.ending.state {
            State::Running => {}
            State::Drained if self.ending.exits => return self.stop().await,
            _ => return,
        }
        let drain = self.handle.settings.drain;
        self.log.info(format_args!("draining for at most {} s", drain.as_secs_f32()));
        self.handle.status.borrow_mut().draining = true;
        self.ending.state = State::Draining;
        self.ending.draining = self.shard_ids().collect();
        self.ending.due = Some(Instant::now() + drain + DRAIN_GRACE);
        let deadline = clock::now() + drain;
        for shard in self.shard_ids() {
            self.tell(shard, ToShard::Drain { deadline }).await;
        }
    }

    pub(super) async fn drained(&mut self, shard: ShardId) {
        self.ending.draining.remove(&shard);
        if self.ending.state == State::Draining && self.ending.draining.is_empty() {
            self.drain_is_over().await;
        }
    }

    async fn drain_is_over(&mut self) {
        self.ending.state = State::Drained;
        self.ending.due = None;
        self.log.info("drained");
        if self.ending.exits {
            self.stop().await;
        }
    }

    async fn stop(&mut self) {
        self.ending.state = State::Stopping;
        self.ending.stopping = self.shard_ids().collect();
        self.ending.due = Some(Instant::now() + STOP_MAX);
        for shard in self.shard_ids() {
            self.tell(shard, ToShard::Stop).await;
        }
    }

    pub(super) fn stopped(&mut self, shard: ShardId) {
        self.ending.stopping.remove(&shard);
        if self.ending.state == State::Stopping && self.ending.stopping.is_empty() {
            self.ending.code.get_or_insert(0);
        }
    }

    pub(super) async fn ending_timed_out(&mut self) {
        if self.ending.due.is_none_or(|due| due > Instant::now()) {
            return;
        }
        self.ending.due = None;
        match self.ending.state {
            State::Draining => {
                self.log.warn("the drain's time is over; what is left is cut off");
                self.drain_is_over().await;
            }
            State::Stopping => {
                self.log.warn("shards are slow to end; not waiting for them");
                self.ending.code.get_or_insert(0);
            }
            State::Running | State::Drained => {}
        }
    }
}
