//! The protocol of one TLS connection, without I/O: ciphertext in, plaintext out, and the other way round.
//!
//! rustls' unbuffered interface is used because it owns no buffers: an idle session keeps its keys and, at most, the rest of
//! a record here.

use std::sync::Arc;

use dromon_core::limits::TLS_STEP_BYTES_MAX;
use rustls::client::{ClientConnectionData, UnbufferedClientConnection};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::server::{ServerConnectionData, UnbufferedServerConnection};
use rustls::unbuffered::{
    ConnectionState, EncodeError, EncryptError, InsufficientSizeError, UnbufferedConnectionCommon,
    UnbufferedStatus, WriteTraffic,
};
use rustls::{ClientConfig, Error, HandshakeKind, PeerMisbehaved, ProtocolVersion, ServerConfig};

use super::sink::Sink;
use crate::sys::buffer::Buffer;

/// How much a record adds to what it carries (RFC 5246 with AES-GCM: 5 + 8 + 16, the most of all suites), rounded up.
const RECORD_OVERHEAD: usize = 40;
/// Plaintext that rustls puts into one record.
const RECORD_PLAINTEXT: usize = 16 * 1024;
/// A record that carries a part of a handshake (RFC 5246, 6.2.1).
const HANDSHAKE_RECORD: u8 = 22;
/// Further records that may leave with the first: alerts, tickets, key updates.
const SLACK_BYTES: usize = 4 * 1024;

/// How far the peer's side has come to an end.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum End {
    /// More may come.
    Open,
    /// The peer has said that no more comes (`close_notify`).
    Closed,
    /// The connection ended without it: what came may be a part only (R32).
    Truncated,
    /// The peer broke the protocol, or refused this end.
    Failed(Error),
}

/// A TLS session.
pub(super) struct Session {
    side: Side,
    /// Ciphertext of a record, or of a handshake message, that is not complete.
    partial: Vec<u8>,
    /// Plaintext that nobody has asked for yet.
    plaintext: Buffer,
    end: End,
    established: bool,
}

enum Side {
    Client(UnbufferedClientConnection),
    Server(UnbufferedServerConnection),
}

impl Session {
    /// A client's, towards a server of this name.
    ///
    /// # Errors
    /// The configuration cannot be used.
    pub(super) fn client(config: Arc<ClientConfig>, name: ServerName<'static>) -> Result<Session, Error> {
        Ok(Session::new(Side::Client(UnbufferedClientConnection::new(config, name)?)))
    }

    /// A server's.
    ///
    /// # Errors
    /// The configuration cannot be used.
    pub(super) fn server(config: Arc<ServerConfig>) -> Result<Session, Error> {
        Ok(Session::new(Side::Server(UnbufferedServerConnection::new(config)?)))
    }

    fn new(side: Side) -> Session {
        Session {
            side,
            partial: Vec::new(),
            plaintext: Buffer::default(),
            end: End::Open,
            established: false,
        }
    }

    /// Takes ciphertext: all that has come, behind what [`Session::partial`] said is still there. Plaintext goes into `into`
    /// as far as it has room and waits here beyond; what the protocol answers goes into `output`. A peer that breaks the
    /// protocol shows in [`Session::end`]; the alert for it is in `output`.
    pub(super) fn open(&mut self, input: &mut [u8], mut into: Option<&mut Buffer>, output: &mut Sink) {
        let renegotiates = self.established && self.renegotiates(input);
        let waiting = &mut self.plaintext;
        let mut keep = |payload: &[u8]| {
            let mut rest = payload;
            if let Some(buffer) = into.as_deref_mut().filter(|_| waiting.is_empty()) {
                let (now, later) = payload.split_at(payload.len().min(buffer.room()));
                buffer.extend(now);
                rest = later;
            }
            if !rest.is_empty() {
                waiting.extend(rest);
            }
        };
        let progress = match &mut self.side {
            Side::Client(it) => advance(it, client_records, input, &mut keep, output),
            Side::Server(it) => advance(it, server_records, input, &mut keep, output),
        };
        self.established |= progress.established;
        if self.end == End::Open {
            self.end = match progress.end {
                // The refusal is in `output`. rustls would go on; a client that asks once may ask for ever.
                End::Open if renegotiates => End::Failed(PeerMisbehaved::TooManyRenegotiationRequests.into()),
                end => end,
            };
        }
        let rest = input.get(progress.consumed..).unwrap_or_default();
        if rest.is_empty() {
            self.partial = Vec::new();
        } else {
            self.partial.clear();
            self.partial.extend_from_slice(rest);
        }
    }

    /// Whether a client asks for another handshake: with TLS 1.2 the kind of a record is there to be seen.
    fn renegotiates(&self, input: &[u8]) -> bool {
        let Side::Server(server) = &self.side else { return false };
        if server.protocol_version() != Some(ProtocolVersion::TLSv1_2) {
            return false;
        }
        let mut rest = input;
        while let [kind, _, _, high, low, ..] = rest {
            if *kind == HANDSHAKE_RECORD {
                return true;
            }
            let length = 5 + usize::from(u16::from_be_bytes([*high, *low]));
            rest = rest.get(length..).unwrap_or_default();
        }
        false
    }

    /// Encrypts the first bytes of `plaintext` behind what is in `output`. How many.
    ///
    /// # Errors
    /// The session cannot send: it is over, or its keys are used up.
    pub(super) fn seal(&mut self, plaintext: &[u8], output: &mut Sink) -> Result<usize, Error> {
        let chunk = plaintext.get(..plaintext.len().min(TLS_STEP_BYTES_MAX)).unwrap_or_default();
        let records = chunk.len() / RECORD_PLAINTEXT + 1;
        let size = chunk.len() + records * RECORD_OVERHEAD + SLACK_BYTES;
        self.with_traffic(output, size, |traffic, room| traffic.encrypt(chunk, room))?;
        Ok(chunk.len())
    }

    /// Says that no more will be written.
    pub(super) fn close(&mut self, output: &mut Sink) {
        // A session that cannot send any more has nothing to close.
        let _ = self.with_traffic(output, SLACK_BYTES, |traffic, room| traffic.queue_close_notify(room));
    }

    fn with_traffic(
        &mut self,
        output: &mut Sink,
        size: usize,
        write: impl FnMut(&mut dyn Traffic, &mut [u8]) -> Result<usize, EncryptError>,
    ) -> Result<(), Error> {
        match &mut self.side {
            Side::Client(it) => send(it, client_records, &mut self.partial, output, size, write),
            Side::Server(it) => send(it, server_records, &mut self.partial, output, size, write),
        }
    }

    /// The connection below has ended.
    pub(super) fn ended(&mut self) {
        if self.end == End::Open {
            self.end = End::Truncated;
        }
    }

    pub(super) fn end(&self) -> &End {
        &self.end
    }

    /// Bytes to put before what is received next.
    pub(super) fn partial(&self) -> &[u8] {
        &self.partial
    }

    /// Plaintext that waits.
    pub(super) fn waiting(&self) -> &[u8] {
        self.plaintext.filled()
    }

    /// Moves waiting plaintext into a buffer, as much as it has room for.
    pub(super) fn take(&mut self, into: &mut Buffer) {
        let count = self.plaintext.len().min(into.room());
        into.extend(self.plaintext.filled().get(..count).unwrap_or_default());
        self.plaintext.consume(count);
        if self.plaintext.is_empty() {
            self.plaintext = Buffer::default();
        }
    }

    /// The handshake is over and application data may be sent.
    pub(super) fn is_established(&self) -> bool {
        self.established
    }

    /// The peer's certificates, the leaf first; empty if it has shown none.
    pub(super) fn peer_certificates(&self) -> &[CertificateDer<'static>] {
        let shown = match &self.side {
            Side::Client(it) => it.peer_certificates(),
            Side::Server(it) => it.peer_certificates(),
        };
        shown.unwrap_or_default()
    }

    /// The protocol agreed on.
    pub(super) fn alpn(&self) -> Option<&[u8]> {
        match &self.side {
            Side::Client(it) => it.alpn_protocol(),
            Side::Server(it) => it.alpn_protocol(),
        }
    }

    /// The session goes on from an earlier one, whose certificates were checked then.
    pub(super) fn is_resumed(&self) -> bool {
        let kind = match &self.side {
            Side::Client(it) => it.handshake_kind(),
            Side::Server(it) => it.handshake_kind(),
        };
        kind == Some(HandshakeKind::Resumed)
    }
}

/// What was made of some input.
struct Progress {
    consumed: usize,
    established: bool,
    end: End,
}

type Records<D> =
    for<'c, 'i> fn(&'c mut UnbufferedConnectionCommon<D>, &'i mut [u8]) -> UnbufferedStatus<'c, 'i, D>;

fn client_records<'c, 'i>(
    connection: &'c mut UnbufferedConnectionCommon<ClientConnectionData>,
    input: &'i mut [u8],
) -> UnbufferedStatus<'c, 'i, ClientConnectionData> {
    connection.process_tls_records(input)
}

fn server_records<'c, 'i>(
    connection: &'c mut UnbufferedConnectionCommon<ServerConnectionData>,
    input: &'i mut [u8],
) -> UnbufferedStatus<'c, 'i, ServerConnectionData> {
    connection.process_tls_records(input)
}

/// Takes records until none is complete.
fn advance<D>(
    connection: &mut UnbufferedConnectionCommon<D>,
    records: Records<D>,
    input: &mut [u8],
    keep: &mut dyn FnMut(&[u8]),
    output: &mut Sink,
) -> Progress {
    let mut progress = Progress { consumed: 0, established: false, end: End::Open };
    loop {
        let rest = input.get_mut(progress.consumed..).unwrap_or_default();
        let UnbufferedStatus { mut discard, state } = records(connection, rest);
        let mut done = false;
        match state {
            Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                while let Some(record) = traffic.next_record() {
                    match record {
                        Ok(record) => {
                            discard += record.discard;
                            keep(record.payload);
                        }
                        Err(error) => progress.end = End::Failed(error),
                    }
                }
            }
            Ok(ConnectionState::EncodeTlsData(mut data)) => encode(output, |room| data.encode(room)),
            Ok(ConnectionState::TransmitTlsData(data)) => data.done(),
            Ok(ConnectionState::PeerClosed) => progress.end = End::Closed,
            Ok(ConnectionState::Closed) => {
                progress.end = End::Closed;
                done = true;
            }
            Ok(ConnectionState::WriteTraffic(_)) => {
                progress.established = true;
                done = true;
            }
            Ok(_) => done = true,
            Err(error) => {
                // The alert that tells the peer, if there is one to be told.
                let rest = input.get_mut(progress.consumed + discard..).unwrap_or_default();
                if let Ok(ConnectionState::EncodeTlsData(mut data)) = records(connection, rest).state {
                    encode(output, |room| data.encode(room));
                }
                progress.end = End::Failed(error);
                done = true;
            }
        }
        progress.consumed += discard;
        if done || matches!(progress.end, End::Failed(_)) {
            return progress;
        }
    }
}

fn encode(output: &mut Sink, mut write: impl FnMut(&mut [u8]) -> Result<usize, EncodeError>) {
    let mut size = SLACK_BYTES;
    loop {
        match write(output.room(size)) {
            Ok(count) => return output.advance(count),
            Err(EncodeError::InsufficientSize(InsufficientSizeError { required_size })) => {
                size = required_size;
            }
            Err(EncodeError::AlreadyEncoded) => return,
        }
    }
}

/// What can be done once application data may be sent, for either side.
trait Traffic {
    fn encrypt(&mut self, plaintext: &[u8], room: &mut [u8]) -> Result<usize, EncryptError>;
    fn queue_close_notify(&mut self, room: &mut [u8]) -> Result<usize, EncryptError>;
}

impl<D> Traffic for WriteTraffic<'_, D> {
    fn encrypt(&mut self, plaintext: &[u8], room: &mut [u8]) -> Result<usize, EncryptError> {
        WriteTraffic::encrypt(self, plaintext, room)
    }

    fn queue_close_notify(&mut self, room: &mut [u8]) -> Result<usize, EncryptError> {
        WriteTraffic::queue_close_notify(self, room)
    }
}

/// Gets to where application data may be sent, and sends. The input is what is left of the last: rustls remembers how far
/// it has looked into it.
fn send<D>(
    connection: &mut UnbufferedConnectionCommon<D>,
    records: Records<D>,
    input: &mut [u8],
    output: &mut Sink,
    mut size: usize,
    mut write: impl FnMut(&mut dyn Traffic, &mut [u8]) -> Result<usize, EncryptError>,
) -> Result<(), Error> {
    loop {
        match records(connection, input).state {
            Ok(ConnectionState::EncodeTlsData(mut data)) => encode(output, |room| data.encode(room)),
            Ok(ConnectionState::TransmitTlsData(data)) => data.done(),
            Ok(ConnectionState::PeerClosed) => {}
            Ok(ConnectionState::WriteTraffic(mut traffic)) => match write(&mut traffic, output.room(size)) {
                Ok(count) => {
                    output.advance(count);
                    return Ok(());
                }
                Err(EncryptError::InsufficientSize(InsufficientSizeError { required_size })) => {
                    size = required_size;
                }
                Err(EncryptError::EncryptExhausted) => return Err(Error::EncryptError),
            },
            Ok(_) => return Err(Error::HandshakeNotComplete),
            Err(error) => return Err(error),
        }
    }
}
