//! Ten thousand clients that have asked once and now say nothing: what a proxy keeps for each.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::response::Response;

/// Longest wait for one answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);

/// Idle keep-alive connections; they close when this is dropped.
#[derive(Debug)]
pub struct Held {
    streams: Vec<TcpStream>,
}

impl Held {
    /// Opens `count` connections, each of which has sent `request` and read its answer.
    pub fn open(target: SocketAddr, count: usize, request: &[u8]) -> Result<Held> {
        let mut streams = Vec::with_capacity(count);
        let mut buffer = vec![0; 16 * 1024];
        for number in 0..count {
            let stream = ask(target, request, &mut buffer)
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

fn ask(target: SocketAddr, request: &[u8], buffer: &mut [u8]) -> Result<TcpStream> {
    let mut stream = TcpStream::connect(target)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(ANSWER_LIMIT))?;
    stream.write_all(request)?;
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

fn is_open(stream: &TcpStream) -> bool {
    let probe = stream.set_nonblocking(true).and_then(|()| stream.peek(&mut [0]));
    matches!(probe, Err(error) if error.kind() == std::io::ErrorKind::WouldBlock)
}
