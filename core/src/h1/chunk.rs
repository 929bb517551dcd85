//! The chunked coding (R15 to R18), decoded incrementally without copying.
//!
//! The chunked body that is sent on is what came, minus extensions and refused trailers. So in [`Mode::Framed`] the
//! decoder yields ranges to send as they are, framing included, with gaps where something is dropped: one range per
//! read in the ordinary case. [`Mode::Bare`] yields the data alone, for HTTP/1.0 clients (R34).

use std::ops::Range;

use super::field::{Known, is_value_byte};
use super::rule::{Reject, Rule};
use crate::limits::{CHUNK_EXT_BODY_BYTES_MAX, CHUNK_EXT_BYTES_MAX, TRAILER_BYTES_MAX, TRAILER_FIELDS_MAX};

/// R15.
const SIZE_DIGITS_MAX: usize = 16;
/// A whole chunk line: size, extension, CRLF.
const LINE_MAX: usize = SIZE_DIGITS_MAX + CHUNK_EXT_BYTES_MAX + 2;

/// What the decoder's ranges hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Data with its framing, to be sent on chunked.
    #[default]
    Framed,
    /// Data alone.
    Bare,
}

/// What stands next in the input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// Nothing usable before more input comes. Keep what follows the cursor.
    More,
    /// Send this range of the input on.
    Data(Range<usize>),
    /// The body's end, with trailers: pass this range to [`trailers`], which also writes the final CRLF.
    Trailers(Range<usize>),
    /// The body's end. Nothing more to send (in [`Mode::Framed`] the end was part of the data).
    End,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Size,
    /// At the CRLF of a size line whose extension was dropped.
    SizeEnd(u64),
    Data(u64),
    DataEnd,
    Trailers,
    Done,
}

/// Decoder of one chunked body.
#[derive(Clone, Debug, Default)]
pub struct ChunkDecoder {
    state: State,
    mode: Mode,
    extension_bytes: usize,
}

impl ChunkDecoder {
    /// A decoder at the start of a body.
    pub fn new(mode: Mode) -> ChunkDecoder {
        ChunkDecoder { mode, ..ChunkDecoder::default() }
    }

    /// The body is complete; what follows the cursor belongs to the next message (R19, R24).
    pub fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// The next piece of `input` from `cursor` on; moves the cursor past what was used. Before the next call input
    /// before the cursor may be dropped (and the cursor moved back with it), and input appended.
    ///
    /// # Errors
    /// R1, R15 to R18; for a response call [`Reject::by_upstream`] on it.
    pub fn next(&mut self, input: &[u8], cursor: &mut usize) -> Result<Piece, Reject> {
        let start = *cursor;
        let mut run = start..start;
        loop {
            let rest = input.get(*cursor..).unwrap_or_default();
            let step = match self.state {
                State::Size => self.size_line(rest)?,
                State::SizeEnd(size) => self.size_end(size),
                State::Data(left) => self.data(left, rest),
                State::DataEnd => self.data_end(rest)?,
                State::Trailers => match self.trailer_section(rest)? {
                    Some((0, _)) => self.finish(),
                    Some((length, total)) if run.is_empty() => {
                        let section = *cursor..*cursor + length;
                        *cursor += total;
                        self.state = State::Done;
                        return Ok(Piece::Trailers(section));
                    }
                    // What was gathered goes first.
                    _ => Step::Stop,
                },
                State::Done => Step::Stop,
            };
            match step {
                Step::Stop => break,
                Step::Send(length) => {
                    *cursor += length;
                    run.end = *cursor;
                }
                Step::Skip { sent, skipped } => {
                    run.end += sent;
                    *cursor += sent + skipped;
                    if !run.is_empty() {
                        break;
                    }
                    run = *cursor..*cursor;
                }
            }
        }
        Ok(match self.state {
            _ if !run.is_empty() => Piece::Data(run),
            State::Done => Piece::End,
            _ => Piece::More,
        })
    }

    /// Framing of `length` bytes: sent on or skipped by mode.
    fn framing(&self, length: usize) -> Step {
        match self.mode {
            Mode::Framed => Step::Send(length),
            Mode::Bare => Step::Skip { sent: 0, skipped: length },
        }
    }

    fn size_line(&mut self, rest: &[u8]) -> Result<Step, Reject> {
        let window = rest.get(..LINE_MAX).unwrap_or(rest);
        let Some(lf) = memchr::memchr(b'\n', window) else {
            return match window.len() < LINE_MAX {
                true => early_size(window).map(|()| Step::Stop),
                false => Err(Reject::request(Rule::R16, "chunk line too long")),
            };
        };
        let line = window.get(..lf).and_then(|line| line.strip_suffix(b"\r"));
        let line = line.ok_or(Reject::request(Rule::R1, "bare LF in a chunk line"))?;
        let digits = line.iter().position(|byte| !byte.is_ascii_hexdigit()).unwrap_or(line.len());
        let (size, extension) = line.split_at(digits);
        let size = chunk_size(size)?;
        self.check_extension(extension)?;
        if !extension.is_empty() && self.mode == Mode::Framed {
            self.state = State::SizeEnd(size);
            return Ok(Step::Skip { sent: digits, skipped: extension.len() });
        }
        self.size_end(size);
        Ok(self.framing(lf + 1))
    }

    /// R16.
    fn check_extension(&mut self, extension: &[u8]) -> Result<(), Reject> {
        match extension {
            [] => return Ok(()),
            [b';', ..] => {}
            _ => return Err(Reject::request(Rule::R15, "malformed chunk size")),
        }
        if extension.contains(&b'\r') {
            return Err(Reject::request(Rule::R1, "bare CR in a chunk line"));
        }
        if !extension.iter().copied().all(is_value_byte) {
            return Err(Reject::request(Rule::R16, "control byte in a chunk extension"));
        }
        self.extension_bytes += extension.len();
        if extension.len() > CHUNK_EXT_BYTES_MAX || self.extension_bytes > CHUNK_EXT_BODY_BYTES_MAX {
            return Err(Reject::request(Rule::R16, "chunk extensions too long"));
        }
        Ok(())
    }

    /// The size line is through; in `SizeEnd` its CRLF is still to send.
    fn size_end(&mut self, size: u64) -> Step {
        self.state = match size {
            0 => State::Trailers,
            _ => State::Data(size),
        };
        Step::Send(b"\r\n".len())
    }

    fn data(&mut self, left: u64, rest: &[u8]) -> Step {
        let taken = usize::try_from(left).unwrap_or(usize::MAX).min(rest.len());
        self.state = match left - taken as u64 {
            0 => State::DataEnd,
            left => State::Data(left),
        };
        match taken {
            0 => Step::Stop,
            _ => Step::Send(taken),
        }
    }

    fn data_end(&mut self, rest: &[u8]) -> Result<Step, Reject> {
        match rest {
            [b'\r', b'\n', ..] => {
                self.state = State::Size;
                Ok(self.framing(2))
            }
            [] | [b'\r'] => Ok(Step::Stop),
            _ => Err(Reject::request(Rule::R17, "chunk data does not end in CRLF")),
        }
    }

    /// Length of the trailer section without and with its final CRLF, once it is complete (R18).
    fn trailer_section(&self, rest: &[u8]) -> Result<Option<(usize, usize)>, Reject> {
        let mut line = 0;
        loop {
            let Some(found) = rest.get(line..).and_then(|rest| memchr::memchr(b'\n', rest)) else {
                return match rest.len() > TRAILER_BYTES_MAX {
                    true => Err(Reject::request(Rule::R18, "trailers too large")),
                    false => Ok(None),
                };
            };
            let lf = line + found;
            match rest.get(line..lf) {
                Some([b'\r']) => return check_trailers(rest, line).map(|()| Some((line, lf + 1))),
                Some([text @ .., b'\r']) if !text.contains(&b'\r') => line = lf + 1,
                _ => return Err(Reject::request(Rule::R1, "bare CR or LF in a trailer")),
            }
        }
    }

    fn finish(&mut self) -> Step {
        self.state = State::Done;
        self.framing(2)
    }
}

enum Step {
    Stop,
    Send(usize),
    Skip { sent: usize, skipped: usize },
}

/// Refuses a partial size line that no further byte can mend.
fn early_size(partial: &[u8]) -> Result<(), Reject> {
    let digits = partial.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
    match partial.get(digits) {
        _ if digits > SIZE_DIGITS_MAX => Err(Reject::request(Rule::R15, "chunk size too long")),
        None => Ok(()),
        Some(b';' | b'\r') if digits > 0 => Ok(()),
        Some(_) => Err(Reject::request(Rule::R15, "malformed chunk size")),
    }
}

fn chunk_size(digits: &[u8]) -> Result<u64, Reject> {
    if digits.is_empty() || digits.len() > SIZE_DIGITS_MAX {
        return Err(Reject::request(Rule::R15, "malformed chunk size"));
    }
    Ok(digits.iter().fold(0, |size, digit| {
        let value = (digit & 0x0F) + if digit.is_ascii_digit() { 0 } else { 9 };
        size << 4 | u64::from(value)
    }))
}

fn check_trailers(rest: &[u8], length: usize) -> Result<(), Reject> {
    if length == 0 {
        return Ok(());
    }
    if length > TRAILER_BYTES_MAX {
        return Err(Reject::request(Rule::R18, "trailers too large"));
    }
    let section = rest.get(..length + 2).unwrap_or_default();
    let mut slots = [httparse::EMPTY_HEADER; TRAILER_FIELDS_MAX];
    match httparse::parse_headers(section, &mut slots) {
        Ok(httparse::Status::Complete(_)) => Ok(()),
        Err(httparse::Error::TooManyHeaders) => Err(Reject::request(Rule::R18, "too many trailers")),
        Ok(httparse::Status::Partial) | Err(_) => Err(Reject::request(Rule::R5, "malformed trailer")),
    }
}

/// Writes the trailers of a section that may be sent on, and the CRLF that ends the body. `accepted`: the receiver
/// said `TE: trailers`; otherwise all are dropped (R18; RFC 9110, 6.5.1).
pub fn trailers(section: &[u8], accepted: bool, out: &mut Vec<u8>) {
    if accepted {
        for line in section.split_inclusive(|byte| *byte == b'\n') {
            let name = line.split(|byte| *byte == b':').next().unwrap_or_default();
            if may_trail(name) {
                out.extend_from_slice(line);
            }
        }
    }
    out.extend_from_slice(b"\r\n");
}

/// Fields that frame, route, authenticate or describe the content must come before it (RFC 9110, 6.5.1).
fn may_trail(name: &[u8]) -> bool {
    const REFUSED: [&str; 20] = [
        "age",
        "authorization",
        "cache-control",
        "content-encoding",
        "content-range",
        "content-type",
        "cookie",
        "date",
        "expires",
        "if-match",
        "if-none-match",
        "location",
        "pragma",
        "proxy-status",
        "range",
        "retry-after",
        "set-cookie",
        "vary",
        "warning",
        "www-authenticate",
    ];
    Known::of(name) == Known::Other
        && !REFUSED.iter().any(|refused| name.eq_ignore_ascii_case(refused.as_bytes()))
}

/// The line before `length` bytes of chunk data, which must be followed by CRLF; `length` is not 0.
#[derive(Clone, Copy, Debug)]
pub struct ChunkHeader {
    bytes: [u8; SIZE_DIGITS_MAX + 2],
    start: usize,
}

impl ChunkHeader {
    /// The line for `length` bytes.
    pub fn new(length: usize) -> ChunkHeader {
        debug_assert!(length > 0, "a chunk of no bytes would end the body");
        let mut bytes = *b"0000000000000000\r\n";
        let mut left = length;
        let mut start = SIZE_DIGITS_MAX;
        for slot in bytes.iter_mut().take(SIZE_DIGITS_MAX).rev() {
            if left == 0 {
                break;
            }
            *slot = b"0123456789abcdef".get(left & 0xF).copied().unwrap_or(b'0');
            left >>= 4;
            start -= 1;
        }
        ChunkHeader { bytes, start }
    }

    /// The line with its CRLF.
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(self.start..).unwrap_or_default()
    }
}

/// Ends a chunked body without trailers, after the CRLF of the last chunk.
pub const LAST_CHUNK: &[u8] = b"0\r\n\r\n";
