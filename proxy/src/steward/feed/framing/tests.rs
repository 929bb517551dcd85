use std::convert::Infallible;

use bytes::{BufMut, Bytes, BytesMut};
use dromon_core::config::wire::DeltaResponse;
use http::{HeaderMap, HeaderValue, Response};
use http_body_util::StreamBody;
use hyper::body::Frame;
use prost::Message;

use super::{MESSAGE_BYTES_MAX, Responses};

fn message(nonce: &str) -> DeltaResponse {
    DeltaResponse { nonce: nonce.into(), ..DeltaResponse::default() }
}

fn framed(message: &DeltaResponse) -> BytesMut {
    let mut bytes = BytesMut::new();
    bytes.put_u8(0);
    bytes.put_u32(message.encoded_len() as u32);
    message.encode(&mut bytes).expect("it grows");
    bytes
}

fn response(
    pieces: Vec<Bytes>,
    trailers: Option<(i32, &str)>,
) -> Response<impl hyper::body::Body<Data = Bytes, Error = Infallible> + Unpin> {
    let mut frames: Vec<_> = pieces.into_iter().map(Frame::data).collect();
    if let Some((code, text)) = trailers {
        let mut fields = HeaderMap::new();
        fields.insert("grpc-status", HeaderValue::from(code));
        fields.insert("grpc-message", HeaderValue::from_str(text).expect("a value"));
        frames.push(Frame::trailers(fields));
    }
    Response::new(StreamBody::new(tokio_stream::iter(frames.into_iter().map(Ok))))
}

#[tokio::test]
async fn messages_are_read_wherever_they_are_cut() {
    let all: Vec<u8> =
        ["first", "", "third"].iter().flat_map(|nonce| framed(&message(nonce)).to_vec()).collect();
    for piece in 1..=all.len() {
        let pieces = all.chunks(piece).map(Bytes::copy_from_slice).collect();
        let mut responses = Responses::of(response(pieces, Some((0, "")))).expect("messages");
        for nonce in ["first", "", "third"] {
            assert_eq!(
                responses.message().await.expect("read"),
                Some(message(nonce)),
                "in pieces of {piece}"
            );
        }
        assert_eq!(responses.message().await, Ok(None));
        assert_eq!(responses.read.capacity(), 0, "nothing is kept");
    }
}

#[tokio::test]
async fn the_end_says_why() {
    let mut refused = Responses::of(response(Vec::new(), Some((7, "not yours")))).expect("a stream");
    assert_eq!(refused.message().await, Err("not yours".into()));

    let torn = framed(&message("torn")).freeze().slice(..7);
    let mut torn = Responses::of(response(vec![torn], None)).expect("a stream");
    assert_eq!(torn.message().await, Err("the stream ended within a message".into()));

    let compressed = Bytes::from_static(&[1, 0, 0, 0, 0]);
    let mut compressed = Responses::of(response(vec![compressed], None)).expect("a stream");
    assert!(compressed.message().await.expect_err("refused").contains("compressed"));

    let mut large = BytesMut::from(&[0][..]);
    large.put_u32(MESSAGE_BYTES_MAX as u32 + 1);
    let mut large = Responses::of(response(vec![large.freeze()], None)).expect("a stream");
    assert!(large.message().await.expect_err("refused").contains("are allowed"));

    let garbage = Bytes::from_static(&[0, 0, 0, 0, 2, 0xff, 0xff]);
    let mut garbage = Responses::of(response(vec![garbage], None)).expect("a stream");
    assert!(garbage.message().await.expect_err("refused").contains("cannot be read"));
}

#[test]
fn a_head_may_be_the_end() {
    let mut head = response(Vec::new(), None);
    head.headers_mut().insert("grpc-status", HeaderValue::from(16));
    assert_eq!(Responses::of(head).err(), Some("Unauthenticated".into()));
    let mut head = response(Vec::new(), None);
    *head.status_mut() = http::StatusCode::NOT_FOUND;
    assert!(Responses::of(head).err().is_some_and(|text| text.contains("404")));
}
