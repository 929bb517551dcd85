//! Which endpoint answers what.

use std::net::IpAddr;

use dromon_core::app_health::PATH_PREFIX;
use dromon_core::limits::ADMIN_BODY_BYTES_MAX;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use tokio::sync::oneshot;

use super::super::app;
use super::super::event::Event;
use super::super::handle::Shared;

/// One of the proxy's own ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Face {
    /// 15000: operators on this machine.
    Admin,
    /// 15020: metrics, readiness, quitting.
    Metrics,
    /// 15021: readiness.
    Health,
    /// 15090: metrics.
    Stats,
}

impl Face {
    /// For error texts.
    pub fn name(self) -> &'static str {
        match self {
            Face::Admin => "the admin endpoint",
            Face::Metrics => "the metrics endpoint",
            Face::Health => "the readiness endpoint",
            Face::Stats => "the stats endpoint",
        }
    }

    /// The option that moves it.
    pub fn flag(self) -> &'static str {
        match self {
            Face::Admin => "--admin-addr",
            Face::Metrics => "--metrics-addr",
            Face::Health => "--health-addr",
            Face::Stats => "--stats-addr",
        }
    }
}

type Answer = Response<Full<Bytes>>;

/// A page, where it is served and by which method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Page {
    Config,
    Stats,
    Prometheus,
    Ready,
    Certs,
    Explain,
    Drain,
    Quit,
    Help,
}

const PAGES: [(&str, Page, Method, &[Face], &str); 10] = [
    ("/config", Page::Config, Method::GET, &[Face::Admin], "the configuration in force, as JSON"),
    ("/stats", Page::Stats, Method::GET, &[Face::Admin], "numbers for people; ?format=json"),
    (
        "/stats/prometheus",
        Page::Prometheus,
        Method::GET,
        &[Face::Admin, Face::Metrics, Face::Stats],
        "numbers for Prometheus",
    ),
    ("/ready", Page::Ready, Method::GET, &[Face::Admin], "200 when traffic can flow, else 503 and why"),
    ("/healthz/ready", Page::Ready, Method::GET, &[Face::Admin, Face::Metrics, Face::Health], "the same"),
    (
        "/certs",
        Page::Certs,
        Method::GET,
        &[Face::Admin, Face::Metrics],
        "the proxy's own certificate, as JSON",
    ),
    (
        "/explain",
        Page::Explain,
        Method::POST,
        &[Face::Admin],
        "which rule takes a request: {\"authority\":\"a.b\",\"path\":\"/\"}; ?format=json",
    ),
    (
        "/drain",
        Page::Drain,
        Method::POST,
        &[Face::Admin, Face::Metrics],
        "be ready no more, and end each connection with its next answer",
    ),
    ("/quitquitquit", Page::Quit, Method::POST, &[Face::Admin, Face::Metrics], "drain, then end the process"),
    ("/help", Page::Help, Method::GET, &[Face::Admin], "this page"),
];

/// Answers one request of this peer.
pub async fn answer(face: Face, peer: IpAddr, request: Request<Incoming>, handle: &Shared) -> Answer {
    if face == Face::Admin && !is_local_name(&request) {
        return text(StatusCode::FORBIDDEN, "this page answers to an address or to localhost only\n".into());
    }
    let path = request.uri().path();
    let path = if path == "/" && face == Face::Admin { "/help" } else { path };
    if face == Face::Metrics && path.starts_with(PATH_PREFIX) {
        return app_health(path, &request, handle).await;
    }
    let Some((_, page, method, ..)) =
        PAGES.iter().find(|(at, _, _, faces, _)| *at == path && faces.contains(&face))
    else {
        return text(StatusCode::NOT_FOUND, format!("no such page: {path}\n{}", help(face)));
    };
    let is_read = *method == Method::GET && matches!(*request.method(), Method::GET | Method::HEAD);
    if !is_read && request.method() != method {
        let mut refusal = text(StatusCode::METHOD_NOT_ALLOWED, format!("{path} takes {method} only\n"));
        if let Ok(allow) = header::HeaderValue::from_str(method.as_str()) {
            refusal.headers_mut().insert(header::ALLOW, allow);
        }
        return refusal;
    }
    if matches!(page, Page::Drain | Page::Quit) && !may_order(peer, &request) {
        return text(StatusCode::FORBIDDEN, format!("{path} is for programs on this machine\n"));
    }
    let wants_json =
        request.uri().query().is_some_and(|query| query.split('&').any(|it| it == "format=json"));
    match page {
        Page::Config => json(super::config::page(&handle.status.borrow(), &handle.settings)),
        Page::Stats => {
            gather(handle).await;
            let (status, totals) = (handle.status.borrow(), handle.totals.borrow());
            if wants_json {
                json(super::stats::json(&status, &totals))
            } else {
                text(StatusCode::OK, super::stats::text(&status, &totals))
            }
        }
        Page::Prometheus => {
            gather(handle).await;
            let mut page = super::prometheus::page(&handle.status.borrow(), &handle.totals.borrow());
            if face == Face::Metrics {
                page.push_str(&of_application(handle).await);
            }
            with_type(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", page)
        }
        Page::Ready => match handle.status.borrow().ready() {
            Ok(()) => text(StatusCode::OK, "ready\n".into()),
            Err(reason) => text(StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {reason}\n")),
        },
        Page::Certs => match serde_json::to_string_pretty(&handle.status.borrow().certificates) {
            Ok(page) => json(page + "\n"),
            Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
        },
        Page::Explain => explain(request, wants_json, handle).await,
        Page::Drain => order(handle, Event::Drain, "draining\n").await,
        Page::Quit => order(handle, Event::Quit, "draining, then ending\n").await,
        Page::Help => text(StatusCode::OK, help(face)),
    }
}

/// Asks the application what a probe asks, and answers as it does.
async fn app_health(path: &str, request: &Request<Incoming>, handle: &Shared) -> Answer {
    let application = &handle.settings.application;
    let Some(probe) = application.probes.0.get(path) else {
        return text(StatusCode::NOT_FOUND, format!("no such probe: {path}\n"));
    };
    let agent = request.headers().get(header::USER_AGENT);
    let outcome = app::probe(application, probe, agent).await;
    text(outcome.status, outcome.text + "\n")
}

/// The application's metrics, where they are merged, and whether they could be had.
async fn of_application(handle: &Shared) -> String {
    let application = &handle.settings.application;
    let Some(metrics) = &application.metrics else { return String::new() };
    let (up, theirs) = match app::scrape(application, metrics).await {
        Ok(theirs) => (1, theirs),
        Err(error) => {
            handle.log.warn(format_args!("the application's metrics are missing: {error}"));
            (0, String::new())
        }
    };
    format!(
        "# HELP dromon_application_metrics_up 1 if the application's own metrics are part of this page.\n\
         # TYPE dromon_application_metrics_up gauge\ndromon_application_metrics_up {up}\n{theirs}"
    )
}

/// Whether the request names this port by an address or as `localhost`. A page on the web that has its own name resolve
/// to this machine (DNS rebinding) names itself, and must not read what is here.
fn is_local_name(request: &Request<Incoming>) -> bool {
    let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
    let named = request.uri().authority().map(|authority| authority.as_str()).or(host);
    named.is_none_or(|named| match named.parse::<http::uri::Authority>() {
        Ok(authority) => {
            let name = authority.host().trim_start_matches('[').trim_end_matches(']');
            name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok()
        }
        Err(_) => false,
    })
}

/// Whether a request may end or drain the process: it comes from this machine, and not out of a page in a browser.
fn may_order<B>(peer: IpAddr, request: &Request<B>) -> bool {
    peer.to_canonical().is_loopback() && !request.headers().contains_key(header::ORIGIN)
}

/// Explains a decision of the table in force.
async fn explain(request: Request<Incoming>, wants_json: bool, handle: &Shared) -> Answer {
    let body = Limited::new(request.into_body(), ADMIN_BODY_BYTES_MAX).collect().await;
    let Ok(question) = body.map(|body| body.to_bytes()) else {
        return text(StatusCode::BAD_REQUEST, "the question cannot be read\n".into());
    };
    let Some(table) = handle.status.borrow().table.clone() else {
        return text(StatusCode::SERVICE_UNAVAILABLE, "no configuration yet\n".into());
    };
    match super::explain::answer(&table, &question) {
        Err(why) => text(StatusCode::BAD_REQUEST, why + "\n"),
        Ok(explanation) if !wants_json => text(StatusCode::OK, explanation.to_string()),
        Ok(explanation) => match serde_json::to_string_pretty(&explanation) {
            Ok(page) => json(page + "\n"),
            Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
        },
    }
}

/// Has the numbers of all shards that answer in time added to the totals.
async fn gather(handle: &Shared) {
    let (reply, done) = oneshot::channel();
    if handle.events.send(Event::Scrape(reply)).await.is_ok() {
        // A loop that ends leaves the totals as they are.
        let _ = done.await;
    }
}

async fn order(handle: &Shared, event: Event, done: &str) -> Answer {
    match handle.events.send(event).await {
        Ok(()) => text(StatusCode::OK, done.into()),
        Err(_) => text(StatusCode::SERVICE_UNAVAILABLE, "the process is ending\n".into()),
    }
}

fn help(face: Face) -> String {
    let pages = PAGES.iter().filter(|(_, _, _, faces, _)| faces.contains(&face));
    pages.map(|(path, _, method, _, what)| format!("{:4} {path:20} {what}\n", method.as_str())).collect()
}

fn json(body: String) -> Answer {
    with_type(StatusCode::OK, "application/json", body)
}

fn text(status: StatusCode, body: String) -> Answer {
    with_type(status, "text/plain; charset=utf-8", body)
}

fn with_type(status: StatusCode, content_type: &'static str, body: String) -> Answer {
    let mut answer = Response::new(Full::new(Bytes::from(body)));
    *answer.status_mut() = status;
    answer.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static(content_type));
    answer
}

#[cfg(test)]
mod tests;
