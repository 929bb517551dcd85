//! One try over an HTTP/1 connection: the head, the body beside the answer.

mod outgoing;

use std::cell::Cell;
use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::task::Poll;

use bytes::Bytes;
use dromon_core::exchange::unserved::UNSERVED;
use dromon_core::exchange::{Attempt, End, Exchange, Step};
use dromon_core::fault::Reason;
use dromon_core::h1::{Interim, Progress, ResponseHead, Version, interim};
use dromon_core::h2::{edit, from_h1, from_switch};
use dromon_core::limits::{
    BODY_BUFFER_BYTES, BODY_BUFFER_BYTES_MAX, EXPECT_WAIT_MS, H2_SEND_BUFFER_BYTES, HEAD_BYTES_MAX,
    WRITE_STALL_MS,
};
use dromon_core::route::rule::Changes;
use dromon_core::time::Tick;
use http::{HeaderMap, Response};
use smallvec::SmallVec;

use outgoing::{at_hand, encode, frame};

use super::call::Call;
use super::onward;
use super::reply::{Cut, Reply};
use super::source::{self, Source};
use super::stream::{Tried, Work};
use super::unchunk::Unchunk;
use crate::conn::{attempt, tunnel};
use crate::io::{Either, Interrupted, Stalled, race, write_all};
use crate::pool::{Upstream, Wanted, refused};
use crate::sys::buffer::Buffer;
use crate::sys::clock;

/// What came of a try whose request has been sent.
enum Received {
    /// No final head.
    Failed { reason: Reason, begun: bool },
    /// A head that the exchange does not want sent on.
    Again(Box<Step>),
    /// The answer was sent on to its end.
    Complete { reusable: bool },
    /// The answer was begun, and the upstream broke it off.
    Aborted(End),
    /// The client takes no more of it.
    Cut(Cut),
    /// The client went away before anything was sent on.
    ClientGone,
}

/// Makes the try on a connection.
pub(super) async fn run(
    work: &mut Work,
    exchange: &mut Exchange,
    attempt: &Attempt,
    upstream: Box<Upstream>,
) -> Tried {
    let shard = work.call.conn().client.shard.clone();
    let reused = upstream.served > 0;
    work.call.principals.borrow_mut().clone_from(&upstream.principals);
    work.call.upstream_local.set(upstream.local_for_log());
    let mut out = shard.buffers.take(0);
    let mut progress = source::Progress::default();
    // What follows a switch is for the protocol switched to.
    let mut invited = Cell::new(!work.call.checked.expects_continue && work.call.protocol.is_none());
    let mut ended = encode(&work.call, exchange, attempt, &mut out);
    if *invited.get_mut() && !ended {
        match at_hand(work, &mut progress, &mut out).await {
            Ok(whole) => ended = whole,
            Err(_) => return Tried::ClientGone,
        }
    }
    let bytes = out.len();
    work.call.sent.set(shard.now_for_log());
    let (written, back) = write_all(&work.call.alarm, &upstream.stream, out).await;
    let sent = written.is_ok() || back.len() < bytes;
    shard.buffers.give(back);
    if written.is_err() {
        // The alert that says why may have come.
        upstream.stream.peek();
        return match late_refusal(work, exchange, attempt, &upstream) {
            Some(reason) => work.failed(exchange, reason, false, false),
            None => work.failed(exchange, Reason::UpstreamReset, sent, reused),
        };
    }
    work.source.sent_on();
    let upload = Begun { progress, invited, ended };
    let received = converse(work, exchange, attempt, &upstream, upload).await;
    if let Received::Failed { begun: false, .. } = received
        && let Some(reason) = late_refusal(work, exchange, attempt, &upstream)
    {
        return work.failed(exchange, reason, false, false);
    }
    settle(work, exchange, upstream, received, reused)
}

/// A request whose head has been sent, with what was at hand of its body.
struct Begun {
    progress: source::Progress,
    invited: Cell<bool>,
    /// That was all of it.
    ended: bool,
}

/// Receives the answer, while the rest of the body goes up.
async fn converse(
    work: &mut Work,
    exchange: &mut Exchange,
    attempt: &Attempt,
    upstream: &Upstream,
    Begun { mut progress, invited, ended }: Begun,
) -> Received {
    let Work { call, source, reply } = work;
    let uploaded = Cell::new(ended);
    // What the answer needs to know of the upload, which holds the source while it runs.
    let repeatable = Cell::new(source.is_replayable() && !reply.started);
    let body_by = if call.protocol.is_some() { Tick::NEVER } else { attempt.finish_by };
    let (moved, begun) = (Cell::new(Tick::ZERO), Cell::new(false));
    let path = Path {
        call,
        upstream,
        attempt,
        body_by,
        invited: &invited,
        repeatable: &repeatable,
        moved: &moved,
        begun: &begun,
    };
    let mut down = pin!(receive(&path, reply, exchange));
    let received = if ended {
        down.await
    } else {
        let mut up = pin!(upload(&path, source, &mut progress, &uploaded));
        match race(down.as_mut(), up.as_mut()).await {
            Either::First(received) => received,
            Either::Second(Err(Stopped::Client)) => Received::ClientGone,
            // One that takes nothing and says nothing has had its time.
            Either::Second(Err(Stopped::Stalled)) if !begun.get() => {
                Received::Failed { reason: Reason::UpstreamReset, begun: false }
            }
            // An upstream that takes no more may still have answered.
            Either::Second(_) => down.await,
        }
    };
    match received {
        Received::Complete { reusable } => Received::Complete { reusable: reusable && uploaded.get() },
        other => other,
    }
}

/// Whether a new connection ended because its server does not take this end's certificate: with TLS 1.3 it says so after
/// this end has sent its request, which it has not looked at.
fn late_refusal(work: &Work, exchange: &Exchange, attempt: &Attempt, upstream: &Upstream) -> Option<Reason> {
    if upstream.served > 0 {
        return None;
    }
    let failure = upstream.stream.tls()?.failure()?;
    let client = &work.call.conn().client;
    let wanted = attempt::wanted(client, exchange, attempt, upstream.address);
    let wanted = Wanted { failure: Some(&work.call.transport_failure), ..wanted };
    Some(refused(&client.shard, &wanted, failure))
}

/// Says what has come of the try, and gives the connection back where it can serve again.
fn settle(
    work: &mut Work,
    exchange: &mut Exchange,
    upstream: Box<Upstream>,
    received: Received,
    reused: bool,
) -> Tried {
    match received {
        // An answer that has begun is no race with an idle connection's end (R40).
        Received::Failed { reason, begun } => work.failed(exchange, reason, true, reused && !begun),
        Received::Again(step) => Tried::Again(step),
        Received::Complete { reusable } => {
            if reusable {
                let shard = &work.call.conn().client.shard;
                shard.pools.put(shard, upstream, exchange.destination());
            }
            Tried::Answered(End::Complete)
        }
        Received::Aborted(end) => work.broken(end, h2::Reason::INTERNAL_ERROR),
        Received::Cut(cut) => work.cut(cut),
        Received::ClientGone => Tried::ClientGone,
    }
}

/// What both directions of a try need.
struct Path<'a> {
    call: &'a Call,
    upstream: &'a Upstream,
    attempt: &'a Attempt,
    /// When its bodies must be over; [`Tick::NEVER`] for a protocol of its own.
    body_by: Tick,
    /// The client may send its body: it did not ask, or was told so (R28).
    invited: &'a Cell<bool>,
    /// What was sent of the body is all here.
    repeatable: &'a Cell<bool>,
    /// When bytes went up last.
    moved: &'a Cell<Tick>,
    /// The final head has come.
    begun: &'a Cell<bool>,
}

/// Why an upload ended early.
enum Stopped {
    /// The client broke off, or its body breaks a rule.
    Client,
    /// The upstream takes no more, or time ran out; its answer tells.
    Upstream,
    /// The upstream has taken nothing for too long.
    Stalled,
}

/// Sends the rest of the body upstream.
async fn upload(
    path: &Path<'_>,
    source: &mut Source,
    progress: &mut source::Progress,
    uploaded: &Cell<bool>,
) -> Result<(), Stopped> {
    poll_fn(|_| if path.invited.get() { Poll::Ready(()) } else { Poll::Pending }).await;
    let shard = &path.call.conn().client.shard;
    loop {
        let mut out = Buffer::default();
        let filled = poll_fn(|context| {
            loop {
                match source.poll(progress, context) {
                    Poll::Ready(Ok(piece)) => {
                        if out.capacity() == 0 {
                            out = shard.buffers.take(H2_SEND_BUFFER_BYTES);
                        }
                        if frame(path.call, piece, &mut out) {
                            return Poll::Ready(Ok(true));
                        }
                        if out.len() >= BODY_BUFFER_BYTES {
                            return Poll::Ready(Ok(false));
                        }
                    }
                    Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                    Poll::Pending if out.is_empty() => return Poll::Pending,
                    Poll::Pending => return Poll::Ready(Ok(false)),
                }
            }
        });
        let filled = path.call.alarm.within(path.body_by, filled).await;
        path.repeatable.set(source.is_replayable());
        let last = match filled {
            Ok(Ok(last)) => last,
            Ok(Err(_)) => return Err(Stopped::Client),
            Err(_) => return Err(Stopped::Upstream),
        };
        let (written, back) = write_all(&path.call.alarm, &path.upstream.stream, out).await;
        shard.buffers.give(back);
        match written {
            Ok(()) => {}
            Err(Stalled::Timeout) => return Err(Stopped::Stalled),
            Err(Stalled::Broken(_)) => return Err(Stopped::Upstream),
        }
        source.sent_on();
        path.moved.set(clock::coarse());
        if last {
            if path.call.protocol.is_some() {
                let by = clock::coarse().plus_millis(WRITE_STALL_MS);
                let _ = path.call.alarm.within(by, path.upstream.stream.finish_write()).await;
            }
            uploaded.set(true);
            return Ok(());
        }
    }
}

/// Why there is no head.
enum NoHead {
    Failed(Reason),
    ClientGone,
}

/// Receives the answer and sends it on.
async fn receive(path: &Path<'_>, reply: &mut Reply, exchange: &mut Exchange) -> Received {
    let shard = path.call.conn().client.shard.clone();
    let mut buffer = shard.buffers.take(0);
    let mut head = ResponseHead::new();
    let received = match final_head(path, reply, &mut buffer, &mut head).await {
        Err(NoHead::Failed(reason)) => Received::Failed { reason, begun: !buffer.is_empty() },
        Err(NoHead::ClientGone) => Received::ClientGone,
        Ok(head_bytes) => {
            let now = shard.now_for_log();
            let grpc_status = head.grpc_status(buffer.filled());
            let replayable = path.repeatable.get() && !reply.started;
            let unserved = || head.header(UNSERVED, buffer.filled());
            let input = exchange.head(head.status(), grpc_status, replayable, unserved);
            let step = exchange.handle(input, now, &mut shard.rng.borrow_mut());
            match step {
                Step::Forward => {
                    reply.answered = now;
                    reply.grpc_status = grpc_status;
                    match head.status() {
                        101 => switch(path, reply, exchange, &head, head_bytes, &mut buffer).await,
                        _ => forward(path, reply, exchange, &head, head_bytes, &mut buffer).await,
                    }
                }
                Step::Discard(inner) => Received::Again(inner),
                other => Received::Again(Box::new(other)),
            }
        }
    };
    shard.buffers.give(buffer);
    received
}

/// Reads heads until the final one, sending interim ones on (R29). Its length.
async fn final_head(
    path: &Path<'_>,
    reply: &mut Reply,
    buffer: &mut Buffer,
    head: &mut ResponseHead,
) -> Result<usize, NoHead> {
    const PROTOCOL: NoHead = NoHead::Failed(Reason::UpstreamProtocol);
    let to_head = path.call.parts.method == http::Method::HEAD;
    let mut before = 0;
    loop {
        let head_bytes = next_head(path, reply, buffer, head, to_head).await?;
        if head.status() >= 200 {
            path.begun.set(true);
            return Ok(head_bytes);
        }
        match interim(head.status(), Version::Http11, before).map_err(|_| PROTOCOL)? {
            Interim::Relay if head.status() == 100 && path.invited.get() => {}
            Interim::Relay => {
                let head = from_h1(head, buffer.filled()).ok_or(PROTOCOL)?;
                let goes_on = head.status() == 100;
                reply.interim(head).map_err(|_| NoHead::ClientGone)?;
                if goes_on {
                    path.invited.set(true);
                }
            }
            Interim::Drop => {}
            Interim::Switch if path.call.protocol.is_some() => return Ok(head_bytes),
            // Nobody has asked for another protocol.
            Interim::Switch => return Err(PROTOCOL),
        }
        before += 1;
        buffer.consume(head_bytes);
    }
}

/// Reads until one head is complete.
async fn next_head(
    path: &Path<'_>,
    reply: &mut Reply,
    buffer: &mut Buffer,
    head: &mut ResponseHead,
    to_head: bool,
) -> Result<usize, NoHead> {
    let Path { call, upstream, attempt, .. } = path;
    let deadline = attempt.head_by.min(attempt.finish_by);
    let late = |interrupted: Interrupted| match interrupted {
        Interrupted::Gone => NoHead::ClientGone,
        Interrupted::Deadline if clock::now() >= attempt.finish_by => NoHead::Failed(Reason::RequestTimeout),
        Interrupted::Deadline => NoHead::Failed(Reason::PerTryTimeout),
    };
    loop {
        if !buffer.is_empty() {
            match head.parse(buffer.filled(), to_head) {
                Ok(Progress::Complete(head_bytes)) => return Ok(head_bytes),
                Ok(Progress::Incomplete) => {}
                Err(_) => return Err(NoHead::Failed(Reason::UpstreamProtocol)),
            }
        }
        if buffer.room() == 0 {
            buffer.grow(HEAD_BYTES_MAX + 1);
        }
        if !path.invited.get() {
            // Waits by readiness, since this wait may be over with the connection still wanted (R28).
            let patience = clock::now().plus_millis(EXPECT_WAIT_MS).min(deadline);
            match call.watch(patience, reply, upstream.stream.readable()).await {
                Ok(_) => {}
                Err(Interrupted::Deadline) if patience < deadline => {
                    let mut proceed = Response::new(());
                    *proceed.status_mut() = http::StatusCode::CONTINUE;
                    reply.interim(proceed).map_err(|_| NoHead::ClientGone)?;
                    path.invited.set(true);
                    continue;
                }
                Err(interrupted) => return Err(late(interrupted)),
            }
        }
        let read = upstream.stream.read(std::mem::take(buffer));
        let (read, back) = call.watch(deadline, reply, read).await.map_err(late)?;
        *buffer = back;
        if !matches!(read, Ok(1..)) {
            return Err(NoHead::Failed(Reason::UpstreamReset));
        }
    }
}

/// Sends the final head on, then the body.
async fn forward(
    path: &Path<'_>,
    reply: &mut Reply,
    exchange: &Exchange,
    head: &ResponseHead,
    head_bytes: usize,
    buffer: &mut Buffer,
) -> Received {
    let client = &path.call.conn().client;
    let Some(mut response) = from_h1(head, buffer.filled()) else {
        return Received::Failed { reason: Reason::UpstreamProtocol, begun: true };
    };
    onward::log_head(reply, client, response.headers());
    let changes: SmallVec<[&Changes; 2]> = exchange.response_changes().into_iter().rev().flatten().collect();
    edit(response.headers_mut(), &changes);
    buffer.consume(head_bytes);
    let mut body = Unchunk::new(head.body());
    if let Err(cut) = reply.head(response, body.is_done()) {
        return Received::Cut(cut);
    }
    if !body.is_done() {
        match pass(path, reply, &mut body, buffer).await {
            Ok(()) => {}
            Err(Broken::Upstream) => return Received::Aborted(End::UpstreamAborted),
            Err(Broken::Client(Cut::Late)) => return Received::Aborted(End::TimedOut),
            Err(Broken::Client(cut)) => return Received::Cut(cut),
        }
    }
    let extra_bytes = !buffer.is_empty();
    if extra_bytes {
        client.shard.gauges.upstream_connections_poisoned.add(1);
    }
    Received::Complete { reusable: head.keep_alive() && !extra_bytes }
}

/// Sends a 101 on as the answer to an extended CONNECT, then what comes behind it, until the upstream has ended or neither
/// side has spoken for too long.
async fn switch(
    path: &Path<'_>,
    reply: &mut Reply,
    exchange: &Exchange,
    head: &ResponseHead,
    head_bytes: usize,
    buffer: &mut Buffer,
) -> Received {
    let Path { call, upstream, .. } = path;
    let protocol = call.protocol.as_ref().map_or("", h2::ext::Protocol::as_str);
    let Some(mut response) = from_switch(head, buffer.filled(), protocol) else {
        return Received::Failed { reason: Reason::UpstreamProtocol, begun: true };
    };
    onward::log_head(reply, &call.conn().client, response.headers());
    let changes: SmallVec<[&Changes; 2]> = exchange.response_changes().into_iter().rev().flatten().collect();
    edit(response.headers_mut(), &changes);
    buffer.consume(head_bytes);
    if let Err(cut) = reply.head(response, false) {
        return Received::Cut(cut);
    }
    path.invited.set(true);
    let idle_ms = tunnel::idle_ms(exchange);
    path.moved.set(clock::coarse());
    loop {
        if !buffer.is_empty() {
            let bytes = Bytes::copy_from_slice(buffer.filled());
            buffer.clear();
            if let Err(cut) = reply.data(call, bytes, false, Tick::NEVER).await {
                return Received::Cut(cut);
            }
            path.moved.set(clock::coarse());
        }
        let idle_at = path.moved.get().plus_millis(idle_ms);
        match fill(call, reply, upstream, idle_at, buffer).await {
            Ok(true) => {}
            Ok(false) => {
                return match reply.end(None) {
                    Ok(()) => Received::Complete { reusable: false },
                    Err(cut) => Received::Cut(cut),
                };
            }
            Err(Broken::Client(Cut::Late)) if clock::now() < path.moved.get().plus_millis(idle_ms) => {}
            Err(Broken::Client(Cut::Late)) => return Received::Aborted(End::TimedOut),
            Err(Broken::Client(cut)) => return Received::Cut(cut),
            Err(Broken::Upstream) => return Received::Aborted(End::UpstreamAborted),
        }
    }
}

/// Why a body did not come through.
enum Broken {
    Upstream,
    Client(Cut),
}

impl From<Cut> for Broken {
    fn from(cut: Cut) -> Broken {
        Broken::Client(cut)
    }
}

/// Passes the body on to its end.
async fn pass(
    path: &Path<'_>,
    reply: &mut Reply,
    body: &mut Unchunk,
    buffer: &mut Buffer,
) -> Result<(), Broken> {
    let Path { call, upstream, attempt, .. } = path;
    loop {
        let bytes = body.take(buffer).map_err(|_| Broken::Upstream)?;
        let trailers: Option<Option<HeaderMap>> = match body {
            Unchunk::Done(trailers) => Some(trailers.take()),
            _ => None,
        };
        let last = matches!(trailers, Some(None));
        if !bytes.is_empty() {
            reply.data(call, bytes, last, attempt.finish_by).await?;
            if last {
                return Ok(());
            }
        }
        if let Some(trailers) = trailers {
            reply.end(trailers)?;
            return Ok(());
        }
        if !fill(call, reply, upstream, attempt.finish_by, buffer).await? {
            if !body.end_of_stream() {
                return Err(Broken::Upstream);
            }
            // The end takes a frame of its own: nobody knew that the bytes before were the last.
            reply.end(None)?;
            return Ok(());
        }
    }
}

/// Reads on; false at the end of the stream. A body that pauses gives its buffer back and waits without one.
async fn fill(
    call: &Call,
    reply: &mut Reply,
    upstream: &Upstream,
    deadline: Tick,
    buffer: &mut Buffer,
) -> Result<bool, Broken> {
    let buffers = &call.conn().client.shard.buffers;
    loop {
        if buffer.is_empty() && buffer.capacity() < BODY_BUFFER_BYTES_MAX / 4 {
            buffers.give(std::mem::replace(buffer, buffers.take(BODY_BUFFER_BYTES_MAX / 4)));
        } else if buffer.is_empty() {
            buffer.clear();
        } else {
            buffer.compact();
            if buffer.room() == 0 {
                buffer.grow(2 * buffer.capacity());
            }
        }
        match upstream.stream.try_read(buffer) {
            Ok(count) => return Ok(count > 0),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => return Err(Broken::Upstream),
        }
        if buffer.is_empty() {
            buffers.give(std::mem::take(buffer));
        }
        call.watch(deadline, reply, upstream.stream.readable())
            .await
            .map_err(|interrupted| Broken::Client(interrupted.into()))?
            .map_err(|_| Broken::Upstream)?;
    }
}
