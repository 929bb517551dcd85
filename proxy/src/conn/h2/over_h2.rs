//! One try over a stream of an upstream's HTTP/2 connection: the head, the body beside the answer.

use std::cell::Cell;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::Poll;

use bytes::Bytes;
use dromon_core::exchange::unserved::UNSERVED;
use dromon_core::exchange::{Attempt, End, Exchange, Step};
use dromon_core::fault::Reason;
use dromon_core::h1::{Interim, Version, interim};
use dromon_core::h2::grpc_web::{Decoder, Web};
use dromon_core::h2::{edit, end_here, grpc};
use dromon_core::limits::{DETECT_LOOK_MS, H2_SETTINGS_WAIT_MS, WRITE_STALL_MS};
use dromon_core::route::rule::Changes;
use dromon_core::time::Tick;
use h2::client::{ResponseFuture, SendRequest};
use h2::{RecvStream, SendStream};
use http::header::EXPECT;
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, Uri};
use smallvec::SmallVec;

use super::call::Call;
use super::onward::{self, Outgoing};
use super::reply::{Cut, Reply};
use super::source::{self, Piece, Source};
use super::stream::{Tried, Work};
use crate::io::{Alarm, Either, Interrupted, race};
use crate::pool::{H2Call, StreamPlace, reason_of};
use crate::sys::clock;

/// Most bytes of a body that goes with its head, in one write, or as soon as the upstream's window lets it: a frame. A stream
/// gets capacity only when its head has gone, so to wait for that takes a turn and a write more.
const SHORT_BODY_BYTES: usize = 16 * 1024;

/// What came of a try whose request has been sent.
enum Received {
    /// No final head.
    Failed(Reason),
    /// A head that the exchange does not want sent on.
    Again(Box<Step>),
    /// The answer was sent on to its end.
    Complete,
    /// The answer was begun, and the upstream broke it off.
    Aborted(End, h2::Reason),
    /// The client takes no more of it.
    Cut(Cut),
    /// The client went away before anything was sent on.
    ClientGone,
}

/// Makes the try on a stream.
pub(super) async fn run(
    work: &mut Work,
    exchange: &mut Exchange,
    attempt: &Attempt,
    stream: H2Call,
) -> Tried {
    let H2Call { mut send, reused, place } = stream;
    work.call.principals.replace(place.principals());
    work.call.upstream_local.set(place.local());
    let outgoing = Outgoing::new(&work.call, exchange, attempt);
    let Some(request) = request(&work.call, exchange, outgoing) else {
        return work.failed(exchange, Reason::UpstreamProtocol, false, reused);
    };
    if work.call.checked.expects_continue && !work.reply.started {
        // The client's question ends here: what the stream's window lets through may come.
        let mut proceed = Response::new(());
        *proceed.status_mut() = StatusCode::CONTINUE;
        if work.reply.interim(proceed).is_err() {
            return Tried::ClientGone;
        }
    }
    work.call.sent.set(work.call.conn().client.shard.now_for_log());
    if work.call.protocol.is_some() && !connects(&work.call.alarm, &send).await {
        return work.failed(exchange, Reason::UpstreamProtocol, false, reused);
    }
    let (response, to) = match send.send_request(request, work.call.bodiless) {
        Ok(opened) => opened,
        Err(error) => return work.failed(exchange, reason_of(&error), false, reused),
    };
    // A connection that is to end waits for it.
    drop(send);
    let received = {
        let Work { call, source, reply } = &mut *work;
        let repeatable = Cell::new(source.is_replayable());
        // A protocol of its own, once begun, is not bound to a request's time.
        let body_by = if call.protocol.is_some() { Tick::NEVER } else { attempt.finish_by };
        let begun = Cell::new(false);
        let path = Path { call, attempt, body_by, repeatable: &repeatable, begun: &begun, place: &place };
        let mut down = pin!(receive(&path, reply, exchange, response));
        if call.bodiless {
            down.await
        } else {
            let mut up = pin!(upload(&path, source, to));
            // Most bodies are short and here as a whole: no answer can have come before they are sent.
            let at_once = poll_fn(|context| Poll::Ready(up.as_mut().poll(context))).await;
            let first = match at_once {
                Poll::Ready(sent) => Either::Second(sent),
                Poll::Pending => race(down.as_mut(), up.as_mut()).await,
            };
            match first {
                Either::First(received) => received,
                Either::Second(Err(Stopped::Client)) => Received::ClientGone,
                // An upstream that takes nothing and says nothing has had its time.
                Either::Second(Err(Stopped::Stalled(_))) if !begun.get() => {
                    Received::Failed(Reason::UpstreamReset)
                }
                // Sent, or the upstream takes no more: its answer tells.
                Either::Second(Ok(_to) | Err(Stopped::Upstream(_to) | Stopped::Stalled(_to))) => down.await,
            }
        }
    };
    match received {
        Received::Failed(reason) => {
            let known = place.failure(reason, &work.call.transport_failure);
            work.failed(exchange, known, known == reason, reused)
        }
        Received::Again(step) => Tried::Again(step),
        Received::Complete => Tried::Answered(End::Complete),
        Received::Aborted(end, code) => work.broken(end, code),
        Received::Cut(cut) => work.cut(cut),
        Received::ClientGone => Tried::ClientGone,
    }
}

/// Whether the upstream takes extended CONNECTs; a new connection may still have to say so.
pub(in crate::conn) async fn connects(alarm: &Alarm, send: &SendRequest<Bytes>) -> bool {
    let patience = clock::now().plus_millis(H2_SETTINGS_WAIT_MS);
    while !send.is_extended_connect_protocol_enabled() && clock::now() < patience {
        let look_again = clock::now().plus_millis(DETECT_LOOK_MS);
        let _ = alarm.within(look_again, std::future::pending::<()>()).await;
    }
    send.is_extended_connect_protocol_enabled()
}

/// The head as it goes up; none where a rule has made a path or an authority of it that cannot be said.
fn request(call: &Call, exchange: &Exchange, outgoing: Outgoing<'_>) -> Option<Request<()>> {
    let mut uri = http::uri::Parts::default();
    let sent = &call.parts.uri;
    uri.scheme = Some(if call.conn().client.secure() { Scheme::HTTPS } else { Scheme::HTTP });
    // What nobody has changed needs no second look.
    uri.authority = match (exchange.upstream_authority(), sent.authority()) {
        (None, Some(authority)) => Some(authority.clone()),
        _ => Some(Authority::try_from(outgoing.authority).ok()?),
    };
    uri.path_and_query = match (exchange.upstream_path(), sent.path_and_query()) {
        (None, Some(path)) => Some(path.clone()),
        _ => Some(PathAndQuery::try_from(outgoing.path).ok()?),
    };
    let mut request = Request::new(());
    *request.method_mut() = call.parts.method.clone();
    *request.uri_mut() = Uri::from_parts(uri).ok()?;
    *request.version_mut() = http::Version::HTTP_2;
    *request.headers_mut() = outgoing.fields;
    if request.headers().keys().any(|name| *name == EXPECT) {
        request.headers_mut().remove(EXPECT);
    }
    if let Some(web) = call.web {
        web.request(request.headers_mut());
    }
    if let Some(protocol) = &call.protocol {
        request.extensions_mut().insert(protocol.clone());
    }
    Some(request)
}

/// The code by which an upstream's reset goes on to the client.
fn code_of(error: &h2::Error) -> h2::Reason {
    match error.reason() {
        // What was answered was not refused, and a clean end it is not.
        Some(h2::Reason::REFUSED_STREAM | h2::Reason::NO_ERROR) | None => h2::Reason::INTERNAL_ERROR,
        Some(reason) if error.is_reset() => reason,
        Some(_) => h2::Reason::INTERNAL_ERROR,
    }
}

/// What both directions of a try need.
struct Path<'a> {
    call: &'a Call,
    attempt: &'a Attempt,
    /// When its bodies must be over; [`Tick::NEVER`] for a protocol of its own.
    body_by: Tick,
    /// What was sent of the body is all here.
    repeatable: &'a Cell<bool>,
    /// The final head has come.
    begun: &'a Cell<bool>,
    place: &'a StreamPlace,
}

/// Why an upload ended early.
enum Stopped {
    /// The client broke off, or its body breaks a rule.
    Client,
    /// The upstream takes no more, or time ran out.
    Upstream(SendStream<Bytes>),
    /// The upstream has taken nothing for too long.
    Stalled(SendStream<Bytes>),
}

/// Sends the body up, as fast as the upstream takes it. Gives the stream back, whose drop would cancel the answer.
async fn upload(
    path: &Path<'_>,
    source: &mut Source,
    mut to: SendStream<Bytes>,
) -> Result<SendStream<Bytes>, Stopped> {
    let mut progress = source::Progress::default();
    let mut text = path.call.web.and_then(Web::decoder);
    let alarm = &path.call.alarm;
    let mut begun = false;
    loop {
        let next = poll_fn(|context| source.poll(&mut progress, context));
        let piece = alarm.within(path.body_by, next).await;
        path.repeatable.set(source.is_replayable());
        match piece {
            Ok(Ok(Piece::Data(mut bytes))) => {
                let end = source.is_at_end(&progress);
                if let Some(decoder) = &mut text {
                    bytes = decode(decoder, &bytes, end)?;
                    if end && bytes.is_empty() && to.send_data(Bytes::new(), true).is_err() {
                        return Err(Stopped::Upstream(to));
                    }
                }
                let whole = !std::mem::replace(&mut begun, true) && end;
                if whole && (1..=SHORT_BODY_BYTES).contains(&bytes.len()) {
                    path.place.data_sent(bytes.len());
                    source.sent_on();
                    let sent = to.send_data(bytes, true);
                    return if sent.is_ok() { Ok(to) } else { Err(Stopped::Upstream(to)) };
                }
                while !bytes.is_empty() {
                    to.reserve_capacity(bytes.len());
                    let room = poll_fn(|context| {
                        loop {
                            match to.capacity() {
                                0 => match to.poll_capacity(context) {
                                    Poll::Ready(Some(Ok(_))) => {}
                                    Poll::Ready(_) => return Poll::Ready(None),
                                    Poll::Pending => return Poll::Pending,
                                },
                                room => return Poll::Ready(Some(room)),
                            }
                        }
                    });
                    let stalls_at = clock::coarse().plus_millis(WRITE_STALL_MS);
                    let room = match alarm.within(stalls_at.min(path.body_by), room).await {
                        Ok(Some(room)) => room,
                        Err(_) if clock::now() < path.body_by => return Err(Stopped::Stalled(to)),
                        _ => return Err(Stopped::Upstream(to)),
                    };
                    let part = bytes.split_to(room.min(bytes.len()));
                    path.place.data_sent(part.len());
                    if to.send_data(part, end && bytes.is_empty()).is_err() {
                        return Err(Stopped::Upstream(to));
                    }
                }
                source.sent_on();
                if end {
                    return Ok(to);
                }
            }
            Ok(Ok(Piece::End(trailers))) => {
                let sent = match trailers {
                    Some(trailers) => to.send_trailers(trailers),
                    None => to.send_data(Bytes::new(), true),
                };
                return if sent.is_ok() { Ok(to) } else { Err(Stopped::Upstream(to)) };
            }
            Ok(Err(_)) => return Err(Stopped::Client),
            Err(_) => return Err(Stopped::Upstream(to)),
        }
    }
}

/// What a part of a body in base64 stands for; `last`: nothing may be left over.
fn decode(decoder: &mut Decoder, text: &[u8], last: bool) -> Result<Bytes, Stopped> {
    let mut bytes = Vec::new();
    let decoded = decoder.push(text, &mut bytes);
    let whole = if last { decoder.finish() } else { Ok(()) };
    decoded.and(whole).map(|()| bytes.into()).map_err(|_| Stopped::Client)
}

/// What comes before the final head's body.
enum Came {
    Interim(Response<()>),
    Final(Result<Response<RecvStream>, h2::Error>),
}

/// Receives the answer and sends it on.
async fn receive(
    path: &Path<'_>,
    reply: &mut Reply,
    exchange: &mut Exchange,
    mut response: ResponseFuture,
) -> Received {
    let Path { call, attempt, .. } = path;
    let shard = &call.conn().client.shard;
    let deadline = attempt.head_by.min(attempt.finish_by);
    let mut before = 0;
    let mut waited = false;
    let (parts, from) = loop {
        let came = poll_fn(|context| {
            // At first there can be no answer: the request has not left its connection's memory.
            if std::mem::replace(&mut waited, true)
                && let Poll::Ready(Some(Ok(head))) = response.poll_informational(context)
            {
                return Poll::Ready(Came::Interim(head));
            }
            Pin::new(&mut response).poll(context).map(Came::Final)
        });
        match call.watch(deadline, reply, came).await {
            Ok(Came::Final(Ok(response))) => {
                path.begun.set(true);
                break response.into_parts();
            }
            Ok(Came::Final(Err(error))) => return Received::Failed(reason_of(&error)),
            Ok(Came::Interim(head)) => {
                let status = head.status().as_u16();
                match interim(status, Version::Http11, before) {
                    // The client was told already.
                    Ok(_) if status == 100 => {}
                    Ok(Interim::Relay) => {
                        if reply.interim(head).is_err() {
                            return Received::ClientGone;
                        }
                    }
                    Ok(Interim::Drop) => {}
                    Ok(Interim::Switch) | Err(_) => return Received::Failed(Reason::UpstreamProtocol),
                }
                before += 1;
            }
            Err(Interrupted::Gone) => return Received::ClientGone,
            Err(Interrupted::Deadline) if clock::now() >= attempt.finish_by => {
                return Received::Failed(Reason::RequestTimeout);
            }
            Err(Interrupted::Deadline) => return Received::Failed(Reason::PerTryTimeout),
        }
    };
    let now = shard.now_for_log();
    let grpc_status = grpc::status(&parts.headers);
    let replayable = path.repeatable.get() && !reply.started;
    let unserved = || parts.headers.get(UNSERVED).map(HeaderValue::as_bytes);
    let input = exchange.head(parts.status.as_u16(), grpc_status, replayable, unserved);
    let step = exchange.handle(input, now, &mut shard.rng.borrow_mut());
    match step {
        Step::Forward => {}
        Step::Discard(inner) => return Received::Again(inner),
        other => return Received::Again(Box::new(other)),
    }
    reply.answered = now;
    reply.grpc_status = grpc_status;
    onward::log_head(reply, &call.conn().client, &parts.headers);
    forward(path, reply, exchange, parts, from).await
}

/// Sends the final head on, then the body.
async fn forward(
    path: &Path<'_>,
    reply: &mut Reply,
    exchange: &Exchange,
    mut parts: http::response::Parts,
    mut from: RecvStream,
) -> Received {
    let Path { call, body_by: deadline, .. } = *path;
    // What is no gRPC, an error page say, passes as it is.
    let web = call.web.filter(|web| web.response(&mut parts.headers));
    let changes: SmallVec<[&Changes; 2]> = exchange.response_changes().into_iter().rev().flatten().collect();
    end_here(&mut parts.headers);
    edit(&mut parts.headers, &changes);
    let end = from.is_end_stream();
    if let Err(cut) = reply.head(Response::from_parts(parts, ()), end) {
        return Received::Cut(cut);
    }
    if end {
        return Received::Complete;
    }
    loop {
        let next = poll_fn(|context| poll_piece(&mut from, context));
        let sent = match call.watch(deadline, reply, next).await {
            Ok(Ok(Piece::Data(bytes))) => {
                let last = from.is_end_stream();
                let count = bytes.len();
                let bytes = web.map_or_else(|| bytes.clone(), |web| web.data(bytes.clone()));
                let sent = reply.data(call, bytes, last, deadline).await;
                if !last {
                    // Refused only where the stream is over. What came last is given back with the stream.
                    let _ = from.flow_control().release_capacity(count);
                }
                match sent {
                    Ok(()) if last => return Received::Complete,
                    sent => sent,
                }
            }
            Ok(Ok(Piece::End(trailers))) => {
                return match end_of(path, reply, web, trailers).await {
                    Ok(()) => Received::Complete,
                    Err(cut) => Received::Cut(cut),
                };
            }
            Ok(Err(error)) => return Received::Aborted(End::UpstreamAborted, code_of(&error)),
            Err(interrupted) => Err(interrupted.into()),
        };
        if let Err(cut) = sent {
            return Received::Cut(cut);
        }
    }
}

/// Ends the answer; for gRPC-Web, whose callers cannot read trailers, these are the last part of the body.
async fn end_of(
    path: &Path<'_>,
    reply: &mut Reply,
    web: Option<Web>,
    trailers: Option<HeaderMap>,
) -> Result<(), Cut> {
    match (web, trailers) {
        (Some(web), Some(trailers)) => {
            reply.grpc_status = grpc::status(&trailers).or(reply.grpc_status);
            reply.data(path.call, web.trailers(&trailers), true, path.body_by).await
        }
        (_, trailers) => reply.end(trailers),
    }
}

fn poll_piece(from: &mut RecvStream, context: &mut std::task::Context<'_>) -> Poll<Result<Piece, h2::Error>> {
    loop {
        match from.poll_data(context) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(Some(Err(error))) => return Poll::Ready(Err(error)),
            Poll::Ready(Some(Ok(bytes))) if bytes.is_empty() => {}
            Poll::Ready(Some(Ok(bytes))) => return Poll::Ready(Ok(Piece::Data(bytes))),
            Poll::Ready(None) => {
                return from.poll_trailers(context).map_ok(|mut trailers: Option<HeaderMap>| {
                    if let Some(trailers) = &mut trailers {
                        end_here(trailers);
                    }
                    Piece::End(trailers)
                });
            }
        }
    }
}
