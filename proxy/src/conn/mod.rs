//! Client connections: what a listener does with one, from accept to close.

mod account;
mod admission;
mod answer;
mod attempt;
mod body;
mod bridge;
mod captured;
mod client;
mod exchange;
mod fetch;
mod framing;
pub mod h2;
mod http;
mod inspect;
mod local;
mod request;
mod tcp;
mod tunnel;
mod upload;
mod work;

use std::net::SocketAddr;
use std::rc::Rc;

use dromon_core::config::model::{ListenerKind, Protocol};

use crate::shard::{ListenerHandle, Shard};
use crate::sys::socket::Socket;
use admission::{Asked, Newcomer};
use client::{Client, Port};
use inspect::Sorted;
pub use work::SpareWork;

/// Serves one client connection to its end.
pub async fn serve(shard: Rc<Shard>, listener: Rc<ListenerHandle>, socket: Socket, peer: SocketAddr) {
    let held = shard.clone();
    let _open = held.gauges.downstream_connections_active.hold();
    let _load = Leaving(&held);
    let Some(listener) = captured::listener(&shard, listener, &socket, peer) else { return };
    let Some((asked, declared, port)) = terms(&shard, &listener, &socket) else { return };
    let client = if asked.nothing() && declared == Protocol::Http {
        Client::new(shard, listener, socket.into(), peer, port)
    } else {
        let newcomer = Newcomer { shard, listener, socket, peer, port, declared, introduced: None };
        // Boxed: what a relay or a handshake needs would weigh on every HTTP connection.
        match Box::pin(admitted(newcomer, asked)).await {
            Some(client) => client,
            None => return,
        }
    };
    if let Some(first) = http::serve(&client).await {
        return Box::pin(h2::serve(client, first)).await;
    }
    admission::tell_of_end(&client);
}

/// Takes a connection to where it speaks HTTP; none where it does not, and is over.
async fn admitted(newcomer: Newcomer, asked: Asked) -> Option<Client> {
    match admission::admit(newcomer, asked).await? {
        Sorted::Http(client) => Some(client),
        Sorted::Tcp(client, connected) => {
            tcp::serve(&client, connected).await;
            admission::tell_of_end(&client);
            None
        }
    }
}

/// Takes the connection off its shard's load when it is over.
struct Leaving<'a>(&'a Shard);

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        self.0.siblings.leave();
    }
}

/// What the listener's configuration says of a connection, none if it is gone.
fn terms(shard: &Shard, listener: &ListenerHandle, socket: &Socket) -> Option<(Asked, Protocol, Port)> {
    let table = shard.table()?;
    let index = listener.index(&table)?;
    let listener = table.listeners.get(index)?;
    let kind = &listener.model.kind;
    let gateway = matches!(kind, ListenerKind::GatewayHttp | ListenerKind::GatewayTcp);
    let port = Port {
        outbound: matches!(kind, ListenerKind::Outbound),
        inbound: matches!(kind, ListenerKind::Inbound { .. } | ListenerKind::InboundCapture { .. }),
        gateway,
        captured: listener.inbound.as_ref().is_some_and(|application| application.captured),
    };
    let declared = match table.protocol(index, client::original_destination(socket, port)) {
        // Of either version: the first bytes tell which.
        Protocol::Http2 | Protocol::Grpc => Protocol::Http,
        declared => declared,
    };
    Some((Asked::by(listener, declared), declared, port))
}

#[cfg(test)]
mod tests;
