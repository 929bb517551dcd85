//! Addresses of the loopback interface.

use std::io;
use std::mem::size_of;
use std::net::Ipv6Addr;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

/// Number of `lo` in every network namespace: the kernel makes it first.
const LOOPBACK_INDEX: libc::c_int = 1;

/// The kernel's `struct in6_ifreq` (`linux/ipv6.h`).
#[repr(C)]
struct Request {
    address: [u8; 16],
    prefix: u32,
    interface: libc::c_int,
}

const _: () = assert!(size_of::<Request>() == 24);

/// Adds a single address to `lo`; one that is there already stays.
///
/// # Errors
/// The kernel refuses: no CAP_NET_ADMIN, or no IPv6 on `lo`.
pub fn add(address: Ipv6Addr) -> io::Result<()> {
    match ask(libc::SIOCSIFADDR, address) {
        Err(error) if error.raw_os_error() == Some(libc::EEXIST) => Ok(()),
        other => other,
    }
}

/// Takes an address from `lo`.
///
/// # Errors
/// The kernel refuses, or it is not there.
pub fn remove(address: Ipv6Addr) -> io::Result<()> {
    ask(libc::SIOCDIFADDR, address)
}

fn ask(request: libc::Ioctl, address: Ipv6Addr) -> io::Result<()> {
    // SAFETY: plain system call; its result is checked below.
    let raw = unsafe { libc::socket(libc::AF_INET6, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) };
    if raw < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: `raw` was just opened and has no other owner.
    let socket = unsafe { OwnedFd::from_raw_fd(raw) };
    let wanted = Request { address: address.octets(), prefix: 128, interface: LOOPBACK_INDEX };
    // SAFETY: the kernel reads one `struct in6_ifreq`, which `wanted` is laid out as and which outlives the call.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), request, &raw const wanted) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
