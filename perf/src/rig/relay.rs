//! The floor: a TCP relay that parses nothing. What it costs is the kernel's share of any proxy, so the distance to it
//! is what a proxy's own work costs. One upstream connection for each client, one buffer for all.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};

use anyhow::{Context, Result};

use super::origin::BACKLOG;
use super::poll::{Interest, Poller};
use super::wire;

/// The poller's number for the listener.
const LISTENER: usize = usize::MAX;
/// Bytes moved at once.
const BUFFER_BYTES: usize = 256 * 1024;

/// One end of a relayed connection; its other end has the number with the last bit flipped.
#[derive(Debug)]
struct End {
    stream: TcpStream,
    /// Read from the other end and not yet taken by this one.
    pending: Vec<u8>,
    /// The other end has sent all; this one is shut for writing once `pending` is out.
    ending: bool,
    /// Nothing more comes from this end.
    read_over: bool,
    /// What the poller watches it for.
    interest: Interest,
}

/// Relays every connection to `upstream` until the process ends.
pub fn serve(listener: TcpListener, upstream: SocketAddr) -> Result<()> {
    wire::unpaced(&listener);
    rustix::net::listen(&listener, BACKLOG).context("listening")?;
    listener.set_nonblocking(true)?;
    let mut relay = Relay { poller: Poller::new()?, ends: Vec::new(), vacant: Vec::new() };
    relay.poller.add(&listener, LISTENER, Interest::Read)?;
    let mut ready = Vec::new();
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        relay.poller.wait(None, &mut ready)?;
        for &number in &ready {
            if number == LISTENER {
                relay.accept(&listener, upstream)?;
            } else if relay.turn(number, &mut buffer).is_none() {
                relay.close(number);
            }
        }
    }
}

struct Relay {
    poller: Poller,
    ends: Vec<Option<End>>,
    /// Even numbers of free pairs.
    vacant: Vec<usize>,
}

impl Relay {
    fn accept(&mut self, listener: &TcpListener, upstream: SocketAddr) -> Result<()> {
        loop {
            let client = match listener.accept() {
                Ok((client, _)) => client,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::ConnectionAborted => continue,
                Err(error) => return Err(error).context("accepting"),
            };
            // A client whose upstream is away is closed by dropping it here.
            let Ok(server) = wire::open(upstream) else { continue };
            client.set_nonblocking(true)?;
            client.set_nodelay(true)?;
            let first = self.vacant.pop().unwrap_or_else(|| {
                self.ends.extend([None, None]);
                self.ends.len() - 2
            });
            for (number, stream) in [(first, client), (first + 1, server)] {
                self.poller.add(&stream, number, Interest::Read)?;
                let end = End {
                    stream,
                    pending: Vec::new(),
                    ending: false,
                    read_over: false,
                    interest: Interest::Read,
                };
                if let Some(slot) = self.ends.get_mut(number) {
                    *slot = Some(end);
                }
            }
        }
    }

    fn close(&mut self, number: usize) {
        let first = number & !1;
        let open = self.ends.get(first).is_some_and(Option::is_some);
        for end in [first, first + 1] {
            if let Some(slot) = self.ends.get_mut(end) {
                *slot = None;
            }
        }
        if open {
            self.vacant.push(first);
        }
    }

    /// Serves one ready end; none when the pair is over.
    fn turn(&mut self, number: usize, buffer: &mut [u8]) -> Option<()> {
        let (here, there) = self.pair(number)?;
        if !here.pending.is_empty() {
            flush(here)?;
        }
        if here.pending.is_empty() && there.pending.is_empty() && !here.read_over {
            pump(here, there, buffer)?;
        }
        if here.read_over && there.read_over && here.pending.is_empty() && there.pending.is_empty() {
            return None;
        }
        self.watch(number)
    }

    fn pair(&mut self, number: usize) -> Option<(&mut End, &mut End)> {
        let pair = self.ends.get_mut(number & !1..(number & !1) + 2)?;
        let [first, second] = pair else { return None };
        let (first, second) = (first.as_mut()?, second.as_mut()?);
        Some(if number & 1 == 0 { (first, second) } else { (second, first) })
    }

    /// Tells the poller what both ends now wait for, where that has changed.
    fn watch(&mut self, number: usize) -> Option<()> {
        for number in [number, number ^ 1] {
            let (here, there) = self.pair(number)?;
            let wanted = match (here.pending.is_empty(), there.pending.is_empty() && !here.read_over) {
                (false, _) => Interest::Write,
                (true, true) => Interest::Read,
                (true, false) => Interest::Nothing,
            };
            if here.interest != wanted {
                here.interest = wanted;
                let Some(Some(end)) = self.ends.get(number) else { return None };
                self.poller.modify(&end.stream, number, wanted).ok()?;
            }
        }
        Some(())
    }
}

fn flush(end: &mut End) -> Option<()> {
    match (&end.stream).write(&end.pending) {
        Ok(written) => drop(end.pending.drain(..written)),
        Err(error) if error.kind() == ErrorKind::WouldBlock => {}
        Err(_) => return None,
    }
    if end.pending.is_empty() && end.ending {
        end.stream.shutdown(Shutdown::Write).ok()?;
    }
    Some(())
}

fn pump(from: &mut End, to: &mut End, buffer: &mut [u8]) -> Option<()> {
    match (&from.stream).read(buffer) {
        Ok(0) => {
            from.read_over = true;
            to.ending = true;
            to.stream.shutdown(Shutdown::Write).ok()
        }
        Ok(taken) => {
            let bytes = buffer.get(..taken)?;
            let written = match (&to.stream).write(bytes) {
                Ok(written) => written,
                Err(error) if error.kind() == ErrorKind::WouldBlock => 0,
                Err(_) => return None,
            };
            to.pending.extend_from_slice(bytes.get(written..)?);
            Some(())
        }
        Err(error) if error.kind() == ErrorKind::WouldBlock => Some(()),
        Err(_) => None,
    }
}
