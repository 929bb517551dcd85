//! The feed's transport: one gRPC stream to the controller, opened again whenever it ends.
//!
//! It carries messages and decides nothing: what to ask and what to acknowledge is the control loop's business
//! ([`session`], [`interest`]). HTTP/2 pings notice a controller that has gone without a word.

pub mod backoff;
mod framing;
pub mod interest;
pub mod session;
pub mod target;
pub mod uses;

use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use dromon_core::config::wire::{DeltaRequest, DeltaResponse, STREAM_PATH};
use dromon_core::limits::FEED_BATCH_MAX;
use dromon_core::rng::Rng;
use http::header;
use hyper::body::Incoming;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::codec::{Codec, EncodeBody};
use tonic_prost::ProstCodec;

use super::event::{Event, FeedEvent};
use backoff::Backoff;
use framing::Responses;
use target::Target;

/// Time for the socket and the HTTP/2 preface.
const CONNECT_MAX: Duration = Duration::from_secs(5);
/// A ping goes out after this long without a word, and must be answered in the same time.
const KEEP_ALIVE: Duration = Duration::from_secs(10);
/// HTTP/2 window, in bytes: a whole first answer in few round trips, and no more memory than that.
const WINDOW_BYTES: u32 = 1024 * 1024;

/// Keeps a stream to the controller for as long as the steward runs.
pub async fn run(target: Target, rng: Rng, events: mpsc::Sender<Event>) {
    let mut backoff = Backoff::new(rng);
    let mut number = 0;
    loop {
        number += 1;
        let mut answered = false;
        let reason = match stream(&target, number, &events, &mut answered).await {
            Ok(()) => "the controller ended the stream".to_owned(),
            Err(reason) => reason,
        };
        if answered {
            backoff.reset();
        }
        if events.send(Event::Feed(FeedEvent::Down { stream: number, reason })).await.is_err() {
            return;
        }
        tokio::time::sleep(backoff.next_wait()).await;
    }
}

/// One stream, from connecting to its end.
async fn stream(
    target: &Target,
    number: u64,
    events: &mpsc::Sender<Event>,
    answered: &mut bool,
) -> Result<(), String> {
    let mut channel = connect(target).await?;
    let (outbox, requests) = mpsc::unbounded_channel::<DeltaRequest>();
    let up = Event::Feed(FeedEvent::Up { stream: number, outbox });
    events.send(up).await.map_err(|_| "this proxy is ending".to_owned())?;
    let answer = channel.send_request(request(requests)?).await.map_err(|error| error.to_string())?;
    let mut responses = Responses::of(answer)?;
    while let Some(first) = responses.message().await? {
        *answered = true;
        let (batch, end) = gather(first, &mut responses);
        let event = Event::Feed(FeedEvent::Responses { stream: number, responses: batch });
        events.send(event).await.map_err(|_| "this proxy is ending".to_owned())?;
        if let Some(end) = end {
            return end;
        }
    }
    Ok(())
}

/// A response with those that have come with it, and how the stream ended if it did. Nothing is waited for: what comes while a
/// table is made is in the next one.
fn gather(
    first: DeltaResponse,
    responses: &mut Responses<Incoming>,
) -> (Vec<DeltaResponse>, Option<Result<(), String>>) {
    let mut batch = vec![first];
    while batch.len() < FEED_BATCH_MAX {
        match now(responses.message()) {
            Some(Ok(Some(response))) => batch.push(response),
            Some(Ok(None)) => return (batch, Some(Ok(()))),
            Some(Err(reason)) => return (batch, Some(Err(reason))),
            None => break,
        }
    }
    (batch, None)
}

/// What a future gives without waiting. It is polled once, and whoever polls the next one is woken.
fn now<T>(future: impl Future<Output = T>) -> Option<T> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => Some(value),
        Poll::Pending => None,
    }
}

type Channel = http2::SendRequest<tonic::body::Body>;

/// The call of the stream; its body is what is sent to the outbox.
fn request(
    requests: mpsc::UnboundedReceiver<DeltaRequest>,
) -> Result<http::Request<tonic::body::Body>, String> {
    let encoder = ProstCodec::<DeltaRequest, DeltaResponse>::new().encoder();
    let requests = UnboundedReceiverStream::new(requests).map(Ok);
    let body = EncodeBody::new_client(encoder, requests, None, None);
    http::Request::post(format!("http://controller{STREAM_PATH}"))
        .header(header::CONTENT_TYPE, "application/grpc")
        .header(header::TE, "trailers")
        .body(tonic::body::Body::new(body))
        .map_err(|error| error.to_string())
}

/// An HTTP/2 connection to the controller.
async fn connect(target: &Target) -> Result<Channel, String> {
    let connecting = async {
        match target {
            Target::Unix(path) => begin(target::unix(path).await?).await,
            Target::Tcp { host, port, certs } => begin(target::tcp(host, *port, certs).await?).await,
        }
    };
    timeout(CONNECT_MAX, connecting)
        .await
        .map_err(|_| format!("no answer within {} s", CONNECT_MAX.as_secs()))?
}

/// Begins HTTP/2 on a connection.
async fn begin(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> Result<Channel, String> {
    let (sender, connection) = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(KEEP_ALIVE)
        .keep_alive_while_idle(true)
        .initial_stream_window_size(WINDOW_BYTES)
        .initial_connection_window_size(WINDOW_BYTES)
        .handshake::<_, tonic::body::Body>(TokioIo::new(stream))
        .await
        .map_err(|error| error.to_string())?;
    tokio::spawn(connection);
    Ok(sender)
}

fn describe(status: &tonic::Status) -> String {
    match status.message() {
        "" => format!("{:?}", status.code()),
        message => message.to_owned(),
    }
}
