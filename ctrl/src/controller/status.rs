//! `/healthz`, `/readyz`, `/status`, `/certs` and `/metrics` of the controller.

use std::convert::Infallible;
use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde::Serialize;
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::ca::status::{CertificateStatus, CertsStatus, Shared as CertsShared};
use crate::cluster::status::Counts;
use crate::feed::hub::{Hub, StreamStatus};
use crate::store::worker::{Shared, Summary};

/// Time for a request's head to arrive.
const HEAD: Duration = Duration::from_secs(5);

#[derive(Serialize)]
struct Status<'a> {
    #[serde(flatten)]
    summary: &'a Summary,
    proxies: Vec<StreamStatus>,
}

/// What is told.
#[derive(Clone)]
pub struct Told {
    /// The proxies.
    pub hub: Arc<Hub>,
    /// The store.
    pub shared: Shared,
    /// The CA.
    pub certs: CertsShared,
    /// What only a cluster's controller knows.
    pub cluster: Option<Cluster>,
}

/// What a cluster's controller tells beside.
#[derive(Clone)]
pub struct Cluster {
    /// Whether this replica writes.
    pub leads: watch::Receiver<bool>,
    /// Whether the feed is served.
    pub ready: watch::Receiver<bool>,
    /// What was written.
    pub counts: Arc<Counts>,
}

/// Serves until the process ends.
pub async fn serve(listener: TcpListener, told: Told) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // Out of descriptors, say: the feed matters more.
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let told = told.clone();
        tokio::spawn(async move {
            let service = service_fn(move |request: Request<Incoming>| {
                let answer = answer(&request, &told);
                async move { Ok::<_, Infallible>(answer) }
            });
            let _ = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEAD)
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

fn answer(request: &Request<Incoming>, told: &Told) -> Response<Full<Bytes>> {
    if request.method() != Method::GET {
        return text(StatusCode::METHOD_NOT_ALLOWED, "text/plain", "only GET\n".into());
    }
    if !is_local_name(request) {
        let why = "ask by address or as localhost\n".to_owned();
        return text(StatusCode::FORBIDDEN, "text/plain", why);
    }
    let Told { hub, shared, certs, cluster } = told;
    let summary = shared.lock().unwrap_or_else(PoisonError::into_inner).clone();
    match request.uri().path() {
        // A cluster's controller that waits for the API server is not helped by being started anew.
        "/healthz" if cluster.is_some() => text(StatusCode::OK, "text/plain", "ok\n".into()),
        "/readyz" if cluster.as_ref().is_some_and(|it| !*it.ready.borrow()) => {
            text(StatusCode::SERVICE_UNAVAILABLE, "text/plain", "the feed is not served yet\n".into())
        }
        "/healthz" | "/readyz" if summary.version > 0 => text(StatusCode::OK, "text/plain", "ok\n".into()),
        "/healthz" | "/readyz" => {
            text(StatusCode::SERVICE_UNAVAILABLE, "text/plain", "no version yet\n".into())
        }
        "/status" => json(&Status { summary: &summary, proxies: hub.status() }),
        "/certs" => json(&*certs.lock().unwrap_or_else(PoisonError::into_inner)),
        "/metrics" => {
            let certs = certs.lock().unwrap_or_else(PoisonError::into_inner).clone();
            let mut page = metrics(&summary, hub, &certs);
            page.extend(cluster.iter().map(cluster_metrics));
            text(StatusCode::OK, "text/plain; version=0.0.4", page)
        }
        _ => {
            text(StatusCode::NOT_FOUND, "text/plain", "/healthz, /readyz, /status, /certs, /metrics\n".into())
        }
    }
}

fn json(body: &impl Serialize) -> Response<Full<Bytes>> {
    match serde_json::to_string_pretty(body) {
        Ok(json) => text(StatusCode::OK, "application/json", json + "\n"),
        Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, "text/plain", error.to_string()),
    }
}

/// Whether the request names this machine by an address or as localhost: a web page that rebinds a name of its own to a
/// loopback address cannot.
fn is_local_name(request: &Request<Incoming>) -> bool {
    let host =
        request.headers().get(hyper::header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let Ok(authority) = host.parse::<http::uri::Authority>() else { return false };
    let name = authority.host().trim_start_matches('[').trim_end_matches(']');
    name.eq_ignore_ascii_case("localhost") || name.parse::<std::net::IpAddr>().is_ok()
}

fn text(status: StatusCode, kind: &str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    if let Ok(kind) = kind.parse() {
        response.headers_mut().insert(hyper::header::CONTENT_TYPE, kind);
    }
    response
}

fn metrics(summary: &Summary, hub: &Hub, certs: &CertsStatus) -> String {
    let (proxies, totals) = (hub.status(), hub.totals());
    let behind = proxies.iter().filter(|proxy| proxy.synced != Some(summary.version)).count();
    let refused: usize = proxies.iter().map(|proxy| proxy.nacks.len()).sum();
    let mut out = String::new();
    let mut put = |kind: &str, name: &str, help: &str, value: u64| {
        // Writing to a string cannot fail.
        let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}");
    };
    put("gauge", "dromon_controller_version", "Version in force.", summary.version);
    put(
        "gauge",
        "dromon_controller_version_microseconds",
        "From the first change of the last version to its last view.",
        summary.took_us,
    );
    put("gauge", "dromon_controller_objects", "Objects in force.", summary.objects as u64);
    put("gauge", "dromon_controller_diagnostics", "Findings.", summary.diagnostics.len() as u64);
    put("gauge", "dromon_controller_held_routes", "Routes that wait.", summary.held.len() as u64);
    put("gauge", "dromon_controller_proxies", "Connected proxies.", proxies.len() as u64);
    put("gauge", "dromon_controller_proxies_behind", "Proxies without the version in force.", behind as u64);
    put("gauge", "dromon_controller_refused_resources", "Resources refused now.", refused as u64);
    put("counter", "dromon_controller_streams_total", "Streams opened.", totals.streams_opened);
    put("counter", "dromon_controller_refusals_total", "Resources refused.", totals.resources_refused);
    put("gauge", "dromon_controller_certificates", "Proxies with a certificate.", held(certs).count() as u64);
    let first = held(certs).map(|certificate| certificate.not_after).min().unwrap_or(0);
    put(
        "gauge",
        "dromon_controller_certificate_expiry_seconds",
        "When the first one expires, Unix time.",
        first,
    );
    put(
        "gauge",
        "dromon_controller_ca_expiry_seconds",
        "When the CA expires, Unix time.",
        certs.issuer_not_after,
    );
    put("counter", "dromon_controller_certificates_issued_total", "Certificates issued.", certs.issued);
    put(
        "counter",
        "dromon_controller_certificate_failures_total",
        "Tries to issue that failed.",
        certs.failed,
    );
    out + &hub.pushes().prometheus()
}

fn cluster_metrics(cluster: &Cluster) -> String {
    let count = |count: &AtomicU64| count.load(Ordering::Relaxed);
    let counts = &cluster.counts;
    let lines = [
        ("gauge", "leader", "Whether this replica writes.", u64::from(*cluster.leads.borrow())),
        ("counter", "statuses_written_total", "Statuses written.", count(&counts.written)),
        ("counter", "status_failures_total", "Statuses that could not be written.", count(&counts.failed)),
        ("counter", "events_total", "Events written.", count(&counts.events)),
    ];
    let line = |(kind, name, help, value)| {
        let name = format!("dromon_controller_{name}");
        format!("# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}\n")
    };
    lines.map(line).concat()
}

fn held(certs: &CertsStatus) -> impl Iterator<Item = &CertificateStatus> {
    certs.certificates.iter().filter(|certificate| !certificate.serial.is_empty())
}
