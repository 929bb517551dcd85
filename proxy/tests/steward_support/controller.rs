//! A feed server that says what a test tells it to.

use std::collections::HashMap;
use std::convert::Infallible;
use std::future::{Ready, ready};
use std::path::{Path, PathBuf};

use dromon_core::config::model::Kind;
use dromon_core::config::wire::{Any, DeltaRequest, DeltaResponse, Resource};
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::Value;
use tokio::net::UnixListener;
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, JoinSet};
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::server::{Grpc, StreamingService};
use tonic::{Request, Response, Status, Streaming};
use tonic_prost::ProstCodec;

use super::within;

/// Listens on a socket until it is dropped; its streams end with it.
pub struct Controller {
    pub path: PathBuf,
    links: mpsc::UnboundedReceiver<Link>,
    server: JoinHandle<()>,
}

impl Controller {
    pub fn start(path: &Path) -> Controller {
        let _ = std::fs::remove_file(path);
        let listener = UnixListener::bind(path).expect("a socket for the feed");
        let (found, links) = mpsc::unbounded_channel();
        let server = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let found = found.clone();
                connections.spawn(async move {
                    let service = service_fn(move |request| {
                        let found = found.clone();
                        async move {
                            let codec = ProstCodec::<DeltaResponse, DeltaRequest>::default();
                            Ok::<_, Infallible>(Grpc::new(codec).streaming(Feed { found }, request).await)
                        }
                    });
                    let server = http2::Builder::new(TokioExecutor::new());
                    let _ = server.serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        Controller { path: path.to_owned(), links, server }
    }

    /// The next stream that a proxy opens.
    pub async fn link(&mut self) -> Link {
        within("a stream", self.links.recv()).await.expect("the server runs")
    }

    /// Goes away without a word, as a crashed controller does.
    pub async fn crash(self) {
        self.server.abort();
        let _ = self.server.await;
        let _ = std::fs::remove_file(&self.path);
    }
}

struct Feed {
    found: mpsc::UnboundedSender<Link>,
}

impl StreamingService<DeltaRequest> for Feed {
    type Response = DeltaResponse;
    type ResponseStream = UnboundedReceiverStream<Result<DeltaResponse, Status>>;
    type Future = Ready<Result<Response<Self::ResponseStream>, Status>>;

    fn call(&mut self, request: Request<Streaming<DeltaRequest>>) -> Self::Future {
        let (responses, outgoing) = mpsc::unbounded_channel();
        let _ = self.found.send(Link { requests: request.into_inner(), responses, nonce: 0 });
        ready(Ok(Response::new(UnboundedReceiverStream::new(outgoing))))
    }
}

/// One stream, seen from the controller.
pub struct Link {
    requests: Streaming<DeltaRequest>,
    responses: mpsc::UnboundedSender<Result<DeltaResponse, Status>>,
    nonce: u64,
}

impl Link {
    /// The next request.
    pub async fn request(&mut self) -> DeltaRequest {
        within("a request", self.requests.message()).await.expect("a stream").expect("a request")
    }

    /// The next requests that are no answers, until each of these kinds has been asked for: the names.
    pub async fn asked(&mut self, kinds: &[Kind]) -> HashMap<Kind, Vec<String>> {
        let mut asked = HashMap::new();
        while !kinds.iter().all(|kind| asked.contains_key(kind)) {
            let request = self.request().await;
            let kind = Kind::from_type_url(&request.type_url).expect("a known type");
            if request.response_nonce.is_empty() {
                asked.insert(kind, request.resource_names_subscribe);
            }
        }
        asked
    }

    /// The subscriptions that a stream begins with, by type.
    pub async fn opening(&mut self, kinds: &[Kind]) -> HashMap<String, DeltaRequest> {
        let mut opening = HashMap::new();
        while !kinds.iter().all(|kind| opening.contains_key(kind.type_url())) {
            let request = self.request().await;
            opening.insert(request.type_url.clone(), request);
        }
        opening
    }

    /// Sends objects at a version, and removals. The answer: the nonce.
    pub fn send(&mut self, kind: Kind, version: &str, bodies: &[Value], removed: &[&str]) -> String {
        self.nonce += 1;
        let nonce = format!("n{}", self.nonce);
        let resources = bodies.iter().map(|body| Resource {
            version: version.into(),
            name: body["name"].as_str().expect("a name").into(),
            resource: Some(Any {
                type_url: kind.type_url().into(),
                value: serde_json::to_vec(body).expect("JSON").into(),
            }),
        });
        let response = DeltaResponse {
            system_version_info: version.into(),
            resources: resources.collect(),
            type_url: kind.type_url().into(),
            nonce: nonce.clone(),
            removed_resources: removed.iter().map(|name| (*name).to_owned()).collect(),
        };
        self.send_response(response);
        nonce
    }

    /// Sends whatever it is.
    pub fn send_response(&mut self, response: DeltaResponse) {
        self.responses.send(Ok(response)).expect("the stream stands");
    }

    /// Sends these kinds without any object: that is all there is of them.
    pub fn send_nothing(&mut self, kinds: &[Kind]) {
        for kind in kinds {
            self.send(*kind, "0", &[], &[]);
        }
    }

    /// The answer to a response: `None` for an ACK, the text of a NACK.
    pub async fn answer(&mut self, nonce: &str) -> Option<String> {
        loop {
            let request = self.request().await;
            if request.response_nonce == nonce {
                return request.error_detail.map(|detail| detail.message);
            }
        }
    }
}
