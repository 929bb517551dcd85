//! The upstream's answer: interim heads, the final head, its body, on to the client as they come.

use dromon_core::exchange::unserved::UNSERVED;
use dromon_core::exchange::{Attempt, End, Exchange, Step};
use dromon_core::fault::Reason;
use dromon_core::h1::encode::{self, ResponseRewrite};
use dromon_core::h1::{self, CONTINUE, Interim, Progress, ResponseHead, Sent, Version};
use dromon_core::limits::{BODY_BUFFER_BYTES_MAX, EXPECT_WAIT_MS, HEAD_BYTES_MAX};
use dromon_core::route::rule::Changes;
use dromon_core::time::Tick;
use smallvec::SmallVec;

use super::body::{Broken, Way, write};
use super::client::Client;
use super::framing::{Framing, Take};
use super::local;
use super::work::{Answer, Flags, Request};
use crate::io::Interrupted;
use crate::pool::Upstream;
use crate::sys::buffer::Buffer;

/// Free bytes before a response in its buffer: a head that grows by so much still leaves with its body in one write.
const HEADROOM_BYTES: usize = 256;

/// What came of a try whose request has been sent.
pub(super) enum Received {
    /// No final head.
    Failed(Reason),
    /// A head that the exchange does not want sent on.
    Again(Box<Step>),
    /// The answer was sent on to its end.
    Complete {
        /// The upstream connection can serve another request.
        reusable: bool,
        /// So can the client's.
        keep_alive: bool,
    },
    /// A 101 was sent on.
    Switched {
        /// What the upstream has sent behind it.
        from_upstream: Vec<u8>,
    },
    /// The answer was begun and not finished.
    Broken(End),
    /// The client went away before anything was sent on.
    ClientGone,
}

/// Why there is no head.
pub(super) enum NoHead {
    Failed(Reason),
    ClientGone,
}

/// Receives the answer to a request that has been sent, and sends it on.
pub(super) async fn receive(
    client: &Client,
    request: &Request,
    flags: &Flags,
    answer: &mut Answer,
    exchange: &mut Exchange,
    upstream: &Upstream,
    attempt: &Attempt,
) -> Received {
    let shard = &client.shard;
    answer.buffer = shard.buffers.take(0);
    answer.buffer.clear_with_headroom(HEADROOM_BYTES);
    answer.begun = false;
    flags.answered.set(false);
    let head_bytes = match final_head(client, request, flags, answer, upstream, attempt).await {
        Ok(head_bytes) => head_bytes,
        Err(NoHead::Failed(reason)) => return Received::Failed(reason),
        Err(NoHead::ClientGone) => return Received::ClientGone,
    };
    flags.answered.set(true);
    if let Some(received) = decide(client, flags, answer, exchange, head_bytes) {
        return received;
    }
    if answer.head.status() == 101 {
        return switch(client, request, answer, exchange, head_bytes).await;
    }
    forward(client, request, flags, answer, exchange, upstream, attempt, head_bytes).await
}

/// Tells the exchange of the final head, which is in `answer.buffer`; none if it is to be sent on.
pub(super) fn decide(
    client: &Client,
    flags: &Flags,
    answer: &mut Answer,
    exchange: &mut Exchange,
    head_bytes: usize,
) -> Option<Received> {
    let shard = &client.shard;
    let now = shard.now_for_log();
    let grpc_status = answer.head.grpc_status(answer.buffer.filled());
    let replayable = !flags.unrepeatable.get() && !answer.started;
    let unserved = || answer.head.header(UNSERVED, answer.buffer.filled());
    let input = exchange.head(answer.head.status(), grpc_status, replayable, unserved);
    let step = exchange.handle(input, now, &mut shard.rng.borrow_mut());
    match step {
        Step::Forward => {}
        Step::Discard(inner) => return Some(Received::Again(inner)),
        other => return Some(Received::Again(Box::new(other))),
    }
    answer.answered = now;
    answer.grpc_status = grpc_status;
    if shard.telemetry.logs() {
        answer.log_head.clear();
        answer.log_head.extend_from_slice(answer.buffer.filled().get(..head_bytes).unwrap_or_default());
    }
    None
}

/// Reads heads until the final one, sending interim ones on (R29). Its length.
async fn final_head(
    client: &Client,
    request: &Request,
    flags: &Flags,
    answer: &mut Answer,
    upstream: &Upstream,
    attempt: &Attempt,
) -> Result<usize, NoHead> {
    const PROTOCOL: NoHead = NoHead::Failed(Reason::UpstreamProtocol);
    if std::mem::replace(&mut answer.dirty, true) {
        answer.head = ResponseHead::new();
    }
    let to_head = request.head.method().of_bytes(request.buffer.filled()) == b"HEAD";
    let mut interim = 0;
    loop {
        let head_bytes = next_head(client, flags, answer, upstream, attempt, to_head).await?;
        if answer.head.status() >= 200 {
            answer.dirty = false;
            return Ok(head_bytes);
        }
        let version = request.head.version();
        match h1::interim(answer.head.status(), version, interim).map_err(|_| PROTOCOL)? {
            Interim::Switch => {
                let asked = (&request.head, request.buffer.filled());
                h1::check_switch(asked, (&answer.head, answer.buffer.filled())).map_err(|_| PROTOCOL)?;
                answer.dirty = false;
                return Ok(head_bytes);
            }
            // The client has been told already, when the upstream took its time.
            Interim::Relay if answer.head.status() == 100 && flags.invited.get() => {}
            Interim::Relay => relay(client, version, flags, answer).await?,
            Interim::Drop => {}
        }
        // Those that go no further count too: an upstream may not keep a request busy with them.
        interim += 1;
        answer.buffer.consume(head_bytes);
    }
}

/// Why no head came before a wait for it was cut short.
pub(super) fn late(interrupted: Interrupted, now: Tick, attempt: &Attempt) -> NoHead {
    match interrupted {
        Interrupted::Gone => NoHead::ClientGone,
        Interrupted::Deadline if now >= attempt.finish_by => NoHead::Failed(Reason::RequestTimeout),
        Interrupted::Deadline => NoHead::Failed(Reason::PerTryTimeout),
    }
}

/// Sends an interim head on.
pub(super) async fn relay(
    client: &Client,
    version: Version,
    flags: &Flags,
    answer: &mut Answer,
) -> Result<(), NoHead> {
    answer.out.clear();
    let rewrite = ResponseRewrite { client: version, keep_alive: true, ..Default::default() };
    encode::response(&answer.head, answer.buffer.filled(), &rewrite, answer.out.vec());
    answer.started = true;
    write(client, &client.stream, &mut answer.out).await.map_err(|_| NoHead::ClientGone)?;
    if answer.head.status() == 100 {
        flags.invited.set(true);
    }
    Ok(())
}

/// Tells the client to send its body, since the upstream takes its time (R28).
pub(super) async fn invite(client: &Client, flags: &Flags, answer: &mut Answer) -> Result<(), NoHead> {
    answer.out.clear();
    answer.out.extend(CONTINUE);
    answer.started = true;
    write(client, &client.stream, &mut answer.out).await.map_err(|_| NoHead::ClientGone)?;
    flags.invited.set(true);
    Ok(())
}

/// Reads until one head is complete.
async fn next_head(
    client: &Client,
    flags: &Flags,
    answer: &mut Answer,
    upstream: &Upstream,
    attempt: &Attempt,
    to_head: bool,
) -> Result<usize, NoHead> {
    let shard = &client.shard;
    let deadline = attempt.head_by.min(attempt.finish_by);
    let late = |interrupted: Interrupted| late(interrupted, shard.now(), attempt);
    loop {
        if !answer.buffer.is_empty() {
            match answer.head.parse(answer.buffer.filled(), to_head) {
                Ok(Progress::Complete(head_bytes)) => return Ok(head_bytes),
                Ok(Progress::Incomplete) => {}
                Err(_) => return Err(NoHead::Failed(Reason::UpstreamProtocol)),
            }
        }
        if answer.buffer.room() == 0 {
            answer.buffer.grow(HEAD_BYTES_MAX + 1);
        }
        if !flags.invited.get() {
            // Waits by readiness, since this wait may be over with the connection still wanted (R28).
            let patience = shard.now().plus_millis(EXPECT_WAIT_MS).min(deadline);
            match client.alarm.watch(patience, &client.stream, upstream.stream.readable()).await {
                Ok(_) => {}
                Err(Interrupted::Deadline) if patience < deadline => {
                    invite(client, flags, answer).await?;
                    continue;
                }
                Err(interrupted) => return Err(late(interrupted)),
            }
        }
        let buffer = std::mem::take(&mut answer.buffer);
        let (read, back) =
            client.alarm.watch(deadline, &client.stream, upstream.stream.read(buffer)).await.map_err(late)?;
        answer.buffer = back;
        answer.begun |= !answer.buffer.is_empty();
        if !matches!(read, Ok(1..)) {
            return Err(NoHead::Failed(Reason::UpstreamReset));
        }
    }
}

/// Sends a checked 101 on (R26).
pub(super) async fn switch(
    client: &Client,
    request: &Request,
    answer: &mut Answer,
    exchange: &Exchange,
    head_bytes: usize,
) -> Received {
    let changes: SmallVec<[&Changes; 2]> = exchange.response_changes().into_iter().rev().flatten().collect();
    let rewrite = ResponseRewrite {
        client: request.head.version(),
        keep_alive: true,
        changes: &changes,
        ..Default::default()
    };
    answer.out.clear();
    encode::response(&answer.head, answer.buffer.filled(), &rewrite, answer.out.vec());
    answer.started = true;
    answer.status = answer.head.status();
    answer.head_bytes = answer.out.len() as u64;
    if write(client, &client.stream, &mut answer.out).await.is_err() {
        return Received::Broken(End::DownstreamClosed);
    }
    answer.buffer.consume(head_bytes);
    Received::Switched { from_upstream: answer.buffer.filled().to_vec() }
}

/// Sends the final head on, in one write with what is here of the body, then the rest of the body.
#[allow(clippy::too_many_arguments)]
async fn forward(
    client: &Client,
    request: &Request,
    flags: &Flags,
    answer: &mut Answer,
    exchange: &Exchange,
    upstream: &Upstream,
    attempt: &Attempt,
    head_bytes: usize,
) -> Received {
    let sent = begin(client, request, flags, answer, exchange, head_bytes);
    if let Err(broken) = send(client, answer, upstream, attempt).await {
        return Received::Broken(cut(&broken));
    }
    let extra_bytes = !answer.buffer.is_empty();
    if extra_bytes {
        client.shard.gauges.upstream_connections_poisoned.add(1);
    }
    Received::Complete { reusable: answer.head.keep_alive() && !extra_bytes, keep_alive: sent.keep_alive }
}

/// Encodes the final head for the client into `answer.out`: from here on the answer has begun.
pub(super) fn begin(
    client: &Client,
    request: &Request,
    flags: &Flags,
    answer: &mut Answer,
    exchange: &Exchange,
    head_bytes: usize,
) -> Sent {
    let changes: SmallVec<[&Changes; 2]> = exchange.response_changes().into_iter().rev().flatten().collect();
    let rewrite = ResponseRewrite {
        client: request.head.version(),
        keep_alive: local::keep_alive(client, &request.head) && flags.invited.get(),
        accepts_trailers: request.head.accepts_trailers(),
        changes: &changes,
        extra: &[],
    };
    answer.out.clear();
    let sent = encode::response(&answer.head, answer.buffer.filled(), &rewrite, answer.out.vec());
    answer.framing = Framing::new(answer.head.body(), sent.body, request.head.accepts_trailers());
    answer.buffer.consume(head_bytes);
    answer.started = true;
    answer.status = answer.head.status();
    answer.head_bytes = answer.out.len() as u64;
    sent
}

/// How an answer ended whose body did not come through.
pub(super) fn cut(broken: &Broken) -> End {
    match broken {
        Broken::Truncated | Broken::Rule(_) => End::UpstreamAborted,
        Broken::Receiver(_) | Broken::ReceiverGone => End::DownstreamClosed,
        Broken::Deadline => End::TimedOut,
    }
}

/// Sends the encoded head in `answer.out` and the whole body.
async fn send(
    client: &Client,
    answer: &mut Answer,
    upstream: &Upstream,
    attempt: &Attempt,
) -> Result<(), Broken> {
    let Answer { buffer, out, framing, sent_bytes, .. } = answer;
    if buffer.room() == 0 && framing.remaining() != Some(buffer.len() as u64) {
        enlarge(client, framing, buffer, upstream);
    }
    let head_bytes = out.len();
    match framing.take(buffer, out)? {
        Take::Whole => {
            *sent_bytes += buffer.len() as u64;
            if !buffer.prepend(out.filled()) {
                write(client, &client.stream, out).await?;
            }
            write(client, &client.stream, buffer).await?;
        }
        Take::Copied | Take::Nothing => {
            *sent_bytes += (out.len() - head_bytes) as u64;
            write(client, &client.stream, out).await?;
        }
    }
    if framing.is_done() {
        return Ok(());
    }
    let way = Way { client, from: &upstream.stream, to: &client.stream, deadline: attempt.finish_by };
    way.pass(framing, buffer, out, sent_bytes).await
}

/// The body did not fit beside its head, so more of it is there: takes it along, since each write costs the receiver
/// a wake-up.
fn enlarge(client: &Client, framing: &Framing, buffer: &mut Buffer, upstream: &Upstream) {
    let left =
        framing.remaining().map_or(BODY_BUFFER_BYTES_MAX, |left| usize::try_from(left).unwrap_or(usize::MAX));
    let mut larger = client.shard.buffers.take(left.saturating_add(HEADROOM_BYTES));
    larger.clear_with_headroom(HEADROOM_BYTES);
    larger.extend(buffer.filled());
    client.shard.buffers.give(std::mem::replace(buffer, larger));
    // Nothing there, an end or an error: the next read says so again.
    let _ = upstream.stream.try_read(buffer);
}
