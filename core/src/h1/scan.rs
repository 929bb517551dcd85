//! Finds the end of a head, once over the bytes, and enforces what the field parser is lenient about (R1, R2, R20).
//!
//! The scan remembers where it stopped, so a head that trickles in costs no more than one that comes at once.

use memchr::memchr;

use super::rule::{Reject, Rule};
use crate::fault::Reason;
use crate::limits::{FIELDS_MAX, HEAD_BYTES_MAX, LINE_BYTES_MAX};

/// Where the scan of a head stands.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Scan {
    /// Where the head starts: 0, or 2 after one leading CRLF.
    start: u32,
    /// Where the current line starts.
    line: u32,
    /// Bytes already searched for LF.
    searched: u32,
    /// Complete lines seen.
    lines: u32,
}

impl Scan {
    /// Nothing was searched yet.
    pub(super) fn is_new(&self) -> bool {
        self.searched == 0
    }

    /// Offset of the head's first byte.
    pub(super) fn start(&self) -> usize {
        self.start as usize
    }

    /// Searches on. The head's end (after its empty line) once it is there.
    pub(super) fn advance(&mut self, bytes: &[u8]) -> Result<Option<usize>, Reject> {
        let limit = bytes.len().min(HEAD_BYTES_MAX);
        let window = bytes.get(..limit).unwrap_or(bytes);
        while let Some(found) = window.get(self.searched as usize..).and_then(|rest| memchr(b'\n', rest)) {
            let line = self.line as usize;
            let lf = self.searched as usize + found;
            // Both offsets stay within HEAD_BYTES_MAX, so they fit.
            self.searched = lf as u32 + 1;
            self.line = self.searched;
            match lf - line {
                0 => return Err(Reject::request(Rule::R1, "bare LF")),
                1 if window.get(line) == Some(&b'\r') => {
                    if self.lines > 0 {
                        return Ok(Some(lf + 1));
                    }
                    if self.start > 0 {
                        return Err(Reject::request(Rule::R2, "more than one empty line before a request"));
                    }
                    self.start = self.searched;
                }
                length => {
                    if window.get(lf - 1) != Some(&b'\r') {
                        return Err(Reject::request(Rule::R1, "bare LF"));
                    }
                    if self.lines == 0 {
                        check_first(window.get(line..).unwrap_or_default())?;
                    }
                    self.complete_line(length + 1)?;
                }
            }
        }
        self.searched = limit as u32;
        if bytes.len() >= HEAD_BYTES_MAX {
            return Err(Reject::with(Rule::R20, Reason::HeadTooLarge, "head too large"));
        }
        self.partial_line(bytes)?;
        Ok(None)
    }

    fn complete_line(&mut self, length: usize) -> Result<(), Reject> {
        if length > LINE_BYTES_MAX {
            return Err(self.line_too_long());
        }
        self.lines += 1;
        if self.lines as usize > FIELDS_MAX + 1 {
            return Err(Reject::with(Rule::R20, Reason::HeadTooLarge, "too many fields"));
        }
        Ok(())
    }

    /// Refuses early what no further byte can mend, so that it does not wait for the head's deadline.
    fn partial_line(&self, bytes: &[u8]) -> Result<(), Reject> {
        let line = bytes.get(self.line as usize..).unwrap_or_default();
        if line.len() > LINE_BYTES_MAX {
            return Err(self.line_too_long());
        }
        match (line, self.lines) {
            ([] | [b'\r'], _) | (_, 1..) => Ok(()),
            (line, 0) => check_first(line),
        }
    }

    fn line_too_long(&self) -> Reject {
        match self.lines {
            0 => Reject::with(Rule::R20, Reason::UriTooLong, "start line too long"),
            _ => Reject::with(Rule::R20, Reason::HeadTooLarge, "field line too long"),
        }
    }
}

/// A start line begins with a token, so anything else (a TLS hello, say) is refused at its first byte.
fn check_first(line: &[u8]) -> Result<(), Reject> {
    match line.first() {
        Some(first) if !super::field::is_token_byte(*first) => Err(Reject::request(Rule::R7, "not HTTP")),
        _ => Ok(()),
    }
}
