//! The feed's connections over TCP: both ends prove who they are before a byte of it.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use dromon_auth::options::Options;
use dromon_auth::tls::server::mesh_server;
use dromon_auth::verify::{Peer, Vouched};
use dromon_auth::{Failure, Identity, Reason, Sessions, SpiffeId, alpn};
use dromon_core::limits::FEED_HANDSHAKES_MAX;
use dromon_k8s::diagnostic::Severity;
use rustls::{HandshakeKind, ServerConfig};
use rustls_pki_types::UnixTime;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tonic::transport::server::Connected;

use super::server::Log;
use crate::ca::members::Members;

/// How long a handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// Who is at the other end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller(pub SpiffeId);

/// A connection whose caller has proved who it is.
#[derive(Debug)]
pub struct Connection {
    stream: TlsStream<TcpStream>,
    caller: Caller,
}

impl Connected for Connection {
    type ConnectInfo = Caller;

    fn connect_info(&self) -> Caller {
        self.caller.clone()
    }
}

/// Accepts connections and hands on those that are good, until nobody takes them any more. Those that are not are closed,
/// with the reason in the log; they hold nobody up.
pub async fn accept(
    listener: TcpListener,
    own: watch::Receiver<Option<Identity>>,
    members: watch::Receiver<Members>,
    log: Log,
    connections: mpsc::Sender<io::Result<Connection>>,
) {
    let sessions = Arc::new(Sessions::new());
    let handshakes = Arc::new(Semaphore::new(FEED_HANDSHAKES_MAX));
    loop {
        let Ok(place) = handshakes.clone().acquire_owned().await else { return };
        let (stream, from) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(_) => {
                // Out of descriptors, say: some will be free again.
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        if connections.is_closed() {
            return;
        }
        // With the certificate of now: a renewed one is in force for the next connection.
        let config = configure(&own, &members, &sessions);
        let (log, connections) = (log.clone(), connections.clone());
        tokio::spawn(async move {
            let shaken = match config {
                Ok(config) => shake(stream, config).await,
                Err(why) => Err(Failure::new(Reason::NoCredential, why)),
            };
            drop(place);
            match shaken {
                Ok(connection) => drop(connections.send(Ok(connection)).await),
                Err(failure) => log(Severity::Warning, refused(from, &failure)),
            }
        });
    }
}

fn refused(from: SocketAddr, failure: &Failure) -> String {
    format!("warning: feed connection from {from} refused: {failure}")
}

fn configure(
    own: &watch::Receiver<Option<Identity>>,
    members: &watch::Receiver<Members>,
    sessions: &Sessions,
) -> Result<Arc<ServerConfig>, String> {
    let own = own.borrow().clone().ok_or("the controller has no certificate yet")?;
    let trust = members.borrow().trust()?;
    mesh_server(&own, &trust, &Options::mesh(&[alpn::H2]), sessions).map_err(|error| error.to_string())
}

async fn shake(stream: TcpStream, config: Arc<ServerConfig>) -> Result<Connection, Failure> {
    let _ = stream.set_nodelay(true);
    let stream = match timeout(HANDSHAKE, TlsAcceptor::from(config).accept(stream)).await {
        Err(_) => return Err(Failure::new(Reason::HandshakeTimeout, "no handshake within 10 s")),
        Ok(Err(error)) => return Err(failure(&error)),
        Ok(Ok(stream)) => stream,
    };
    let (_, tls) = stream.get_ref();
    let resumed = (tls.handshake_kind() == Some(HandshakeKind::Resumed)).then(UnixTime::now);
    let peer = Peer::of(tls.peer_certificates().unwrap_or_default(), Vouched::ByMesh, resumed)
        .map_err(|error| Failure::new(error.reason(), error.to_string()))?;
    let id = peer.and_then(|peer| peer.id);
    let id = id.ok_or_else(|| Failure::new(Reason::NoCertificate, "the caller has no identity"))?;
    Ok(Connection { stream, caller: Caller(id) })
}

/// What an I/O error of a handshake means.
fn failure(error: &io::Error) -> Failure {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(error) => Failure::of(error),
        None => Failure::new(Reason::Truncated, error.to_string()),
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
