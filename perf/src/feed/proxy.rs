//! A proxy that is played: it speaks the feed as a sidecar does, acknowledges everything and tells when what came.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use dromon_core::config::model::{Kind, destination_name};
use dromon_core::config::wire::{DeltaRequest, DeltaResponse, Node, STREAM_PATH};
use dromon_core::limits::RESOURCE_BYTES_MAX;
use http::uri::PathAndQuery;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::UnixStream;
use tokio::sync::mpsc;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::{Request, Streaming};
use tonic_prost::ProstCodec;

use super::world::{Size, host, proxy_id, used_by};

/// Pause before a connection is tried again.
const RETRY: Duration = Duration::from_millis(20);

/// What a played proxy tells.
#[derive(Clone, Debug)]
pub enum Told {
    /// It has everything that it asked for first.
    Fed(Instant),
    /// An object came.
    Came {
        /// When its message had been read.
        at: Instant,
        /// Which proxy.
        proxy: usize,
        /// Its kind.
        kind: Kind,
        /// Its name.
        name: String,
        /// Its JSON.
        body: bytes::Bytes,
    },
}

/// Plays a proxy until `told` has nobody to listen, connecting anew whenever the stream ends.
pub async fn play(proxy: usize, size: Size, socket: PathBuf, told: mpsc::UnboundedSender<Told>) {
    while !told.is_closed() {
        // The controller may not listen yet; why it does not is its own log's to say.
        let _ = stream(proxy, size, &socket, &told).await;
        tokio::time::sleep(RETRY).await;
    }
}

async fn stream(
    proxy: usize,
    size: Size,
    socket: &PathBuf,
    told: &mpsc::UnboundedSender<Told>,
) -> Result<()> {
    let (outbox, mut responses) = open(socket).await?;
    for request in first_requests(proxy, size) {
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
        // The index travels last: who has it has everything.
        if kind == Kind::Host {
            told.send(Told::Fed(at))?;
        }
        for resource in response.resources {
            let body = resource.resource.map(|it| it.value).unwrap_or_default();
            told.send(Told::Came { at, proxy, kind, name: resource.name, body })?;
        }
    }
    Ok(())
}

fn first_requests(proxy: usize, size: Size) -> Vec<DeltaRequest> {
    let hosts: Vec<String> = used_by(proxy, size).map(host).collect();
    let destinations: Vec<String> = hosts.iter().map(|it| destination_name(80, "", it)).collect();
    let mut node = Some(Node { id: proxy_id(proxy), cluster: String::new() });
    let mut requests = Vec::new();
    for kind in Kind::ALL {
        let names = match kind {
            Kind::Credential => continue,
            Kind::VirtualHost => hosts.clone(),
            Kind::Destination | Kind::Endpoints => destinations.clone(),
            Kind::Proxy | Kind::RateLimit | Kind::Host => vec!["*".to_owned()],
        };
        requests.push(DeltaRequest {
            node: node.take(),
            type_url: kind.type_url().to_owned(),
            resource_names_subscribe: names,
            ..DeltaRequest::default()
        });
    }
    requests
}

async fn open(socket: &PathBuf) -> Result<(mpsc::UnboundedSender<DeltaRequest>, Streaming<DeltaResponse>)> {
    let connection = UnixStream::connect(socket).await?;
    let (sender, driver) =
        http2::handshake::<_, _, tonic::body::Body>(TokioExecutor::new(), TokioIo::new(connection)).await?;
    tokio::spawn(driver);
    let service = tower::service_fn(move |request| {
        let mut sender = sender.clone();
        async move { sender.send_request(request).await }
    });
    let mut client = tonic::client::Grpc::with_origin(service, http::Uri::from_static("http://controller"))
        .max_decoding_message_size(2 * RESOURCE_BYTES_MAX);
    let (outbox, requests) = mpsc::unbounded_channel();
    let codec = ProstCodec::<DeltaRequest, DeltaResponse>::new();
    let requests = Request::new(UnboundedReceiverStream::new(requests));
    let answer = client.streaming(requests, PathAndQuery::from_static(STREAM_PATH), codec).await?;
    Ok((outbox, answer.into_inner()))
}
