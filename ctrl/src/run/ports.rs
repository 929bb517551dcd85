//! Which ports the system lets a run open.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};

/// Ports below the returned one are refused to this user on `bind`; 0: none is.
pub fn refused_below(bind: IpAddr) -> u16 {
    let refused = TcpListener::bind(SocketAddr::new(bind, 1))
        .is_err_and(|error| error.kind() == io::ErrorKind::PermissionDenied);
    if !refused {
        return 0;
    }
    std::fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start")
        .ok()
        .and_then(|text| text.trim().parse().ok())
        .unwrap_or(1024)
}

/// Whether somebody else has the port.
pub fn taken(address: SocketAddr) -> bool {
    TcpListener::bind(address).is_err_and(|error| error.kind() == io::ErrorKind::AddrInUse)
}
