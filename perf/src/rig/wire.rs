//! A connection of the rig, plain or under TLS, that does not block: what the generator and the origin read and write.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use rustix::net::RecvFlags;
use rustls::{ClientConfig, ClientConnection, Connection, ServerConfig, ServerConnection};

use super::tls;

/// Plaintext that is encrypted at once; more waits until what was encrypted has gone.
const WRITE_BYTES: usize = 64 * 1024;
/// A connection within the machine gains nothing from pacing, which some systems have on by default; the rig is spared
/// it, as Dromon spares itself and as Envoy is told to.
const ALGORITHM: &str = "reno";

/// A connection.
#[derive(Debug)]
pub enum Wire {
    /// As it is.
    Plain(TcpStream),
    /// Under TLS.
    Tls(Box<Secured>),
}

/// A connection under TLS.
#[derive(Debug)]
pub struct Secured {
    stream: TcpStream,
    session: Connection,
}

/// Has the connections that a socket makes or takes send without pacing.
pub fn unpaced(socket: impl AsFd) {
    // Where it is refused, everything works as well, only dearer.
    let _ = rustix::net::sockopt::set_tcp_congestion(socket, ALGORITHM);
}

/// A connected stream that does not block and does not delay small writes.
pub fn open(target: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(target)?;
    unpaced(&stream);
    stream.set_nodelay(true)?;
    stream.set_nonblocking(true)?;
    Ok(stream)
}

impl Wire {
    /// The client's end, connected; a handshake goes on with the first write.
    pub fn connect(target: SocketAddr, tls: Option<&Arc<ClientConfig>>) -> io::Result<Wire> {
        let stream = open(target)?;
        let Some(config) = tls else { return Ok(Wire::Plain(stream)) };
        let session = ClientConnection::new(config.clone(), tls::server_name()).map_err(io::Error::other)?;
        Ok(Wire::Tls(Box::new(Secured { stream, session: session.into() })))
    }

    /// The server's end of a connection that was accepted.
    pub fn accepted(stream: TcpStream, tls: Option<&Arc<ServerConfig>>) -> io::Result<Wire> {
        stream.set_nonblocking(true)?;
        stream.set_nodelay(true)?;
        let Some(config) = tls else { return Ok(Wire::Plain(stream)) };
        let session = ServerConnection::new(config.clone()).map_err(io::Error::other)?;
        Ok(Wire::Tls(Box::new(Secured { stream, session: session.into() })))
    }

    /// Reads what is there; 0 at the end.
    pub fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Wire::Plain(stream) => stream.read(buffer),
            Wire::Tls(secured) => secured.read(buffer),
        }
    }

    /// Takes up to as many bytes as the buffer holds whose content nobody wants: without TLS the kernel throws them away.
    pub fn skip(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Wire::Plain(stream) => rustix::net::recv(stream, buffer, RecvFlags::TRUNC)
                .map(|(_, taken)| taken)
                .map_err(Into::into),
            Wire::Tls(secured) => secured.read(buffer),
        }
    }

    /// Writes a part of the bytes. What TLS has taken goes out with later calls of this, of [`Wire::flush`] or of
    /// [`Wire::read`].
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Wire::Plain(stream) => stream.write(bytes),
            Wire::Tls(secured) => secured.write(bytes),
        }
    }

    /// Sends what TLS holds back; false where the kernel takes no more of it now.
    pub fn flush(&mut self) -> io::Result<bool> {
        match self {
            Wire::Plain(_) => Ok(true),
            Wire::Tls(secured) => secured.flush(),
        }
    }
}

impl AsFd for Wire {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Wire::Plain(stream) => stream.as_fd(),
            Wire::Tls(secured) => secured.stream.as_fd(),
        }
    }
}

impl Secured {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.session.reader().read(buffer) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                // A proxy may end a connection without a farewell; that is an end all the same.
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(0),
                read => return read,
            }
            if self.session.read_tls(&mut self.stream)? == 0 {
                return Ok(0);
            }
            self.session.process_new_packets().map_err(io::Error::other)?;
            self.flush()?;
        }
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if !self.flush()? {
            return Err(ErrorKind::WouldBlock.into());
        }
        let part = bytes.get(..bytes.len().min(WRITE_BYTES)).unwrap_or(bytes);
        let taken = self.session.writer().write(part)?;
        self.flush()?;
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<bool> {
        while self.session.wants_write() {
            match self.session.write_tls(&mut self.stream) {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }
}
