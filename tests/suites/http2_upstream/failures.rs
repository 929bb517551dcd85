//! Upstreams that refuse, leave, cut, or say nothing, told apart by frames.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use dromon_core::config::model::{Http2Keepalive, TcpKeepalive};
use dromon_tests::eventually;
use dromon_tests::http::{Connection, get};
use dromon_tests::pair::metric;

use crate::exchanges::raw;
use crate::start;
use crate::upstream::{Frame, Raw, kind};

const REFUSED_STREAM: u32 = 7;
const INTERNAL_ERROR: u32 = 2;
const ENHANCE_YOUR_CALM: u32 = 11;

/// What happens to a stream: frames, and whether the connection is closed.
type Treated = fn(u32) -> (Vec<Frame>, bool);

/// Treats the first request by `first`, and answers 200 to all others.
fn once(first: impl Fn(u32) -> (Vec<Frame>, bool) + Send + Sync + 'static) -> Raw {
    let asked = Arc::new(AtomicUsize::new(0));
    Raw::start(true, move |_, stream| match asked.fetch_add(1, Ordering::SeqCst) {
        0 => first(stream),
        _ => (vec![Frame::ok(stream, true)], false),
    })
}

/// REFUSED_STREAM, and a GOAWAY whose last stream is below ours: tried again although the method is POST and no rule asks
/// for retries.
pub fn not_processed(driver: &str) {
    let scripts: [(&str, Treated); 3] = [
        ("refused", |stream| (vec![Frame::reset(stream, REFUSED_STREAM)], false)),
        ("goaway", |stream| (vec![Frame::go_away(stream.saturating_sub(2), 0)], false)),
        ("goaway and close", |stream| {
            (vec![Frame::go_away(stream.saturating_sub(2), ENHANCE_YOUR_CALM)], true)
        }),
    ];
    for (what, script) in scripts {
        let origin = once(script);
        let (_proxy, front) = start(driver, &[origin.address], 1, |_, _| {});
        let mut client = Connection::open(front).expect("the gateway listens");
        let answer = client.send("POST", "/", &[], b"once only").expect("an answer");
        assert_eq!(answer.status, 200, "{driver}, {what}: {}", answer.text());
        assert_eq!(origin.count(kind::HEADERS), 2, "{driver}, {what}");
        // The origin answers a head at once, so the body may still be on its way.
        eventually(&format!("{driver}, {what}: the body"), || has_body(&origin, b"once only").then_some(()));
        let connections = if what == "refused" { 1 } else { 2 };
        assert_eq!(origin.connections.load(Ordering::SeqCst), connections, "{driver}, {what}");
    }
}

/// Whether the last body seen is this one, and the answered try's.
fn has_body(origin: &Raw, body: &[u8]) -> bool {
    let seen = origin.seen.lock().expect("no panic");
    let head = seen.iter().rposition(|(_, frame)| frame.kind == kind::HEADERS);
    let after = seen.get(head.unwrap_or(0)..).unwrap_or_default();
    after.iter().any(|(_, frame)| frame.kind == kind::DATA && frame.payload == body)
}

/// Reset with another code, or closed after a GOAWAY that covers the stream: POST is not repeated.
pub fn maybe_processed(driver: &str) {
    let scripts: [(&str, Treated); 3] = [
        ("reset", |stream| (vec![Frame::reset(stream, INTERNAL_ERROR)], false)),
        ("goaway above and close", |stream| (vec![Frame::go_away(stream, 0)], true)),
        ("close", |_| (vec![], true)),
    ];
    for (what, script) in scripts {
        let origin = once(script);
        let (_proxy, front) = start(driver, &[origin.address], 1, |_, _| {});
        let mut client = Connection::open(front).expect("the gateway listens");
        let answer = client.send("POST", "/", &[], b"once only").expect("an answer");
        assert_eq!(answer.status, 503, "{driver}, {what}: {}", answer.text());
        assert_eq!(answer.header("x-dromon-reason"), Some("upstream_reset"), "{driver}, {what}");
        assert_eq!(origin.count(kind::HEADERS), 1, "{driver}, {what}");
        assert_eq!(client.send("GET", "/", &[], b"").expect("an answer").status, 200, "{driver}, {what}");
    }
}

/// A GOAWAY that covers the stream under way: its answer still comes, and the next request goes elsewhere.
pub fn goes_away_in_order(driver: &str) {
    let origin = once(|stream| {
        let body = Frame::new(kind::DATA, 1, stream, b"whole".to_vec());
        (vec![Frame::go_away(stream, 0), Frame::ok(stream, false), body], false)
    });
    let (_proxy, front) = start(driver, &[origin.address], 1, |_, _| {});
    let mut client = Connection::open(front).expect("the gateway listens");
    assert_eq!(client.send("POST", "/", &[], b"x").expect("an answer").text(), "whole", "{driver}");
    assert_eq!(client.send("POST", "/", &[], b"x").expect("an answer").status, 200, "{driver}");
    assert_eq!(origin.connections.load(Ordering::SeqCst), 2, "{driver}");
}

/// An answer that breaks off after its head: the client's connection ends without a proper end (R32).
pub fn cut_answers(driver: &str) {
    let scripts: [Treated; 2] = [
        |stream| {
            let part = Frame::new(kind::DATA, 0, stream, b"half".to_vec());
            (vec![Frame::ok(stream, false), part, Frame::reset(stream, INTERNAL_ERROR)], false)
        },
        |stream| {
            let part = Frame::new(kind::DATA, 0, stream, b"half".to_vec());
            (vec![Frame::ok(stream, false), part], true)
        },
    ];
    for script in scripts {
        let origin = once(script);
        let (_proxy, front) = start(driver, &[origin.address], 1, |_, _| {});
        let came = raw(front, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", "");
        assert!(!came.contains("\r\n0\r\n"), "{driver}: a clean end of what was cut: {came}");
        // The head may have left before the cut was known, or not.
        assert!(came.is_empty() || came.starts_with("HTTP/1.1 200 OK\r\n"), "{driver}: {came}");
        assert_eq!(get(front, "/", &[]).expect("an answer").status, 200, "{driver}: others are unharmed");
    }
}

/// A server that has stopped: nothing is answered, no pings either. Its connection is found dead, and the request that
/// waited is answered instead of waiting for ever.
pub fn dead_connection(driver: &str) {
    let origin = Raw::start(false, |connection, stream| match connection {
        0 => (vec![], false),
        _ => (vec![Frame::ok(stream, true)], false),
    });
    let (_proxy, front) = start(driver, &[origin.address], 1, |_, destination| {
        destination.pool.tcp_keepalive = Some(TcpKeepalive { time_s: 1, interval_s: 1, probes: 1 });
    });
    let mut client = Connection::open(front).expect("the gateway listens");
    let began = Instant::now();
    let answer = client.send("POST", "/", &[], b"x").expect("an answer");
    assert_eq!((answer.status, answer.header("x-dromon-reason")), (503, Some("upstream_reset")), "{driver}");
    assert!(began.elapsed() > Duration::from_millis(1_500), "not before the ping's deadline");
    assert_eq!(origin.count(kind::PING), 1, "{driver}");
    assert_eq!(client.send("POST", "/", &[], b"x").expect("an answer").status, 200, "{driver}");
}

/// A rule that asks for pings has them on a connection that nobody uses, and one that answers none is closed.
pub fn kept_alive(driver: &str) {
    for pongs in [true, false] {
        let origin = Raw::start(pongs, |_, stream| (vec![Frame::ok(stream, true)], false));
        let (proxy, front) = start(driver, &[origin.address], 1, |_, destination| {
            destination.pool.http2_keepalive = Some(Http2Keepalive { interval_ms: 1_000, timeout_ms: 1_000 });
        });
        assert_eq!(get(front, "/", &[]).expect("an answer").status, 200, "{driver}");
        eventually("pings", || (origin.count(kind::PING) >= if pongs { 3 } else { 1 }).then_some(()));
        if !pongs {
            eventually("the end of a connection that is dead", || {
                (metric(&proxy, &["dromon_upstream_connections_active"]) == 0.0).then_some(())
            });
        }
        assert_eq!(get(front, "/", &[]).expect("an answer").status, 200, "{driver}");
        let connections = if pongs { 1 } else { 2 };
        assert_eq!(origin.connections.load(Ordering::SeqCst), connections, "{driver}, pongs: {pongs}");
    }
}

/// Timeouts hold as for HTTP/1, the stream is cancelled, the connection lives on.
pub fn never_answers(driver: &str) {
    let origin = once(|_| (vec![], false));
    let (_proxy, front) = start(driver, &[origin.address], 1, |rule, _| rule.timeout_ms = Some(300));
    let answer = get(front, "/", &[]).expect("an answer");
    assert_eq!((answer.status, answer.header("x-dromon-reason")), (504, Some("request_timeout")), "{driver}");
    eventually("the stream to be cancelled", || (origin.count(kind::RST_STREAM) == 1).then_some(()));
    assert_eq!(get(front, "/", &[]).expect("an answer").status, 200, "{driver}");
    assert_eq!(origin.connections.load(Ordering::SeqCst), 1, "{driver}");
}

/// A whole answer before the request's body has come, and then a reset that says so (RFC 9113, 8.1): the answer arrives.
pub fn early_answer(driver: &str) {
    let origin = once(|stream| {
        let body = Frame::new(kind::DATA, 1, stream, b"too large".to_vec());
        (vec![Frame::ok(stream, false), body, Frame::reset(stream, 0)], false)
    });
    let (_proxy, front) = start(driver, &[origin.address], 1, |_, _| {});
    let mut stream = TcpStream::connect(front).expect("the gateway listens");
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a socket option");
    let head = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\nbegin";
    stream.write_all(head).expect("the gateway reads");
    let mut came = Vec::new();
    let mut buffer = [0; 1024];
    while !came.ends_with(b"0\r\n\r\n") {
        let count = stream.read(&mut buffer).expect("the answer comes");
        assert!(count > 0, "{driver}: cut after {:?}", String::from_utf8_lossy(&came));
        came.extend_from_slice(&buffer[..count]);
    }
    let came = String::from_utf8_lossy(&came).into_owned();
    assert!(
        came.starts_with("HTTP/1.1 200 OK\r\n") && came.contains("9\r\ntoo large\r\n"),
        "{driver}: {came}"
    );
}

/// Clients of HTTP/2 have the same protection as those of HTTP/1.
pub fn http2_clients(driver: &str) {
    let scripts: [(&str, Treated, u16); 4] = [
        ("refused", |stream| (vec![Frame::reset(stream, REFUSED_STREAM)], false), 200),
        ("goaway", |stream| (vec![Frame::go_away(stream.saturating_sub(2), 0)], false), 200),
        ("reset", |stream| (vec![Frame::reset(stream, INTERNAL_ERROR)], false), 503),
        ("close", |_| (vec![], true), 503),
    ];
    for (what, script, status) in scripts {
        let origin = once(script);
        let (_proxy, front) = start(driver, &[origin.address], 1, |_, _| {});
        let mut command = Command::new("curl");
        command.args(["-sS", "--max-time", "30", "--http2-prior-knowledge", "--data", "once only"]);
        command.args(["-o", "/dev/null", "-w", "%{http_code}"]).arg(format!("http://{front}/"));
        let output = command.output().expect("curl can be started");
        let told = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(told, status.to_string(), "{driver}, {what}");
        let tries = if status == 200 { 2 } else { 1 };
        assert_eq!(origin.count(kind::HEADERS), tries, "{driver}, {what}");
    }
}
