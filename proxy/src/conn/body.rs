//! Passing a body on, in steps, under back-pressure: the next bytes are read when the last ones are written.

use dromon_core::h1::Reject;
use dromon_core::limits::{BODY_BUFFER_BYTES, BODY_BUFFER_BYTES_MAX};
use dromon_core::time::Tick;
use thiserror::Error;

use super::client::Client;
use super::framing::{Framing, Take};
use crate::io::{Interrupted, Stalled, write_all};
use crate::sys::buffer::Buffer;
use crate::sys::socket::Socket;

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
    pub(super) from: &'a Socket,
    pub(super) to: &'a Socket,
    pub(super) deadline: Tick,
}

impl Way<'_> {
    /// Passes the rest of the body on: what is in `buffer`, then what comes. At the end `buffer` holds what the
    /// sender has sent beyond the body. Counts what is written in `sent_bytes`. `hot`: the last read
    /// filled its buffer, so more will be there.
    pub(super) async fn pass(
        &self,
        framing: &mut Framing,
        buffer: &mut Buffer,
        out: &mut Buffer,
        sent_bytes: &mut u64,
        mut hot: bool,
    ) -> Result<(), Broken> {
        loop {
            match framing.take(buffer, out)? {
                Take::Whole => {
                    *sent_bytes += buffer.len() as u64;
                    write(self.client, self.to, buffer).await?;
                }
                Take::Copied => {
                    *sent_bytes += out.len() as u64;
                    write(self.client, self.to, out).await?;
                    // What was copied may have stood before more of the body.
                    if !framing.is_done() && !buffer.is_empty() {
                        buffer.compact();
                    }
                }
                Take::Nothing => {}
            }
            if framing.is_done() {
                return Ok(());
            }
            if !self.fill(framing, buffer, &mut hot).await? {
                if !framing.end_of_stream(out) {
                    return Err(Broken::Truncated);
                }
                write(self.client, self.to, out).await?;
            }
        }
    }

    /// Reads on; false at the end of the stream. While bytes flow the buffer stays and grows; a stream that pauses gives
    /// it back and waits without one.
    async fn fill(&self, framing: &Framing, buffer: &mut Buffer, hot: &mut bool) -> Result<bool, Broken> {
        let wanted = match framing.remaining() {
            Some(left) => {
                usize::try_from(left).unwrap_or(usize::MAX).clamp(BODY_BUFFER_BYTES, BODY_BUFFER_BYTES_MAX)
            }
            None if *hot => (buffer.capacity() * 4).clamp(BODY_BUFFER_BYTES, BODY_BUFFER_BYTES_MAX),
            None => BODY_BUFFER_BYTES,
        };
        if !*hot {
            if buffer.is_empty() {
                self.client.shard.buffers.give(std::mem::take(buffer));
            }
            self.client
                .alarm
                .watch(self.deadline, self.to, self.from.readable())
                .await?
                .map_err(|_| Broken::Truncated)?;
        }
        self.make_room(buffer, wanted);
        let room = buffer.room();
        let (read, back) =
            self.client.alarm.watch(self.deadline, self.to, self.from.read(std::mem::take(buffer))).await?;
        *buffer = back;
        let count = read.map_err(|_| Broken::Truncated)?;
        *hot = count == room;
        Ok(count > 0)
    }

    fn make_room(&self, buffer: &mut Buffer, wanted: usize) {
        if buffer.is_empty() {
            buffer.clear();
        }
        if buffer.capacity() < wanted {
            let mut larger = self.client.shard.buffers.take(wanted);
            larger.extend(buffer.filled());
            self.client.shard.buffers.give(std::mem::replace(buffer, larger));
        } else {
            buffer.compact();
        }
    }
}

/// Writes all of a buffer, which is then empty.
pub(super) async fn write(client: &Client, to: &Socket, buffer: &mut Buffer) -> Result<(), Stalled> {
    let (result, mut back) = write_all(&client.alarm, to, std::mem::take(buffer)).await;
    back.clear();
    *buffer = back;
    result
}
