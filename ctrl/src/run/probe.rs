//! Asks an application or a proxy whether it is ready.

use std::net::SocketAddr;
use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::pods::Pod;

/// Most bytes read of an answer.
const ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Why there is no good answer.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// Nobody listens.
    #[error("{0}")]
    Connect(std::io::Error),
    /// It took too long.
    #[error("no answer within {} ms", .0.as_millis())]
    Timeout(Duration),
    /// What came back is no answer.
    #[error("{0}")]
    Http(String),
}

/// Whether something accepts connections there.
///
/// # Errors
/// Nothing does, or not in time.
pub async fn tcp(from: Option<&Pod>, address: SocketAddr, within: Duration) -> Result<(), ProbeError> {
    timeout(within, connect(from, address))
        .await
        .map_err(|_| ProbeError::Timeout(within))?
        .map(|_| ())
        .map_err(ProbeError::Connect)
}

/// The status and body of an HTTP request.
///
/// # Errors
/// No connection, no answer in time, or no HTTP.
pub async fn http(
    method: http::Method,
    address: SocketAddr,
    path: &str,
    within: Duration,
) -> Result<(u16, Bytes), ProbeError> {
    exchange(None, method, address, path, Bytes::new(), within).await
}

/// As [`http`], for a POST with a body.
///
/// # Errors
/// No connection, no answer in time, or no HTTP.
pub async fn post(
    address: SocketAddr,
    path: &str,
    body: Bytes,
    within: Duration,
) -> Result<(u16, Bytes), ProbeError> {
    exchange(None, http::Method::POST, address, path, body, within).await
}

/// Connects, from inside a pod where one is given.
async fn connect(from: Option<&Pod>, address: SocketAddr) -> std::io::Result<TcpStream> {
    let Some(pod) = from else { return TcpStream::connect(address).await };
    let stream = pod.connect(address).await?;
    stream.set_nonblocking(true)?;
    TcpStream::from_std(stream)
}

async fn exchange(
    from: Option<&Pod>,
    method: http::Method,
    address: SocketAddr,
    path: &str,
    body: Bytes,
    within: Duration,
) -> Result<(u16, Bytes), ProbeError> {
    let request = http::Request::builder()
        .method(method)
        .uri(path)
        .header(http::header::HOST, address.to_string())
        .header(http::header::USER_AGENT, "dromonctl")
        .header(http::header::CONNECTION, "close")
        .body(Full::new(body))
        .map_err(|error| ProbeError::Http(error.to_string()))?;
    let exchange = async {
        let stream = connect(from, address).await.map_err(ProbeError::Connect)?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| ProbeError::Http(error.to_string()))?;
        let connection = tokio::spawn(connection);
        let response =
            sender.send_request(request).await.map_err(|error| ProbeError::Http(error.to_string()))?;
        let status = response.status().as_u16();
        let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX)
            .collect()
            .await
            .map_err(|error| ProbeError::Http(error.to_string()))?
            .to_bytes();
        connection.abort();
        Ok((status, body))
    };
    timeout(within, exchange).await.map_err(|_| ProbeError::Timeout(within))?
}

/// Whether a GET is answered with a status from 200 to 399, as Kubernetes judges.
///
/// # Errors
/// It is not; why.
pub async fn http_get(
    from: Option<&Pod>,
    address: SocketAddr,
    path: &str,
    within: Duration,
) -> Result<(), ProbeError> {
    let (status, _) = exchange(from, http::Method::GET, address, path, Bytes::new(), within).await?;
    if (200..400).contains(&status) { Ok(()) } else { Err(ProbeError::Http(format!("status {status}"))) }
}
