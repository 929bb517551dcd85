//! The proxy's own HTTP endpoints: for operators, probes and scrapers. None of it touches a shard's thread.

mod answer;
mod config;
mod explain;
mod prometheus;
mod stats;

use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use dromon_core::limits::ADMIN_CONNECTIONS_MAX;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use thiserror::Error;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::spawn_local;

use super::handle::Shared;
pub use answer::Face;

/// A request's head must have come by then, and a connection may idle as long.
const HEAD_MAX: Duration = Duration::from_secs(10);
/// Wait after a failure to accept, such as no free descriptor.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);
/// Read buffer of a connection, in bytes: requests are one line and few fields.
const BUFFER_BYTES: usize = 16 * 1024;

/// An endpoint that cannot listen.
#[derive(Debug, Error)]
#[error("{face} cannot listen on {address}: {error}; is another proxy running here? (see {flag})")]
pub struct AdminError {
    face: &'static str,
    flag: &'static str,
    address: SocketAddr,
    error: std::io::Error,
}

/// Listens on every address that the settings name.
pub async fn start(handle: &Shared) -> Result<(), AdminError> {
    let settings = &handle.settings;
    for (face, address) in [
        (Face::Admin, Some(settings.admin_addr)),
        (Face::Metrics, settings.metrics_addr),
        (Face::Health, settings.health_addr),
        (Face::Stats, settings.stats_addr),
    ] {
        let Some(address) = address else { continue };
        let listener = bind(address).await.map_err(|error| AdminError {
            face: face.name(),
            flag: face.flag(),
            address,
            error,
        })?;
        spawn_local(serve(listener, face, handle.clone()));
    }
    Ok(())
}

/// Listens; on every address of IPv4 alone where the machine has no IPv6 and every address is asked for.
async fn bind(address: SocketAddr) -> std::io::Result<TcpListener> {
    match TcpListener::bind(address).await {
        Err(_) if address.ip() == IpAddr::V6(Ipv6Addr::UNSPECIFIED) => {
            TcpListener::bind((Ipv4Addr::UNSPECIFIED, address.port())).await
        }
        other => other,
    }
}

async fn serve(listener: TcpListener, face: Face, handle: Shared) {
    let places = Arc::new(Semaphore::new(ADMIN_CONNECTIONS_MAX));
    loop {
        // The semaphore is never closed, so a place always comes.
        let Ok(place) = places.clone().acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, peer)) => {
                let handle = handle.clone();
                spawn_local(async move {
                    converse(stream, peer.ip(), face, handle).await;
                    drop(place);
                });
            }
            Err(error) => {
                handle.log.warn(format_args!("{}: cannot accept: {error}", face.name()));
                tokio::time::sleep(ACCEPT_RETRY).await;
            }
        }
    }
}

async fn converse(stream: TcpStream, peer: IpAddr, face: Face, handle: Shared) {
    let service = service_fn(move |request| {
        let handle = handle.clone();
        async move { Ok::<_, Infallible>(answer::answer(face, peer, request, &handle).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_MAX)
        .max_buf_size(BUFFER_BYTES)
        .serve_connection(TokioIo::new(stream), service);
    // What goes wrong with an asker's connection is the asker's.
    let _ = connection.await;
}
