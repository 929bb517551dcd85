//! Messages of the feed as a gRPC response has them.
//!
//! By hand and not by tonic's decoder, whose buffer stays as large as the largest message that came: the first one is the index of
//! the whole mesh, hundreds of KiB that a sidecar would keep for as long as it is connected.

use bytes::{Buf, Bytes, BytesMut};
use dromon_core::config::wire::DeltaResponse;
use dromon_core::limits::RESOURCE_BYTES_MAX;
use http::HeaderMap;
use http_body_util::BodyExt;
use hyper::body::Body;
use prost::Message;
use tonic::{Code, Status};

/// What precedes a message: a byte that says whether it is compressed, and its length (gRPC over HTTP/2,
/// "Length-Prefixed-Message").
const PREFIX: usize = 5;
/// Room for the frame around the largest object.
const MESSAGE_BYTES_MAX: usize = 2 * RESOURCE_BYTES_MAX;

/// The messages of a response's body.
pub struct Responses<B> {
    body: B,
    read: BytesMut,
}

impl<B> Responses<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: std::fmt::Display,
{
    /// The messages of this response.
    ///
    /// # Errors
    /// It is none, or says that there are none; the text says why.
    pub fn of(response: http::Response<B>) -> Result<Responses<B>, String> {
        let (head, body) = response.into_parts();
        if head.status != http::StatusCode::OK {
            return Err(format!("the controller answers with HTTP status {}", head.status));
        }
        ended(&head.headers)?;
        Ok(Responses { body, read: BytesMut::new() })
    }

    /// The next message; none at the stream's end. Losing the future loses nothing.
    ///
    /// # Errors
    /// Why the stream is over: the controller's status, or what is wrong with its bytes.
    pub async fn message(&mut self) -> Result<Option<DeltaResponse>, String> {
        loop {
            if let Some(message) = self.whole()? {
                return Ok(Some(message));
            }
            let Some(frame) = self.body.frame().await else {
                let torn = !self.read.is_empty();
                return if torn { Err("the stream ended within a message".into()) } else { Ok(None) };
            };
            match frame.map_err(|error| error.to_string())?.into_data() {
                Ok(data) => self.read.extend_from_slice(&data),
                Err(other) => {
                    if let Ok(trailers) = other.into_trailers() {
                        ended(&trailers)?;
                    }
                }
            }
        }
    }

    /// The first message that has been read, if it is all there. Its bytes go with it.
    fn whole(&mut self) -> Result<Option<DeltaResponse>, String> {
        let mut prefix: &[u8] = &self.read;
        let (Ok(compressed), Ok(length)) = (prefix.try_get_u8(), prefix.try_get_u32()) else {
            return Ok(None);
        };
        if compressed != 0 {
            return Err("the controller sends a compressed message, which was not asked for".into());
        }
        let end = PREFIX + length as usize;
        if end > PREFIX + MESSAGE_BYTES_MAX {
            return Err(format!("a message of {length} bytes, and {MESSAGE_BYTES_MAX} are allowed"));
        }
        if self.read.len() < end {
            self.read.reserve(end - self.read.len());
            return Ok(None);
        }
        let message = self.read.split_to(end);
        if self.read.is_empty() {
            self.read = BytesMut::new();
        }
        let message = message.get(PREFIX..).unwrap_or_default();
        DeltaResponse::decode(message).map(Some).map_err(|error| format!("a message cannot be read: {error}"))
    }
}

/// What a head or the trailers say of the stream: an error, or nothing.
fn ended(fields: &HeaderMap) -> Result<(), String> {
    match Status::from_header_map(fields) {
        Some(status) if status.code() != Code::Ok => Err(super::describe(&status)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
