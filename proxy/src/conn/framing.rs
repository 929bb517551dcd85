//! What of the bytes in a buffer belongs to a message's body, and how it goes out.

use dromon_core::h1::{self, Body, ChunkDecoder, ChunkHeader, LAST_CHUNK, Mode, Piece, Reject};

use crate::sys::buffer::Buffer;

/// A body's progress.
#[derive(Debug, Default)]
pub(super) struct Framing {
    state: State,
    trailers: bool,
    /// The trailer section, where the body goes out without its framing.
    section: Vec<u8>,
}

#[derive(Debug, Default)]
enum State {
    /// The body is over.
    #[default]
    Done,
    /// It broke a rule: the decoder has moved on from bytes that are still there, so nothing may be read on.
    Broken(Reject),
    /// So many bytes are left.
    Length(u64),
    /// Chunks decide.
    Chunked { decoder: ChunkDecoder, bare: bool },
    /// The connection's end decides; sent on as it comes.
    Raw,
    /// The connection's end decides; sent on in chunks.
    Chunking,
}

/// What to write next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Take {
    /// The whole input as it is.
    Whole,
    /// What was appended to `out`; the input holds what is left.
    Copied,
    /// Nothing before more input comes.
    Nothing,
}

impl Framing {
    /// For a body that came as `came` and goes out as `goes`; `trailers` may go with it.
    pub(super) fn new(came: Body, goes: Body, trailers: bool) -> Framing {
        let state = match (came, goes) {
            (Body::Empty, _) => State::Done,
            (Body::Length(length), _) => State::Length(length),
            (Body::Chunked, Body::Chunked) => {
                State::Chunked { decoder: ChunkDecoder::new(Mode::Framed), bare: false }
            }
            (Body::Chunked, _) => State::Chunked { decoder: ChunkDecoder::new(Mode::Bare), bare: true },
            (Body::UntilClose, Body::Chunked) => State::Chunking,
            (Body::UntilClose, _) => State::Raw,
        };
        Framing { state, trailers, section: Vec::new() }
    }

    /// Has a chunked body go out without its framing, or with it again; false where a part has gone out the other way.
    pub(super) fn reframe(&mut self, wanted_bare: bool, untouched: bool) -> bool {
        match &mut self.state {
            State::Chunked { bare, .. } if *bare == wanted_bare => true,
            State::Chunked { decoder, bare } if untouched && !decoder.is_done() => {
                let mode = if wanted_bare { Mode::Bare } else { Mode::Framed };
                (*decoder, *bare) = (ChunkDecoder::new(mode), wanted_bare);
                true
            }
            State::Chunked { .. } => false,
            _ => true,
        }
    }

    /// The body goes out in the chunks that it came in.
    pub(super) fn is_framed(&self) -> bool {
        matches!(self.state, State::Chunked { bare: false, .. })
    }

    /// The body was over with trailers, and went out without its framing.
    pub(super) fn has_trailers(&self) -> bool {
        !self.section.is_empty()
    }

    /// Those trailers, as they came.
    pub(super) fn trailers(&self) -> &[u8] {
        &self.section
    }

    /// The body's last byte was taken.
    pub(super) fn is_done(&self) -> bool {
        match &self.state {
            State::Done => true,
            State::Chunked { decoder, .. } => decoder.is_done(),
            _ => false,
        }
    }

    /// Bytes still to come, as far as that is known.
    pub(super) fn remaining(&self) -> Option<u64> {
        match self.state {
            State::Length(left) => Some(left),
            _ => None,
        }
    }

    /// The connection has ended. Whether that ends the body properly (R32); if so, what ends it at the other side
    /// is appended to `out`.
    pub(super) fn end_of_stream(&mut self, out: &mut Buffer) -> bool {
        match self.state {
            State::Raw => {}
            State::Chunking => out.extend(LAST_CHUNK),
            _ => return self.is_done(),
        }
        self.state = State::Done;
        true
    }

    /// Decides about the input. After [`Take::Whole`] the caller writes the input and then clears it.
    ///
    /// # Errors
    /// The chunked body breaks a rule.
    pub(super) fn take(&mut self, input: &mut Buffer, out: &mut Buffer) -> Result<Take, Reject> {
        if input.is_empty() {
            return Ok(Take::Nothing);
        }
        match &mut self.state {
            State::Done => Ok(Take::Nothing),
            State::Broken(reject) => Err(*reject),
            State::Raw => Ok(Take::Whole),
            State::Length(left) => {
                let length = input.len() as u64;
                let taken = length.min(*left);
                *left -= taken;
                if *left == 0 {
                    self.state = State::Done;
                }
                Ok(if taken == length { Take::Whole } else { copy(input, taken as usize, out) })
            }
            State::Chunking => {
                out.extend(ChunkHeader::new(input.len()).as_bytes());
                out.extend(input.filled());
                out.extend(b"\r\n");
                input.clear();
                Ok(Take::Copied)
            }
            State::Chunked { decoder, bare } => {
                let trailers = if *bare { None } else { Some(self.trailers) };
                let taken = chunked(decoder, trailers, input, out, &mut self.section);
                if let Err(reject) = &taken {
                    self.state = State::Broken(*reject);
                }
                taken
            }
        }
    }
}

fn copy(input: &mut Buffer, count: usize, out: &mut Buffer) -> Take {
    out.extend(input.filled().get(..count).unwrap_or_default());
    input.consume(count);
    Take::Copied
}

/// `trailers`: whether they may go on; none where the framing does not go on at all, then they are put into `section`.
fn chunked(
    decoder: &mut ChunkDecoder,
    trailers: Option<bool>,
    input: &mut Buffer,
    out: &mut Buffer,
    section: &mut Vec<u8>,
) -> Result<Take, Reject> {
    let bytes = input.filled();
    let mut cursor = 0;
    let first = decoder.next(bytes, &mut cursor)?;
    if first == Piece::Data(0..bytes.len()) {
        return Ok(Take::Whole);
    }
    let before = out.len();
    let mut piece = first;
    loop {
        match piece {
            Piece::Data(range) => out.extend(bytes.get(range).unwrap_or_default()),
            Piece::Trailers(range) => {
                let came = bytes.get(range).unwrap_or_default();
                match trailers {
                    Some(accepted) => h1::trailers(came, accepted, out.vec()),
                    None => section.extend_from_slice(came),
                }
                break;
            }
            Piece::More | Piece::End => break,
        }
        if decoder.is_done() {
            break;
        }
        piece = decoder.next(bytes, &mut cursor)?;
    }
    input.consume(cursor);
    Ok(if out.len() == before { Take::Nothing } else { Take::Copied })
}

#[cfg(test)]
mod tests;
