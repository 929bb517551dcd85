//! The origin: answers by the last segment of the path, `100`, `10k`, `100k` or `1m`, from bytes built once. GET and
//! HEAD without a body only; keep-alive unless the request says `Connection: close`.

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};

use anyhow::{Context, Result};
use memchr::memmem;

use super::poll::{Interest, Poller};

/// Sizes of bodies by the path segment that asks for them.
pub const SIZES: [(&str, usize); 4] =
    [("100", 100), ("10k", 10 * 1024), ("100k", 100 * 1024), ("1m", 1024 * 1024)];

/// The poller's number for the listener.
const LISTENER: usize = usize::MAX;
/// Connections that may wait for `accept`.
pub(super) const BACKLOG: i32 = 4096;
/// Bytes taken from a socket at once; requests of the lab are far smaller.
const READ_BYTES: usize = 16 * 1024;

#[derive(Debug)]
struct Client {
    stream: TcpStream,
    /// The part of a request that has come so far.
    partial: Vec<u8>,
    /// The answer under way: which, and how much of it has been written.
    answer: Option<(usize, usize)>,
    close: bool,
}

/// Serves until the process ends.
pub fn serve(listener: TcpListener) -> Result<()> {
    rustix::net::listen(&listener, BACKLOG).context("listening")?;
    listener.set_nonblocking(true)?;
    let mut origin = Origin {
        poller: Poller::new()?,
        clients: Vec::new(),
        vacant: Vec::new(),
        answers: SIZES.iter().map(|&(_, size)| answer(size)).chain([not_found()]).collect(),
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

fn answer(size: usize) -> Vec<u8> {
    let mut bytes = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nServer: dromon-perf\r\n\
         Date: Sun, 22 Nov 2026 12:00:00 GMT\r\nContent-Length: {size}\r\n\r\n"
    )
    .into_bytes();
    bytes.resize(bytes.len() + size, b'x');
    bytes
}

fn not_found() -> Vec<u8> {
    b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".to_vec()
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
    answers: Vec<Vec<u8>>,
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
            stream.set_nonblocking(true)?;
            stream.set_nodelay(true)?;
            let number = self.vacant.pop().unwrap_or(self.clients.len());
            self.poller.add(&stream, number, Interest::Read)?;
            let client = Client { stream, partial: Vec::new(), answer: None, close: false };
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
            let taken = match client.stream.read(buffer) {
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
            (false, false) => self.poller.modify(&client.stream, number, Interest::Write).ok(),
            (true, true) => self.poller.modify(&client.stream, number, Interest::Read).ok(),
            _ => Some(()),
        }
    }
}

/// Answers every complete request at hand; whether all answers went out, none when the connection is over.
fn proceed(client: &mut Client, answers: &[Vec<u8>]) -> Option<bool> {
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
        let bytes = answers.get(which)?;
        while written < bytes.len() {
            match client.stream.write(bytes.get(written..)?) {
                Ok(0) => return None,
                Ok(more) => written += more,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    client.answer = Some((which, written));
                    return Some(false);
                }
                Err(_) => return None,
            }
        }
        client.answer = None;
        if client.close {
            return None;
        }
    }
}
