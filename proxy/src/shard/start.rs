//! Starting the shards' threads.

use std::io;

use dromon_core::limits::MAILBOX_MAX;
use dromon_core::rng::Rng;

use super::control;
use super::state::Shard;
use crate::mailbox::{FromShard, Receiver, Sender, ShardId, ToShard, mailbox};
use crate::steward::Shards;
use crate::sys::cpu;
use crate::sys::runtime::ShardRuntime;
use dromon_core::settings::Driver;

/// How shards are to run.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How shards do their I/O.
    pub driver: Driver,
    /// HTTP requests are counted.
    pub metrics: bool,
    /// One entry a shard: the processor it is pinned to, if any.
    pub processors: Vec<Option<usize>>,
    /// Where the shards' random sequences start.
    pub seed: u64,
}

/// Starts a thread for each shard. Each reports [`FromShard::Started`] or [`FromShard::Failed`] first of all.
pub fn start(settings: &Settings) -> io::Result<Shards> {
    let count = settings.processors.len();
    let (outbox, inbox) = mailbox(MAILBOX_MAX * count.max(1));
    let mut seeds = Rng::new(settings.seed);
    let mut shards = Shards { mailboxes: Vec::new(), inbox, threads: Vec::new() };
    for (index, processor) in settings.processors.iter().copied().enumerate() {
        let (sender, receiver) = mailbox(MAILBOX_MAX);
        let (driver, outbox, rng) = (settings.driver, outbox.clone(), Rng::new(seeds.next_u64()));
        let metrics = settings.metrics;
        let thread = std::thread::Builder::new()
            .name(format!("shard-{index}"))
            .spawn(move || run(ShardId(index), driver, metrics, processor, rng, receiver, outbox))?;
        shards.mailboxes.push(sender);
        shards.threads.push(thread);
    }
    Ok(shards)
}

/// A shard's thread.
fn run(
    id: ShardId,
    driver: Driver,
    metrics: bool,
    processor: Option<usize>,
    rng: Rng,
    inbox: Receiver<ToShard>,
    outbox: Sender<FromShard>,
) {
    let pin_error = processor.and_then(|processor| cpu::pin(processor).err());
    let (mut runtime, mut report) = match ShardRuntime::build(driver) {
        Ok(built) => built,
        Err(error) => {
            // A steward that is gone has nobody to tell.
            let _ = outbox.try_send(FromShard::Failed { shard: id, error: error.to_string() });
            return;
        }
    };
    if let Some(error) = pin_error {
        let gap = if report.reason.is_empty() { "" } else { "; " };
        report.reason.push_str(&format!("{gap}not pinned: {error}"));
    }
    let nonblocking = runtime.wants_nonblocking();
    let _ = outbox.try_send(FromShard::Started { shard: id, driver: report });
    runtime.block_on(async move {
        let shard = Shard::new(id, rng, outbox, nonblocking);
        if !metrics {
            shard.telemetry.silence();
        }
        control::run(shard, inbox).await;
    });
}
