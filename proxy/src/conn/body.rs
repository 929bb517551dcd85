//! Passing a body on, in steps, under back-pressure: the next bytes are read when the last ones are written.
//!
//! Bodies are read and written at once where that does not wait, heads by operations of the runtime. A ring runs the reads of
//! all its connections and then their writes, by which time a large body has left the processor's cache; passed on
//! directly, all of them share one warm buffer, and none holds one while it waits.

use std::io;

use dromon_core::h1::Reject;
use dromon_core::limits::{BODY_BUFFER_BYTES, BODY_BUFFER_BYTES_MAX};
use dromon_core::time::Tick;
use thiserror::Error;

use super::client::Client;
use super::framing::{Framing, Take};
use crate::io::{Interrupted, Stalled, Stream, write_all};
use crate::shard::Shard;
use crate::sys::buffer::Buffer;

/// Steps of a body after which its task lets others run, even if more is there: 2 MiB at most.
const STEPS_MAX: u32 = 8;

/// Why a body did not come through.
#[derive(Debug, Error)]
pub(super) enum Broken {
    /// The sender's connection ended before the body, or broke (R32).
    #[error("the sender closed before the end of the body")]
    Truncated,
    /// The body breaks a rule.
    #[error("{0}")]
    Rule(#[from] Reject),
    /// The receiver takes no more.
    #[error("{0}")]
    Receiver(#[from] Stalled),
    /// The receiver is gone.
    #[error("the receiver is gone")]
    ReceiverGone,
    /// Time ran out.
    #[error("time ran out")]
    Deadline,
}

impl From<Interrupted> for Broken {
    fn from(interrupted: Interrupted) -> Broken {
        match interrupted {
            Interrupted::Deadline => Broken::Deadline,
            Interrupted::Gone => Broken::ReceiverGone,
        }
    }
}

/// One direction of a body: where it comes from, where it goes, by when.
pub(super) struct Way<'a> {
    pub(super) client: &'a Client,
    pub(super) from: &'a Stream,
    pub(super) to: &'a Stream,
    pub(super) deadline: Tick,
}

impl Way<'_> {
    /// Passes the rest of the body on: what is in `buffer`, then what comes. At the end `buffer` holds what the
    /// sender has sent beyond the body. Counts what is written in `sent_bytes`.
    pub(super) async fn pass(
        &self,
        framing: &mut Framing,
        buffer: &mut Buffer,
        out: &mut Buffer,
        sent_bytes: &mut u64,
    ) -> Result<(), Broken> {
        let mut steps = 0;
        loop {
            out.clear();
            match framing.take(buffer, out)? {
                Take::Whole => {
                    *sent_bytes += buffer.len() as u64;
                    write(self.client, self.to, buffer).await?;
                }
                Take::Copied => {
                    *sent_bytes += out.len() as u64;
                    write(self.client, self.to, out).await?;
                }
                Take::Nothing => {}
            }
            if framing.is_done() {
                return Ok(());
            }
            if !self.fill(framing, buffer, &mut steps).await? {
                out.clear();
                if !framing.end_of_stream(out) {
                    return Err(Broken::Truncated);
                }
                write(self.client, self.to, out).await?;
            }
        }
    }

    /// Reads on; false at the end of the stream. A stream that pauses gives its buffer back and waits without one, and
    /// one that flows waits now and then all the same, for the others' sake.
    async fn fill(&self, framing: &Framing, buffer: &mut Buffer, steps: &mut u32) -> Result<bool, Broken> {
        loop {
            *steps += 1;
            if !steps.is_multiple_of(STEPS_MAX) {
                make_room(&self.client.shard, framing, buffer);
                match self.from.try_read(buffer) {
                    Ok(count) => return Ok(count > 0),
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    Err(_) => return Err(Broken::Truncated),
                }
            }
            if buffer.is_empty() {
                self.client.shard.buffers.give(std::mem::take(buffer));
            }
            let arrival = self.from.arrival();
            self.client.alarm.watch(self.deadline, self.to, arrival).await?.map_err(|_| Broken::Truncated)?;
        }
    }
}

/// Gives `buffer` room for as much of the body as one step takes.
pub(super) fn make_room(shard: &Shard, framing: &Framing, buffer: &mut Buffer) {
    let wanted = match framing.remaining() {
        Some(left) => usize::try_from(left).unwrap_or(usize::MAX),
        None => BODY_BUFFER_BYTES_MAX,
    };
    let wanted = wanted.clamp(BODY_BUFFER_BYTES, BODY_BUFFER_BYTES_MAX);
    if buffer.is_empty() {
        buffer.clear();
    }
    if buffer.capacity() < wanted {
        let mut larger = shard.buffers.take(wanted);
        larger.extend(buffer.filled());
        shard.buffers.give(std::mem::replace(buffer, larger));
    } else {
        buffer.compact();
    }
    if buffer.room() == 0 {
        // A part of a chunk's framing that fills a buffer was refused before.
        buffer.grow(2 * buffer.capacity());
    }
}

/// Writes all of a buffer, which is then empty.
pub(super) async fn write(client: &Client, to: &Stream, buffer: &mut Buffer) -> Result<(), Stalled> {
    let (result, mut back) = write_all(&client.alarm, to, std::mem::take(buffer)).await;
    back.clear();
    *buffer = back;
    result
}
