//! The feed's gRPC service, built by hand from tonic's parts: the messages are few and lie in core.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use dromon_core::config::wire::{DeltaRequest, DeltaResponse, STREAM_PATH};
use dromon_core::limits;
use dromon_k8s::diagnostic::Severity;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::UnixListener;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_stream::Stream;
use tokio_stream::wrappers::{ReceiverStream, UnixListenerStream};
use tonic::body::Body;
use tonic::server::NamedService;
use tonic::transport::server::Connected;
use tonic::{Status, Streaming};

use super::framing;
use super::hub::{self, Hub};
use super::tcp::{Caller, Connection};

/// How often a silent proxy is asked whether it is still there.
const KEEPALIVE: Duration = Duration::from_secs(10);
/// How long a stream may say nothing before its first request: until then nobody knows whose it is.
const FIRST_REQUEST: Duration = Duration::from_secs(10);
/// How long a stream may take to be brought to its first view before the next one's turn comes.
const TURN: Duration = Duration::from_secs(1);
/// Takes a line for the log.
pub type Log = Arc<dyn Fn(Severity, String) + Send + Sync>;

/// Says whether a caller may have a proxy's view, and if not, why. Asked again whenever something is to be sent, since a
/// proxy's account may change while its stream is open.
pub type Admit = Arc<dyn Fn(&str, Option<&Caller>) -> Result<(), String> + Send + Sync>;

/// Serves the feed on a socket until `shutdown` resolves.
///
/// # Errors
/// The transport failed.
pub async fn serve(
    listener: UnixListener,
    hub: Arc<Hub>,
    log: Log,
    shutdown: impl Future<Output = ()>,
) -> Result<(), tonic::transport::Error> {
    // Who can reach the socket may ask for any view: its directory is closed to everybody else.
    let admit: Admit = Arc::new(|_, _| Ok(()));
    serve_on(UnixListenerStream::new(listener), Feed::new(hub, log, admit), shutdown).await
}

/// Serves the feed on connections whose callers have proved who they are, until `shutdown` resolves. Each gets the views
/// that `admit` lets it have.
///
/// # Errors
/// The transport failed.
pub async fn serve_tls(
    connections: mpsc::Receiver<io::Result<Connection>>,
    hub: Arc<Hub>,
    log: Log,
    admit: Admit,
    shutdown: impl Future<Output = ()>,
) -> Result<(), tonic::transport::Error> {
    serve_on(ReceiverStream::new(connections), Feed::new(hub, log, admit), shutdown).await
}

async fn serve_on<C>(
    connections: impl Stream<Item = io::Result<C>>,
    feed: Feed,
    shutdown: impl Future<Output = ()>,
) -> Result<(), tonic::transport::Error>
where
    C: AsyncRead + AsyncWrite + Connected + Unpin + Send + 'static,
{
    tonic::transport::Server::builder()
        .http2_keepalive_interval(Some(KEEPALIVE))
        .http2_keepalive_timeout(Some(KEEPALIVE))
        .add_service(feed)
        .serve_with_incoming_shutdown(connections, shutdown)
        .await
}

/// The service.
#[derive(Clone)]
struct Feed {
    hub: Arc<Hub>,
    log: Log,
    admit: Admit,
    /// Streams that may be brought to their first view at once.
    turns: Arc<Semaphore>,
}

impl Feed {
    fn new(hub: Arc<Hub>, log: Log, admit: Admit) -> Feed {
        Feed { hub, log, admit, turns: Arc::new(Semaphore::new(limits::FEED_FIRST_AT_ONCE)) }
    }
}

impl NamedService for Feed {
    const NAME: &'static str = "envoy.service.discovery.v3.AggregatedDiscoveryService";
}

impl tower::Service<http::Request<Body>> for Feed {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let service = self.clone();
        Box::pin(async move {
            if request.uri().path() != STREAM_PATH {
                return Ok(Status::unimplemented("only DeltaAggregatedResources").into_http());
            }
            Ok(service.answer(request))
        })
    }
}

impl Feed {
    /// Opens a stream.
    fn answer(self, request: http::Request<Body>) -> http::Response<Body> {
        if self.hub.count() >= limits::FEED_PROXIES_MAX {
            return Status::resource_exhausted("too many proxies").into_http();
        }
        let (sender, messages) = mpsc::channel(limits::FEED_RESPONSES_PENDING_MAX);
        let caller = request.extensions().get::<Caller>().cloned();
        let requests = framing::requests(request);
        tokio::spawn(async move {
            if let Err(status) = converse(requests, &sender, &self, caller.as_ref()).await {
                let _ = sender.send(Err(status)).await;
            }
        });
        framing::response(messages)
    }
}

/// One proxy's stream from its first request to its end.
async fn converse(
    mut requests: Streaming<DeltaRequest>,
    responses: &mpsc::Sender<Result<DeltaResponse, Status>>,
    feed: &Feed,
    caller: Option<&Caller>,
) -> Result<(), Status> {
    let Feed { hub, log, admit, .. } = feed;
    let first = tokio::time::timeout(FIRST_REQUEST, requests.message()).await;
    let first = first.map_err(|_| Status::deadline_exceeded("no request within 10 s"))?;
    let Some(first) = first? else { return Ok(()) };
    let proxy = first.node.as_ref().map(|node| node.id.clone()).unwrap_or_default();
    if proxy.is_empty() {
        return Err(Status::invalid_argument("the first request has to say who asks (node.id)"));
    }
    let admitted = || {
        admit(&proxy, caller).map_err(|why| {
            log(Severity::Error, format!("error: feed refused: {why}"));
            Status::permission_denied(why)
        })
    };
    admitted()?;
    let stream = hub.open(&proxy);
    log(Severity::Info, format!("{proxy} connected"));
    let mut queue: VecDeque<DeltaResponse> = VecDeque::new();
    let mut pushing = None;
    let mut dirty = true;
    let mut turn = Turn::Waiting(feed.turns.clone());
    let ended = take(&stream, first, &proxy, log);
    let mut ended = ended.map(|()| false);
    while let Ok(false) = ended {
        // Only once the proxy has taken all of one version is the next computed, from the latest there is.
        if queue.is_empty() && dirty && !turn.is_waiting() {
            if let Err(refused) = admitted() {
                ended = Err(refused);
                break;
            }
            dirty = false;
            let (responses, since) = stream.next();
            queue.extend(responses);
            pushing = since;
        }
        if queue.is_empty() && !turn.is_over() && stream.has_index() {
            turn = Turn::Over;
        }
        tokio::select! {
            biased;
            () = turn.next(), if !turn.is_over() => {}
            permit = responses.reserve(), if !queue.is_empty() => match (permit, queue.pop_front()) {
                (Ok(permit), Some(response)) => {
                    permit.send(Ok(response));
                    if let Some(since) = pushing.take_if(|_| queue.is_empty()) {
                        stream.sent(since);
                    }
                }
                _ => ended = Ok(true),
            },
            request = requests.message() => match request {
                Ok(Some(request)) => {
                    dirty |= !request.resource_names_subscribe.is_empty();
                    ended = take(&stream, request, &proxy, log).map(|()| false);
                }
                Ok(None) | Err(_) => ended = Ok(true),
            },
            () = stream.woken() => dirty = true,
        }
    }
    log(Severity::Info, format!("{proxy} disconnected"));
    ended.map(|_| ())
}

/// A stream's turn to be brought to its first view, which is most of what it will ever be sent.
enum Turn {
    Waiting(Arc<Semaphore>),
    /// Until this moment at most: a proxy that does not read holds up nobody for longer.
    Here {
        _permit: OwnedSemaphorePermit,
        until: Instant,
    },
    Over,
}

impl Turn {
    fn is_waiting(&self) -> bool {
        matches!(self, Turn::Waiting(_))
    }

    fn is_over(&self) -> bool {
        matches!(self, Turn::Over)
    }

    /// Waits until it comes, or until it is over; may be waited for anew at any time.
    async fn next(&mut self) {
        match self {
            Turn::Waiting(turns) => {
                *self = match turns.clone().acquire_owned().await {
                    Ok(permit) => Turn::Here { _permit: permit, until: Instant::now() + TURN },
                    // Nobody closes it.
                    Err(_) => Turn::Over,
                };
            }
            Turn::Here { until, .. } => {
                tokio::time::sleep_until((*until).into()).await;
                *self = Turn::Over;
            }
            Turn::Over => {}
        }
    }
}

fn take(stream: &hub::Stream, request: DeltaRequest, proxy: &str, log: &Log) -> Result<(), Status> {
    let refused =
        stream.handle(request).map_err(|refused| Status::resource_exhausted(refused.to_string()))?;
    for nack in &refused {
        let line = format!("{proxy} refuses {:?} {}: {}", nack.kind, nack.name, nack.reason);
        log(Severity::Error, line);
    }
    Ok(())
}
