//! Proxies that are played: they speak the feed as sidecars do, with the certificates of their pods' account, acknowledge
//! everything, and tell when what came and whether it was theirs.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use dromon_core::config::model::{Kind, destination_name};
use dromon_core::config::wire::{DeltaRequest, DeltaResponse, Node, STREAM_PATH};
use dromon_core::limits::RESOURCE_BYTES_MAX;
use http::uri::PathAndQuery;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::ClientConfig;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_rustls::TlsConnector;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::{Request, Streaming};
use tonic_prost::ProstCodec;

use super::world::{PORT, Size};
use crate::rig::tls;

/// Pause before a connection is tried again.
const RETRY: Duration = Duration::from_millis(20);

/// What a played proxy tells.
#[derive(Clone, Debug)]
pub enum Told {
    /// It has everything that it asked for first.
    Fed(Instant),
    /// An object came.
    Came(Came),
    /// An object came that it has not asked for.
    Foreign(String),
}

/// An object that came.
#[derive(Clone, Debug)]
pub struct Came {
    /// When its message had been read.
    pub at: Instant,
    /// Which proxy.
    pub proxy: usize,
    /// Its kind.
    pub kind: Kind,
    /// Its name.
    pub name: String,
    /// Its JSON.
    pub body: bytes::Bytes,
}

/// Plays all proxies of a mesh on a thread of its own, from now on and until `told` has nobody to listen. `folder` has a folder
/// of certificates for each namespace.
///
/// # Errors
/// Certificates cannot be read, or the thread cannot be started.
pub fn play(size: Size, feed: SocketAddr, folder: &Path, told: mpsc::UnboundedSender<Told>) -> Result<()> {
    let certificates = |number| tls::feed_client(&certificates(folder, number));
    let configs = (0..size.namespaces).map(certificates).collect::<Result<Vec<_>>>()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    std::thread::Builder::new().name("proxies".into()).spawn(move || {
        runtime.block_on(async {
            let all = (0..size.proxies).filter_map(|proxy| {
                let config = configs.get(size.service_of(proxy) % size.namespaces)?.clone();
                Some(tokio::spawn(play_one(proxy, size, feed, config, told.clone())))
            });
            futures::future::join_all(all.collect::<Vec<_>>()).await;
        });
    })?;
    Ok(())
}

/// The certificates of a namespace's account.
pub fn certificates(folder: &Path, namespace: usize) -> PathBuf {
    folder.join(format!("certs-{namespace}"))
}

/// Plays one proxy, connecting anew whenever the stream ends.
async fn play_one(
    proxy: usize,
    size: Size,
    feed: SocketAddr,
    config: Arc<ClientConfig>,
    told: mpsc::UnboundedSender<Told>,
) {
    while !told.is_closed() {
        // The controller may not listen yet; why it does not is its own log's to say.
        let _ = stream(proxy, size, feed, config.clone(), &told).await;
        tokio::time::sleep(RETRY).await;
    }
}

async fn stream(
    proxy: usize,
    size: Size,
    feed: SocketAddr,
    config: Arc<ClientConfig>,
    told: &mpsc::UnboundedSender<Told>,
) -> Result<()> {
    let (outbox, mut responses) = open(feed, config).await?;
    let wanted = Wanted::new(proxy, size);
    for request in wanted.first_requests(proxy, size) {
        outbox.send(request)?;
    }
    while let Some(response) = responses.message().await? {
        let at = Instant::now();
        let kind = Kind::from_type_url(&response.type_url).context("a type")?;
        outbox.send(DeltaRequest {
            type_url: response.type_url.clone(),
            response_nonce: response.nonce,
            ..DeltaRequest::default()
        })?;
        for resource in response.resources {
            if !wanted.of(kind).is_none_or(|names| names.contains(&resource.name)) {
                let line = format!("{} was given {kind:?} {}", size.proxy_id(proxy), resource.name);
                told.send(Told::Foreign(line))?;
            }
            let body = resource.resource.map(|it| it.value).unwrap_or_default();
            told.send(Told::Came(Came { at, proxy, kind, name: resource.name, body }))?;
        }
        // The index travels last: who has it has everything.
        if kind == Kind::Host {
            told.send(Told::Fed(at))?;
        }
    }
    Ok(())
}

/// What a proxy asks for.
struct Wanted {
    hosts: Vec<String>,
    destinations: Vec<String>,
}

impl Wanted {
    fn new(proxy: usize, size: Size) -> Wanted {
        let hosts: Vec<String> = size.used_by(proxy).map(|it| size.host(it)).collect();
        let destinations = hosts.iter().map(|it| destination_name(PORT, "", it)).collect();
        Wanted { hosts, destinations }
    }

    /// The names asked for; none: all there are.
    fn of(&self, kind: Kind) -> Option<&Vec<String>> {
        match kind {
            Kind::VirtualHost => Some(&self.hosts),
            Kind::Destination | Kind::Endpoints => Some(&self.destinations),
            Kind::Proxy | Kind::RateLimit | Kind::Host | Kind::Credential => None,
        }
    }

    fn first_requests(&self, proxy: usize, size: Size) -> Vec<DeltaRequest> {
        let mut node = Some(Node { id: size.proxy_id(proxy), cluster: String::new() });
        let request = |kind: &Kind| DeltaRequest {
            node: node.take(),
            type_url: kind.type_url().to_owned(),
            resource_names_subscribe: self.of(*kind).cloned().unwrap_or_else(|| vec!["*".to_owned()]),
            ..DeltaRequest::default()
        };
        // Gateways alone ask for credentials.
        Kind::ALL.iter().filter(|it| **it != Kind::Credential).map(request).collect()
    }
}

async fn open(
    feed: SocketAddr,
    config: Arc<ClientConfig>,
) -> Result<(mpsc::UnboundedSender<DeltaRequest>, Streaming<DeltaResponse>)> {
    let connection = TcpStream::connect(feed).await?;
    connection.set_nodelay(true)?;
    let connection = TlsConnector::from(config).connect(tls::server_name(), connection).await?;
    let (sender, driver) =
        http2::handshake::<_, _, tonic::body::Body>(TokioExecutor::new(), TokioIo::new(connection)).await?;
    tokio::spawn(driver);
    let service = tower::service_fn(move |request| {
        let mut sender = sender.clone();
        async move { sender.send_request(request).await }
    });
    let mut client = tonic::client::Grpc::with_origin(service, http::Uri::from_static("https://controller"))
        .max_decoding_message_size(2 * RESOURCE_BYTES_MAX);
    let (outbox, requests) = mpsc::unbounded_channel();
    let codec = ProstCodec::<DeltaRequest, DeltaResponse>::new();
    let requests = Request::new(UnboundedReceiverStream::new(requests));
    let answer = client.streaming(requests, PathAndQuery::from_static(STREAM_PATH), codec).await?;
    Ok((outbox, answer.into_inner()))
}
