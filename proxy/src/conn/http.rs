//! An HTTP/1 client connection: one request after the other (R22), waiting for each without a buffer.

use super::client::Client;
use super::request;
use super::tunnel::{self, Tunnel};
use super::work::Work;

/// What follows an exchange.
pub(super) enum Next {
    /// The connection serves another request.
    KeepAlive,
    /// It is over.
    Close,
    /// It carries another protocol from now on.
    Tunnel(Tunnel),
}

/// Serves requests until the connection ends.
pub(super) async fn serve(client: &Client) {
    let mut held: Option<Box<Work>> = None;
    loop {
        let mut work = match held.take() {
            Some(work) => work,
            None if !client.readable().await => return,
            None => client.shard.works.take(),
        };
        let next = request::serve(client, &mut work).await;
        match next {
            // The next request is here already, or a part of it.
            Next::KeepAlive if !work.request.buffer.is_empty() => held = Some(work),
            Next::KeepAlive => client.shard.works.give(work),
            Next::Close => {
                client.shard.works.give(work);
                return;
            }
            Next::Tunnel(tunnel) => {
                client.shard.works.give(work);
                return tunnel::run(client, tunnel).await;
            }
        }
    }
}
