//! One accept task a listener: it takes connections until told to stop, and never loses one (P2 of the design's pitfalls:
//! an accept dropped midway leaks the descriptor it had completed with).

use std::cell::Cell;
use std::collections::HashMap;
use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::os::fd::AsRawFd;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use dromon_core::config::table::Table;
use dromon_core::limits::{ACCEPT_BACKOFF_MS, CONNECTIONS_PER_SHARD_MAX, HANDOVER_TABLE_MS, LISTENERS_MAX};
use monoio::io::Canceller;
use monoio::net::{TcpListener, TcpStream};

use super::handover::Handover;
use super::state::Shard;
use crate::conn;
use crate::io::within;
use crate::mailbox::Receiver;
use crate::sys::listen;
use crate::sys::socket::{Socket, detach};

/// A listener as its connections know it; where it stands in the table is looked up once a version.
#[derive(Debug)]
pub struct ListenerHandle {
    /// Its name in the table.
    pub name: Arc<str>,
    place: Cell<(u64, Option<usize>)>,
}

impl ListenerHandle {
    /// A listener of that name.
    pub fn new(name: Arc<str>) -> ListenerHandle {
        ListenerHandle { name, place: Cell::new((u64::MAX, None)) }
    }

    /// The listener's index in this table; none if the table no longer has it.
    pub fn index(&self, table: &Table) -> Option<usize> {
        let (version, index) = self.place.get();
        if version == table.version {
            return index;
        }
        let index = table.listeners.iter().position(|listener| *listener.model.name == *self.name);
        self.place.set((table.version, index));
        index
    }
}

/// An accept task seen from outside.
pub(super) struct Accepting {
    stop: Rc<Cell<bool>>,
    canceller: Canceller,
}

impl Accepting {
    /// Has the task take what waits in the socket's queue, close it and say so.
    pub(super) fn stop(self) {
        self.stop.set(true);
        self.canceller.cancel();
    }
}

/// Starts accepting; `stopped` is called once the socket is closed.
pub(super) fn spawn(
    shard: &Rc<Shard>,
    name: Arc<str>,
    socket: StdListener,
    stopped: impl FnOnce() + 'static,
) -> io::Result<Accepting> {
    socket.set_nonblocking(shard.nonblocking)?;
    let listener = TcpListener::from_std(socket)?;
    let handle = Rc::new(ListenerHandle::new(name));
    let stop = Rc::new(Cell::new(false));
    let accepting = Accepting { stop: stop.clone(), canceller: Canceller::new() };
    let cancel = accepting.canceller.handle();
    let shard = shard.clone();
    monoio::spawn(async move {
        while !stop.get() {
            match listener.cancelable_accept(cancel.clone()).await {
                Ok((stream, peer)) => admit(&shard, &handle, stream, peer),
                Err(_) if stop.get() => break,
                // The peer gave up while it waited; the next one has done nothing wrong.
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                // Out of descriptors or memory: what is open will end, so wait rather than spin.
                Err(_) => monoio::time::sleep(Duration::from_millis(ACCEPT_BACKOFF_MS)).await,
            }
        }
        while let Some((stream, peer)) = listen::accept_waiting(listener.as_raw_fd(), shard.nonblocking) {
            if let Ok(stream) = TcpStream::from_std(stream) {
                admit(&shard, &handle, stream, peer);
            }
        }
        drop(listener);
        stopped();
    });
    Ok(accepting)
}

/// Takes sockets that other shards hand over, for as long as there are any.
pub(super) async fn adopt(shard: Rc<Shard>, mut door: Receiver<Handover>) {
    let mut handles: HashMap<Arc<str>, Rc<ListenerHandle>> = HashMap::new();
    while let Some(Handover { listener, socket, peer }) = door.recv().await {
        let handle =
            handles.entry(listener.clone()).or_insert_with(|| Rc::new(ListenerHandle::new(listener)));
        let prepared = socket.set_nonblocking(shard.nonblocking).and_then(|()| TcpStream::from_std(socket));
        let Ok(stream) = prepared else {
            shard.siblings.leave();
            continue;
        };
        let (shard, handle) = (shard.clone(), handle.clone());
        if shard.with_table(|table| handle.index(table).is_some()) == Some(true) {
            start(&shard, &handle, stream, peer);
        } else {
            monoio::spawn(async move {
                // The shard that accepted it has a newer table.
                let patience = shard.now().plus_millis(HANDOVER_TABLE_MS);
                let _ = within(patience, shard.table_changed.notified()).await;
                start(&shard, &handle, stream, peer);
            });
        }
        if handles.len() > LISTENERS_MAX {
            handles.clear();
        }
    }
}

/// Starts the connection's task here or at the shard that has the fewest connections.
fn admit(shard: &Rc<Shard>, listener: &Rc<ListenerHandle>, stream: TcpStream, peer: SocketAddr) {
    let stream = match shard.siblings.choose() {
        None => stream,
        Some(to) => {
            let handover = Handover { listener: listener.name.clone(), socket: detach(stream), peer };
            let Err(back) = shard.siblings.hand_over(to, handover) else { return };
            match TcpStream::from_std(back.socket) {
                Ok(stream) => stream,
                Err(_) => return,
            }
        }
    };
    shard.siblings.enter();
    start(shard, listener, stream, peer);
}

/// Starts the task of a connection that the shard's load counts already, unless the shard is full.
fn start(shard: &Rc<Shard>, listener: &Rc<ListenerHandle>, stream: TcpStream, peer: SocketAddr) {
    if shard.gauges.downstream_connections_active.get() >= CONNECTIONS_PER_SHARD_MAX as u64 {
        shard.gauges.downstream_connections_refused.add(1);
        shard.siblings.leave();
        return;
    }
    shard.gauges.downstream_connections_total.add(1);
    // Spawned as it is: a wrapping async block would nearly double what an idle connection weighs.
    monoio::spawn(conn::serve(shard.clone(), listener.clone(), Socket::new(stream), peer));
}
