//! An HTTP/1 client's request over an HTTP/2 upstream: one try of it, beside the ordinary one of [`super::attempt`].
//!
//! The answer's head is written as HTTP/1 first and then treated as one that came by HTTP/1, so that all rules about heads
//! hold for it too. Bodies pass under the flow control of both sides: what one side has not taken, the other is not asked
//! for.

mod answer;
mod socket;
mod upload;

use std::cell::Cell;
use std::pin::pin;

use bytes::Bytes;
use dromon_core::exchange::{Attempt, End, Exchange, Input, RequestView};
use dromon_core::fault::Reason;
use dromon_core::h1::Body;
use dromon_core::h2::grpc_web::Web;
use dromon_core::h2::request_from_h1;
use dromon_core::time::Tick;
use h2::SendStream;
use h2::client::ResponseFuture;

use super::answer::Received;
use super::attempt::{Tried, address, failed, wanted, with_rewrite};
use super::body::Broken;
use super::client::Client;
use super::h2::connects;
use super::local::Answered;
use super::tunnel::{Switched, Way};
use super::work::Work;
use crate::io::{Either, Stalled, race};
use crate::pool::{H2Call, Offer, Opened, StreamPlace, Wanted, reason_of};
use crate::relay::Ahead;
use crate::sys::clock;
pub(super) use socket::Socket;

/// What the try under way offers its upstream.
pub(super) fn offer(client: &Client, work: &Work, exchange: &Exchange) -> Offer {
    let tunnel = work.request.head.wants_upgrade();
    match exchange.speak(false, tunnel, client.port.gateway).into() {
        // HTTP/2 has a place for WebSockets; whatever else a client may want to switch to is passed on as it is.
        Offer::Http2 if tunnel && socket::key(&work.request).is_none() => Offer::Http1,
        // The body that earlier tries have sent in chunks can only be sent again so.
        Offer::Either if work.upload.framing.is_framed() && work.upload.sent_bytes > 0 => Offer::Http1,
        offer => offer,
    }
}

/// Makes the try; none if the upstream speaks HTTP/1.1 after all.
pub(super) async fn run(
    client: &Client,
    work: &mut Work,
    exchange: &mut Exchange,
    offer: Offer,
) -> Option<Tried> {
    let opened = match &work.attempt {
        Some(attempt) => open(client, exchange, attempt, offer).await,
        None => Err(Reason::Overload),
    };
    let H2Call { mut send, reused, place } = match opened {
        Ok(Opened::Stream(call)) => call,
        Ok(Opened::Http1) => return None,
        Err(Reason::DownstreamClosed) => return Some(Tried::ClientGone),
        Err(reason) => return Some(failed(client, work, exchange, reason, false, false)),
    };
    work.principals = place.principals();
    work.upstream_local = place.local();
    if !work.upload.unframe() {
        work.flags.unrepeatable.set(true);
        return Some(failed(client, work, exchange, Reason::UpstreamReset, false, false));
    }
    let view = work.request.view(client);
    let scheme = if view.scheme() == b"https" { "https" } else { "http" };
    let web = work.web.filter(|_| offer == Offer::Http2);
    if work.upload.sent_bytes == 0 {
        work.upload.text = web.and_then(Web::decoder);
    }
    let number = work.attempt.as_ref().map_or(1, |attempt| attempt.number);
    let made = with_rewrite(client, &work.request, number, exchange, |rewrite| {
        request_from_h1(&work.request.head, work.request.buffer.filled(), scheme, rewrite)
    });
    let mut request = match made {
        Ok(request) => request,
        Err(_) if offer == Offer::Either => return None,
        Err(reject) => return Some(Tried::BadBody(reject)),
    };
    if let Some(web) = web {
        web.request(request.headers_mut());
    }
    let is_socket = work.request.head.wants_upgrade();
    if is_socket {
        // One that takes none may speak HTTP/1.1 beside.
        if !connects(&client.alarm, &send).await || request.uri().authority().is_none() {
            return None;
        }
        socket::connect(&mut request);
    }
    work.times.sent = client.shard.now_for_log();
    let opened = send.send_request(request, work.request.head.body() == Body::Empty && !is_socket);
    // The connection must not wait for this handle where it is to end.
    drop(send);
    let (response, stream) = match opened {
        Ok(opened) => opened,
        Err(error) => return Some(failed(client, work, exchange, reason_of(&error), false, reused)),
    };
    if is_socket {
        return Some(ask(client, work, exchange, response, stream, place, reused).await);
    }
    let begun = Cell::new(false);
    let from = answer::From { response, web, begun: &begun, switched: None };
    let received = match converse(client, work, exchange, from, stream, &place).await {
        Ok(received) => received,
        Err(Broken::Rule(reject)) if !work.answer.started => return Some(Tried::BadBody(reject)),
        Err(_) => return Some(Tried::ClientGone),
    };
    client.shard.buffers.give(std::mem::take(&mut work.answer.buffer));
    Some(settle(client, work, exchange, received, place, reused))
}

/// A stream to where the try goes; [`Reason::DownstreamClosed`] if the client has left meanwhile.
async fn open(
    client: &Client,
    exchange: &Exchange,
    attempt: &Attempt,
    offer: Offer,
) -> Result<Opened, Reason> {
    let shard = &client.shard;
    let address = address(client, attempt).await?;
    let wanted = Wanted { offer, ..wanted(client, exchange, attempt, address) };
    // Who stands in line or connects for a client that is gone would hold a place that others wait for.
    match client.alarm.watch(Tick::NEVER, &client.stream, shard.pools.open_stream(shard, wanted)).await {
        Ok(opened) => opened,
        Err(_) => Err(Reason::DownstreamClosed),
    }
}

/// Receives the answer to a request for a WebSocket, which has no body.
async fn ask(
    client: &Client,
    work: &mut Work,
    exchange: &mut Exchange,
    response: ResponseFuture,
    stream: SendStream<Bytes>,
    place: StreamPlace,
    reused: bool,
) -> Tried {
    let (begun, switched) = (Cell::new(false), Cell::new(None));
    let from = answer::From { response, web: None, begun: &begun, switched: Some(&switched) };
    let received = match &mut *work {
        Work { request, flags, answer, attempt: Some(attempt), .. } => {
            answer::receive(client, request, flags, answer, exchange, from, attempt).await
        }
        _ => Received::Failed(Reason::Overload),
    };
    client.shard.buffers.give(std::mem::take(&mut work.answer.buffer));
    match (received, switched.take()) {
        (Received::Switched { .. }, Some(recv)) => {
            let ahead = Ahead { from_client: work.request.behind_head().to_vec(), ..Ahead::default() };
            let upstream = Way::Stream(Box::new(Socket { send: stream, recv, place }));
            Tried::Switched(Box::new(Switched { upstream, ahead }))
        }
        (received, _) => settle(client, work, exchange, received, place, reused),
    }
}

/// Receives the answer, while the body goes up.
///
/// # Errors
/// The client broke off its body, or the body breaks a rule.
async fn converse(
    client: &Client,
    work: &mut Work,
    exchange: &mut Exchange,
    from: answer::From<'_>,
    mut stream: SendStream<Bytes>,
    place: &StreamPlace,
) -> Result<Received, Broken> {
    let Work { request, upload, flags, answer, attempt: Some(attempt), .. } = work else {
        return Ok(Received::Failed(Reason::Overload));
    };
    let attempt = &*attempt;
    let begun = from.begun;
    let mut down = pin!(answer::receive(client, request, flags, answer, exchange, from, attempt));
    if request.head.body() == Body::Empty {
        return Ok(down.await);
    }
    let to = upload::To { stream: &mut stream, place, by: attempt.finish_by };
    let mut up = pin!(upload::run(client, to, upload, flags));
    match race(down.as_mut(), up.as_mut()).await {
        Either::First(received) => Ok(received),
        Either::Second(Err(broken @ (Broken::Truncated | Broken::Rule(_)))) => Err(broken),
        // One that takes nothing and says nothing has had its time.
        Either::Second(Err(Broken::Receiver(Stalled::Timeout))) if !begun.get() => {
            Ok(Received::Failed(Reason::UpstreamReset))
        }
        // An upstream that takes no more may still have answered.
        Either::Second(_) => Ok(down.await),
    }
}

/// Tells the exchange how the try ended.
fn settle(
    client: &Client,
    work: &Work,
    exchange: &mut Exchange,
    received: Received,
    place: StreamPlace,
    reused: bool,
) -> Tried {
    let end = |exchange: &mut Exchange, end: End| {
        let mut rng = client.shard.rng.borrow_mut();
        exchange.handle(Input::Finished(end), clock::coarse(), &mut rng);
    };
    match received {
        Received::Failed(reason) => match place.failure(reason, &client.transport_failure) {
            known if known != reason => failed(client, work, exchange, known, false, false),
            _ => failed(client, work, exchange, reason, true, reused && !work.answer.begun),
        },
        Received::Again(step) => Tried::Again(step),
        Received::Complete { keep_alive, .. } => {
            end(exchange, End::Complete);
            Tried::Answered(if keep_alive { Answered::KeepAlive } else { Answered::Close })
        }
        Received::Broken(how) => {
            end(exchange, how);
            Tried::Answered(Answered::Broken(how))
        }
        // Only a WebSocket can have been switched to, and HTTP/2 has no 101: one that claims to be is refused with its head.
        Received::Switched { .. } => {
            end(exchange, End::UpstreamAborted);
            Tried::Answered(Answered::Broken(End::UpstreamAborted))
        }
        Received::ClientGone => Tried::ClientGone,
    }
}
