//! A TCP connection on the shard's runtime, with the few options and peeks that the data plane needs.

use std::cell::{Cell, UnsafeCell};
use std::io;
use std::mem::{size_of, zeroed};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsRawFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::time::Duration;

use monoio::BufResult;
use monoio::buf::{IoBuf, IoBufMut};
use monoio::io::{AsyncReadRent, AsyncWriteRent};
use monoio::net::TcpStream;

use super::buffer::Buffer;
use super::listen::set;

/// Linux's `SO_ORIGINAL_DST`, the same number for IPv4 and, as `IP6T_SO_ORIGINAL_DST`, for IPv6.
const ORIGINAL_DESTINATION: libc::c_int = 80;

/// What lies in a connection's receive queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peek {
    /// Nothing: the connection is open and quiet.
    Quiet,
    /// Bytes wait.
    Data,
    /// The peer has closed or reset it.
    Closed,
}

/// Which ends of a connection have hung up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HangUp {
    /// None.
    None,
    /// The peer will send no more.
    Peer,
    /// Both, or the connection was reset.
    Both,
}

/// A connection. One task reads and one writes at the same time; both through a shared reference.
pub struct Socket {
    stream: UnsafeCell<TcpStream>,
    /// See `ends_with_fin`.
    ends_with_fin: Cell<bool>,
}

impl Socket {
    /// Takes over a connection. Small messages leave at once (`TCP_NODELAY`): a proxy has nothing more to say.
    pub fn new(stream: TcpStream) -> Socket {
        // A socket that refuses the option works all the same, only later.
        let _ = stream.set_nodelay(true);
        Socket { stream: UnsafeCell::new(stream), ends_with_fin: Cell::new(false) }
    }

    /// Connects.
    pub async fn connect(address: SocketAddr) -> io::Result<Socket> {
        Ok(Socket::new(TcpStream::connect_addr(address).await?))
    }

    fn stream(&self) -> &TcpStream {
        // SAFETY: exclusive references made by `read` and `write` live only while the operation is made and polled,
        // touch nothing of the stream but its reference-counted descriptor (as monoio's own split halves rely on),
        // and all of it happens on one thread.
        unsafe { &*self.stream.get() }
    }

    /// Reads what is there, waiting for the first byte; 0 at the end of the stream. Dropping the future may lose bytes
    /// that the kernel has already copied: only a connection that is given up may be treated so.
    pub fn read<B: IoBufMut>(&self, buffer: B) -> impl Future<Output = BufResult<usize, B>> {
        // SAFETY: see `stream`.
        unsafe { &mut *self.stream.get() }.read(buffer)
    }

    /// Writes a part of the buffer, at least a byte of it.
    pub fn write<B: IoBuf>(&self, buffer: B) -> impl Future<Output = BufResult<usize, B>> {
        // SAFETY: see `stream`.
        unsafe { &mut *self.stream.get() }.write(buffer)
    }

    /// Reads what is there without waiting, as much as the buffer has room for; 0 at the end of the stream. For bodies: bytes
    /// that are read and written in one go stay in the processor's cache, which a ring's batches do not let them.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] where nothing is there.
    pub fn try_read(&self, buffer: &mut Buffer) -> io::Result<usize> {
        self.try_read_at_most(usize::MAX, buffer)
    }

    /// As [`Socket::try_read`], but so many bytes at most.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] where nothing is there.
    pub fn try_read_at_most(&self, bytes_max: usize, buffer: &mut Buffer) -> io::Result<usize> {
        let room = buffer.bytes_total().min(bytes_max);
        // SAFETY: pointer and length describe the buffer's spare capacity.
        let got = unsafe { libc::recv(self.raw(), buffer.write_ptr().cast(), room, libc::MSG_DONTWAIT) };
        let count = usize::try_from(got).map_err(|_| io::Error::last_os_error())?;
        // SAFETY: the kernel has written `count` bytes there.
        unsafe { buffer.set_init(count) };
        Ok(count)
    }

    /// Writes what the kernel takes without waiting.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] where it takes nothing.
    pub fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
        // SAFETY: pointer and length describe the caller's slice.
        let put = unsafe { libc::send(self.raw(), bytes.as_ptr().cast(), bytes.len(), flags) };
        usize::try_from(put).map_err(|_| io::Error::last_os_error())
    }

    /// Waits for bytes, an end or an error, holding no buffer. Dropping the future loses nothing.
    pub async fn readable(&self) -> io::Result<()> {
        self.stream().readable(false).await
    }

    /// Waits until the kernel takes bytes again, or the connection breaks. Dropping the future loses nothing.
    pub async fn writable(&self) -> io::Result<()> {
        self.stream().writable(false).await
    }

    /// Waits until a connection that has been begun is made.
    ///
    /// # Errors
    /// It was refused, or cannot be made.
    pub async fn connected(&self) -> io::Result<()> {
        self.writable().await?;
        let mut error: libc::c_int = 0;
        let mut length = size_of::<libc::c_int>() as libc::socklen_t;
        // SAFETY: pointer and length describe `error`, which outlives the call.
        let result = unsafe {
            libc::getsockopt(
                self.raw(),
                libc::SOL_SOCKET,
                libc::SO_ERROR,
                (&raw mut error).cast(),
                &raw mut length,
            )
        };
        match (result, error) {
            (0, 0) => Ok(()),
            (0, error) => Err(io::Error::from_raw_os_error(error)),
            _ => Err(io::Error::last_os_error()),
        }
    }

    /// Says that no more will be written.
    pub fn shutdown_write(&self) {
        // SAFETY: plain system call on an owned descriptor. A failure means that the peer is gone already.
        unsafe { libc::shutdown(self.raw(), libc::SHUT_WR) };
    }

    /// Makes the close that follows a reset (`SO_LINGER` 0): the peer must not take what it got for a clean end (R32).
    pub fn reset_on_close(&self) {
        let linger = libc::linger { l_onoff: 1, l_linger: 0 };
        let length = size_of::<libc::linger>() as libc::socklen_t;
        // SAFETY: pointer and length describe `linger`, which outlives the call.
        unsafe {
            libc::setsockopt(
                self.raw(),
                libc::SOL_SOCKET,
                libc::SO_LINGER,
                (&raw const linger).cast(),
                length,
            )
        };
    }

    /// Looks at the receive queue without taking from it or waiting.
    pub fn peek(&self) -> Peek {
        let mut byte = 0u8;
        // SAFETY: the pointer is to one live byte, as the length says.
        let got =
            unsafe { libc::recv(self.raw(), (&raw mut byte).cast(), 1, libc::MSG_PEEK | libc::MSG_DONTWAIT) };
        match got {
            0 => Peek::Closed,
            1.. => Peek::Data,
            _ if io::Error::last_os_error().kind() == io::ErrorKind::WouldBlock => Peek::Quiet,
            _ => Peek::Closed,
        }
    }

    /// Copies the first bytes of the receive queue without taking them; 0 if there are none.
    pub fn peek_bytes(&self, bytes: &mut [u8]) -> usize {
        let flags = libc::MSG_PEEK | libc::MSG_DONTWAIT;
        // SAFETY: pointer and length describe the caller's slice.
        let got = unsafe { libc::recv(self.raw(), bytes.as_mut_ptr().cast(), bytes.len(), flags) };
        usize::try_from(got).unwrap_or(0)
    }

    /// Whether an end of the peer's sending, with nothing left to read, means that the peer is gone. So it does for a
    /// client whose request is complete: one that closes cannot be told from one that half-closes, and waiting for an
    /// answer on behalf of nobody would hold what others wait for.
    pub fn ends_with_fin(&self, ends: bool) {
        self.ends_with_fin.set(ends);
    }

    /// What [`Socket::ends_with_fin`] was told last.
    pub fn is_ended_by_fin(&self) -> bool {
        self.ends_with_fin.get()
    }

    /// Whether there is nobody at the other end: reset, closed at both ends, or see [`Socket::ends_with_fin`].
    pub fn is_dead(&self) -> bool {
        match self.hang_up() {
            HangUp::None => false,
            HangUp::Peer => self.ends_with_fin.get() && self.peek() == Peek::Closed,
            HangUp::Both => true,
        }
    }

    /// Who has hung up.
    pub fn hang_up(&self) -> HangUp {
        let mut poll = libc::pollfd { fd: self.raw(), events: libc::POLLRDHUP, revents: 0 };
        // SAFETY: one live pollfd, as the count says; a timeout of 0 does not block.
        let ready = unsafe { libc::poll(&raw mut poll, 1, 0) };
        match ready {
            ..=0 => HangUp::None,
            _ if poll.revents & (libc::POLLERR | libc::POLLHUP) != 0 => HangUp::Both,
            _ => HangUp::Peer,
        }
    }

    /// Bytes written that the peer's side has not acknowledged (`SIOCOUTQ`); 0 where the kernel does not say.
    pub fn unsent_bytes(&self) -> usize {
        let mut count: libc::c_int = 0;
        // SAFETY: the pointer is to a live int, which is what the request writes.
        let result = unsafe { libc::ioctl(self.raw(), libc::TIOCOUTQ, &raw mut count) };
        if result == 0 { usize::try_from(count).unwrap_or(0) } else { 0 }
    }

    /// Address of this end.
    pub fn local_address(&self) -> io::Result<SocketAddr> {
        self.stream().local_addr()
    }

    /// Where the client was connecting to before a netfilter REDIRECT brought it here; none without one.
    pub fn original_destination(&self) -> Option<SocketAddr> {
        original_v4(self.raw()).or_else(|| original_v6(self.raw()))
    }

    /// Switches keep-alive probes on; zeros leave the system's values.
    pub fn keepalive(&self, time_s: u32, interval_s: u32, probes: u32) -> io::Result<()> {
        let seconds = |value: u32| (value > 0).then(|| Duration::from_secs(u64::from(value)));
        self.stream().set_tcp_keepalive(
            seconds(time_s),
            seconds(interval_s),
            (probes > 0).then_some(probes),
        )?;
        set(self, libc::SOL_SOCKET, libc::SO_KEEPALIVE, 1)
    }

    fn raw(&self) -> RawFd {
        self.stream().as_raw_fd()
    }
}

/// Takes a connection that nothing is in flight on away from this thread's runtime, for another thread's.
pub fn detach(stream: TcpStream) -> std::net::TcpStream {
    // SAFETY: the runtime has let go of the descriptor, which has no other owner.
    std::net::TcpStream::from(unsafe { OwnedFd::from_raw_fd(stream.into_raw_fd()) })
}

impl AsRawFd for Socket {
    fn as_raw_fd(&self) -> RawFd {
        self.raw()
    }
}

fn original_v4(socket: RawFd) -> Option<SocketAddr> {
    // SAFETY: all-zero is a valid sockaddr_in.
    let mut raw: libc::sockaddr_in = unsafe { zeroed() };
    let mut length = size_of::<libc::sockaddr_in>() as libc::socklen_t;
    // SAFETY: pointer and length describe `raw`.
    let result = unsafe {
        libc::getsockopt(socket, libc::SOL_IP, ORIGINAL_DESTINATION, (&raw mut raw).cast(), &raw mut length)
    };
    let address = Ipv4Addr::from(raw.sin_addr.s_addr.to_ne_bytes());
    (result == 0).then(|| SocketAddr::from((address, u16::from_be(raw.sin_port))))
}

fn original_v6(socket: RawFd) -> Option<SocketAddr> {
    // SAFETY: all-zero is a valid sockaddr_in6.
    let mut raw: libc::sockaddr_in6 = unsafe { zeroed() };
    let mut length = size_of::<libc::sockaddr_in6>() as libc::socklen_t;
    // SAFETY: pointer and length describe `raw`.
    let result = unsafe {
        libc::getsockopt(socket, libc::SOL_IPV6, ORIGINAL_DESTINATION, (&raw mut raw).cast(), &raw mut length)
    };
    let address = Ipv6Addr::from(raw.sin6_addr.s6_addr);
    (result == 0).then(|| SocketAddr::from((address, u16::from_be(raw.sin6_port))))
}
