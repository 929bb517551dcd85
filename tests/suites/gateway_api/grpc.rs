//! gRPC at its smallest: every call is answered by a message that names the server, and status 0.

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
    while let Some(Ok((_, mut respond))) = connection.accept().await {
        let head = Response::builder().header("content-type", "application/grpc").body(()).expect("a head");
        let Ok(mut body) = respond.send_response(head, false) else { continue };
        let mut message = vec![0, 0, 0, 0, u8::try_from(name.len()).expect("short")];
        message.extend_from_slice(name.as_bytes());
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", "0".parse().expect("a value"));
        let _ = body.send_data(Bytes::from(message), false).and_then(|()| body.send_trailers(trailers));
    }
}

/// Calls a method of `authority` so many times over one connection to `at`: the server's name and the status of each, or what
/// went wrong.
pub fn call(at: SocketAddr, authority: &str, method: &str, count: usize) -> Vec<String> {
    runtime().block_on(async {
        let stream = TcpStream::connect(at).await.expect("the sidecar listens");
        let handshake = h2::client::Builder::new().handshake::<_, Bytes>(stream).await;
        let (mut client, connection) = handshake.expect("HTTP/2");
        tokio::spawn(connection);
        let mut all = Vec::new();
        for _ in 0..count {
            let request = Request::post(format!("http://{authority}{method}"))
                .header("content-type", "application/grpc")
                .header("te", "trailers")
                .body(())
                .expect("a request");
            client = client.ready().await.expect("a connection that goes on");
            let (answer, mut body) = client.send_request(request, false).expect("a stream");
            body.send_data(Bytes::from_static(&[0; 5]), true).expect("room for a message");
            all.push(match answer.await {
                Ok(answer) => read(answer).await,
                Err(error) => error.to_string(),
            });
        }
        all
    })
}

async fn read(answer: Response<h2::RecvStream>) -> String {
    let status =
        |of: &HeaderMap| of.get("grpc-status").and_then(|it| it.to_str().ok()).unwrap_or_default().to_owned();
    let (head, mut body) = answer.into_parts();
    let mut message = Vec::new();
    while let Some(Ok(part)) = body.data().await {
        let _ = body.flow_control().release_capacity(part.len());
        message.extend_from_slice(&part);
    }
    let trailers = body.trailers().await.ok().flatten();
    let name = String::from_utf8_lossy(message.get(5..).unwrap_or_default()).into_owned();
    format!("{name} {}", trailers.as_ref().map_or_else(|| status(&head.headers), status))
}
