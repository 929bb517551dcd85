//! A request's body on its way up, beside the answer that may already come down.
//!
//! A try may end while the client is still sending, and another one goes on from there, so an upload must be stoppable
//! without losing bytes: it waits by readiness, reads without waiting, and keeps what it sends for a replay.

use std::future::poll_fn;
use std::io;
use std::task::Poll;

use dromon_core::time::Tick;

use super::body::{Broken, make_room, write};
use super::client::Client;
use super::framing::{Framing, Take};
use super::work::{Flags, Upload};
use crate::io::Stream;
use crate::sys::buffer::Buffer;

/// Sends the rest of the body upstream.
pub(super) async fn run(
    client: &Client,
    upstream: &Stream,
    deadline: Tick,
    upload: &mut Upload,
    flags: &Flags,
) -> Result<(), Broken> {
    poll_fn(|_| if flags.invited.get() { Poll::Ready(()) } else { Poll::Pending }).await;
    loop {
        let Upload { buffer, out, framing, replay, sent_bytes, .. } = upload;
        match framing.take(buffer, out)? {
            Take::Whole => {
                flags.unrepeatable.set(!replay.keep(buffer.filled()));
                *sent_bytes += buffer.len() as u64;
                write(client, upstream, buffer).await?;
            }
            Take::Copied => {
                flags.unrepeatable.set(!replay.keep(out.filled()));
                *sent_bytes += out.len() as u64;
                write(client, upstream, out).await?;
            }
            Take::Nothing => {}
        }
        if framing.is_done() {
            flags.uploaded.set(true);
            client.stream.ends_with_fin(true);
            return Ok(());
        }
        fill(client, upstream, deadline, framing, buffer).await?;
    }
}

/// Reads on, waiting by readiness; what is read is in the buffer whenever the upload is stopped.
async fn fill(
    client: &Client,
    upstream: &Stream,
    deadline: Tick,
    framing: &Framing,
    buffer: &mut Buffer,
) -> Result<(), Broken> {
    loop {
        if buffer.is_empty() {
            client.shard.buffers.give(std::mem::take(buffer));
        }
        let readable = client.stream.readable();
        client.alarm.watch(deadline, upstream, readable).await?.map_err(|_| Broken::Truncated)?;
        make_room(&client.shard, framing, buffer);
        match client.stream.try_read(buffer) {
            Ok(1..) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Ok(0) | Err(_) => return Err(Broken::Truncated),
        }
    }
}
