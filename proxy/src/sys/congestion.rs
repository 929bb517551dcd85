//! Congestion control of connections that never leave the machine, as those between a sidecar and its application.
//!
//! BBR spreads what it sends with a kernel timer for each segment. On a path without a network that wins nothing and its
//! timers are dear: measured on a machine whose default it is, a third of the processor time of a 1 MiB answer. Such
//! connections get Reno instead, which every kernel has and every user may choose; without losses it only lets data go.

use std::ffi::c_void;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

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

    /// Has a connection with `peer` send without pacing, if it never leaves the machine and would be paced.
    pub fn tune(self, socket: &Socket, peer: SocketAddr) {
        let local = || socket.local_address().is_ok_and(|near| is_local(near.ip(), peer.ip()));
        if self.paced && local() {
            // Refused, it works as well, only dearer.
            let _ = choose(socket, UNPACED);
        }
    }
}

/// Whether a connection between these addresses stays on this machine. One loopback end is enough: a redirect changes only
/// the other.
fn is_local(near: IpAddr, far: IpAddr) -> bool {
    let (near, far) = (near.to_canonical(), far.to_canonical());
    near.is_loopback() || far.is_loopback() || near == far
}

fn default_algorithm() -> Option<Vec<u8>> {
    // SAFETY: plain system call; its result is checked below.
    let raw = unsafe { libc::socket(libc::AF_INET, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, 0) };
    if raw < 0 {
        return None;
    }
    // SAFETY: `raw` was just opened and has no other owner.
    algorithm(&unsafe { OwnedFd::from_raw_fd(raw) })
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

fn choose(socket: &impl AsRawFd, name: &[u8]) -> std::io::Result<()> {
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
    if result == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests;
