use std::convert::Infallible;
use std::future::Future;

use bytes::Bytes;
use dromon_core::app_health::{AppMetrics, AppProbe, AppProbes, Ask, HttpGet};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use http_body_util::StreamBody;
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::{LocalSet, spawn_local};

use super::{Application, probe, scrape};

fn run<T>(test: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    LocalSet::new().block_on(&runtime, test)
}

/// Gives every connection this answer; returns the port and, by the channel, each request.
async fn answering(answer: &'static str) -> (u16, tokio::sync::mpsc::UnboundedReceiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("bound").port();
    let (sender, asked) = tokio::sync::mpsc::unbounded_channel();
    spawn_local(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                match stream.read_u8().await {
                    Ok(byte) => request.push(byte),
                    Err(_) => break,
                }
            }
            if sender.send(String::from_utf8_lossy(&request).into_owned()).is_err() {
                return;
            }
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    (port, asked)
}

fn http(port: u16, headers: &[(&str, &str)]) -> AppProbe {
    let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let get = HttpGet { port, path: "/health?deep=1".to_owned(), tls: false, headers };
    AppProbe { ask: Ask::HttpGet(get), timeout_seconds: 20 }
}

/// Of the pod as it would be with capture: an address that is not loopback's first, asked from 127.0.0.6.
fn application() -> Application {
    Application { address: Some([127, 0, 0, 1].into()), ..Application::default() }
}

#[test]
fn http_probes_pass_the_applications_status_on() {
    run(async {
        let agent = HeaderValue::from_static("kube-probe/1.36");
        for (answer, status) in [
            ("HTTP/1.1 204 No Content\r\n\r\n", StatusCode::NO_CONTENT),
            ("HTTP/1.1 302 Found\r\nlocation: /\r\ncontent-length: 0\r\n\r\n", StatusCode::FOUND),
            ("HTTP/1.1 500 Broken\r\ncontent-length: 0\r\n\r\n", StatusCode::INTERNAL_SERVER_ERROR),
            ("no HTTP at all\r\n\r\n", StatusCode::SERVICE_UNAVAILABLE),
        ] {
            let (port, mut asked) = answering(answer).await;
            let outcome = probe(&application(), &http(port, &[("x-a", "b")]), Some(&agent)).await;
            assert_eq!(outcome.status, status, "{answer}");
            let request = asked.recv().await.expect("asked").to_ascii_lowercase();
            assert!(request.starts_with("get /health?deep=1 http/1.1\r\n"), "{request}");
            for line in ["x-a: b", "user-agent: kube-probe/1.36", &format!("host: 127.0.0.1:{port}")] {
                assert!(request.contains(line), "{request}");
            }
        }
    });
}

#[test]
fn tcp_probes_connect() {
    run(async {
        let (port, _asked) = answering("").await;
        let of = |port| AppProbe { ask: Ask::TcpSocket { port }, timeout_seconds: 20 };
        assert_eq!(probe(&application(), &of(port), None).await.status, StatusCode::OK);
        let closed = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = closed.local_addr().expect("bound").port();
        drop(closed);
        assert_eq!(probe(&application(), &of(port), None).await.status, StatusCode::SERVICE_UNAVAILABLE);
    });
}

#[test]
fn an_application_that_says_nothing_is_not_well() {
    run(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("bound").port();
        let asked = AppProbe { timeout_seconds: 1, ..http(port, &[]) };
        let outcome = probe(&application(), &asked, None).await;
        assert_eq!(outcome.text, "no answer within 1 s");
    });
}

/// A server of gRPC's health protocol with this serving status; an unknown service is NOT_FOUND.
async fn health(status: u8) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("bound").port();
    spawn_local(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let serve = service_fn(move |request: Request<Incoming>| async move {
                assert_eq!(request.uri().path(), "/grpc.health.v1.Health/Check");
                let mut trailers = HeaderMap::new();
                trailers.insert("grpc-status", HeaderValue::from_static("0"));
                let frames = [
                    Ok::<_, Infallible>(Frame::data(Bytes::from(vec![0, 0, 0, 0, 2, 8, status]))),
                    Ok(Frame::trailers(trailers)),
                ];
                Ok::<_, Infallible>(Response::new(StreamBody::new(tokio_stream::iter(frames))))
            });
            let connection = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            spawn_local(async move {
                let _ = connection.serve_connection(TokioIo::new(stream), serve).await;
            });
        }
    });
    port
}

#[test]
fn grpc_probes_ask_the_health_service() {
    run(async {
        for (said, status) in [(1, StatusCode::OK), (2, StatusCode::SERVICE_UNAVAILABLE)] {
            let port = health(said).await;
            let asked = AppProbe { ask: Ask::Grpc { port, service: "a".to_owned() }, timeout_seconds: 20 };
            let outcome = probe(&application(), &asked, None).await;
            assert_eq!(outcome.status, status, "{}", outcome.text);
        }
    });
}

#[test]
fn metrics_come_without_their_end_mark() {
    run(async {
        let (port, mut asked) =
            answering("HTTP/1.1 200 OK\r\ncontent-length: 12\r\n\r\norders 3\n# EOF\n").await;
        let metrics = AppMetrics { port, path: "/m?x=1".to_owned() };
        // Twelve bytes: the body ends within the mark, which is then no mark.
        assert_eq!(scrape(&application(), &metrics).await.as_deref(), Ok("orders 3\n# E\n"));
        assert!(asked.recv().await.expect("asked").starts_with("GET /m?x=1 HTTP/1.1\r\n"));
        let (port, _asked) = answering("HTTP/1.1 200 OK\r\n\r\norders 3\n# EOF\n").await;
        let metrics = AppMetrics { port, path: "/m".to_owned() };
        let (address, probes) = (None, AppProbes::default());
        let here = Application { address, probes, metrics: Some(metrics.clone()) };
        // Without a length the body ends with the connection.
        assert_eq!(scrape(&here, &metrics).await.as_deref(), Ok("orders 3\n"));
    });
}

/// What injection writes is what is read.
#[test]
fn probes_travel_as_json() {
    let probes = AppProbes([("/app-health/a/livez".to_owned(), http(80, &[("x", "y")]))].into());
    assert_eq!(AppProbes::from_json(&probes.to_json()), Ok(probes));
    let short =
        r#"{"/app-health/a/readyz":{"grpc":{"port":9}},"/b":{"tcpSocket":{"port":1},"timeoutSeconds":3}}"#;
    let read = AppProbes::from_json(short).expect("reads");
    assert_eq!(read.0["/app-health/a/readyz"].timeout_seconds, 1);
}
