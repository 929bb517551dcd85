//! One probe, carried out as the kubelet would.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use dromon_auth::options::Options;
use dromon_auth::session::Sessions;
use dromon_auth::tls::client::origination;
use dromon_auth::verify::named_servers::Servers;
use dromon_core::app_health::{AppProbe, Ask, HttpGet};
use dromon_core::limits::PROBE_SECONDS_MAX;
use http::header::{self, HeaderName, HeaderValue};
use http::{Request, StatusCode};
use http_body_util::Empty;
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::spawn_local;
use tokio_rustls::TlsConnector;

use super::connect::connect;
use super::{Application, grpc};

/// What the kubelet is to be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// 200 to 399: the application is well.
    pub status: StatusCode,
    /// Why it is not.
    pub text: String,
}

impl Outcome {
    fn failed(text: impl Into<String>) -> Outcome {
        Outcome { status: StatusCode::SERVICE_UNAVAILABLE, text: text.into() }
    }

    fn well() -> Outcome {
        Outcome { status: StatusCode::OK, text: "ok".to_owned() }
    }
}

/// Asks the application. `agent` is what the kubelet calls itself, passed on.
pub async fn probe(application: &Application, probe: &AppProbe, agent: Option<&HeaderValue>) -> Outcome {
    let patience = Duration::from_secs(u64::from(probe.timeout_seconds).clamp(1, PROBE_SECONDS_MAX));
    let asking = async {
        match &probe.ask {
            Ask::TcpSocket { port } => match connect(application, *port).await {
                Ok(_) => Outcome::well(),
                Err(error) => Outcome::failed(format!("port {port}: {error}")),
            },
            Ask::Grpc { port, service } => match grpc::check(application, *port, service).await {
                Ok(()) => Outcome::well(),
                Err(why) => Outcome::failed(format!("port {port}: {why}")),
            },
            Ask::HttpGet(get) => match http_get(application, get, agent).await {
                Ok(status) => Outcome { status, text: format!("the application says {status}") },
                Err(why) => Outcome::failed(format!("port {}: {why}", get.port)),
            },
        }
    };
    let late = || Outcome::failed(format!("no answer within {} s", patience.as_secs()));
    tokio::time::timeout(patience, asking).await.unwrap_or_else(|_| late())
}

async fn http_get(
    application: &Application,
    get: &HttpGet,
    agent: Option<&HeaderValue>,
) -> Result<StatusCode, String> {
    let stream = connect(application, get.port).await.map_err(|error| error.to_string())?;
    let host = application.address.map_or_else(
        || "127.0.0.1".to_owned(),
        |ip| match ip {
            IpAddr::V4(ip) => ip.to_string(),
            IpAddr::V6(ip) => format!("[{ip}]"),
        },
    );
    let mut request =
        Request::get(&get.path).body(Empty::<Bytes>::new()).map_err(|error| error.to_string())?;
    let headers = request.headers_mut();
    if let Some(agent) = agent {
        headers.insert(header::USER_AGENT, agent.clone());
    }
    if let Ok(host) = HeaderValue::from_str(&format!("{host}:{}", get.port)) {
        headers.insert(header::HOST, host);
    }
    for (name, value) in &get.headers {
        let name: HeaderName = name.parse().map_err(|_| format!("{name:?} is no name of a header"))?;
        let value = HeaderValue::from_str(value).map_err(|_| format!("{value:?} is no value of a header"))?;
        headers.insert(name, value);
    }
    if !get.tls {
        return status(stream, request).await;
    }
    // As the kubelet: whether the application is well is asked, not who it is.
    let config = origination(&Servers::Any, None, &Options::public(&[b"http/1.1"]), &Sessions::new());
    let config = config.map_err(|error| error.to_string())?;
    let name = ServerName::IpAddress(application.address.unwrap_or(Ipv4Addr::LOCALHOST.into()).into());
    let stream = TlsConnector::from(config).connect(name, stream).await;
    status(stream.map_err(|error| format!("TLS: {error}"))?, request).await
}

/// Sends the request over a connection made for it, and returns the answer's status; its body is nobody's concern.
async fn status<S>(stream: S, request: Request<Empty<Bytes>>) -> Result<StatusCode, String>
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| error.to_string())?;
    // It ends with its sender.
    let connection = spawn_local(connection);
    let answer = sender.send_request(request).await;
    connection.abort();
    answer.map(|answer| answer.status()).map_err(|error| error.to_string())
}
