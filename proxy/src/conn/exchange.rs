//! Istio's exchange of peer metadata at the start of a TCP connection, for peers that speak it.

use std::io;

use dromon_auth::failure::{Failure, Reason};
use dromon_core::limits::PREFACE_MS_MAX;
use dromon_core::peer_exchange::{self, HEADER_BYTES};

use super::client::Client;
use crate::io::{within, write_all};
use crate::sys::buffer::Buffer;

/// Says what this end has to say, and takes the peer's message out of the way. This end speaks first: a client whose server
/// does tells of itself when it hears something.
///
/// # Errors
/// The peer sends something else, or nothing in time.
pub(super) async fn run(client: &Client) -> Result<(), Failure> {
    let deadline = client.shard.now().plus_millis(PREFACE_MS_MAX);
    let mut own = Buffer::with_capacity(HEADER_BYTES);
    own.extend(&peer_exchange::own());
    let (written, _) = write_all(&client.alarm, &client.stream, own).await;
    written.map_err(|_| broken())?;
    let late = |_| Failure::new(Reason::HandshakeTimeout, "no peer metadata arrived in time");
    within(deadline, skip(client)).await.map_err(late)?
}

async fn skip(client: &Client) -> Result<(), Failure> {
    let header = read(client, HEADER_BYTES).await.map_err(|_| broken())?;
    let header = header.try_into().map_err(|_| broken())?;
    let length =
        peer_exchange::length(header).map_err(|error| Failure::new(Reason::Protocol, error.to_string()))?;
    read(client, length).await.map(drop).map_err(|_| broken())
}

/// Reads so many bytes and none more.
async fn read(client: &Client, count: usize) -> io::Result<Vec<u8>> {
    let mut all = Vec::with_capacity(count);
    while all.len() < count {
        client.stream.readable().await?;
        let mut buffer = Buffer::with_capacity(count - all.len());
        match client.stream.try_read(&mut buffer) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(_) => all.extend_from_slice(buffer.filled()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(all)
}

fn broken() -> Failure {
    Failure::new(Reason::Truncated, "the peer closed before its metadata was complete")
}
