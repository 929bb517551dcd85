//! The Bookinfo sample as one binary: `dromon-bookinfo productpage|details|reviews|ratings`.
//!
//! It behaves as Istio's sample does (routes, versions, timeouts, two tries, forwarded headers), so the rules and
//! expectations that people know from there hold here. It knows nothing of the mesh: it honours `http_proxy`
//! like any program, listens where `DROMON_BIND` and `PORT` say, and ends on SIGTERM.

mod details;
mod page;
mod productpage;
mod ratings;
mod reviews;
mod upstream;

use std::net::{IpAddr, SocketAddr};

use anyhow::Context;
use axum::Router;
use axum::routing::get;
use clap::{Parser, ValueEnum};

/// The Bookinfo sample's services.
#[derive(Parser)]
#[command(name = "dromon-bookinfo")]
struct Args {
    /// Which service to be.
    service: Service,
    /// Its version: reviews v1 (no stars), v2 (black), v3 (red); ratings v1, v-faulty, v-delayed, v-unavailable.
    #[arg(long, default_value = "v1")]
    version: String,
    /// Address to listen on.
    #[arg(long, env = "DROMON_BIND", default_value = "0.0.0.0")]
    bind: IpAddr,
    /// Port to listen on.
    #[arg(long, env = "PORT", default_value_t = 9080)]
    port: u16,
}

#[derive(Clone, Copy, ValueEnum)]
enum Service {
    Productpage,
    Details,
    Reviews,
    Ratings,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let routes = match args.service {
        Service::Productpage => productpage::routes(upstream::Client::new()?),
        Service::Details => details::routes(),
        Service::Reviews => reviews::routes(upstream::Client::new()?, args.version.parse()?),
        Service::Ratings => ratings::routes(args.version.parse()?),
    };
    let app: Router = routes.route("/health", get(|| async { "ok" }));
    let address = SocketAddr::new(args.bind, args.port);
    let listener = tokio::net::TcpListener::bind(address)
        .await
        .with_context(|| format!("cannot listen on {address}"))?;
    eprintln!("listening on {address}");
    axum::serve(listener, app).with_graceful_shutdown(asked_to_end()).await?;
    Ok(())
}

async fn asked_to_end() {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut term), Ok(mut interrupt)) =
        (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        return std::future::pending().await;
    };
    tokio::select! { _ = term.recv() => {}, _ = interrupt.recv() => {} }
}
