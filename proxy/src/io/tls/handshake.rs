//! Making a TLS connection of a plain one.
//!
//! The last flight of a handshake stays with the connection until its first write, so that a client's Finished and its
//! request leave together, or until it waits for the peer.

use std::io;
use std::rc::Rc;
use std::sync::Arc;

use dromon_auth::failure::{Failure, Reason};
use dromon_auth::verify::peer::{Peer, Vouched};
use dromon_core::client_hello::ClientHello;
use dromon_core::limits::{DRAIN_BYTES_MAX, TLS_HANDSHAKE_BYTES_MAX, TLS_PARTING_MS_MAX};
use rustls::pki_types::{ServerName, UnixTime};
use rustls::{ClientConfig, ServerConfig};

use super::Scratch;
use super::session::{End, Session};
use super::stream::{Facts, TlsStream};
use crate::io::within;
use crate::sys::buffer::Buffer;
use crate::sys::clock;
use crate::sys::socket::Socket;

/// What was read of a handshake to choose who serves it.
#[derive(Debug, Default)]
pub struct Opening {
    /// The bytes, from the connection's first one on.
    pub bytes: Vec<u8>,
    /// What they say.
    pub hello: ClientHello,
}

/// Serves a handshake that has begun; `vouched` says whose roots the configuration checks clients by. The caller has a deadline for it.
///
/// # Errors
/// The peer and this end do not come to terms; the peer is told why, and the socket is closed.
pub async fn accept(
    socket: Socket,
    opening: Opening,
    config: Arc<ServerConfig>,
    vouched: Vouched,
    scratch: &Rc<Scratch>,
) -> Result<TlsStream, Failure> {
    let session = Session::server(config).map_err(|error| Failure::of(&error))?;
    let stream = TlsStream::new(socket, session, scratch.clone());
    stream.preload(opening.bytes);
    let failure = match complete(&stream).await {
        Ok(()) => match facts(&stream, vouched, opening.hello.server_name) {
            Ok(facts) => return Ok(stream.with_facts(facts)),
            Err(failure) => failure,
        },
        Err(failure) => failure,
    };
    part(&stream).await;
    Err(failure)
}

/// Opens a connection to a server of this name; `vouched` says whose roots the configuration checks it by. The caller has a deadline for it.
///
/// # Errors
/// The peer and this end do not come to terms; the peer is told why, and the socket is closed.
pub async fn connect(
    socket: Socket,
    name: ServerName<'static>,
    config: Arc<ClientConfig>,
    vouched: Vouched,
    scratch: &Rc<Scratch>,
) -> Result<TlsStream, Failure> {
    let session = Session::client(config, name).map_err(|error| Failure::of(&error))?;
    let stream = TlsStream::new(socket, session, scratch.clone());
    stream.start();
    match complete(&stream).await.and_then(|()| facts(&stream, vouched, None)) {
        Ok(facts) => Ok(stream.with_facts(facts)),
        Err(failure) => {
            // The alert, as far as the kernel takes it.
            let _ = stream.flush();
            stream.socket().shutdown_write();
            Err(failure)
        }
    }
}

/// Exchanges flights until application data may be sent.
async fn complete(stream: &TlsStream) -> Result<(), Failure> {
    loop {
        match stream.handshake_end() {
            End::Failed(error) => return Err(Failure::of(&error)),
            // A peer that has little to say may have said it all, its end included, together with its last flight.
            _ if stream.is_established() => return Ok(()),
            End::Open => {}
            End::Closed | End::Truncated => {
                return Err(Failure::new(
                    Reason::Truncated,
                    "the peer closed the connection in the middle of the handshake",
                ));
            }
        }
        if stream.unfinished_bytes() > TLS_HANDSHAKE_BYTES_MAX {
            return Err(Failure::new(Reason::Protocol, "the peer's handshake is too long"));
        }
        stream.flushed().await.map_err(broken)?;
        stream.socket().readable().await.map_err(broken)?;
        match stream.receive() {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(broken(error)),
        }
    }
}

fn broken(error: io::Error) -> Failure {
    Failure::new(Reason::Truncated, format!("the connection broke in the middle of the handshake: {error}"))
}

fn facts(stream: &TlsStream, vouched: Vouched, server_name: Option<Box<str>>) -> Result<Facts, Failure> {
    stream.with_session(|session| {
        let resumed_at = session.is_resumed().then(UnixTime::now);
        let peer = Peer::of(session.peer_certificates(), vouched, resumed_at)
            .map_err(|error| Failure::new(error.reason(), error.to_string()))?;
        Ok(Facts { peer, alpn: session.alpn().map(Into::into), server_name })
    })
}

/// Ends a refused connection so that the alert arrives: what the peer still sends is thrown away for a moment, since a close
/// with unread bytes would reset the connection and take the alert along.
async fn part(stream: &TlsStream) {
    let socket = stream.socket();
    let farewell = async {
        if stream.flushed().await.is_err() {
            return;
        }
        socket.shutdown_write();
        let mut drained_bytes = 0;
        while drained_bytes < DRAIN_BYTES_MAX && socket.readable().await.is_ok() {
            let mut buffer = Buffer::with_capacity(2 * 1024);
            match socket.try_read(&mut buffer) {
                Ok(count @ 1..) => drained_bytes += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Ok(0) | Err(_) => return,
            }
        }
    };
    // A peer that does not close is cut off.
    let _ = within(clock::now().plus_millis(TLS_PARTING_MS_MAX), farewell).await;
}
