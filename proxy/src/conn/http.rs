//! An HTTP/1 client connection: one request after the other (R22).
//!
//! Between requests a connection keeps a small buffer of its own, into which the next head is read: waiting without one
//! costs a second operation a request. A client whose heads do not fit waits without and borrows a larger one.

use dromon_core::limits::IDLE_BUFFER_BYTES;

use super::client::Client;
use super::h2;
use super::request;
use super::tunnel::{self, Tunnel};
use super::work::Work;
use crate::sys::buffer::Buffer;

/// What old clients send behind a body, beyond its length.
pub(super) const STRAY: &[u8] = b"\r\n";

/// What follows an exchange.
pub(super) enum Next {
    /// The connection serves another request.
    KeepAlive,
    /// It is over.
    Close,
    /// It carries another protocol from now on.
    Tunnel(Box<Tunnel>),
}

/// Serves requests until the connection ends. Gives back the first bytes of a client that speaks HTTP/2 instead.
pub(super) async fn serve(client: &Client) -> Option<Buffer> {
    let mut held: Option<Box<Work>> = None;
    let mut own = Buffer::with_capacity(IDLE_BUFFER_BYTES);
    let mut skipped = false;
    loop {
        let mut work = match held.take() {
            Some(work) => work,
            None if own.capacity() == 0 => {
                if !client.readable().await {
                    return None;
                }
                if !skipped && client.skip_stray() {
                    skipped = true;
                    continue;
                }
                client.shard.works.take()
            }
            None => {
                let mut first = client.first_bytes(std::mem::take(&mut own)).await?;
                if client.requests.get() == 0 && h2::is_preface(first.filled()) {
                    return Some(first);
                }
                if is_stray(&first) && !std::mem::replace(&mut skipped, true) {
                    first.clear();
                    own = first;
                    continue;
                }
                let mut work = client.shard.works.take();
                work.lend(first);
                work
            }
        };
        let next = request::serve(client, &mut work).await;
        skipped = is_stray(&work.request.buffer);
        if skipped {
            work.request.buffer.clear();
        }
        match next {
            // The next request is here already, or a part of it.
            Next::KeepAlive if !work.request.buffer.is_empty() => held = Some(work),
            Next::KeepAlive => {
                own = work.reclaim();
                client.shard.works.give(work);
            }
            Next::Close => {
                client.shard.works.give(work);
                return None;
            }
            Next::Tunnel(tunnel) => {
                tunnel::run(client, &mut work, *tunnel).await;
                client.shard.works.give(work);
                return None;
            }
        }
    }
}

/// A lone line end, as old clients send it behind a body (RFC 9112, 2.2): it starts no request and no request's deadline.
/// One is thrown away before each request; any more count as the start of one.
fn is_stray(buffer: &Buffer) -> bool {
    buffer.filled() == STRAY
}
