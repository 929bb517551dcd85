//! Congestion control of connections that never leave the machine, as those between a sidecar and its application.
//!
//! BBR spreads what it sends with a kernel timer for each segment. On a path without a network that wins nothing and its
//! timers are dear: measured on a machine whose default it is, a third of the processor time of a 1 MiB answer. Such
//! connections get Reno instead, which every kernel has and every user may choose; without losses it only lets data go.
//! A connection that BBR has once begun stays paced whatever comes after it, so the choice is made before: at the listening
//! socket, whose connections inherit it, and before connecting. Loopback addresses are what is known to be local by then.

use std::ffi::c_void;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::AsRawFd;

use monoio::net::TcpStream;

use super::listen::{encode, open, set};
use super::socket::Socket;

/// Kernels' longest name of an algorithm (`TCP_CA_NAME_MAX`).
const NAME_BYTES_MAX: usize = 16;
/// How the names of algorithms that pace by timer begin: `bbr`, and its later versions.
const PACED: &[u8] = b"bbr";
/// What local connections get instead.
const UNPACED: &[u8] = b"reno";

/// Chooses the algorithm for connections within the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LocalHops {
    paced: bool,
}

impl LocalHops {
    /// Looks at what new connections get here.
    pub fn probe() -> LocalHops {
        LocalHops { paced: default_algorithm().is_some_and(|name| name.starts_with(PACED)) }
    }

    /// Has a socket that is to listen on `address` take connections that are not paced, if they are local.
    pub fn listen(self, socket: &impl AsRawFd, address: SocketAddr) {
        if self.concerns(address) {
            // Refused, it works as well, only dearer.
            let _ = choose(socket, UNPACED);
        }
    }

    /// Connects, unpaced where that is local; `from` an address of this machine, to another of them. `nonblocking`: as the
    /// shard wants its sockets.
    pub async fn connect(
        self,
        address: SocketAddr,
        from: Option<IpAddr>,
        nonblocking: bool,
    ) -> io::Result<Socket> {
        if let Some(from) = from {
            let stream = begin(address, Some(from), self.paced)?;
            stream.set_nonblocking(nonblocking)?;
            let socket = Socket::new(TcpStream::from_std(stream)?);
            socket.connected().await?;
            return Ok(socket);
        }
        if self.concerns(address)
            && let Some(stream) = connect_unpaced(address)?
        {
            stream.set_nonblocking(nonblocking)?;
            return Ok(Socket::new(TcpStream::from_std(stream)?));
        }
        Socket::connect(address).await
    }

    fn concerns(self, address: SocketAddr) -> bool {
        self.paced && address.ip().to_canonical().is_loopback()
    }
}

/// Connects without waiting, as loopback does unless the listener's queue is full; none where it would wait.
fn connect_unpaced(address: SocketAddr) -> io::Result<Option<std::net::TcpStream>> {
    let stream = begin(address, None, true)?;
    let mut poll = libc::pollfd { fd: stream.as_raw_fd(), events: libc::POLLOUT, revents: 0 };
    // SAFETY: one live pollfd, as the count says; a timeout of 0 does not block.
    if unsafe { libc::poll(&raw mut poll, 1, 0) } <= 0 {
        return Ok(None);
    }
    match stream.take_error()? {
        Some(error) => Err(error),
        None => Ok(Some(stream)),
    }
}

/// Begins to connect, without waiting.
fn begin(address: SocketAddr, from: Option<IpAddr>, unpaced: bool) -> io::Result<std::net::TcpStream> {
    let stream = open(address, libc::SOCK_NONBLOCK)?;
    if unpaced {
        // Refused, it works as well, only dearer.
        let _ = choose(&stream, UNPACED);
    }
    if let Some(from) = from {
        // The port is chosen with the peer known, or as many connections as there are ports would be all that can be made;
        // refused, that is how many there are.
        let _ = set(&stream, libc::IPPROTO_IP, libc::IP_BIND_ADDRESS_NO_PORT, 1);
        let (storage, length) = encode(SocketAddr::new(from, 0));
        // SAFETY: pointer and length describe the address built above.
        if unsafe { libc::bind(stream.as_raw_fd(), (&raw const storage).cast(), length) } != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    let (storage, length) = encode(address);
    // SAFETY: pointer and length describe the address built above.
    if unsafe { libc::connect(stream.as_raw_fd(), (&raw const storage).cast(), length) } != 0 {
        let error = io::Error::last_os_error();
        if error.raw_os_error() != Some(libc::EINPROGRESS) {
            return Err(error);
        }
    }
    Ok(std::net::TcpStream::from(stream))
}

fn default_algorithm() -> Option<Vec<u8>> {
    algorithm(&open((Ipv4Addr::UNSPECIFIED, 0).into(), 0).ok()?)
}

/// The algorithm that a socket has.
fn algorithm(socket: &impl AsRawFd) -> Option<Vec<u8>> {
    let mut name = [0u8; NAME_BYTES_MAX];
    let mut length = name.len() as libc::socklen_t;
    // SAFETY: pointer and length describe `name`, which outlives the call.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_CONGESTION,
            name.as_mut_ptr().cast::<c_void>(),
            &raw mut length,
        )
    };
    let end = name.iter().position(|&byte| byte == 0).unwrap_or(name.len());
    (result == 0).then(|| name.get(..end).unwrap_or_default().to_vec())
}

fn choose(socket: &impl AsRawFd, name: &[u8]) -> io::Result<()> {
    let length = name.len() as libc::socklen_t;
    // SAFETY: pointer and length describe `name`, which outlives the call.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_CONGESTION,
            name.as_ptr().cast::<c_void>(),
            length,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests;
