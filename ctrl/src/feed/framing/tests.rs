//! What a gRPC client sees of a response.

use dromon_core::config::wire::{Any, Resource};
use http_body_util::BodyExt;

use super::*;

fn message(name: &str, bytes: usize) -> DeltaResponse {
    let value = Bytes::from(vec![b'x'; bytes]);
    let resource = Some(Any { type_url: "type".to_owned(), value });
    DeltaResponse {
        resources: vec![Resource { name: name.to_owned(), version: "1".to_owned(), resource }],
        ..DeltaResponse::default()
    }
}

#[tokio::test]
async fn messages_travel_whole_and_the_end_has_a_status() {
    let (sender, messages) = mpsc::channel(4);
    for (name, bytes) in [("small", 1), ("large", 300_000)] {
        sender.send(Ok(message(name, bytes))).await.expect("room");
    }
    sender.send(Err(Status::permission_denied("not yours"))).await.expect("room");
    let response = response(messages);
    assert_eq!(response.headers()[CONTENT_TYPE], "application/grpc");
    let mut body = response.into_body();
    for (name, bytes) in [("small", 1), ("large", 300_000)] {
        let frame = body.frame().await.expect("a frame").expect("no error").into_data().expect("data");
        assert_eq!(frame[0], 0, "not compressed");
        assert_eq!(u32::from_be_bytes(frame[1..5].try_into().expect("four")) as usize, frame.len() - 5);
        assert_eq!(DeltaResponse::decode(&frame[5..]).expect("a message"), message(name, bytes));
    }
    let end = body.frame().await.expect("a frame").expect("no error").into_trailers().expect("trailers");
    assert_eq!(
        (&end["grpc-status"], &end["grpc-message"]),
        (&HeaderValue::from(7), &HeaderValue::from_static("not%20yours"))
    );
    assert!(body.frame().await.is_none());
}

#[tokio::test]
async fn a_stream_that_ends_by_itself_ends_well() {
    let (sender, messages) = mpsc::channel(1);
    drop(sender);
    let mut body = response(messages).into_body();
    let end = body.frame().await.expect("a frame").expect("no error").into_trailers().expect("trailers");
    assert_eq!(end["grpc-status"], HeaderValue::from(0));
    assert!(body.frame().await.is_none());
}

#[tokio::test]
async fn a_message_that_is_too_long_ends_the_stream() {
    let (sender, messages) = mpsc::channel(1);
    sender.send(Ok(message("huge", MESSAGE_BYTES_MAX))).await.expect("room");
    let mut body = response(messages).into_body();
    let end = body.frame().await.expect("a frame").expect("no error").into_trailers().expect("trailers");
    assert_eq!(end["grpc-status"], HeaderValue::from(11));
}
