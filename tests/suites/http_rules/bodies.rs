//! Where bodies end, what follows them, and what becomes of those that nobody reads.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::mpsc::Sender;
use std::time::Duration;

use dromon_core::config::model::{HttpAction, HttpRule};
use dromon_core::limits::DRAIN_BYTES_MAX;
use dromon_tests::eventually;
use dromon_tests::http::get;
use dromon_tests::proxy::gateway;
use dromon_tests::scripted::{Answer, Seen};

use crate::{Rig, read_to_close, read_until, status};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

fn echo_path(seen: &Seen) -> Answer {
    let path = seen.head.split(' ').nth(1).unwrap_or_default().to_owned();
    Answer::keep(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{path}", path.len()))
}

/// R14, R16 and R36 through both sides.
pub fn ends(rig: &Rig) {
    rig.upstream.answer(echo_path);
    let two = b"POST /a HTTP/1.1\r\nHost: a\r\n\r\nGET /b HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    let response = rig.raw(two);
    assert!(response.contains("\r\n\r\n/a") && response.ends_with("\r\n\r\n/b"), "R14: {response:?}");
    let seen = rig.upstream.seen();
    assert!(seen.len() == 2 && seen.iter().all(|it| it.body.is_empty()), "R14: no body: {seen:?}");

    rig.upstream.answer(|_| Answer::keep(OK));
    let extension = "e".repeat(200);
    let chunks = format!("1;{extension}\r\nx\r\n").repeat(30);
    let head = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    let response = rig.raw(format!("{head}{chunks}0\r\n\r\n").as_bytes());
    assert_eq!(status(&response), 400, "R16: extensions of one body together: {response:?}");

    rig.upstream.answer(|_| Answer::keep(OK));
    let options = |left: u8| {
        format!("OPTIONS / HTTP/1.1\r\nHost: a\r\nMax-Forwards: {left}\r\nConnection: close\r\n\r\n")
    };
    assert_eq!(status(&rig.raw(options(0).as_bytes())), 405, "R36: it ends here");
    assert!(rig.upstream.seen().is_empty(), "R36: and goes no further");
    assert_eq!(status(&rig.raw(options(3).as_bytes())), 200, "R36");
    assert_eq!(rig.upstream.seen()[0].header("max-forwards"), Some("2"), "R36: it counts down");
}

/// R18: trailers go to clients that ask for them, and to no other.
pub fn trailers(rig: &Rig) {
    rig.upstream.answer(|_| {
        Answer::keep(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n2\r\nok\r\n0\r\nX-Sum: 7\r\n\r\n",
        )
    });
    let ask = |te: &str| {
        let response =
            rig.raw(format!("GET / HTTP/1.1\r\nHost: a\r\nConnection: close{te}\r\n\r\n").as_bytes());
        assert!(response.contains("2\r\nok\r\n0\r\n"), "{response:?}");
        response.to_ascii_lowercase().contains("x-sum: 7")
    };
    assert!(ask(", TE\r\nTE: trailers"), "R18: who asks gets them");
    assert!(!ask(""), "R18: who does not, does not");
}

/// R23: what is left of a body when its answer has gone out is taken if it is little and comes soon; else the connection
/// ends, so that nothing of it is read as a request.
pub fn unread(rig: &Rig) {
    let here = HttpAction::DirectResponse { status: 403, body: Some("no".into()) };
    rig.proxy.configure(&gateway(
        rig.front,
        &[rig.upstream.address],
        HttpRule { action: here, ..HttpRule::default() },
    ));
    let next = "GET /next HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    eventually("the answer from here", || (status(&rig.raw(next.as_bytes())) == 403).then_some(()));
    let with_body = |length: usize| {
        let head = format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n");
        let mut stream = rig.connect();
        stream.write_all(head.as_bytes()).expect("open");
        let first = read_until(&mut stream, "no");
        assert_eq!(status(&first), 403, "R23: {first:?}");
        (stream, first)
    };
    // The body reads like a request, which it must never be taken for.
    let request = "GET /EVIL HTTP/1.1\r\nHost: a\r\n\r\n";
    let little = request.repeat(100);
    let (mut stream, _) = with_body(little.len());
    stream.write_all(little.as_bytes()).expect("a little is taken");
    stream.write_all(next.as_bytes()).expect("open");
    let rest = read_to_close(&mut stream);
    assert_eq!(rest.matches("HTTP/1.1 403").count(), 1, "R23: one more request, not a hundred: {rest:?}");

    let much = request.repeat(4 * DRAIN_BYTES_MAX / request.len());
    let (mut stream, _) = with_body(much.len());
    // The gateway may close before all of it was written.
    let _ = stream.write_all(much.as_bytes()).and_then(|()| stream.write_all(next.as_bytes()));
    let rest = read_to_close(&mut stream);
    assert!(!rest.contains("HTTP/1.1") && !rest.ends_with("<silence>"), "R23: the connection ends: {rest:?}");

    let (mut stream, _) = with_body(100);
    let rest = read_to_close(&mut stream);
    assert!(rest.is_empty() || rest == "<reset>", "R23: a body that never comes is not waited for: {rest:?}");
}

/// What an upstream does to a connection after its answer.
type Mood = fn(&mut std::net::TcpStream);

/// An upstream that answers `ok` and then does what `then` says, on every connection, telling of each request.
fn moody(told: Sender<()>, then: Mood) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a loopback port");
    let address = listener.local_addr().expect("bound");
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let told = told.clone();
            std::thread::spawn(move || {
                let mut buffer = [0; 4096];
                while let Ok(1..) = stream.read(&mut buffer) {
                    let _ = stream.write_all(OK.as_bytes());
                    std::thread::sleep(Duration::from_millis(100));
                    then(&mut stream);
                    let _ = told.send(());
                }
            });
        }
    });
    address
}

/// The sum of a metric's lines at the gateway.
pub fn count(rig: &Rig, name: &str) -> f64 {
    let page = get(rig.proxy.stats, "/stats/prometheus", &[]).expect("a page").text();
    let lines = page.lines().filter(|line| line.starts_with(name));
    lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
}

/// R40 (f): a kept connection is looked at before it is used again: one that was closed meanwhile, or has bytes that
/// nobody asked for, is not used, and that is counted.
pub fn looked_at(rig: &Rig) {
    let ask = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    let moods: [(&str, Mood); 2] = [
        ("dromon_upstream_connections_poisoned_total", |stream| {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil");
        }),
        ("dromon_upstream_connections_stale_total", |stream| {
            let _ = stream.shutdown(std::net::Shutdown::Both);
        }),
    ];
    for (name, mood) in moods {
        let (tell, told) = std::sync::mpsc::channel();
        let upstream = moody(tell, mood);
        rig.proxy.configure(&gateway(rig.front, &[upstream], HttpRule::default()));
        eventually("the other upstream to be in force", || {
            let _ = rig.raw(ask);
            told.recv_timeout(Duration::from_secs(1)).ok()
        });
        let before = count(rig, name);
        for _ in 0..3 {
            let response = rig.raw(ask);
            assert!(status(&response) == 200 && response.ends_with("ok"), "R40: {name}: {response:?}");
            told.recv_timeout(Duration::from_secs(20)).expect("the upstream has had its mood");
        }
        eventually(name, || (count(rig, name) > before).then_some(()));
    }
}

/// R40 (h): a second try says that it is one.
pub fn attempts(rig: &Rig) {
    let get = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    rig.upstream.answer(|_| Answer::keep(OK));
    assert_eq!(status(&rig.raw(get)), 200);
    let asked = std::sync::atomic::AtomicU64::new(0);
    rig.upstream.answer(move |_| match asked.fetch_add(1, std::sync::atomic::Ordering::Relaxed) {
        0 => Answer::close(""),
        _ => Answer::keep(OK),
    });
    assert_eq!(status(&rig.raw(get)), 200);
    let seen = rig.upstream.seen();
    let counts: Vec<_> = seen.iter().map(|it| it.header("x-envoy-attempt-count")).collect();
    assert_eq!(counts, [None, Some("2")], "R40: {seen:?}");
}
