//! Ten thousand clients that have asked once and now say nothing: what a proxy keeps for each.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustls::{ClientConfig, ClientConnection, StreamOwned};

use super::response::Response;
use super::tls;

/// Longest wait for one answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);

/// Idle keep-alive connections; they close when this is dropped.
#[derive(Debug)]
pub struct Held {
    streams: Vec<Kept>,
}

#[derive(Debug)]
enum Kept {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl Held {
    /// Opens `count` connections, each of which has sent `request` and read its answer.
    pub fn open(
        target: SocketAddr,
        tls: Option<&Arc<ClientConfig>>,
        count: usize,
        request: &[u8],
    ) -> Result<Held> {
        let mut streams = Vec::with_capacity(count);
        let mut buffer = vec![0; 16 * 1024];
        for number in 0..count {
            let stream = ask(target, tls, request, &mut buffer)
                .with_context(|| format!("idle connection {number} of {count} to {target}"))?;
            streams.push(stream);
        }
        Ok(Held { streams })
    }

    /// Connections that the other side has not closed.
    pub fn alive(&self) -> usize {
        self.streams.iter().filter(|stream| is_open(stream)).count()
    }
}

fn ask(
    target: SocketAddr,
    tls: Option<&Arc<ClientConfig>>,
    request: &[u8],
    buffer: &mut [u8],
) -> Result<Kept> {
    let stream = TcpStream::connect(target)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(ANSWER_LIMIT))?;
    Ok(match tls {
        None => Kept::Plain(exchange(stream, request, buffer)?),
        Some(config) => {
            let session = ClientConnection::new(config.clone(), tls::server_name())?;
            Kept::Tls(Box::new(exchange(StreamOwned::new(session, stream), request, buffer)?))
        }
    })
}

fn exchange<S: Read + Write>(mut stream: S, request: &[u8], buffer: &mut [u8]) -> Result<S> {
    stream.write_all(request)?;
    stream.flush()?;
    let mut response = Response::default();
    loop {
        let taken = stream.read(buffer)?;
        if taken == 0 {
            bail!("closed before its answer was complete");
        }
        if let Some(complete) = response.feed(buffer.get(..taken).unwrap_or_default())? {
            if complete.close || complete.status != 200 {
                bail!("answered {}{}", complete.status, if complete.close { " and closed" } else { "" });
            }
            return Ok(stream);
        }
    }
}

fn is_open(kept: &Kept) -> bool {
    let stream = match kept {
        Kept::Plain(stream) => stream,
        Kept::Tls(secured) => &secured.sock,
    };
    let probe = stream.set_nonblocking(true).and_then(|()| stream.peek(&mut [0]));
    matches!(probe, Err(error) if error.kind() == std::io::ErrorKind::WouldBlock)
}
