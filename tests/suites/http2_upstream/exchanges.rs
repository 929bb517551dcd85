//! Single exchanges: heads, bodies, trailers, interim answers.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use dromon_tests::http::{Connection, get};
use dromon_tests::process::Process;
use dromon_tests::{eventually, free_port};
use http::{HeaderMap, HeaderValue, Response};

use crate::start;
use crate::upstream::{Limits, answer, read, send, serve};

const MIB: usize = 1024 * 1024;

/// Sends raw bytes and reads until the connection closes or `until` has come.
pub fn raw(front: SocketAddr, request: &[u8], until: &str) -> String {
    let mut stream = TcpStream::connect(front).expect("the gateway listens");
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a socket option");
    stream.write_all(request).expect("the gateway reads");
    let (mut all, mut buffer) = (Vec::new(), [0; 4096]);
    while let Ok(count @ 1..) = stream.read(&mut buffer) {
        all.extend_from_slice(&buffer[..count]);
        if !until.is_empty() && String::from_utf8_lossy(&all).ends_with(until) {
            break;
        }
    }
    String::from_utf8_lossy(&all).into_owned()
}

/// Method, target, authority, fields and body, as the upstream sees them.
pub fn arrives_as_sent(driver: &str) {
    let (origin, _) = serve(Limits::default(), |mut request, respond| async move {
        let (body, _) = read(request.body_mut()).await;
        let mut text = format!("{} {} {:?}\n", request.method(), request.uri(), request.version());
        for (name, value) in request.headers() {
            text += &format!("{name}: {}\n", value.to_str().expect("text"));
        }
        text += &format!("\n{}", String::from_utf8_lossy(&body));
        answer(respond, text).await;
    });
    let (_proxy, front) = start(driver, &[origin], 1, |_, _| {});
    let mut connection = Connection::open(front).expect("the gateway listens");
    let headers =
        [("host", "shop.example:8080"), ("X-Mixed", "A b"), ("connection", "x-hop"), ("x-hop", "1")];
    let sent = connection.send("POST", "/a%2Fb?c=d", &headers, b"hello").expect("an answer");
    assert_eq!(sent.status, 200);
    let text = sent.text();
    assert!(text.starts_with("POST http://shop.example:8080/a%2Fb?c=d HTTP/2.0\n"), "{text}");
    assert!(text.contains("\nx-mixed: A b\n") && text.contains("\ncontent-length: 5\n"), "{text}");
    assert!(text.contains("\nx-request-id: ") && text.contains("\nx-forwarded-for: 127.0.0.1\n"), "{text}");
    assert!(!text.contains("x-hop") && !text.contains("connection") && !text.contains("\nhost:"), "{text}");
    assert!(text.ends_with("\n\nhello"), "{text}");
    let again = connection.send("GET", "/", &[], b"").expect("the client's connection lives on");
    assert!(again.text().starts_with("GET http://"), "{}", again.text());
}

/// A chunked body with trailers up; an answer with trailers down, to clients that take them and to those that do not.
pub fn trailers(driver: &str) {
    let (origin, _) = serve(Limits::default(), |mut request, mut respond| async move {
        let (body, trailers) = read(request.body_mut()).await;
        let sum = trailers.get("x-sum").and_then(|it| it.to_str().ok()).unwrap_or("none").to_owned();
        let text = format!("{} with {sum}", String::from_utf8_lossy(&body));
        let mut stream = respond.send_response(Response::new(()), false).expect("an open stream");
        send(&mut stream, text.into(), false).await;
        let mut trailers = HeaderMap::new();
        trailers.insert("x-down", HeaderValue::from_static("2"));
        trailers.insert("grpc-status", HeaderValue::from_static("7"));
        let _ = stream.send_trailers(trailers);
    });
    let (_proxy, front) = start(driver, &[origin], 1, |_, _| {});
    let head = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nConnection: close";
    let body = "5\r\nhello\r\n6;ext=1\r\n world\r\n0\r\nX-Sum: 11\r\n\r\n";
    let taken = raw(front, format!("{head}, te\r\nTE: trailers\r\n\r\n{body}").as_bytes(), "");
    let (_, rest) = taken.split_once("\r\n\r\n").unwrap_or_default();
    assert!(rest.starts_with("13\r\nhello world with 11\r\n0\r\n"), "{taken}");
    assert!(rest.contains("x-down: 2\r\n") && rest.contains("grpc-status: 7\r\n"), "{taken}");
    assert!(rest.ends_with("\r\n\r\n"), "{taken}");
    let untaken = raw(front, format!("{head}\r\n\r\n{body}").as_bytes(), "");
    assert!(untaken.ends_with("13\r\nhello world with 11\r\n0\r\n\r\n"), "{untaken}");
}

/// 103 before the answer, and 100 from the upstream before the body.
pub fn interim(driver: &str) {
    let (origin, _) = serve(Limits::default(), |mut request, mut respond| async move {
        let mut early = Response::new(());
        *early.status_mut() = http::StatusCode::EARLY_HINTS;
        early.headers_mut().insert("link", HeaderValue::from_static("</a>"));
        respond.send_informational(early).expect("an open stream");
        if request.headers().contains_key("expect") {
            let mut proceed = Response::new(());
            *proceed.status_mut() = http::StatusCode::CONTINUE;
            respond.send_informational(proceed).expect("an open stream");
        }
        let (body, _) = read(request.body_mut()).await;
        answer(respond, body).await;
    });
    let (_proxy, front) = start(driver, &[origin], 1, |_, _| {});
    let plain = raw(front, b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", "");
    assert!(
        plain.starts_with("HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\nHTTP/1.1 200 OK\r\n"),
        "{plain}"
    );
    let old = raw(front, b"GET / HTTP/1.0\r\nHost: a\r\n\r\n", "");
    assert!(old.starts_with("HTTP/1.1 200 OK\r\n"), "HTTP/1.0 knows no interim answers: {old}");

    let mut client = TcpStream::connect(front).expect("the gateway listens");
    client.set_read_timeout(Some(Duration::from_secs(20))).expect("a socket option");
    let head = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n";
    client.write_all(head).expect("the gateway reads");
    let (mut came, mut buffer) = (String::new(), [0; 1024]);
    while !came.contains("100 Continue\r\n\r\n") {
        let count = client.read(&mut buffer).expect("interim answers come before the body is sent");
        assert!(count > 0, "closed after {came}");
        came += &String::from_utf8_lossy(&buffer[..count]);
    }
    client.write_all(b"body").expect("the gateway reads");
    client.read_to_string(&mut came).expect("text");
    assert!(came.ends_with("\r\n\r\n4\r\nbody\r\n0\r\n\r\n"), "{came}");
}

/// HEAD, 204 and 304, and a GET whose stream ends with its head.
pub fn bodiless(driver: &str) {
    let (origin, _) = serve(Limits::default(), |request, mut respond| async move {
        let status = request.uri().path().trim_start_matches('/').parse().unwrap_or(200);
        let mut response = Response::builder().status(status);
        if request.method() == "HEAD" {
            response = response.header("content-length", "5");
        }
        let _ = respond.send_response(response.body(()).expect("a response"), true);
    });
    let (_proxy, front) = start(driver, &[origin], 1, |_, _| {});
    let mut connection = Connection::open(front).expect("the gateway listens");
    let head = connection.send("HEAD", "/200", &[], b"").expect("an answer");
    assert_eq!((head.status, head.header("content-length")), (200, Some("5")));
    for status in [204, 304] {
        let empty = connection.send("GET", &format!("/{status}"), &[], b"").expect("an answer");
        assert_eq!((empty.status, empty.header("transfer-encoding")), (status, None));
    }
    let empty =
        connection.send("GET", "/200", &[], b"").expect("the connection is in step after all of these");
    assert_eq!((empty.status, empty.header("content-length")), (200, Some("0")));
}

fn resident_kib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("the process runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a resident size");
    line.trim().trim_end_matches(" kB").parse().expect("KiB")
}

/// 64 MiB up and down at once through small windows; then a reader that stops, and an upstream that does.
pub fn large_bodies(driver: &str) {
    let stopped = Arc::new(AtomicBool::new(false));
    let held = stopped.clone();
    let limits = Limits { window: Some(20_000), ..Limits::default() };
    let (origin, _) = serve(limits, move |mut request, mut respond| {
        let held = held.clone();
        async move {
            let mut stream = respond.send_response(Response::new(()), false).expect("an open stream");
            while let Some(Ok(part)) = request.body_mut().data().await {
                while request.uri().path() == "/held" && held.load(Ordering::SeqCst) {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
                let _ = request.body_mut().flow_control().release_capacity(part.len());
                if !send(&mut stream, part, false).await {
                    return;
                }
            }
            let _ = stream.send_data(Bytes::new(), true);
        }
    });
    let (proxy, front) = start(driver, &[origin], 1, |_, _| {});
    let before = resident_kib(proxy.process.pid());
    let (mut writer, mut reader, _) = exchange(front, "/free", 64 * MIB);
    let copied = std::thread::spawn(move || {
        let chunk = [7; 64 * 1024];
        (0..64 * MIB / chunk.len()).try_for_each(|_| writer.write_all(&chunk))
    });
    let echoed = read_chunked(&mut reader);
    copied.join().expect("no panic").expect("the gateway reads");
    assert_eq!(echoed, 64 * MIB, "{driver}");

    // Nobody reads the answer: the upstream is held, and so is the client's own body.
    let (mut writer, reader, _) = exchange(front, "/slow", 64 * MIB);
    assert_held(&mut writer, "the answer's reader has stopped");
    drop(reader);
    // The upstream reads nothing of the body.
    stopped.store(true, Ordering::SeqCst);
    let (mut writer, _reader, _) = exchange(front, "/held", 64 * MIB);
    assert_held(&mut writer, "the upstream has stopped reading");
    let grown = resident_kib(proxy.process.pid()).saturating_sub(before);
    assert!(grown < 16 * 1024, "{driver}: {grown} KiB for bodies that nobody takes");
}

/// An exchange whose body of this length has begun.
fn exchange(front: SocketAddr, path: &str, length: usize) -> (TcpStream, TcpStream, ()) {
    let mut writer = TcpStream::connect(front).expect("the gateway listens");
    writer.set_write_timeout(Some(Duration::from_secs(30))).expect("a socket option");
    writer.set_read_timeout(Some(Duration::from_secs(30))).expect("a socket option");
    let head = format!("POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n");
    writer.write_all(head.as_bytes()).expect("the gateway reads");
    let reader = writer.try_clone().expect("a second handle");
    (writer, reader, ())
}

/// Writes until nothing is taken any more, which must be well before 64 MiB.
fn assert_held(writer: &mut TcpStream, why: &str) {
    writer.set_write_timeout(Some(Duration::from_millis(700))).expect("a socket option");
    let (chunk, mut sent) = ([7; 64 * 1024], 0);
    while sent < 64 * MIB {
        match writer.write(&chunk) {
            Ok(count) => sent += count,
            Err(_) => return,
        }
    }
    panic!("{why}, and yet the client could send all of its body");
}

/// Bytes of a chunked answer's body.
fn read_chunked(reader: &mut TcpStream) -> usize {
    let mut reader = std::io::BufReader::with_capacity(256 * 1024, reader);
    let mut line = String::new();
    let mut next = |reader: &mut std::io::BufReader<&mut TcpStream>| {
        line.clear();
        std::io::BufRead::read_line(reader, &mut line).expect("a line");
        line.trim_end().to_owned()
    };
    while !next(&mut reader).is_empty() {}
    let mut total = 0;
    loop {
        let size = usize::from_str_radix(&next(&mut reader), 16).expect("a chunk's size");
        let copied =
            std::io::copy(&mut (&mut reader).take(size as u64), &mut std::io::sink()).expect("bytes");
        assert_eq!(copied, size as u64);
        next(&mut reader);
        total += size;
        if size == 0 {
            return total;
        }
    }
}

/// Its stream is cancelled, and the others on the connection go on.
pub fn client_leaves(driver: &str) {
    let ended = Arc::new(Mutex::new(Vec::new()));
    let kept = ended.clone();
    let (origin, counts) = serve(Limits::default(), move |request, mut respond| {
        let kept = kept.clone();
        async move {
            if request.uri().path() != "/left" {
                return answer(respond, "ok").await;
            }
            let reason = std::future::poll_fn(|context| respond.poll_reset(context)).await;
            kept.lock().expect("no panic").push(reason.ok());
        }
    });
    let (_proxy, front) = start(driver, &[origin], 1, |_, _| {});
    let mut leaver = TcpStream::connect(front).expect("the gateway listens");
    leaver.write_all(b"GET /left HTTP/1.1\r\nHost: a\r\n\r\n").expect("the gateway reads");
    eventually("the request to arrive", || (counts.requests() == 1).then_some(()));
    drop(leaver);
    eventually("the stream to be cancelled", || {
        (ended.lock().expect("no panic").as_slice() == [Some(h2::Reason::CANCEL)]).then_some(())
    });
    assert_eq!(get(front, "/", &[]).expect("an answer").text(), "ok");
    assert_eq!(counts.connections(), 1, "one stream's end is not the connection's");
}

/// nghttpd, which nobody here has written.
pub fn nghttpd(driver: &str) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    std::fs::write(folder.path().join("small.txt"), "small").expect("the folder is writable");
    let large: Vec<u8> = (0..8 * MIB).map(|at| (at / 7) as u8).collect();
    std::fs::write(folder.path().join("large.bin"), &large).expect("the folder is writable");
    let port = free_port();
    let mut command = Command::new("nghttpd");
    command.args(["--no-tls", "--address", "127.0.0.1", "--htdocs"]).arg(folder.path()).arg(port.to_string());
    let _server = Process::start(&mut command);
    let origin = SocketAddr::from(([127, 0, 0, 1], port));
    eventually("nghttpd to listen", || TcpStream::connect(origin).ok());
    let (_proxy, front) = start(driver, &[origin], 1, |_, _| {});
    let mut connection = Connection::open(front).expect("the gateway listens");
    assert_eq!(connection.send("GET", "/small.txt", &[], b"").expect("an answer").text(), "small");
    assert_eq!(connection.send("GET", "/none", &[], b"").expect("an answer").status, 404);
    let came = connection.send("GET", "/large.bin", &[], b"").expect("an answer");
    assert!(came.body == large, "{driver}: {} bytes, or others", came.body.len());
}
