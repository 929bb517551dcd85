//! The body of an HTTP/1 answer without its framing, with its trailers: what goes on by HTTP/2.

use bytes::Bytes;
use dromon_core::h1::{Body, ChunkDecoder, Mode, Piece, Reject};
use dromon_core::h2::trailers_from_h1;
use http::HeaderMap;

use crate::sys::buffer::Buffer;

/// A body's progress.
#[derive(Debug)]
pub(super) enum Unchunk {
    /// So many bytes are left.
    Length(u64),
    /// Chunks decide.
    Chunked(ChunkDecoder),
    /// The connection's end decides.
    UntilClose,
    /// The body is over.
    Done(Option<HeaderMap>),
}

impl Unchunk {
    pub(super) fn new(body: Body) -> Unchunk {
        match body {
            Body::Empty => Unchunk::Done(None),
            Body::Length(length) => Unchunk::Length(length),
            Body::Chunked => Unchunk::Chunked(ChunkDecoder::new(Mode::Bare)),
            Body::UntilClose => Unchunk::UntilClose,
        }
    }

    pub(super) fn is_done(&self) -> bool {
        matches!(self, Unchunk::Done(_))
    }

    /// The connection has ended; whether that ends the body properly (R32).
    pub(super) fn end_of_stream(&mut self) -> bool {
        if matches!(self, Unchunk::UntilClose) {
            *self = Unchunk::Done(None);
        }
        self.is_done()
    }

    /// Takes what is there of the body; empty where more must come first.
    ///
    /// # Errors
    /// The chunked body breaks a rule.
    pub(super) fn take(&mut self, input: &mut Buffer) -> Result<Bytes, Reject> {
        match self {
            Unchunk::Done(_) => Ok(Bytes::new()),
            Unchunk::UntilClose => {
                let bytes = Bytes::copy_from_slice(input.filled());
                input.clear();
                Ok(bytes)
            }
            Unchunk::Length(left) => {
                let count = (input.len() as u64).min(*left);
                let bytes = Bytes::copy_from_slice(input.filled().get(..count as usize).unwrap_or_default());
                input.consume(count as usize);
                *left -= count;
                if *left == 0 {
                    *self = Unchunk::Done(None);
                }
                Ok(bytes)
            }
            Unchunk::Chunked(decoder) => {
                let mut out = Vec::new();
                let mut trailers = None;
                let mut cursor = 0;
                let filled = input.filled();
                loop {
                    match decoder.next(filled, &mut cursor)? {
                        Piece::Data(range) => {
                            if out.is_empty() {
                                out.reserve_exact(filled.len() - range.start);
                            }
                            out.extend_from_slice(filled.get(range).unwrap_or_default());
                        }
                        Piece::Trailers(range) => {
                            trailers = Some(trailers_from_h1(filled.get(range).unwrap_or_default()));
                        }
                        Piece::More | Piece::End => break,
                    }
                }
                let done = decoder.is_done();
                input.consume(cursor);
                if done {
                    *self = Unchunk::Done(trailers.filter(|trailers| !trailers.is_empty()));
                }
                Ok(out.into())
            }
        }
    }
}
