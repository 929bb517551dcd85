//! A TLS connection with a socket's own methods.

use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;

use dromon_auth::failure::Failure;
use dromon_auth::verify::peer::Peer;
use dromon_core::limits::TLS_WAITING_BYTES_MAX;
use monoio::BufResult;

use super::session::{End, Session};
use super::{RECORD_BYTES_MAX, Scratch};
use crate::sys::buffer::Buffer;
use crate::sys::socket::{HangUp, Peek, Socket};

/// What the handshake has shown.
#[derive(Debug, Default)]
pub(super) struct Facts {
    /// Who the peer is, if it has shown a certificate.
    pub(super) peer: Option<Peer>,
    /// The protocol agreed on.
    pub(super) alpn: Option<Box<[u8]>>,
    /// The name that the client asked for, at the server.
    pub(super) server_name: Option<Box<str>>,
}

/// A TLS connection. One task reads and one writes at the same time; both through a shared reference.
pub struct TlsStream {
    socket: Socket,
    session: RefCell<Session>,
    scratch: Rc<Scratch>,
    /// Ciphertext that the kernel has not taken yet.
    unsent: RefCell<Buffer>,
    /// Plaintext bytes in `unsent` that the writer has not been told of: it is to offer them again.
    claimed: Cell<usize>,
    /// The last read took all the room it was given, so there may be more.
    more: Cell<bool>,
    /// The end of writing is in `unsent`; the socket's follows it.
    ending: Cell<bool>,
    facts: Facts,
}

impl TlsStream {
    pub(super) fn new(socket: Socket, session: Session, scratch: Rc<Scratch>) -> TlsStream {
        TlsStream {
            socket,
            session: RefCell::new(session),
            scratch,
            unsent: RefCell::default(),
            claimed: Cell::new(0),
            more: Cell::new(false),
            ending: Cell::new(false),
            facts: Facts::default(),
        }
    }

    pub(super) fn with_facts(mut self, facts: Facts) -> TlsStream {
        self.facts = facts;
        self
    }

    /// The connection below.
    pub fn socket(&self) -> &Socket {
        &self.socket
    }

    /// Who the peer is, by a certificate that was checked; none if it has shown none.
    pub fn peer(&self) -> Option<&Peer> {
        self.facts.peer.as_ref()
    }

    /// The protocol agreed on in the handshake.
    pub fn alpn(&self) -> Option<&[u8]> {
        self.facts.alpn.as_deref()
    }

    /// The server name that the client asked for.
    pub fn server_name(&self) -> Option<&str> {
        self.facts.server_name.as_deref()
    }

    /// Why the peer ended the session, if it did so by breaking the protocol or refusing this end.
    pub fn failure(&self) -> Option<Failure> {
        match self.session.borrow().end() {
            End::Failed(error) => Some(Failure::of(error)),
            _ => None,
        }
    }

    /// As [`Socket::try_read`]. The end of the stream is the peer's `close_notify`.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] where nothing is there, [`io::ErrorKind::UnexpectedEof`] where the connection ended
    /// without a `close_notify`: what came may be a part of what was meant (R32).
    pub fn try_read(&self, buffer: &mut Buffer) -> io::Result<usize> {
        let before = buffer.len();
        self.session.borrow_mut().take(buffer);
        loop {
            let got = buffer.len() - before;
            // Room for less than a record is filled only if there is nothing yet: the rest of the record would be copied twice
            // more.
            let enough = buffer.room() < RECORD_BYTES_MAX || !self.more.get();
            if buffer.room() == 0 || (got > 0 && enough) {
                return Ok(got);
            }
            if let Some(end) = self.at_end() {
                return if got > 0 { Ok(got) } else { end };
            }
            match self.pull(Some(buffer)) {
                Ok(()) => {}
                Err(_) if buffer.len() > before => return Ok(buffer.len() - before),
                Err(error) => return Err(error),
            }
        }
    }

    /// As [`Socket::read`].
    pub async fn read(&self, mut buffer: Buffer) -> BufResult<usize, Buffer> {
        loop {
            if let Err(error) = self.arrival().await {
                return (Err(error), buffer);
            }
            match self.try_read(&mut buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                result => return (result, buffer),
            }
        }
    }

    /// Waits for ciphertext where nothing is here, which may be too little for a read to give something. The last read has told
    /// whether there is more, so nothing is tried first.
    pub async fn arrival(&self) -> io::Result<()> {
        if self.more.get() || !self.session.borrow().waiting().is_empty() || self.at_end().is_some() {
            return Ok(());
        }
        self.flush_before_wait()?;
        self.socket.readable().await
    }

    /// As [`Socket::try_write`]. What was offered and not taken is already sealed, so it must be offered again before anything
    /// else, as with any TLS library.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] where nothing is taken.
    pub fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        if self.claimed.get() > 0 {
            let before = self.unsent.borrow().len();
            let flushed = self.flush();
            if let Err(error) = flushed
                && error.kind() != io::ErrorKind::WouldBlock
            {
                return Err(error);
            }
            let unsent = self.unsent.borrow().len();
            return self.tell_taken(before - unsent, unsent, bytes.len());
        }
        let mut sealed = self.scratch.sealed.borrow_mut();
        sealed.clear();
        let mut unsent = self.unsent.borrow_mut();
        sealed.extend(unsent.filled());
        let count = self.session.borrow_mut().seal(bytes, &mut sealed).map_err(broken)?;
        if count == 0 {
            return Ok(0);
        }
        let taken = match self.socket.try_write(sealed.filled()) {
            Ok(taken) => taken,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
            Err(error) => return Err(error),
        };
        let rest = sealed.filled().get(taken..).unwrap_or_default();
        *unsent = Buffer::with_capacity(rest.len());
        unsent.extend(rest);
        self.claimed.set(count);
        self.tell_taken(taken, rest.len(), count)
    }

    /// Tells the writer of the bytes that have left: all when no ciphertext is left, else about as many as did, so that a slow
    /// receiver shows as one that takes little and not as one that takes nothing.
    fn tell_taken(&self, sent: usize, unsent: usize, offered: usize) -> io::Result<usize> {
        let claimed = self.claimed.get();
        let taken = match unsent {
            0 => claimed,
            _ => sent.min(claimed.saturating_sub(1)),
        };
        let taken = taken.min(offered);
        self.claimed.set(claimed - taken);
        if taken == 0 { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(taken) }
    }

    /// As [`Socket::write`].
    pub async fn write(&self, buffer: Buffer) -> BufResult<usize, Buffer> {
        loop {
            match self.try_write(buffer.filled()) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                result => return (result, buffer),
            }
            if let Err(error) = self.socket.writable().await {
                return (Err(error), buffer);
            }
        }
    }

    /// As [`Socket::readable`]: records that carry no plaintext do not count.
    pub async fn readable(&self) -> io::Result<()> {
        loop {
            if !self.session.borrow().waiting().is_empty() || self.at_end().is_some() {
                return Ok(());
            }
            self.arrival().await?;
            match self.pull(None) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// As [`Socket::peek`].
    pub fn peek(&self) -> Peek {
        if self.session.borrow().waiting().is_empty() && self.socket.peek() == Peek::Quiet {
            return Peek::Quiet;
        }
        self.look();
        match (self.session.borrow().waiting(), self.at_end()) {
            ([], None) => Peek::Quiet,
            ([], Some(_)) => Peek::Closed,
            _ => Peek::Data,
        }
    }

    /// As [`Socket::peek_bytes`].
    pub fn peek_bytes(&self, bytes: &mut [u8]) -> usize {
        self.look();
        let session = self.session.borrow();
        let count = session.waiting().len().min(bytes.len());
        if let (Some(to), Some(from)) = (bytes.get_mut(..count), session.waiting().get(..count)) {
            to.copy_from_slice(from);
        }
        count
    }

    /// As [`Socket::is_dead`].
    pub fn is_dead(&self) -> bool {
        match self.socket.hang_up() {
            HangUp::None => false,
            HangUp::Peer => self.socket.is_ended_by_fin() && self.peek() == Peek::Closed,
            HangUp::Both => true,
        }
    }

    /// Says that no more will be written: in TLS, and then in TCP.
    pub fn shutdown_write(&self) {
        if self.ending.replace(true) {
            return;
        }
        let mut sealed = self.scratch.sealed.borrow_mut();
        sealed.clear();
        self.session.borrow_mut().close(&mut sealed);
        self.unsent.borrow_mut().extend(sealed.filled());
        drop(sealed);
        // What the kernel does not take now leaves with the next read or write, or with `finish_write`.
        let _ = self.flush();
    }

    /// Says that no more will be written, and sees to it that it leaves: the end is a record of its own (RFC 8446, 6.1), for
    /// which the kernel's buffer may have no room, and without it the peer takes what came for cut off.
    ///
    /// # Errors
    /// The connection is broken.
    pub async fn finish_write(&self) -> io::Result<()> {
        self.shutdown_write();
        self.flushed().await
    }

    /// Sends what is sealed, as far as the kernel takes it.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] where some is left.
    pub(super) fn flush(&self) -> io::Result<()> {
        let mut unsent = self.unsent.borrow_mut();
        if unsent.is_empty() {
            return Ok(());
        }
        let taken = self.socket.try_write(unsent.filled())?;
        unsent.consume(taken);
        if !unsent.is_empty() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        *unsent = Buffer::default();
        if self.ending.get() {
            self.socket.shutdown_write();
        }
        Ok(())
    }

    /// Sends all that is sealed.
    pub(super) async fn flushed(&self) -> io::Result<()> {
        loop {
            match self.flush() {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.socket.writable().await?,
                result => return result,
            }
        }
    }

    /// What a reader at the end of the stream is told; none before it.
    fn at_end(&self) -> Option<io::Result<usize>> {
        match self.session.borrow().end() {
            End::Open => None,
            End::Closed => Some(Ok(0)),
            End::Truncated => Some(Err(io::ErrorKind::UnexpectedEof.into())),
            End::Failed(error) => Some(Err(broken(error.clone()))),
        }
    }

    /// Takes what has come, as long as little of it waits, so that it can be looked at.
    fn look(&self) {
        while self.session.borrow().waiting().len() < TLS_WAITING_BYTES_MAX && self.at_end().is_none() {
            if self.pull(None).is_err() || !self.more.get() {
                return;
            }
        }
    }

    /// Receives once and opens what is complete, into the buffer as far as it has room.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] where nothing has come. The end of the stream is no error here.
    fn pull(&self, into: Option<&mut Buffer>) -> io::Result<()> {
        let room = into.as_ref().map_or(0, |buffer| buffer.room());
        let mut session = self.session.borrow_mut();
        let mut incoming = self.scratch.incoming(room, session.partial().len());
        incoming.extend(session.partial());
        // Ciphertext for no more plaintext than there is room for: what is left over would be copied twice more.
        let offered = if room > RECORD_BYTES_MAX { incoming.room().min(room) } else { incoming.room() };
        let received = match self.socket.try_read_at_most(offered, &mut incoming) {
            Ok(received) => received,
            Err(error) => {
                self.more.set(false);
                if error.kind() == io::ErrorKind::WouldBlock {
                    // Whoever waits for the peer must not keep what the peer waits for.
                    drop((session, incoming));
                    self.flush_before_wait()?;
                }
                return Err(error);
            }
        };
        self.more.set(received == offered);
        if received == 0 {
            session.ended();
            return Ok(());
        }
        let mut sealed = self.scratch.sealed.borrow_mut();
        sealed.clear();
        session.open(incoming.filled_mut(), into, &mut sealed);
        self.unsent.borrow_mut().extend(sealed.filled());
        if matches!(session.end(), End::Failed(_)) {
            // Nobody will write any more, and the peer is to know why.
            drop((session, incoming, sealed));
            let _ = self.flush();
        }
        Ok(())
    }

    fn flush_before_wait(&self) -> io::Result<()> {
        match self.flush() {
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(error),
            _ => Ok(()),
        }
    }

    /// For the handshake: takes bytes that were read before the session began.
    pub(super) fn preload(&self, mut bytes: Vec<u8>) {
        self.feed(&mut bytes);
    }

    /// For the handshake: has a client say its hello.
    pub(super) fn start(&self) {
        self.feed(&mut []);
    }

    fn feed(&self, input: &mut [u8]) {
        let mut sealed = self.scratch.sealed.borrow_mut();
        sealed.clear();
        self.session.borrow_mut().open(input, None, &mut sealed);
        self.unsent.borrow_mut().extend(sealed.filled());
    }

    /// For the handshake: receives once.
    pub(super) fn receive(&self) -> io::Result<()> {
        self.pull(None)
    }

    pub(super) fn handshake_end(&self) -> End {
        self.session.borrow().end().clone()
    }

    pub(super) fn is_established(&self) -> bool {
        self.session.borrow().is_established()
    }

    /// Bytes of a message that is not complete.
    pub(super) fn unfinished_bytes(&self) -> usize {
        self.session.borrow().partial().len()
    }

    pub(super) fn with_session<R>(&self, look: impl FnOnce(&Session) -> R) -> R {
        look(&self.session.borrow())
    }
}

fn broken(error: rustls::Error) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}
