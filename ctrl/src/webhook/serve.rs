//! The server: HTTPS, POST, JSON, and nothing else.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use dromon_k8s::diagnostic::Severity;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio_rustls::TlsAcceptor;

use super::review::Review;
use super::{Hooks, inject, validate};

/// Bytes of a review: an object and its former self of at most 1.5 MiB each (etcd's limit), as JSON.
const REVIEW_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Connections at once.
const CONNECTIONS_MAX: usize = 256;
/// How long a handshake, and a request's head, may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// Wait after a failure to accept, such as no free descriptor.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// Serves for ever. Who connects before there is a certificate waits for it.
pub async fn serve(
    listener: TcpListener,
    configs: watch::Receiver<Option<Arc<ServerConfig>>>,
    hooks: Arc<Hooks>,
) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        // The semaphore is never closed, so a place always comes.
        let Ok(place) = places.clone().acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let (configs, hooks) = (configs.clone(), hooks.clone());
                tokio::spawn(async move {
                    converse(stream, configs, hooks).await;
                    drop(place);
                });
            }
            Err(error) => {
                (hooks.log)(Severity::Warning, format!("webhooks: cannot accept: {error}"));
                tokio::time::sleep(ACCEPT_RETRY).await;
            }
        }
    }
}

async fn converse(
    stream: TcpStream,
    mut configs: watch::Receiver<Option<Arc<ServerConfig>>>,
    hooks: Arc<Hooks>,
) {
    let handshake = async {
        let config = configs.wait_for(Option::is_some).await.ok()?.clone()?;
        TlsAcceptor::from(config).accept(stream).await.ok()
    };
    let Ok(Some(stream)) = tokio::time::timeout(PATIENCE, handshake).await else { return };
    let service = service_fn(move |request| {
        let hooks = hooks.clone();
        async move { Ok::<_, Infallible>(answer(&hooks, request).await) }
    });
    // What goes wrong with a connection, the API server sees and tells.
    let _ = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(PATIENCE)
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

async fn answer(hooks: &Hooks, request: Request<Incoming>) -> Response<Full<Bytes>> {
    if request.method() != Method::POST {
        return text(StatusCode::METHOD_NOT_ALLOWED, "only POST\n");
    }
    let path = request.uri().path().to_owned();
    let Ok(body) = Limited::new(request.into_body(), REVIEW_BYTES_MAX).collect().await else {
        return text(StatusCode::PAYLOAD_TOO_LARGE, "the review cannot be read\n");
    };
    let review: Review = match serde_json::from_slice(&body.to_bytes()) {
        Ok(review) => review,
        Err(error) => return text(StatusCode::BAD_REQUEST, &format!("no AdmissionReview: {error}\n")),
    };
    let request = review.request;
    let answer = match path.as_str() {
        "/inject" => inject::answer(hooks, &request).await,
        "/validate" => validate::answer(hooks, &request).await,
        _ => return text(StatusCode::NOT_FOUND, "/inject and /validate are here\n"),
    };
    let mut response = Response::new(Full::new(Bytes::from(answer.json(&request.uid).to_string())));
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
    response
}

fn text(status: StatusCode, text: &str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(text.to_owned())));
    *response.status_mut() = status;
    response
}
