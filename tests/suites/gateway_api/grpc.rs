//! gRPC at its smallest: every call is answered by a message that names the server and then what it was called with, a line for each
//! header, and status 0.

use std::net::SocketAddr;

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use tokio::net::{TcpListener, TcpStream};

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}

/// Starts a server on a loopback port; it lives as long as the test's process.
pub fn serve(name: &'static str) -> SocketAddr {
    let (told, address) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        runtime().block_on(async move {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a loopback port");
            told.send(listener.local_addr().expect("a bound socket has an address")).expect("somebody waits");
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(connection(stream, name));
            }
        });
    });
    address.recv().expect("the server starts")
}

async fn connection(stream: TcpStream, name: &'static str) {
    let Ok(mut connection) = h2::server::handshake(stream).await else { return };
    while let Some(Ok((call, mut respond))) = connection.accept().await {
        let answer = Response::builder().header("content-type", "application/grpc");
        let head = answer.header("x-of-server", "kept").header("x-gone", "away").body(()).expect("a head");
        let Ok(mut body) = respond.send_response(head, false) else { continue };
        let mut text = name.to_owned();
        for (name, value) in call.headers() {
            text += &format!("\n{name}: {}", value.to_str().unwrap_or_default());
        }
        let mut message = vec![0];
        message.extend_from_slice(&u32::try_from(text.len()).expect("short").to_be_bytes());
        message.extend_from_slice(text.as_bytes());
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", "0".parse().expect("a value"));
        let _ = body.send_data(Bytes::from(message), false).and_then(|()| body.send_trailers(trailers));
    }
}

/// What came of a call.
#[derive(Debug)]
pub struct Answer {
    /// Headers before the message.
    pub head: HeaderMap,
    /// The message's text; empty where there is none.
    pub text: String,
    /// `grpc-status`, of the trailers, or of the head where there are none.
    pub status: String,
}

/// Calls a method of `authority` so many times over one connection to `at`: the server's name and the status of each, or what
/// went wrong.
pub fn call(at: SocketAddr, authority: &str, method: &str, count: usize) -> Vec<String> {
    let short = |it: Result<Answer, h2::Error>| match it {
        Ok(answer) => format!("{} {}", answer.text.lines().next().unwrap_or_default(), answer.status),
        Err(error) => error.to_string(),
    };
    calls(at, authority, method, &[], count).into_iter().map(short).collect()
}

/// Calls a method once, with headers.
pub fn call_with(at: SocketAddr, authority: &str, method: &str, headers: &[(&str, &str)]) -> Answer {
    let answer = calls(at, authority, method, headers, 1).pop().expect("one call");
    answer.expect("an answer")
}

fn calls(
    at: SocketAddr,
    authority: &str,
    method: &str,
    headers: &[(&str, &str)],
    count: usize,
) -> Vec<Result<Answer, h2::Error>> {
    runtime().block_on(async {
        let stream = TcpStream::connect(at).await.expect("the sidecar listens");
        let handshake = h2::client::Builder::new().handshake::<_, Bytes>(stream).await;
        let (mut client, connection) = handshake.expect("HTTP/2");
        tokio::spawn(connection);
        let mut all = Vec::new();
        for _ in 0..count {
            let fixed = [("content-type", "application/grpc"), ("te", "trailers")];
            let request = Request::post(format!("http://{authority}{method}"));
            let request =
                fixed.iter().chain(headers).fold(request, |it, (name, value)| it.header(*name, *value));
            client = client.ready().await.expect("a connection that goes on");
            let request = request.body(()).expect("a request");
            let (answer, mut body) = client.send_request(request, false).expect("a stream");
            body.send_data(Bytes::from_static(&[0; 5]), true).expect("room for a message");
            all.push(match answer.await {
                Ok(answer) => Ok(read(answer).await),
                Err(error) => Err(error),
            });
        }
        all
    })
}

async fn read(answer: Response<h2::RecvStream>) -> Answer {
    let status =
        |of: &HeaderMap| of.get("grpc-status").and_then(|it| it.to_str().ok()).unwrap_or_default().to_owned();
    let (head, mut body) = answer.into_parts();
    let mut message = Vec::new();
    while let Some(Ok(part)) = body.data().await {
        let _ = body.flow_control().release_capacity(part.len());
        message.extend_from_slice(&part);
    }
    let trailers = body.trailers().await.ok().flatten();
    let text = String::from_utf8_lossy(message.get(5..).unwrap_or_default()).into_owned();
    let status = trailers.as_ref().map_or_else(|| status(&head.headers), status);
    Answer { head: head.headers, text, status }
}
