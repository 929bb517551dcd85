//! Connections for the application that netfilter brings to one port: each is served by the listener of the port that it was
//! for.

use std::net::SocketAddr;
use std::rc::Rc;

use dromon_core::config::model::ListenerKind;

use super::admission;
use super::client::redirected_from;
use crate::shard::{ListenerHandle, Shard};
use crate::sys::socket::Socket;

/// The listener that serves a connection: the one that accepted it, or where that takes captured connections, that of the
/// port that this one was for, if there is one. None: the connection is refused, or its listener is gone.
pub(super) fn listener(
    shard: &Shard,
    accepting: Rc<ListenerHandle>,
    socket: &Socket,
    peer: SocketAddr,
) -> Option<Rc<ListenerHandle>> {
    let table = shard.table()?;
    let captures = table.listeners.get(accepting.index(&table)?)?;
    if !matches!(captures.model.kind, ListenerKind::InboundCapture { .. }) {
        return Some(accepting);
    }
    let Some(original) = redirected_from(socket) else {
        // It would be for this very port, and come back for ever.
        socket.reset_on_close();
        let detail =
            "the port takes connections that netfilter brings, and this one was made to it".to_owned();
        admission::tell_as(shard, &accepting, peer, "not_captured", detail);
        return None;
    };
    let serves = |it: &&std::sync::Arc<dromon_core::config::table::ListenerTable>| {
        it.model.captured && it.model.logical_port == original.port()
    };
    match table.listeners.iter().find(serves) {
        Some(found) => Some(shard.captured.handle(&found.model.name)),
        None => Some(accepting),
    }
}
