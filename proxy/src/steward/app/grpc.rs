//! `grpc.health.v1.Health/Check`, as the kubelet calls it.

use bytes::{Buf, Bytes};
use http::{Request, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message;
use tokio::task::spawn_local;

use super::Application;
use super::connect::connect;

/// Bytes of an answer: a few suffice.
const ANSWER_BYTES_MAX: usize = 4 * 1024;
/// `ServingStatus.SERVING`.
const SERVING: i32 = 1;
/// A message's prefix: not compressed, then its length.
const PREFIX_BYTES: usize = 5;

#[derive(Clone, PartialEq, Eq, Message)]
struct HealthCheckRequest {
    #[prost(string, tag = "1")]
    service: String,
}

#[derive(Clone, PartialEq, Eq, Message)]
struct HealthCheckResponse {
    #[prost(int32, tag = "1")]
    status: i32,
}

/// Asks a port for a service's health.
///
/// # Errors
/// It is not SERVING, or does not say so; for people.
pub async fn check(application: &Application, port: u16, service: &str) -> Result<(), String> {
    let stream = connect(application, port).await.map_err(|error| error.to_string())?;
    let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await;
    let (mut sender, connection) = handshake.map_err(|error| error.to_string())?;
    let connection = spawn_local(connection);
    let request = Request::post(format!("http://127.0.0.1:{port}/grpc.health.v1.Health/Check"))
        .header(header::CONTENT_TYPE, "application/grpc")
        .header(header::TE, "trailers")
        .body(Full::new(framed(&HealthCheckRequest { service: service.to_owned() })))
        .map_err(|error| error.to_string())?;
    let answer = sender.send_request(request).await;
    let outcome = match answer {
        Ok(answer) => read(answer).await,
        Err(error) => Err(error.to_string()),
    };
    connection.abort();
    outcome
}

fn framed(message: &HealthCheckRequest) -> Bytes {
    let message = message.encode_to_vec();
    let length = u32::try_from(message.len()).unwrap_or(u32::MAX);
    [&[0], &length.to_be_bytes()[..], &message].concat().into()
}

async fn read(answer: http::Response<hyper::body::Incoming>) -> Result<(), String> {
    let code = |headers: &http::HeaderMap| {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        text("grpc-status")
            .filter(|code| code != "0")
            .map(|code| format!("gRPC status {code}: {}", text("grpc-message").unwrap_or_default()))
    };
    if !answer.status().is_success() {
        return Err(format!("HTTP status {}", answer.status()));
    }
    if let Some(error) = code(answer.headers()) {
        return Err(error);
    }
    let body = Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect().await;
    let body = body.map_err(|error| error.to_string())?;
    if let Some(error) = body.trailers().and_then(code) {
        return Err(error);
    }
    let mut bytes = body.to_bytes();
    if bytes.len() < PREFIX_BYTES {
        return Err("an answer without a message".to_owned());
    }
    bytes.advance(PREFIX_BYTES);
    let response = HealthCheckResponse::decode(bytes).map_err(|error| error.to_string())?;
    match response.status {
        SERVING => Ok(()),
        other => Err(format!("health status {other}, not SERVING")),
    }
}
