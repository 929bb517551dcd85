//! Fields of a head as slots: where name and value stand in the head's bytes, which field it is, and whether it ends here.

use smallvec::SmallVec;

use super::rule::{Reject, Rule};
use crate::limits::HEAD_BYTES_MAX;

const _: () = assert!(HEAD_BYTES_MAX <= u16::MAX as usize);

/// A part of a head, by offsets into the bytes that the head was parsed from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    start: u16,
    end: u16,
}

impl Span {
    /// The span `start..end`; offsets are within a head, so they fit.
    pub(super) fn new(start: usize, end: usize) -> Span {
        debug_assert!(start <= end && end <= HEAD_BYTES_MAX);
        Span { start: start as u16, end: end as u16 }
    }

    /// Where `part`, a sub-slice of `whole`, stands in it; an empty span at `fallback` if it is none.
    pub(super) fn of(part: &[u8], whole: &[u8], fallback: usize) -> Span {
        let start = (part.as_ptr() as usize).wrapping_sub(whole.as_ptr() as usize);
        match start.checked_add(part.len()) {
            Some(end) if end <= whole.len() => Span::new(start, end),
            _ => Span::new(fallback, fallback),
        }
    }

    /// The bytes, out of those that the head was parsed from; empty when given others that are too short.
    pub fn of_bytes(self, bytes: &[u8]) -> &[u8] {
        bytes.get(self.start()..self.end()).unwrap_or_default()
    }

    /// First offset.
    pub fn start(self) -> usize {
        usize::from(self.start)
    }

    /// Offset after the last.
    pub fn end(self) -> usize {
        usize::from(self.end)
    }

    /// Length in bytes.
    pub fn len(self) -> usize {
        usize::from(self.end - self.start)
    }

    /// No byte.
    pub fn is_empty(self) -> bool {
        self.start == self.end
    }
}

macro_rules! known {
    ($($name:ident = $text:literal,)+) => {
        /// Fields that the codec treats by name.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u8)]
        #[allow(missing_docs)]
        pub enum Known { Other, $($name,)+ }

        impl Known {
            /// The field's name in lower case; empty for [`Known::Other`].
            pub const fn name(self) -> &'static str {
                match self { Known::Other => "", $(Known::$name => $text,)+ }
            }
        }
    };
}

known! {
    Host = "host",
    Connection = "connection",
    KeepAlive = "keep-alive",
    ProxyConnection = "proxy-connection",
    Te = "te",
    Trailer = "trailer",
    TransferEncoding = "transfer-encoding",
    ContentLength = "content-length",
    Upgrade = "upgrade",
    Http2Settings = "http2-settings",
    Expect = "expect",
    MaxForwards = "max-forwards",
    ProxyAuthenticate = "proxy-authenticate",
    ProxyAuthorization = "proxy-authorization",
    XRequestId = "x-request-id",
    XForwardedFor = "x-forwarded-for",
    XForwardedProto = "x-forwarded-proto",
    XForwardedHost = "x-forwarded-host",
    XForwardedPort = "x-forwarded-port",
    Forwarded = "forwarded",
}

impl Known {
    /// One bit of a set of known fields.
    pub(crate) const fn bit(self) -> u32 {
        1 << self as u8
    }

    /// Which field a name, in any case, stands for.
    pub fn of(name: &[u8]) -> Known {
        let candidates: &[Known] = match name.len() {
            2 => &[Known::Te],
            4 => &[Known::Host],
            6 => &[Known::Expect],
            7 => &[Known::Upgrade, Known::Trailer],
            9 => &[Known::Forwarded],
            10 => &[Known::Connection, Known::KeepAlive],
            12 => &[Known::XRequestId, Known::MaxForwards],
            14 => &[Known::ContentLength, Known::Http2Settings],
            15 => &[Known::XForwardedFor],
            16 => &[Known::ProxyConnection, Known::XForwardedHost, Known::XForwardedPort],
            17 => &[Known::TransferEncoding, Known::XForwardedProto],
            18 => &[Known::ProxyAuthenticate],
            19 => &[Known::ProxyAuthorization],
            _ => &[],
        };
        candidates
            .iter()
            .copied()
            .find(|known| folds_to(name, known.name().as_bytes()))
            .unwrap_or(Known::Other)
    }
}

/// Whether a name or value, in any case, is `lower`, made of letters, digits and dashes. Compares by words: this runs for
/// every field. Exact for what the parser let pass, where the bit set here makes a letter, digit or dash of nothing else.
pub(super) fn folds_to(name: &[u8], lower: &[u8]) -> bool {
    if name.len() != lower.len() {
        return false;
    }
    const CASE: u64 = 0x2020_2020_2020_2020;
    if let (Some(tail), Some(lower_tail)) = (name.last_chunk::<8>(), lower.last_chunk::<8>()) {
        let ((words, _), (lower_words, _)) = (name.as_chunks::<8>(), lower.as_chunks::<8>());
        return u64::from_le_bytes(*tail) | CASE == u64::from_le_bytes(*lower_tail)
            && words
                .iter()
                .zip(lower_words)
                .all(|(word, lower)| u64::from_le_bytes(*word) | CASE == u64::from_le_bytes(*lower));
    }
    let half = |bytes: Option<&[u8; 4]>| bytes.map(|it| u32::from_le_bytes(*it) | CASE as u32);
    match name.len() {
        4.. => {
            half(name.last_chunk()) == half(lower.last_chunk())
                && half(name.first_chunk()) == half(lower.first_chunk())
        }
        _ => name.eq_ignore_ascii_case(lower),
    }
}

/// Whether `name`, in any case, is `lower`, which is in lower case and of the same length or not.
pub(super) fn same_name(name: &[u8], lower: &[u8]) -> bool {
    // The first byte tells almost all names of one length apart, before the slower comparison.
    name.len() == lower.len()
        && name.first().map(|byte| byte | 0x20) == lower.first().map(|byte| byte | 0x20)
        && name.eq_ignore_ascii_case(lower)
}

/// One field of a head.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// Its name, as sent.
    pub name: Span,
    /// Its value, without white space around it.
    pub value: Span,
    /// Which field it is.
    pub known: Known,
    /// It ends here: hop-by-hop, or named by `Connection` (R25).
    pub hop: bool,
}

/// The fields of a head in the order sent.
#[derive(Clone, Debug, Default)]
pub struct Fields {
    pub(super) slots: SmallVec<[Field; 16]>,
    /// Offset of the empty line that ends the head.
    pub(crate) end: u16,
}

impl Fields {
    /// All fields in the order sent.
    pub fn iter(&self) -> std::slice::Iter<'_, Field> {
        self.slots.iter()
    }

    /// The first field of that kind.
    pub fn find(&self, known: Known) -> Option<&Field> {
        self.slots.iter().find(|field| field.known == known)
    }

    /// Values of the fields of that name, which is in lower case, in the order sent.
    pub fn values<'a>(&'a self, name: &'a str, bytes: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
        self.slots
            .iter()
            .filter(move |field| {
                field.name.len() == name.len() && same_name(field.name.of_bytes(bytes), name.as_bytes())
            })
            .map(move |field| field.value.of_bytes(bytes))
    }

    /// The first value of that name, which is in lower case.
    pub fn value<'a>(&self, name: &str, bytes: &'a [u8]) -> Option<&'a [u8]> {
        let field = self.slots.iter().find(|field| {
            field.name.len() == name.len() && same_name(field.name.of_bytes(bytes), name.as_bytes())
        });
        field.map(|field| field.value.of_bytes(bytes))
    }

    /// Where the lines of field number `index` start and end, CRLF included.
    pub(super) fn line(&self, index: usize, field: &Field) -> std::ops::Range<usize> {
        let next = self.slots.get(index + 1).map_or(usize::from(self.end), |next| next.name.start());
        field.name.start()..next
    }

    /// Every line before the end of the head, the start line too, ends in CRLF: the parser takes bare LF as well (R1).
    pub(super) fn lines_end_in_crlf(&self, bytes: &[u8]) -> bool {
        let crlf_before =
            |at: usize| at.checked_sub(2).is_some_and(|from| bytes.get(from..at) == Some(b"\r\n"));
        let end = usize::from(self.end);
        self.slots.iter().all(|field| crlf_before(field.name.start()))
            && crlf_before(end)
            && crlf_before(end + 2)
    }

    /// Takes over what the parser split, R6 checked on the way.
    pub(super) fn fill(&mut self, parsed: &[httparse::Header<'_>], bytes: &[u8]) -> Result<(), Reject> {
        let mut look_alike = false;
        self.slots.clear();
        self.slots.extend(parsed.iter().map(|header| {
            let name = header.name.as_bytes();
            let span = Span::of(name, bytes, 0);
            let known = Known::of(name);
            look_alike |= known == Known::Other && is_framing_look_alike(name);
            Field { name: span, value: Span::of(header.value, bytes, span.end() + 1), known, hop: false }
        }));
        match look_alike {
            true => Err(Reject::request(Rule::R6, "underscore look-alike of a framing field")),
            false => Ok(()),
        }
    }
}

/// `content_length`, `transfer_encoding` and their like, which some servers read as the real ones (R6).
pub(crate) fn is_framing_look_alike(name: &[u8]) -> bool {
    let framing: &[u8] = match name.len() {
        14 => b"content-length",
        17 => b"transfer-encoding",
        _ => return false,
    };
    name.iter().zip(framing).all(|(have, want)| {
        let have = if *have == b'_' { b'-' } else { have.to_ascii_lowercase() };
        have == *want
    })
}

/// RFC 9110, 5.6.2: bytes of a token.
pub(super) const fn is_token_byte(byte: u8) -> bool {
    matches!(byte,
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+'
        | b'-' | b'.' | b'^' | b'_' | b'`' | b'|' | b'~')
}

/// RFC 9110, 5.5: bytes of a value; everything but controls, HTAB allowed.
pub(super) const fn is_value_byte(byte: u8) -> bool {
    byte == b'\t' || (byte >= 0x20 && byte != 0x7F)
}

/// `bytes` without the spaces and tabs around it.
pub(super) fn trim(bytes: &[u8]) -> &[u8] {
    let blank = |byte: &u8| matches!(byte, b' ' | b'\t');
    let Some(start) = bytes.iter().position(|byte| !blank(byte)) else { return &[] };
    let end = bytes.iter().rposition(|byte| !blank(byte)).map_or(start, |last| last + 1);
    bytes.get(start..end).unwrap_or_default()
}

/// The elements of a comma-separated list, trimmed; empty ones left out (RFC 9110, 5.6.1.2).
pub(super) fn list(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|byte| *byte == b',').map(trim).filter(|element| !element.is_empty())
}
