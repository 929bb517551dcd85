//! Client connections: what a listener does with one, from accept to close.

mod account;
mod answer;
mod attempt;
mod body;
mod bridge;
mod client;
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
use client::{Client, Port};
pub use work::SpareWork;

/// How a connection is to be treated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Treatment {
    Http,
    Tcp,
    /// Whichever side speaks first decides.
    Detect,
}

/// Serves one client connection to its end.
pub async fn serve(shard: Rc<Shard>, listener: Rc<ListenerHandle>, socket: Socket, peer: SocketAddr) {
    let held = shard.clone();
    let _open = held.gauges.downstream_connections_active.hold();
    let Some((treatment, port)) = treatment(&shard, &listener) else { return };
    let client = Client::new(shard, listener, socket.into(), peer, port);
    // Boxed: what a relay needs would weigh on every HTTP connection.
    let http = match treatment {
        Treatment::Http => true,
        Treatment::Detect => Box::pin(inspect::is_http(&client)).await,
        Treatment::Tcp => {
            Box::pin(tcp::serve(&client)).await;
            false
        }
    };
    if http && let Some(first) = http::serve(&client).await {
        h2::serve(client, first).await;
    }
}

/// What the listener's configuration says, none if it is gone.
fn treatment(shard: &Shard, listener: &ListenerHandle) -> Option<(Treatment, Port)> {
    let table = shard.table()?;
    let listener = table.listeners.get(listener.index(&table)?)?;
    let kind = &listener.model.kind;
    let gateway = matches!(kind, ListenerKind::GatewayHttp | ListenerKind::GatewayTcp);
    let port = Port {
        outbound: matches!(kind, ListenerKind::Outbound),
        inbound: matches!(kind, ListenerKind::Inbound { .. }),
        gateway,
    };
    let treatment = match kind {
        ListenerKind::GatewayHttp => Treatment::Http,
        ListenerKind::GatewayTcp => Treatment::Tcp,
        ListenerKind::Outbound => Treatment::Detect,
        ListenerKind::Inbound { protocol, .. } | ListenerKind::Service { protocol, .. } => match protocol {
            // Of either version: the first bytes tell which.
            Protocol::Http | Protocol::Http2 | Protocol::Grpc => Treatment::Http,
            Protocol::Auto => Treatment::Detect,
            Protocol::Tcp | Protocol::Tls => Treatment::Tcp,
        },
    };
    Some((treatment, port))
}

#[cfg(test)]
mod tests;
