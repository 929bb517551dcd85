//! gRPC-Web, for browsers, which cannot read trailers: the last frame of an answer's body holds them, and both bodies may be
//! base64 (gRPC's `PROTOCOL-WEB.md`). What goes upstream is ordinary gRPC.

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_LENGTH, CONTENT_TYPE, HeaderValue, TE};
use http::{HeaderMap, header};
use thiserror::Error;

use super::grpc;
use crate::base64::encode;

/// Marks the frame that holds trailers.
const TRAILERS: u8 = 0x80;
const PREFIX: &[u8] = b"application/grpc-web";
const TEXT: &[u8] = b"-text";

/// A body that was to be base64 is not.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("the body of application/grpc-web-text is not base64")]
pub struct Malformed;

/// How one call came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Web {
    /// The request's body is base64.
    text_up: bool,
    /// The answer's is to be.
    text_down: bool,
    /// The messages' format is named: `+proto`.
    proto: bool,
}

impl Web {
    /// What `content-type` and `accept` say; none where the call is no gRPC-Web.
    pub fn of(content_type: Option<&[u8]>, accept: Option<&[u8]>) -> Option<Web> {
        let (text_up, proto) = parse(content_type?)?;
        // A client that accepts something else has no other choice here.
        let text_down = accept.and_then(parse).map_or(text_up, |(text, _)| text);
        Some(Web { text_up, text_down, proto })
    }

    /// As [`Web::of`], from a request's fields.
    pub fn of_fields(fields: &HeaderMap) -> Option<Web> {
        let value = |name: header::HeaderName| fields.get(name).map(HeaderValue::as_bytes);
        Web::of(value(CONTENT_TYPE), value(ACCEPT))
    }

    /// Makes a request's fields those of gRPC.
    pub fn request(self, fields: &mut HeaderMap) {
        let plain = if self.proto { "application/grpc+proto" } else { "application/grpc" };
        fields.insert(CONTENT_TYPE, HeaderValue::from_static(plain));
        fields.insert(TE, HeaderValue::from_static("trailers"));
        fields.remove(CONTENT_LENGTH);
        fields.remove(ACCEPT);
    }

    /// Makes an answer's fields those of gRPC-Web; false for an answer that is no gRPC and passes as it is.
    #[must_use]
    pub fn response(self, fields: &mut HeaderMap) -> bool {
        let is_grpc = grpc::is_grpc(fields.get(CONTENT_TYPE).map(HeaderValue::as_bytes));
        if is_grpc {
            fields.insert(CONTENT_TYPE, HeaderValue::from_static(self.content_type()));
            fields.remove(CONTENT_LENGTH);
        }
        is_grpc
    }

    /// The answer's `content-type`.
    pub fn content_type(self) -> &'static str {
        match (self.text_down, self.proto) {
            (false, false) => "application/grpc-web",
            (false, true) => "application/grpc-web+proto",
            (true, false) => "application/grpc-web-text",
            (true, true) => "application/grpc-web-text+proto",
        }
    }

    /// A decoder for the request's body; none where it passes as it is.
    pub fn decoder(self) -> Option<Decoder> {
        self.text_up.then(Decoder::default)
    }

    /// A part of the answer's body as the client gets it. Parts in base64 are padded each, so that none waits for the next.
    pub fn data(self, bytes: Bytes) -> Bytes {
        if self.text_down { encode(&bytes).into() } else { bytes }
    }

    /// The answer's trailers as the last part of its body.
    pub fn trailers(self, trailers: &HeaderMap) -> Bytes {
        let mut frame = vec![TRAILERS, 0, 0, 0, 0];
        for (name, value) in trailers {
            super::request::write(&mut frame, name.as_str().as_bytes(), value.as_bytes());
        }
        let length = (frame.len() - 5) as u32;
        if let Some(place) = frame.get_mut(1..5) {
            place.copy_from_slice(&length.to_be_bytes());
        }
        self.data(frame.into())
    }
}

/// Whether a type is gRPC-Web's: whether it is text, and whether it names the messages' format.
fn parse(value: &[u8]) -> Option<(bool, bool)> {
    let (start, rest) = value.split_at_checked(PREFIX.len())?;
    if !start.eq_ignore_ascii_case(PREFIX) {
        return None;
    }
    let (text, rest) = match rest.split_at_checked(TEXT.len()) {
        Some((text, rest)) if text.eq_ignore_ascii_case(TEXT) => (true, rest),
        _ => (false, rest),
    };
    let format = rest.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii_end();
    match format {
        b"" => Some((text, false)),
        _ if format.eq_ignore_ascii_case(b"+proto") => Some((text, true)),
        _ => None,
    }
}

/// Decodes base64 that comes in parts. Padding may stand within: clients send one stretch of base64 for each message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Decoder {
    word: u32,
    digits: u8,
    padding: u8,
}

impl Decoder {
    /// Decodes a part; what makes no whole group yet waits for the next.
    ///
    /// # Errors
    /// [`Malformed`] for a byte that is no digit, or padding out of place.
    pub fn push(&mut self, text: &[u8], out: &mut Vec<u8>) -> Result<(), Malformed> {
        out.reserve(text.len() / 4 * 3 + 3);
        for byte in text {
            let digit = match byte {
                b'A'..=b'Z' => byte - b'A',
                b'a'..=b'z' => byte - b'a' + 26,
                b'0'..=b'9' => byte - b'0' + 52,
                b'+' => 62,
                b'/' => 63,
                b'=' if self.digits >= 2 => {
                    self.padding += 1;
                    0
                }
                _ => return Err(Malformed),
            };
            if self.padding > 0 && *byte != b'=' {
                return Err(Malformed);
            }
            self.word = self.word << 6 | u32::from(digit);
            self.digits += 1;
            if self.digits == 4 {
                let [_, first, second, third] = self.word.to_be_bytes();
                match self.padding {
                    0 => out.extend_from_slice(&[first, second, third]),
                    1 => out.extend_from_slice(&[first, second]),
                    _ => out.push(first),
                }
                *self = Decoder::default();
            }
        }
        Ok(())
    }

    /// The body is over: fails where it ended within a group.
    ///
    /// # Errors
    /// [`Malformed`].
    pub fn finish(&self) -> Result<(), Malformed> {
        if self.digits == 0 { Ok(()) } else { Err(Malformed) }
    }
}
