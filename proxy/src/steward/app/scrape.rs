//! The application's metrics, fetched to be served together with the proxy's.

use std::time::Duration;

use dromon_core::app_health::AppMetrics;
use dromon_core::limits::{APP_METRICS_BYTES_MAX, APP_METRICS_SECONDS_MAX};
use http::{Request, header};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use thiserror::Error;
use tokio::task::spawn_local;

use super::Application;
use super::connect::connect;

/// Why there are none.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ScrapeError {
    /// It did not answer in time.
    #[error("port {0}: no answer within {APP_METRICS_SECONDS_MAX} s")]
    Late(u16),
    /// It did not answer as it should.
    #[error("port {port}: {why}")]
    Failed {
        /// The application's port.
        port: u16,
        /// What went wrong.
        why: String,
    },
}

/// The application's metrics as text, without the end mark that OpenMetrics has.
///
/// # Errors
/// See [`ScrapeError`].
pub async fn scrape(application: &Application, metrics: &AppMetrics) -> Result<String, ScrapeError> {
    let port = metrics.port;
    let patience = Duration::from_secs(APP_METRICS_SECONDS_MAX);
    match tokio::time::timeout(patience, fetch(application, metrics)).await {
        Err(_) => Err(ScrapeError::Late(port)),
        Ok(Err(why)) => Err(ScrapeError::Failed { port, why }),
        Ok(Ok(text)) => Ok(text),
    }
}

async fn fetch(application: &Application, metrics: &AppMetrics) -> Result<String, String> {
    let stream = connect(application, metrics.port).await.map_err(|error| error.to_string())?;
    let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = handshake.map_err(|error| error.to_string())?;
    let connection = spawn_local(connection);
    let request = Request::get(&metrics.path)
        .header(header::HOST, format!("127.0.0.1:{}", metrics.port))
        .header(header::ACCEPT, "text/plain;version=0.0.4")
        .body(Empty::<Bytes>::new())
        .map_err(|error| error.to_string())?;
    let outcome = match sender.send_request(request).await {
        Ok(answer) if !answer.status().is_success() => Err(format!("HTTP status {}", answer.status())),
        Ok(answer) => {
            let body = Limited::new(answer.into_body(), APP_METRICS_BYTES_MAX).collect().await;
            body.map_err(|error| error.to_string()).map(|body| text(&body.to_bytes()))
        }
        Err(error) => Err(error.to_string()),
    };
    connection.abort();
    outcome
}

fn text(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let mut kept: String = text.lines().filter(|line| *line != "# EOF").collect::<Vec<_>>().join("\n");
    if !kept.is_empty() {
        kept.push('\n');
    }
    kept
}
