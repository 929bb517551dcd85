//! An HTTP/2 answer on its way to an HTTP/1 client.

use std::cell::Cell;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use dromon_auth::websocket::accept;
use dromon_core::exchange::{Attempt, Exchange};
use dromon_core::fault::Reason;
use dromon_core::h1::{self, Body, ChunkHeader, Interim, LAST_CHUNK, Progress, ResponseHead};
use dromon_core::h2::grpc_web::Web;
use dromon_core::h2::{grpc, response_to_h1, trailers_to_h1, websocket_switch};
use dromon_core::limits::{EXPECT_WAIT_MS, H2_OUTBOUND_BYTES_MAX};
use dromon_core::time::Tick;
use h2::RecvStream;
use h2::client::ResponseFuture;
use http::{HeaderMap, Response};

use super::socket;
use crate::conn::answer::{NoHead, Received, begin, cut, decide, invite, late, relay, switch};
use crate::conn::body::{Broken, write};
use crate::conn::client::Client;
use crate::conn::work::{Answer, Flags, Request};
use crate::io::Interrupted;
use crate::pool::reason_of;

const PROTOCOL: NoHead = NoHead::Failed(Reason::UpstreamProtocol);

/// Where an answer comes from.
pub(super) struct From<'a> {
    pub(super) response: ResponseFuture,
    /// The request was a call of gRPC-Web.
    pub(super) web: Option<Web>,
    /// Told when the final head has come.
    pub(super) begun: &'a Cell<bool>,
    /// Where a WebSocket that was asked for comes from, once it stands.
    pub(super) switched: Option<&'a Cell<Option<RecvStream>>>,
}

/// Receives the answer to a request that has been sent, and sends it on.
pub(super) async fn receive(
    client: &Client,
    request: &Request,
    flags: &Flags,
    answer: &mut Answer,
    exchange: &mut Exchange,
    mut from: From<'_>,
    attempt: &Attempt,
) -> Received {
    answer.begun = false;
    answer.buffer = client.shard.buffers.take(0);
    let (head_bytes, mut body) = match final_head(client, request, flags, answer, &mut from, attempt).await {
        Ok(found) => found,
        Err(NoHead::Failed(reason)) => return Received::Failed(reason),
        Err(NoHead::ClientGone) => return Received::ClientGone,
    };
    if let Some(received) = decide(client, flags, answer, exchange, head_bytes) {
        return received;
    }
    if let Some(switched) = from.switched.filter(|_| answer.head.status() == 101) {
        switched.set(Some(body));
        return switch(client, request, answer, exchange, head_bytes).await;
    }
    let sent = begin(client, request, flags, answer, exchange, head_bytes);
    let way = Down {
        client,
        goes: sent.body,
        trailers: request.head.accepts_trailers(),
        web: from.web,
        by: attempt.finish_by,
    };
    match way.pass(answer, &mut body).await {
        Ok(()) => Received::Complete { reusable: false, keep_alive: sent.keep_alive },
        Err(broken) => Received::Broken(cut(&broken)),
    }
}

/// A head, as it came.
enum Head {
    Interim(Response<()>),
    Final(Response<RecvStream>),
}

/// Waits for heads until the final one, sending interim ones on (R29). It is then in `answer.buffer` as HTTP/1 has it; its
/// length there, and the body.
async fn final_head(
    client: &Client,
    request: &Request,
    flags: &Flags,
    answer: &mut Answer,
    from: &mut From<'_>,
    attempt: &Attempt,
) -> Result<(usize, RecvStream), NoHead> {
    let version = request.head.version();
    let to_head = request.head.method().of_bytes(request.buffer.filled()) == b"HEAD";
    let mut interim = 0;
    loop {
        let head = next_head(client, flags, answer, &mut from.response, attempt).await?;
        answer.begun = true;
        match head {
            Head::Final(response) => {
                from.begun.set(true);
                let (mut parts, body) = response.into_parts();
                if parts.status.as_u16() < 200 {
                    return Err(PROTOCOL);
                }
                // What is no gRPC, an error page say, passes as it is.
                from.web = from.web.filter(|web| web.response(&mut parts.headers));
                let head_bytes = match from.switched {
                    Some(_) if parts.status.is_success() => take_switch(answer, request, &parts)?,
                    _ => take_head(answer, &parts, body.is_end_stream(), to_head)?,
                };
                return Ok((head_bytes, body));
            }
            Head::Interim(response) => {
                let (parts, ()) = response.into_parts();
                take_head(answer, &parts, false, to_head)?;
                match h1::interim(parts.status.as_u16(), version, interim).map_err(|_| PROTOCOL)? {
                    // Nothing was asked for that could be switched to.
                    Interim::Switch => return Err(PROTOCOL),
                    // The client has been told already, when the upstream took its time.
                    Interim::Relay if parts.status.as_u16() == 100 && flags.invited.get() => {}
                    Interim::Relay => relay(client, version, flags, answer).await?,
                    Interim::Drop => {}
                }
                interim += 1;
            }
        }
    }
}

/// Puts a head into `answer` as if it had come by HTTP/1; its length.
fn take_head(
    answer: &mut Answer,
    parts: &http::response::Parts,
    ends: bool,
    to_head: bool,
) -> Result<usize, NoHead> {
    answer.buffer.clear();
    response_to_h1(parts, ends, to_head, answer.buffer.vec());
    parse(answer, to_head)
}

/// Puts the head into `answer` that a server of HTTP/1 would have switched by; its length.
fn take_switch(
    answer: &mut Answer,
    request: &Request,
    parts: &http::response::Parts,
) -> Result<usize, NoHead> {
    answer.buffer.clear();
    let proof = accept(socket::key(request).unwrap_or_default());
    websocket_switch(parts, &proof, answer.buffer.vec());
    parse(answer, false)
}

fn parse(answer: &mut Answer, to_head: bool) -> Result<usize, NoHead> {
    if std::mem::replace(&mut answer.dirty, true) {
        answer.head = ResponseHead::new();
    }
    match answer.head.parse(answer.buffer.filled(), to_head) {
        Ok(Progress::Complete(head_bytes)) => {
            answer.dirty = false;
            Ok(head_bytes)
        }
        Ok(Progress::Incomplete) | Err(_) => Err(PROTOCOL),
    }
}

/// Waits for one head.
async fn next_head(
    client: &Client,
    flags: &Flags,
    answer: &mut Answer,
    response: &mut ResponseFuture,
    attempt: &Attempt,
) -> Result<Head, NoHead> {
    let now = || client.shard.now();
    let deadline = attempt.head_by.min(attempt.finish_by);
    loop {
        let patience = match flags.invited.get() {
            true => deadline,
            false => now().plus_millis(EXPECT_WAIT_MS).min(deadline),
        };
        let head = poll_fn(|context| poll_head(response, context));
        match client.alarm.watch(patience, &client.stream, head).await {
            Ok(Ok(head)) => return Ok(head),
            Ok(Err(error)) => return Err(NoHead::Failed(reason_of(&error))),
            Err(Interrupted::Deadline) if patience < deadline => invite(client, flags, answer).await?,
            Err(interrupted) => return Err(late(interrupted, now(), attempt)),
        }
    }
}

fn poll_head(response: &mut ResponseFuture, context: &mut Context<'_>) -> Poll<Result<Head, h2::Error>> {
    match response.poll_informational(context) {
        Poll::Ready(Some(Ok(interim))) => return Poll::Ready(Ok(Head::Interim(interim))),
        Poll::Ready(Some(Err(error))) => return Poll::Ready(Err(error)),
        Poll::Ready(None) | Poll::Pending => {}
    }
    Pin::new(response).poll(context).map(|it| it.map(Head::Final))
}

/// A body's way down.
struct Down<'a> {
    client: &'a Client,
    goes: Body,
    trailers: bool,
    web: Option<Web>,
    by: Tick,
}

impl Down<'_> {
    /// Sends the encoded head in `answer.out` and the whole body. What is there is written at once; only then may the
    /// upstream send as much again.
    async fn pass(&self, answer: &mut Answer, body: &mut RecvStream) -> Result<(), Broken> {
        let shard = &self.client.shard;
        let mut ended = self.goes == Body::Empty || body.is_end_stream();
        while !ended {
            let mut taken = 0;
            while taken < H2_OUTBOUND_BYTES_MAX {
                let next = match answer.out.is_empty() {
                    true => Some(self.wait(body).await?),
                    false => poll_once(|context| body.poll_data(context)).await,
                };
                match next {
                    Some(Some(Ok(bytes))) => {
                        taken += bytes.len();
                        self.append(
                            answer,
                            self.web.map_or_else(|| bytes.clone(), |web| web.data(bytes.clone())),
                        );
                    }
                    Some(Some(Err(_))) => return Err(Broken::Truncated),
                    Some(None) => {
                        ended = true;
                        break;
                    }
                    None => break,
                }
            }
            if ended {
                break;
            }
            write(self.client, &self.client.stream, &mut answer.out).await?;
            // The connection has broken: the next wait says so.
            let _ = body.flow_control().release_capacity(taken);
            if answer.out.capacity() < H2_OUTBOUND_BYTES_MAX {
                let larger = shard.buffers.take(H2_OUTBOUND_BYTES_MAX);
                shard.buffers.give(std::mem::replace(&mut answer.out, larger));
            }
        }
        let trailers = self.end(answer, body).await?;
        if let Some(status) = trailers.as_ref().and_then(grpc::status) {
            answer.grpc_status = Some(status);
        }
        write(self.client, &self.client.stream, &mut answer.out).await?;
        if answer.out.capacity() >= H2_OUTBOUND_BYTES_MAX {
            shard.buffers.give(std::mem::take(&mut answer.out));
        }
        Ok(())
    }

    async fn wait(&self, body: &mut RecvStream) -> Result<Option<Result<Bytes, h2::Error>>, Broken> {
        let data = poll_fn(|context| body.poll_data(context));
        Ok(self.client.alarm.watch(self.by, &self.client.stream, data).await?)
    }

    fn append(&self, answer: &mut Answer, bytes: Bytes) {
        if bytes.is_empty() {
            return;
        }
        let before = answer.out.len();
        match self.goes {
            Body::Chunked => {
                answer.out.extend(ChunkHeader::new(bytes.len()).as_bytes());
                answer.out.extend(&bytes);
                answer.out.extend(b"\r\n");
            }
            _ => answer.out.extend(&bytes),
        }
        answer.sent_bytes += (answer.out.len() - before) as u64;
    }

    /// Puts the body's end into `answer.out`; the trailers.
    async fn end(&self, answer: &mut Answer, body: &mut RecvStream) -> Result<Option<HeaderMap>, Broken> {
        if self.goes == Body::Empty {
            return Ok(None);
        }
        let trailers = poll_fn(|context| body.poll_trailers(context));
        let trailers = self.client.alarm.watch(self.by, &self.client.stream, trailers).await?;
        let trailers = trailers.map_err(|_| Broken::Truncated)?;
        if let (Some(fields), Some(web)) = (&trailers, self.web) {
            self.append(answer, web.trailers(fields));
        }
        let before = answer.out.len();
        match (&trailers, self.goes) {
            (Some(fields), Body::Chunked) if self.web.is_none() => {
                answer.out.extend(b"0\r\n");
                trailers_to_h1(fields, self.trailers, answer.out.vec());
            }
            (_, Body::Chunked) => answer.out.extend(LAST_CHUNK),
            _ => {}
        }
        answer.sent_bytes += (answer.out.len() - before) as u64;
        Ok(trailers)
    }
}

/// What is ready at once.
async fn poll_once<T>(mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>) -> Option<T> {
    poll_fn(|context| {
        Poll::Ready(match poll(context) {
            Poll::Ready(value) => Some(value),
            Poll::Pending => None,
        })
    })
    .await
}
