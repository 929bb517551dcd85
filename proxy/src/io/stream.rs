//! One end of a connection as exchanges see it: the plain socket, or what a secure session makes of it.
//!
//! Exchanges, pools and relays read and write through this type and never ask which it is. The methods are the
//! socket's own and mean the same; the choice is a branch that is inlined, so plain connections pay nothing for it. Waits
//! of TLS connections are boxed: every wait of a plain one would weigh as much otherwise.

use std::io;

use dromon_auth::spiffe::SpiffeId;
use monoio::BufResult;

use super::tls::TlsStream;
use crate::sys::buffer::Buffer;
use crate::sys::socket::{Peek, Socket};

/// A connection. One task reads and one writes at the same time; both through a shared reference.
pub enum Stream {
    /// Bytes as they are.
    Plain(Socket),
    /// Through TLS. Boxed: it weighs several times as much.
    Tls(Box<TlsStream>),
}

impl Stream {
    /// The connection below, for its addresses and options.
    #[inline]
    pub fn socket(&self) -> &Socket {
        match self {
            Stream::Plain(socket) => socket,
            Stream::Tls(tls) => tls.socket(),
        }
    }

    /// Reads what is there, waiting for the first byte; 0 at the end of the stream. Dropping the future may lose bytes:
    /// only a connection that is given up may be treated so.
    #[inline]
    pub async fn read(&self, buffer: Buffer) -> BufResult<usize, Buffer> {
        match self {
            Stream::Plain(socket) => socket.read(buffer).await,
            Stream::Tls(tls) => Box::pin(tls.read(buffer)).await,
        }
    }

    /// Writes a part of the buffer, at least a byte of it.
    #[inline]
    pub async fn write(&self, buffer: Buffer) -> BufResult<usize, Buffer> {
        match self {
            Stream::Plain(socket) => socket.write(buffer).await,
            Stream::Tls(tls) => Box::pin(tls.write(buffer)).await,
        }
    }

    /// Reads what is there without waiting, as much as the buffer has room for; 0 at the end of the stream.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] where nothing is there.
    #[inline]
    pub fn try_read(&self, buffer: &mut Buffer) -> io::Result<usize> {
        match self {
            Stream::Plain(socket) => socket.try_read(buffer),
            Stream::Tls(tls) => tls.try_read(buffer),
        }
    }

    /// Writes what is taken without waiting.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] where nothing is taken.
    #[inline]
    pub fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Stream::Plain(socket) => socket.try_write(bytes),
            Stream::Tls(tls) => tls.try_write(bytes),
        }
    }

    /// Waits for bytes, an end or an error, holding no buffer. Dropping the future loses nothing.
    #[inline]
    pub async fn readable(&self) -> io::Result<()> {
        match self {
            Stream::Plain(socket) => socket.readable().await,
            Stream::Tls(tls) => Box::pin(tls.readable()).await,
        }
    }

    /// As [`Stream::readable`], but a read may still find nothing: for who reads next and comes back here where it does. What
    /// comes by TLS is then opened into the reader's own buffer.
    #[inline]
    pub async fn arrival(&self) -> io::Result<()> {
        match self {
            Stream::Plain(socket) => socket.readable().await,
            Stream::Tls(tls) => Box::pin(tls.arrival()).await,
        }
    }

    /// Looks whether bytes wait to be read, without taking from them or waiting.
    #[inline]
    pub fn peek(&self) -> Peek {
        match self {
            Stream::Plain(socket) => socket.peek(),
            Stream::Tls(tls) => tls.peek(),
        }
    }

    /// Copies the first bytes that wait to be read without taking them; 0 if there are none.
    #[inline]
    pub fn peek_bytes(&self, bytes: &mut [u8]) -> usize {
        match self {
            Stream::Plain(socket) => socket.peek_bytes(bytes),
            Stream::Tls(tls) => tls.peek_bytes(bytes),
        }
    }

    /// Whether an end of the peer's sending means that the peer is gone; see [`Socket::ends_with_fin`].
    #[inline]
    pub fn ends_with_fin(&self, ends: bool) {
        self.socket().ends_with_fin(ends);
    }

    /// Whether there is nobody at the other end; see [`Socket::is_dead`].
    #[inline]
    pub fn is_dead(&self) -> bool {
        match self {
            Stream::Plain(socket) => socket.is_dead(),
            Stream::Tls(tls) => tls.is_dead(),
        }
    }

    /// Says that no more will be written and waits until that has left; the caller has a deadline for it.
    ///
    /// # Errors
    /// The connection is broken.
    #[inline]
    pub async fn finish_write(&self) -> io::Result<()> {
        match self {
            Stream::Plain(socket) => {
                socket.shutdown_write();
                Ok(())
            }
            Stream::Tls(tls) => Box::pin(tls.finish_write()).await,
        }
    }

    /// Makes the close that follows a reset: the peer must not take what it got for a clean end (R32).
    #[inline]
    pub fn reset_on_close(&self) {
        self.socket().reset_on_close();
    }
}

/// What a handshake has shown.
impl Stream {
    /// The TLS session, if there is one.
    #[inline]
    pub fn tls(&self) -> Option<&TlsStream> {
        match self {
            Stream::Plain(_) => None,
            Stream::Tls(tls) => Some(tls),
        }
    }

    /// The workload at the other end, by a certificate of the mesh that was checked; none without one.
    pub fn peer_identity(&self) -> Option<&SpiffeId> {
        self.tls()?.peer()?.id.as_ref()
    }

    /// The protocol agreed on in the handshake (ALPN).
    pub fn alpn(&self) -> Option<&[u8]> {
        self.tls()?.alpn()
    }

    /// The server name that the client asked for (SNI).
    pub fn sni(&self) -> Option<&str> {
        self.tls()?.server_name()
    }
}

impl From<TlsStream> for Stream {
    fn from(tls: TlsStream) -> Stream {
        Stream::Tls(Box::new(tls))
    }
}

impl From<Socket> for Stream {
    fn from(socket: Socket) -> Stream {
        Stream::Plain(socket)
    }
}
