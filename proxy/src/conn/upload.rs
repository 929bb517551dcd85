//! A request's body on its way up, beside the answer that may already come down.
//!
//! A try may end while the client is still sending, and another one goes on from there, so an upload must be stoppable
//! without losing bytes: it waits by readiness and only then reads, keeps what it sends for a replay, and says while a
//! read is under way.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;

use dromon_core::limits::{BODY_BUFFER_BYTES, BODY_BUFFER_BYTES_MAX};
use dromon_core::time::Tick;

use super::body::{Broken, write};
use super::client::Client;
use super::framing::Take;
use super::work::{Flags, Upload};
use crate::sys::socket::Socket;

/// Sends the rest of the body upstream.
pub(super) async fn run(
    client: &Client,
    upstream: &Socket,
    deadline: Tick,
    upload: &mut Upload,
    flags: &Flags,
) -> Result<(), Broken> {
    poll_fn(|_| if flags.invited.get() { Poll::Ready(()) } else { Poll::Pending }).await;
    loop {
        let Upload { buffer, out, framing, replay, sent_bytes } = upload;
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
            return Ok(());
        }
        if buffer.is_empty() {
            client.shard.buffers.give(std::mem::take(buffer));
        }
        client
            .alarm
            .watch(deadline, upstream, client.socket.readable())
            .await?
            .map_err(|_| Broken::Truncated)?;
        if buffer.capacity() == 0 {
            let left = framing
                .remaining()
                .map_or(BODY_BUFFER_BYTES, |left| usize::try_from(left).unwrap_or(usize::MAX));
            *buffer = client.shard.buffers.take(left.min(BODY_BUFFER_BYTES_MAX));
        } else {
            buffer.compact();
            buffer.grow(BODY_BUFFER_BYTES);
        }
        flags.reading.set(true);
        let (read, back) = client.socket.read(std::mem::take(buffer)).await;
        *buffer = back;
        flags.reading.set(false);
        if read.map_err(|_| Broken::Truncated)? == 0 {
            return Err(Broken::Truncated);
        }
    }
}

/// Polls an upload on until it may be dropped without losing what the client has sent.
pub(super) async fn settle<F: Future>(mut upload: Pin<&mut F>, flags: &Flags) {
    poll_fn(|context| {
        if !flags.reading.get() || upload.as_mut().poll(context).is_ready() || !flags.reading.get() {
            return Poll::Ready(());
        }
        Poll::Pending
    })
    .await;
}
