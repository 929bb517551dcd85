//! How exchanges end that are no plain question and answer, and that each is told of.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener};
use std::time::Duration;

use dromon_tests::eventually;
use dromon_tests::http::get;
use dromon_tests::proxy::gateway;
use dromon_tests::scripted::Answer;

use crate::{Rig, read_to_close, read_until, status};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// Waits until so many exchanges with all these labels are counted.
fn counted(rig: &Rig, labels: &[&str], count: u64) {
    eventually(&format!("{count} exchanges with {labels:?} to be counted"), || {
        let page = get(rig.proxy.stats, "/stats/prometheus", &[]).ok()?.text();
        let matching = page.lines().filter(|line| {
            line.starts_with("istio_requests_total{") && labels.iter().all(|label| line.contains(label))
        });
        let sum: u64 = matching.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum();
        (sum == count).then_some(())
    });
}

/// What is refused before it is routed counts like everything else, and so does a body that turns out to be broken.
pub fn refusals_count(rig: &Rig) {
    let broken = ["GET / HTTP/1.1\r\n\r\n", "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\n"];
    for request in broken {
        assert_eq!(status(&rig.raw(request.as_bytes())), 400, "{request:?}");
    }
    let unrouted = "destination_service=\"unknown\"";
    counted(rig, &["response_code=\"400\"", "response_flags=\"DPE\"", unrouted], 2);
    let long = format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(9_000));
    assert_eq!(status(&rig.raw(long.as_bytes())), 414);
    counted(rig, &["response_code=\"414\"", "response_flags=\"DPE\""], 1);

    let chunked = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5x\r\nhello\r\n0\r\n\r\n";
    assert_eq!(status(&rig.raw(chunked)), 400);
    let routed = "destination_service=\"origin.local\"";
    counted(rig, &["response_code=\"400\"", "response_flags=\"DPE\"", routed], 1);
}

/// An upstream that answers each head at once, whatever the body; the bytes of its connections.
fn hasty() -> (std::net::SocketAddr, std::sync::mpsc::Receiver<Vec<u8>>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a loopback port");
    let address = listener.local_addr().expect("bound");
    let (told, seen) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let told = told.clone();
            std::thread::spawn(move || {
                let (mut bytes, mut buffer, mut answered) = (Vec::new(), [0; 4096], false);
                while let Ok(count @ 1..) = stream.read(&mut buffer) {
                    bytes.extend_from_slice(&buffer[..count]);
                    if !answered && bytes.windows(4).any(|it| it == b"\r\n\r\n") {
                        answered = stream.write_all(OK.as_bytes()).is_ok();
                    }
                }
                let _ = told.send(bytes);
            });
        }
    });
    (address, seen)
}

/// A body that breaks a rule when its answer has gone out already: nothing behind the break is a request.
pub fn broken_after_the_answer(rig: &Rig) {
    let (upstream, seen) = hasty();
    rig.proxy.configure(&gateway(rig.front, &[upstream], Default::default()));
    let head = "POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n";
    let mut stream = eventually("the other upstream to be in force", || {
        let mut stream = rig.connect();
        stream.write_all(head.as_bytes()).ok()?;
        stream.set_read_timeout(Some(Duration::from_millis(500))).ok()?;
        let mut buffer = [0; 4096];
        let count = stream.read(&mut buffer).ok()?;
        buffer[..count].ends_with(b"ok").then_some(stream)
    });
    // Not a chunk's size, and then what would be one, and a request.
    let hostile = "zz\r\n0\r\n\r\nGET /EVIL HTTP/1.1\r\nHost: a\r\n\r\n";
    stream.write_all(hostile.as_bytes()).expect("open");
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a socket option");
    let rest = read_to_close(&mut stream);
    assert!(!rest.contains("HTTP/1.1") && !rest.ends_with("<silence>"), "the connection ends: {rest:?}");
    let bytes = seen.recv_timeout(Duration::from_secs(20)).expect("and the upstream's with it");
    let text = String::from_utf8_lossy(&bytes);
    assert!(!text.contains("EVIL") && !text.ends_with("0\r\n\r\n"), "{text:?}");
    assert!(seen.recv_timeout(Duration::from_millis(200)).is_err(), "no other connection had bytes");
}

/// A client that has ended its side is taken for gone, but not while requests of it are unread: the one under way is
/// answered.
pub fn half_closed_with_more_to_answer(rig: &Rig) {
    let (tell, asked) = std::sync::mpsc::channel();
    rig.upstream.answer(move |seen| {
        let _ = tell.send(());
        let path = seen.head.split(' ').nth(1).unwrap_or_default().to_owned();
        // Longer than a client's being there is looked at for the first time.
        std::thread::sleep(Duration::from_millis(400));
        Answer::keep(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{path}", path.len()))
    });
    let mut stream = rig.connect();
    stream.write_all(b"GET /1 HTTP/1.1\r\nHost: a\r\n\r\n").expect("open");
    asked.recv_timeout(Duration::from_secs(20)).expect("the first request is under way");
    stream.write_all(b"GET /2 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").expect("open");
    stream.shutdown(Shutdown::Write).expect("open");
    let first = read_until(&mut stream, "\r\n\r\n/1");
    assert_eq!(status(&first), 200, "{first:?}");
}
