//! The origin: answers by the last segment of the path, `100`, `10k`, `100k`, `1m` or `1g`, from bytes built once, plain or
//! under mutual TLS. GET and HEAD without a body only; keep-alive unless the request says `Connection: close`.

use std::io::ErrorKind;
use std::net::TcpListener;
use std::sync::Arc;

use anyhow::{Context, Result};
use memchr::memmem;
use rustls::ServerConfig;

use super::poll::{Interest, Poller};
use super::wire::{self, Wire};

/// Sizes of bodies by the path segment that asks for them.
pub const SIZES: [(&str, usize); 5] =
    [("100", 100), ("10k", 10 * 1024), ("100k", 100 * 1024), ("1m", 1024 * 1024), ("1g", 1024 * 1024 * 1024)];
/// What is kept of a body; a larger one is this over and over.
const BODY_BYTES_MAX: usize = 1024 * 1024;

/// The poller's number for the listener.
const LISTENER: usize = usize::MAX;
/// Connections that may wait for `accept`.
pub(super) const BACKLOG: i32 = 4096;
/// Bytes taken from a socket at once; requests of the lab are far smaller.
const READ_BYTES: usize = 16 * 1024;

#[derive(Debug)]
struct Client {
    wire: Wire,
    /// The part of a request that has come so far.
    partial: Vec<u8>,
    /// The answer under way: which, and how much of it has been written.
    answer: Option<(usize, usize)>,
    close: bool,
}

/// Serves until the process ends.
pub fn serve(listener: TcpListener, tls: Option<Arc<ServerConfig>>) -> Result<()> {
    wire::unpaced(&listener);
    rustix::net::listen(&listener, BACKLOG).context("listening")?;
    listener.set_nonblocking(true)?;
    let mut origin = Origin {
        poller: Poller::new()?,
        clients: Vec::new(),
        vacant: Vec::new(),
        tls,
        answers: SIZES.iter().map(|&(_, size)| Answer::of(size)).chain([Answer::not_found()]).collect(),
    };
    origin.poller.add(&listener, LISTENER, Interest::Read)?;
    let mut ready = Vec::new();
    let mut buffer = vec![0; READ_BYTES];
    loop {
        origin.poller.wait(None, &mut ready)?;
        for &number in &ready {
            if number == LISTENER {
                origin.accept(&listener)?;
            } else if origin.turn(number, &mut buffer).is_none() {
                origin.drop_client(number);
            }
        }
    }
}

/// An answer's bytes, its body cut to what is kept.
struct Answer {
    kept: Vec<u8>,
    head_bytes: usize,
    /// Of head and body.
    total_bytes: usize,
}

impl Answer {
    fn of(size: usize) -> Answer {
        let mut kept = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nServer: dromon-perf\r\n\
             Date: Sun, 22 Nov 2026 12:00:00 GMT\r\nContent-Length: {size}\r\n\r\n"
        )
        .into_bytes();
        let head_bytes = kept.len();
        kept.resize(head_bytes + size.min(BODY_BYTES_MAX), b'x');
        Answer { kept, head_bytes, total_bytes: head_bytes + size }
    }

    fn not_found() -> Answer {
        let kept = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".to_vec();
        Answer { head_bytes: kept.len(), total_bytes: kept.len(), kept }
    }

    /// What comes after the first `written` bytes, as much of it as lies together; nothing at the end.
    fn rest(&self, written: usize) -> &[u8] {
        let left = self.total_bytes.saturating_sub(written);
        let start = match written.checked_sub(self.head_bytes) {
            Some(of_body) => self.head_bytes + of_body % BODY_BYTES_MAX,
            None => written,
        };
        let end = self.kept.len().min(start + left);
        self.kept.get(start..end).unwrap_or_default()
    }
}

/// Which answer a request head asks for; the last one is 404.
pub(super) fn choose(head: &[u8]) -> usize {
    let target = head.split(|&byte| byte == b' ').nth(1).unwrap_or_default();
    let path = target.split(|&byte| byte == b'?').next().unwrap_or_default();
    let segment = path.rsplit(|&byte| byte == b'/').next().unwrap_or_default();
    SIZES.iter().position(|(name, _)| name.as_bytes() == segment).unwrap_or(SIZES.len())
}

struct Origin {
    poller: Poller,
    clients: Vec<Option<Client>>,
    vacant: Vec<usize>,
    answers: Vec<Answer>,
    tls: Option<Arc<ServerConfig>>,
}

impl Origin {
    fn accept(&mut self, listener: &TcpListener) -> Result<()> {
        loop {
            let stream = match listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::ConnectionAborted => continue,
                Err(error) => return Err(error).context("accepting"),
            };
            let wire = Wire::accepted(stream, self.tls.as_ref())?;
            let number = self.vacant.pop().unwrap_or(self.clients.len());
            self.poller.add(&wire, number, Interest::Read)?;
            let client = Client { wire, partial: Vec::new(), answer: None, close: false };
            match self.clients.get_mut(number) {
                Some(slot) => *slot = Some(client),
                None => self.clients.push(Some(client)),
            }
        }
    }

    fn drop_client(&mut self, number: usize) {
        if let Some(slot) = self.clients.get_mut(number)
            && slot.take().is_some()
        {
            self.vacant.push(number);
        }
    }

    /// Serves one ready client; none when its connection is over.
    fn turn(&mut self, number: usize, buffer: &mut [u8]) -> Option<()> {
        let client = self.clients.get_mut(number)?.as_mut()?;
        if client.answer.is_none() {
            let taken = match client.wire.read(buffer) {
                Ok(0) => return None,
                Ok(taken) => taken,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Some(()),
                Err(_) => return None,
            };
            client.partial.extend_from_slice(buffer.get(..taken)?);
        }
        let waited = client.answer.is_some();
        let finished = proceed(client, &self.answers)?;
        match (waited, finished) {
            (false, false) => self.poller.modify(&client.wire, number, Interest::Write).ok(),
            (true, true) => self.poller.modify(&client.wire, number, Interest::Read).ok(),
            _ => Some(()),
        }
    }
}

/// Answers every complete request at hand; whether all answers went out, none when the connection is over.
fn proceed(client: &mut Client, answers: &[Answer]) -> Option<bool> {
    loop {
        if client.answer.is_none() {
            let Some(end) = memmem::find(&client.partial, b"\r\n\r\n") else { return Some(true) };
            let head = client.partial.get(..end + 4)?;
            client.answer = Some((choose(head), 0));
            client.close = memmem::find(head, b"\r\nConnection: close").is_some()
                || memmem::find(head, b"\r\nconnection: close").is_some();
            client.partial.drain(..end + 4);
        }
        let (which, mut written) = client.answer?;
        let answer = answers.get(which)?;
        loop {
            let rest = answer.rest(written);
            let sent = match rest {
                [] => client.wire.flush().map(usize::from),
                rest => client.wire.write(rest),
            };
            match (sent, rest) {
                (Ok(1..), []) => break,
                (Ok(more @ 1..), _) => written += more,
                (Ok(0), [_, ..]) => return None,
                (Err(error), _) if error.kind() != ErrorKind::WouldBlock => return None,
                _ => {
                    client.answer = Some((which, written));
                    return Some(false);
                }
            }
        }
        client.answer = None;
        if client.close {
            return None;
        }
    }
}
