//! Heads on their way out, written in one pass from a parsed head's slots.
//!
//! Neighbouring lines that stay as they are leave in one copy, so a head that needs no change costs little more than
//! a `memcpy`. Everything written here is well-formed by construction: parsed lines were checked, edits are typed
//! ([`Changes`]).

mod edits;
mod local;
mod request;
mod response;

pub(crate) use edits::may_change;
pub use local::{LocalResponse, local_response};
pub use request::{Forwarded, RequestRewrite, request};
pub(crate) use request::{counted_forwards, displaced};
pub use response::{ResponseRewrite, Sent, response};

use super::field::{Known, same_name};
use crate::route::rule::Changes;

/// Copies ranges of a head, joined where they touch.
struct Copier<'a> {
    bytes: &'a [u8],
    out: &'a mut Vec<u8>,
    pending: std::ops::Range<usize>,
}

impl<'a> Copier<'a> {
    fn new(bytes: &'a [u8], out: &'a mut Vec<u8>) -> Copier<'a> {
        Copier { bytes, out, pending: 0..0 }
    }

    /// Copies this range of the head.
    fn keep(&mut self, range: std::ops::Range<usize>) {
        match range.start == self.pending.end {
            true => self.pending.end = range.end,
            false => {
                self.flush();
                self.pending = range;
            }
        }
    }

    fn flush(&mut self) {
        self.out.extend_from_slice(self.bytes.get(self.pending.clone()).unwrap_or_default());
        self.pending.start = self.pending.end;
    }

    /// Writes bytes that are not in the head.
    fn write(&mut self, text: &[u8]) {
        self.flush();
        self.out.extend_from_slice(text);
    }

    /// Writes a field line.
    fn line(&mut self, name: &[u8], value: &[u8]) {
        self.flush();
        line(self.out, name, value);
    }
}

fn line(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

/// Fields set by the proxy itself: a lower-case name and a value without control bytes. They replace the message's;
/// one without a value only takes the message's away.
pub type Extra<'a> = &'a [(&'a str, &'a [u8])];

/// Whether a field of the message gives way to a change or an extra field.
fn is_replaced(known: Known, name: &[u8], changes: &[&Changes], extra: Extra<'_>) -> bool {
    extra.iter().any(|(set, _)| same_name(name, set.as_bytes()))
        || changes.iter().any(|change| edits::displaces(change, known, name))
}

/// Writes what changes add, a later change displacing an earlier one's lines, then the extra fields.
fn write_added(copier: &mut Copier<'_>, changes: &[&Changes], extra: Extra<'_>) {
    if changes.is_empty() && extra.is_empty() {
        return;
    }
    copier.flush();
    for (index, change) in changes.iter().enumerate() {
        let later = changes.get(index + 1..).unwrap_or_default();
        edits::write(change, later, extra, copier.out);
    }
    for (name, value) in extra.iter().filter(|(_, value)| !value.is_empty()) {
        line(copier.out, name.as_bytes(), value);
    }
}

/// Appends a number in decimal.
fn decimal(mut number: u64, out: &mut Vec<u8>) {
    let mut digits = [0u8; 20];
    let mut start = digits.len();
    for slot in digits.iter_mut().rev() {
        *slot = b'0' + (number % 10) as u8;
        number /= 10;
        start -= 1;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(digits.get(start..).unwrap_or_default());
}
