//! Where the feed is, and the way there: the controller's unix socket, or TCP with both ends proving who they are.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use dromon_auth::options::Options;
use dromon_auth::tls::client::mesh_client;
use dromon_auth::verify::Allowed;
use dromon_auth::{Failure, Sessions, SpiffeId, Trust, TrustDomain, alpn};
use rustls::ClientConfig;
use rustls::pki_types::{ServerName, UnixTime};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::steward::certs;
use crate::steward::dns::lookup::Lookup;

/// Namespace and account of the controller: nobody else's certificate is taken for the feed.
const CONTROLLER: (&str, &str) = ("dromon-system", "dromon-controller");
/// The name asked for in the handshake (SNI), for whatever forwards by it.
const SERVER_NAME: &str = "dromon-controller.dromon-system.svc";

/// Where the feed is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// The controller's unix socket.
    Unix(PathBuf),
    /// A TCP address of the controller.
    Tcp {
        /// Name or address.
        host: String,
        /// Port.
        port: u16,
        /// Directory of this proxy's certificates.
        certs: PathBuf,
    },
}

/// Why a text names no feed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TargetError {
    /// Neither form.
    Form,
    /// TCP without certificates.
    Certs,
}

impl Target {
    /// Reads `unix:PATH`, `HOST:PORT` or `tls://HOST:PORT`; the last two need certificates.
    pub fn parse(text: &str, certs: Option<&Path>) -> Result<Target, TargetError> {
        if let Some(path) = text.strip_prefix("unix:") {
            return if path.is_empty() { Err(TargetError::Form) } else { Ok(Target::Unix(path.into())) };
        }
        let (host, port) =
            text.strip_prefix("tls://").unwrap_or(text).rsplit_once(':').ok_or(TargetError::Form)?;
        let port = port.parse().ok().filter(|port| *port > 0).ok_or(TargetError::Form)?;
        if host.is_empty() || host.contains('/') {
            return Err(TargetError::Form);
        }
        let certs = certs.ok_or(TargetError::Certs)?.to_owned();
        Ok(Target::Tcp { host: host.to_owned(), port, certs })
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Target::Unix(path) => write!(f, "unix:{}", path.display()),
            Target::Tcp { host, port, .. } => write!(f, "tls://{host}:{port}"),
        }
    }
}

/// Connects to the controller's socket.
pub async fn unix(path: &Path) -> Result<UnixStream, String> {
    UnixStream::connect(path).await.map_err(|error| error.to_string())
}

/// Connects over TCP, with the certificates as they are now.
pub async fn tcp(host: &str, port: u16, certs: &Path) -> Result<TlsStream<TcpStream>, String> {
    let config = configure(certs)?;
    let mut refused = String::new();
    for address in Lookup::system().addresses(host).await?.addresses {
        match TcpStream::connect((address, port)).await {
            Ok(stream) => {
                let _ = stream.set_nodelay(true);
                let name = ServerName::try_from(SERVER_NAME).map_err(|error| error.to_string())?;
                let shaken = TlsConnector::from(config).connect(name, stream).await;
                return shaken.map_err(|error| describe(&error));
            }
            Err(error) => refused = format!("{address}:{port}: {error}"),
        }
    }
    Err(refused)
}

fn configure(certs: &Path) -> Result<Arc<ClientConfig>, String> {
    let own = certs::load(certs, UnixTime::now())?;
    let domain = TrustDomain::new(own.id().trust_domain()).map_err(|error| error.to_string())?;
    let (namespace, account) = CONTROLLER;
    let controller = SpiffeId::new(&domain, namespace, account).map_err(|error| error.to_string())?;
    let (trust, allowed) = (Trust::new(domain, Vec::new()), Allowed::of([controller]));
    // Streams last for hours, so there is nothing to gain from resumed sessions.
    mesh_client(&own, &trust, &allowed, &Options::mesh(&[alpn::H2]), &Sessions::new())
        .map_err(|error| error.to_string())
}

fn describe(error: &std::io::Error) -> String {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(error) => Failure::of(error).to_string(),
        None => error.to_string(),
    }
}

#[cfg(test)]
mod tests;
