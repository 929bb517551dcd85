//! Messages of the feed as a gRPC response and a gRPC request have them.
//!
//! By hand and not by tonic's encoder, which keeps for each stream a buffer as large as the largest message ever sent on it: with
//! hundreds of proxies whose first message is the index of the whole mesh, that was half of the controller's memory. Here a
//! message is encoded when the connection takes it, into as many bytes as it needs, which go when they are sent.

use std::convert::Infallible;

use bytes::{BufMut, Bytes, BytesMut};
use dromon_core::config::wire::{DeltaRequest, DeltaResponse};
use dromon_core::limits;
use futures::stream;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use http::{Request, Response};
use http_body_util::StreamBody;
use hyper::body::Frame;
use prost::Message;
use tokio::sync::mpsc;
use tonic::body::Body;
use tonic::codec::BufferSettings;
use tonic::{Status, Streaming};
use tonic_prost::ProstCodec;

/// Messages until the sender is gone, or a status that ends the stream.
pub(super) type Messages = mpsc::Receiver<Result<DeltaResponse, Status>>;

/// What precedes a message: a byte that says that it is not compressed, and its length (gRPC over HTTP/2, "Length-Prefixed-Message").
const PREFIX: usize = 5;
/// Longest message: room for the frame around the largest object.
const MESSAGE_BYTES_MAX: usize = 2 * limits::RESOURCE_BYTES_MAX;
/// Where a request is put together: mostly a name and a nonce, and it grows for more.
const REQUEST_BUFFER: usize = 512;
/// What tonic has for encoding, which nobody does with it.
const UNUSED: usize = 0;

type Requests = ProstCodec<DeltaResponse, DeltaRequest>;

/// A response whose body is these messages.
pub(super) fn response(messages: Messages) -> Response<Body> {
    let frames = stream::unfold(Some(messages), async |messages| {
        let mut messages = messages?;
        let frame = match messages.recv().await {
            Some(Ok(message)) => framed(&message).map(Frame::data),
            Some(Err(status)) => Err(status),
            None => Err(Status::ok("")),
        };
        Some(match frame {
            Ok(frame) => (Ok::<_, Infallible>(frame), Some(messages)),
            Err(status) => (Ok(Frame::trailers(trailers(&status))), None),
        })
    });
    let mut response = Response::new(Body::new(StreamBody::new(frames)));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    response
}

/// The messages of a request.
pub(super) fn requests(request: Request<Body>) -> Streaming<DeltaRequest> {
    let decoder = Requests::raw_decoder(BufferSettings::new(REQUEST_BUFFER, UNUSED));
    Streaming::new_request(decoder, request.into_body(), None, Some(limits::RESOURCE_BYTES_MAX))
}

/// A message with what precedes it.
fn framed(message: &DeltaResponse) -> Result<Bytes, Status> {
    let length = message.encoded_len();
    let prefix = u32::try_from(length).ok().filter(|_| length <= MESSAGE_BYTES_MAX);
    let prefix = prefix.ok_or_else(|| Status::out_of_range(format!("a message of {length} bytes")))?;
    let mut bytes = BytesMut::with_capacity(PREFIX + length);
    bytes.put_u8(0);
    bytes.put_u32(prefix);
    // There is room for it.
    message.encode(&mut bytes).map_err(|error| Status::internal(error.to_string()))?;
    Ok(bytes.freeze())
}

/// A status as the end of a body has it.
fn trailers(status: &Status) -> HeaderMap {
    let mut trailers = HeaderMap::new();
    if status.add_header(&mut trailers).is_err() {
        // Its text is none for a header.
        trailers.insert("grpc-status", HeaderValue::from(status.code() as i32));
    }
    trailers
}

#[cfg(test)]
mod tests;
