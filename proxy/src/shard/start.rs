//! Starting the shards' threads.

use std::io;

use dromon_core::limits::MAILBOX_MAX;
use dromon_core::rng::Rng;

use super::handover::{self, Handover, Siblings};
use super::state::Shard;
use super::{accept, control};
use crate::mailbox::{FromShard, Receiver, Sender, ShardId, ToShard, mailbox};
use crate::steward::Shards;
use crate::sys::runtime::ShardRuntime;
use crate::sys::{cpu, heap};
use dromon_core::settings::Driver;

/// How shards are to run.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How shards do their I/O.
    pub driver: Driver,
    /// HTTP requests are counted.
    pub metrics: bool,
    /// Requests after which an HTTP/2 client is told to come anew; 0: never.
    pub http2_requests_max: u64,
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
    let introduced = handover::introduce(count);
    for ((index, processor), (siblings, door)) in
        settings.processors.iter().copied().enumerate().zip(introduced)
    {
        let (sender, receiver) = mailbox(MAILBOX_MAX);
        let (settings, outbox, rng) = (settings.clone(), outbox.clone(), Rng::new(seeds.next_u64()));
        let own =
            Own { id: ShardId(index), settings, processor, rng, inbox: receiver, outbox, siblings, door };
        let thread = std::thread::Builder::new().name(format!("shard-{index}")).spawn(move || run(own))?;
        shards.mailboxes.push(sender);
        shards.threads.push(thread);
    }
    Ok(shards)
}

/// What a shard's thread starts with.
struct Own {
    id: ShardId,
    settings: Settings,
    processor: Option<usize>,
    rng: Rng,
    inbox: Receiver<ToShard>,
    outbox: Sender<FromShard>,
    siblings: Siblings,
    door: Receiver<Handover>,
}

/// A shard's thread.
fn run(own: Own) {
    let Own { id, settings, processor, rng, inbox, outbox, siblings, door } = own;
    let _keeping = heap::keep();
    let pin_error = processor.and_then(|processor| cpu::pin(processor).err());
    let (mut runtime, mut report) = match ShardRuntime::build(settings.driver) {
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
        let shard = Shard::new(id, siblings, rng, outbox, nonblocking);
        shard.http2_requests_max.set(settings.http2_requests_max);
        monoio::spawn(accept::adopt(shard.clone(), door));
        if !settings.metrics {
            shard.telemetry.silence();
        }
        control::run(shard, inbox).await;
    });
}
