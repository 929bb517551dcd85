//! What may be asked of the controller, not only about it: over a socket in the run directory, which is closed to
//! everybody but its user.

use std::convert::Infallible;
use std::path::Path;
use std::sync::mpsc::Sender;
use std::time::Duration;

use anyhow::Context;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::oneshot;

use super::keeper::Input;

/// The socket's name in the run directory.
pub const SOCKET: &str = "control.sock";
/// Begins a change of root.
pub const ROTATE: &str = "/certs/rotate-root";
/// How long an answer may take.
const ANSWER: Duration = Duration::from_secs(10);
/// Most bytes of an answer.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// Serves until the process ends.
pub async fn serve(listener: UnixListener, keeper: Sender<Input>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // Out of descriptors, say: the feed matters more.
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let keeper = keeper.clone();
        tokio::spawn(async move {
            let service = service_fn(move |request: Request<Incoming>| {
                let keeper = keeper.clone();
                async move { Ok::<_, Infallible>(answer(&request, &keeper).await) }
            });
            let serving =
                hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
            let _ = tokio::time::timeout(ANSWER, serving).await;
        });
    }
}

async fn answer(request: &Request<Incoming>, keeper: &Sender<Input>) -> Response<Full<Bytes>> {
    if (request.method(), request.uri().path()) != (&Method::POST, ROTATE) {
        return text(StatusCode::NOT_FOUND, format!("POST {ROTATE}\n"));
    }
    let (answer, answered) = oneshot::channel();
    if keeper.send(Input::Rotate(answer)).is_err() {
        return text(StatusCode::SERVICE_UNAVAILABLE, "the CA has ended\n".into());
    }
    match answered.await {
        Ok(Ok(())) => text(StatusCode::ACCEPTED, "begun\n".into()),
        Ok(Err(why)) => text(StatusCode::CONFLICT, why),
        Err(_) => text(StatusCode::SERVICE_UNAVAILABLE, "the CA has ended\n".into()),
    }
}

fn text(status: StatusCode, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response
}

/// Asks for a change of root; an error if it does not begin.
///
/// # Errors
/// The controller does not answer, or refuses, with its reason.
pub async fn rotate(run_dir: &Path) -> anyhow::Result<Result<(), String>> {
    let path = run_dir.join(SOCKET);
    let asking = async {
        let stream = UnixStream::connect(&path).await.with_context(|| path.display().to_string())?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        let request =
            Request::post(ROTATE).header(http::header::HOST, "localhost").body(Full::<Bytes>::default())?;
        let response = sender.send_request(request).await?;
        let status = response.status();
        let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await;
        let body = body.map_err(|error| anyhow::anyhow!("{error}"))?.to_bytes();
        let text = String::from_utf8_lossy(&body).trim().to_owned();
        Ok(if status.is_success() { Ok(()) } else { Err(text) })
    };
    tokio::time::timeout(ANSWER, asking).await.context("the controller does not answer")?
}
