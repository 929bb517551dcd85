//! Listening sockets: one per shard at one address, after a probe that tells a port taken by someone else.

use std::io;
use std::net::{SocketAddr, TcpListener};

use crate::sys::listen::{listen, probe};

/// Opens `count` sockets that share an address (`SO_REUSEPORT`); where its port is 0, one that the kernel chooses.
///
/// The probe binds without `SO_REUSEPORT`, which fails where any socket listens, even one of this user that would share:
/// with `SO_REUSEADDR` alone Linux lets a bind pass connections in TIME_WAIT but no listener. It is closed before the
/// sockets open, and never listens, so that no connection can end up in its queue.
pub fn open(address: SocketAddr, count: usize) -> io::Result<(SocketAddr, Vec<TcpListener>)> {
    probe(address)?;
    let mut address = address;
    let mut sockets = Vec::with_capacity(count);
    for _ in 0..count {
        let socket = listen(address, true)?;
        address = socket.local_addr()?;
        sockets.push(socket);
    }
    Ok((address, sockets))
}

/// Why a listener has no socket, for an operator.
pub fn explain(name: &str, address: SocketAddr, error: &io::Error) -> String {
    let advice = match error.kind() {
        io::ErrorKind::AddrInUse => {
            "another process listens there; stop it or give the listener another port".to_owned()
        }
        io::ErrorKind::PermissionDenied if address.port() < 1024 => {
            "ports below 1024 need CAP_NET_BIND_SERVICE; use a higher port".to_owned()
        }
        io::ErrorKind::AddrNotAvailable => "this machine has no such address".to_owned(),
        _ => error.to_string(),
    };
    format!("listener {name} cannot listen on {address}: {advice}")
}
