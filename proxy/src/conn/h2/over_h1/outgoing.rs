//! A request as HTTP/1 says it: its head, and its body with the framing that the head tells.

use std::future::poll_fn;
use std::task::Poll;

use dromon_core::exchange::{Attempt, Exchange};
use dromon_core::h1::{ChunkHeader, LAST_CHUNK};
use dromon_core::h2::{Line, Sending, to_h1, trailers_to_h1};
use dromon_core::limits::BODY_BUFFER_BYTES;

use crate::conn::h2::call::Call;
use crate::conn::h2::onward::Outgoing;
use crate::conn::h2::source::{self, Piece};
use crate::conn::h2::stream::Work;
use crate::conn::h2::upgrade;
use crate::sys::buffer::Buffer;

/// Appends the head; true if nothing follows it.
pub(super) fn encode(call: &Call, exchange: &Exchange, attempt: &Attempt, out: &mut Buffer) -> bool {
    let mut outgoing = Outgoing::new(call, exchange, attempt);
    let upgrade = call.protocol.as_ref().map(|protocol| protocol.as_str().as_bytes());
    if upgrade.is_some() {
        upgrade::ask(call, &mut outgoing.fields);
    }
    let body = match (call.bodiless, call.checked.length) {
        _ if upgrade.is_some() => Sending::Empty,
        (true, None) => Sending::Empty,
        (true, Some(_)) => Sending::Length(0),
        (false, Some(length)) => Sending::Length(length),
        (false, None) => Sending::Chunked,
    };
    let pool = exchange.destination().map(|destination| &destination.model.pool);
    let line = Line {
        method: if upgrade.is_some() { b"GET" } else { call.parts.method.as_str().as_bytes() },
        path: outgoing.path,
        authority: outgoing.authority,
        body,
        upgrade,
        close: pool.is_some_and(|pool| pool.max_requests_per_connection == Some(1)),
    };
    to_h1(&line, &outgoing.fields, out.vec());
    call.bodiless && upgrade.is_none()
}

/// Appends what is here of the body; true if that is all of it.
pub(super) async fn at_hand(
    work: &mut Work,
    progress: &mut source::Progress,
    out: &mut Buffer,
) -> Result<bool, h2::Error> {
    let Work { call, source, .. } = work;
    poll_fn(|context| {
        while out.len() < BODY_BUFFER_BYTES {
            match source.poll(progress, context) {
                Poll::Ready(Ok(piece)) => {
                    if frame(call, piece, out) {
                        return Poll::Ready(Ok(true));
                    }
                }
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => break,
            }
        }
        Poll::Ready(Ok(false))
    })
    .await
}

/// Appends a part of the body as it goes; true if it was the last.
pub(super) fn frame(call: &Call, piece: Piece, out: &mut Buffer) -> bool {
    let chunked = call.checked.length.is_none() && call.protocol.is_none();
    match piece {
        Piece::Data(bytes) if chunked => {
            out.extend(ChunkHeader::new(bytes.len()).as_bytes());
            out.extend(&bytes);
            out.extend(b"\r\n");
            false
        }
        Piece::Data(bytes) => {
            out.extend(&bytes);
            false
        }
        Piece::End(None) => {
            if chunked {
                out.extend(LAST_CHUNK);
            }
            true
        }
        Piece::End(Some(trailers)) => {
            if chunked {
                out.extend(b"0\r\n");
                trailers_to_h1(&trailers, true, out.vec());
            }
            true
        }
    }
}
