//! A request's body on its way into an HTTP/2 stream.
//!
//! As for HTTP/1, an upload can be stopped without losing bytes: it waits by readiness, reads without waiting, and keeps
//! what it sends for a replay. It reads on when the stream has taken what was read before.

use std::future::poll_fn;
use std::io;
use std::task::Poll;

use bytes::Bytes;
use dromon_core::fault::Reason;
use dromon_core::h1::{Reject, Rule};
use dromon_core::h2::grpc_web::Decoder;
use dromon_core::h2::trailers_from_h1;
use dromon_core::limits::WRITE_STALL_MS;
use dromon_core::time::Tick;
use h2::SendStream;

use crate::conn::body::{Broken, make_room};
use crate::conn::client::Client;
use crate::conn::framing::{Framing, Take};
use crate::conn::work::{Flags, Upload};
use crate::io::Stalled;
use crate::pool::StreamPlace;
use crate::sys::buffer::Buffer;
use crate::sys::clock;

/// Up to this size a part of a body is copied rather than handed over with the buffer it lies in.
const COPIED_BYTES_MAX: usize = 4 * 1024;

/// Where a body goes.
pub(super) struct To<'a> {
    pub(super) stream: &'a mut SendStream<Bytes>,
    pub(super) place: &'a StreamPlace,
    /// When it must be over.
    pub(super) by: Tick,
}

/// Sends the body: what earlier tries have sent, then the rest.
pub(super) async fn run(
    client: &Client,
    mut to: To<'_>,
    upload: &mut Upload,
    flags: &Flags,
) -> Result<(), Broken> {
    let mut ended = false;
    if let Some(sent) = upload.replay.bytes().filter(|sent| !sent.is_empty()) {
        let again = Bytes::copy_from_slice(sent);
        ended = upload.framing.is_done() && !upload.framing.has_trailers();
        send(client, &mut to, again, ended).await?;
    }
    if upload.framing.is_done() {
        return finish(to.stream, &upload.framing, flags, ended);
    }
    poll_fn(|_| if flags.invited.get() { Poll::Ready(()) } else { Poll::Pending }).await;
    loop {
        let Upload { buffer, out, framing, replay, text, sent_bytes } = upload;
        out.clear();
        let mut part = match framing.take(buffer, out)? {
            Take::Whole => hand_over(buffer),
            Take::Copied => hand_over(out),
            Take::Nothing => Bytes::new(),
        };
        if let Some(decoder) = text {
            part = decode(decoder, &part, framing.is_done())?;
        }
        if !part.is_empty() {
            flags.unrepeatable.set(!replay.keep(&part));
            *sent_bytes += part.len() as u64;
            ended = framing.is_done() && !framing.has_trailers();
            send(client, &mut to, part, ended).await?;
        }
        if framing.is_done() {
            client.stream.ends_with_fin(true);
            return finish(to.stream, framing, flags, ended);
        }
        fill(client, to.by, framing, buffer).await?;
    }
}

/// What a part of a body in base64 stands for; `last`: nothing may be left over.
fn decode(decoder: &mut Decoder, text: &[u8], last: bool) -> Result<Bytes, Reject> {
    let mut bytes = Vec::new();
    let decoded = decoder.push(text, &mut bytes);
    let whole = if last { decoder.finish() } else { Ok(()) };
    let detail = "the body of application/grpc-web-text is not base64";
    decoded.and(whole).map_err(|_| Reject { rule: Rule::R37, reason: Reason::BadRequest, detail })?;
    Ok(bytes.into())
}

/// Ends the stream, unless the last bytes have; with trailers where there are any.
fn finish(
    stream: &mut SendStream<Bytes>,
    framing: &Framing,
    flags: &Flags,
    ended: bool,
) -> Result<(), Broken> {
    flags.uploaded.set(true);
    let done = match framing.has_trailers() {
        _ if ended => Ok(()),
        true => stream.send_trailers(trailers_from_h1(framing.trailers())),
        false => stream.send_data(Bytes::new(), true),
    };
    done.map_err(|_| Broken::ReceiverGone)
}

/// What is in a buffer, which is then empty.
fn hand_over(buffer: &mut Buffer) -> Bytes {
    if buffer.len() <= COPIED_BYTES_MAX || buffer.len() < buffer.capacity() / 2 {
        let bytes = Bytes::copy_from_slice(buffer.filled());
        buffer.clear();
        return bytes;
    }
    std::mem::take(buffer).into_bytes()
}

/// Sends bytes as the stream has room for them; `last` ends it.
async fn send(client: &Client, to: &mut To<'_>, mut bytes: Bytes, last: bool) -> Result<(), Broken> {
    let To { stream, place, by } = to;
    while !bytes.is_empty() {
        stream.reserve_capacity(bytes.len());
        let mut room = stream.capacity();
        if room == 0 {
            // An upstream that grants no window must not hold the client where no timeout of a rule does.
            let stalls_at = clock::coarse().plus_millis(WRITE_STALL_MS);
            let more =
                client.alarm.within(stalls_at.min(*by), poll_fn(|context| stream.poll_capacity(context)));
            room = match more.await {
                Ok(Some(Ok(room))) => room,
                Ok(_) => return Err(Broken::ReceiverGone),
                Err(_) if clock::now() < *by => return Err(Broken::Receiver(Stalled::Timeout)),
                Err(_) => return Err(Broken::Deadline),
            };
        }
        let part = bytes.split_to(room.min(bytes.len()));
        place.data_sent(part.len());
        let ends = last && bytes.is_empty();
        stream.send_data(part, ends).map_err(|_| Broken::ReceiverGone)?;
    }
    Ok(())
}

/// Reads on, waiting by readiness; what is read is in the buffer whenever the upload is stopped.
async fn fill(client: &Client, deadline: Tick, framing: &Framing, buffer: &mut Buffer) -> Result<(), Broken> {
    loop {
        if buffer.is_empty() {
            client.shard.buffers.give(std::mem::take(buffer));
        }
        let readable = client.alarm.within(deadline, client.stream.readable()).await;
        readable.map_err(|_| Broken::Deadline)?.map_err(|_| Broken::Truncated)?;
        make_room(&client.shard, framing, buffer);
        match client.stream.try_read(buffer) {
            Ok(1..) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Ok(0) | Err(_) => return Err(Broken::Truncated),
        }
    }
}
