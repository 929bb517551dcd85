//! Connections to the application.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use dromon_core::capture::{Family, to_application};
use tokio::net::{TcpSocket, TcpStream};

use super::Application;

/// Connects to a port of the application.
pub async fn connect(application: &Application, port: u16) -> io::Result<TcpStream> {
    let Some(ip) = application.address else {
        return TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await;
    };
    let source = to_application(Family::of(ip));
    match connect_from(Some(source), ip, port).await {
        // Without capture the address is not there (IPv6), and nothing has to be told apart.
        Err(error) if error.kind() == io::ErrorKind::AddrNotAvailable => connect_from(None, ip, port).await,
        other => other,
    }
}

async fn connect_from(source: Option<IpAddr>, ip: IpAddr, port: u16) -> io::Result<TcpStream> {
    let socket = if ip.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    if let Some(source) = source {
        socket.bind(SocketAddr::new(source, 0))?;
    }
    socket.connect(SocketAddr::new(ip, port)).await
}
