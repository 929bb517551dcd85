//! What is within the protocol and costs more than it is worth (see `core::h2`'s meter for the budgets).

use std::time::{Duration, Instant};

use dromon_core::config::model::Protocol;
use dromon_tests::frames::{
    END_HEADERS, END_STREAM, ENHANCE_YOUR_CALM, Frame, Frames, block, frame, get, kind,
};
use dromon_tests::http::get as fetch;
use dromon_tests::origin::Origin;
use dromon_tests::proxy::Proxy;
use dromon_tests::scripted::{Answer, Scripted};

use crate::start;

const HEAD: u8 = END_HEADERS | END_STREAM;

/// Streams that the counter of abuses has seen.
fn abuses(proxy: &Proxy) -> u64 {
    let text = fetch(proxy.stats, "/stats/prometheus", &[]).expect("statistics").text();
    let line = text.lines().find(|line| line.starts_with("dromon_downstream_http2_abuses_total"));
    line.and_then(|line| line.rsplit(' ').next()?.parse().ok()).expect("the counter is there")
}

/// Sends what `abuse` gives until the connection is over, and returns how it was ended.
fn flood(front: std::net::SocketAddr, mut abuse: impl FnMut(u32) -> Vec<u8>) -> Option<u32> {
    let mut frames = Frames::open(front);
    let mut bytes = Vec::new();
    for turn in 0..600 {
        bytes.extend(abuse(turn));
    }
    // The proxy may close before all is written.
    let _ = frames.raw(&bytes);
    frames.goaway()
}

/// Each kind of flood ends its own connection and no other.
pub fn floods(driver: &str) {
    let silent = Scripted::start();
    silent.answer(|_| Answer::keep(""));
    let (proxy, front) = start(driver, silent.address, Protocol::Http, |_| {});
    let mut bystander = Frames::open(front);
    let open = |turn: u32| frame(kind::HEADERS, HEAD, 1 + 2 * turn, &get("/"));
    let first = |turn: u32, more: Vec<u8>| if turn == 0 { [open(0), more].concat() } else { more };
    let post = |turn: u32, more: Vec<u8>| match turn {
        0 => [frame(kind::HEADERS, END_HEADERS, 1, &get("/")), more].concat(),
        _ => more,
    };
    type Abuse<'a> = (&'a str, Box<dyn FnMut(u32) -> Vec<u8> + 'a>);
    let all: Vec<Abuse<'_>> = vec![
        (
            "rapid reset",
            Box::new(|turn| {
                let reset = frame(kind::RST_STREAM, 0, 1 + 2 * turn, &8_u32.to_be_bytes());
                [open(turn), reset].concat()
            }),
        ),
        ("SETTINGS", Box::new(|_| frame(kind::SETTINGS, 0, 0, &[]))),
        ("PING", Box::new(|_| frame(kind::PING, 0, 0, &[0; 8]))),
        ("empty DATA", Box::new(|turn| post(turn, frame(kind::DATA, 0, 1, &[])))),
        ("PRIORITY", Box::new(|turn| first(turn, frame(kind::PRIORITY, 0, 1, &[0, 0, 0, 3, 1])))),
        (
            "WINDOW_UPDATE",
            Box::new(|turn| first(turn, frame(kind::WINDOW_UPDATE, 0, 0, &1_u32.to_be_bytes()))),
        ),
        (
            "CONTINUATION",
            Box::new(|turn| match turn {
                0 => frame(kind::HEADERS, 0, 1, &get("/")),
                _ => frame(kind::CONTINUATION, 0, 1, &[]),
            }),
        ),
        ("unknown frames", Box::new(|_| frame(0x42, 0, 0, &[]))),
    ];
    let count = all.len() as u64;
    for (name, abuse) in all {
        assert_eq!(flood(front, abuse), Some(ENHANCE_YOUR_CALM), "{driver}: {name}");
    }
    assert_eq!(abuses(&proxy), count, "{driver}: each was counted");
    bystander.send(kind::PING, 0, 0, &[7; 8]).expect("the bystander's connection is untouched");
    let answer = bystander.until(|frame| frame.kind == kind::PING).expect("an answer");
    assert_eq!((answer.flags, answer.payload), (1, vec![7; 8]));
}

/// A caller that gives up on some of its requests keeps its connection.
pub fn proper_resets(driver: &str) {
    let origin = Origin::start("up");
    let (proxy, front) = start(driver, origin.address, Protocol::Http, |_| {});
    let mut frames = Frames::open(front);
    for turn in 0..200_u32 {
        let stream = 1 + 2 * turn;
        frames.send(kind::HEADERS, HEAD, stream, &get("/")).expect("open");
        if turn % 3 == 0 {
            frames.send(kind::RST_STREAM, 0, stream, &8_u32.to_be_bytes()).expect("open");
        } else {
            let ended = |frame: &Frame| frame.stream == stream && frame.flags & END_STREAM != 0;
            assert!(frames.until(ended).is_some(), "{driver}: stream {stream} is answered");
        }
    }
    assert_eq!(abuses(&proxy), 0);
}

/// Five seconds for all of a header block, however its bytes trickle in.
pub fn slow_headers(driver: &str) {
    let origin = Origin::start("up");
    let (_proxy, front) = start(driver, origin.address, Protocol::Http, |_| {});
    let begin = Instant::now();
    for whole in [true, false] {
        let mut frames = Frames::open(front);
        let head = frame(kind::HEADERS, if whole { 0 } else { HEAD }, 1, &get("/"));
        let part = if whole { head.len() } else { head.len() - 4 };
        frames.raw(&head[..part]).expect("open");
        assert_eq!(frames.goaway(), Some(ENHANCE_YOUR_CALM), "{driver}: whole frame {whole}");
    }
    assert!(begin.elapsed() >= Duration::from_secs(8), "{driver}: both had their time");
    assert_eq!(origin.served(), 0);
}

/// 32 KiB and 100 fields, cookie crumbs included (HPACK makes large heads of few bytes).
pub fn large_heads(driver: &str) {
    let origin = Origin::start("up");
    let (_proxy, front) = start(driver, origin.address, Protocol::Http, |_| {});
    let mut frames = Frames::open(front);
    let crumbs = [get("/"), block(&[("cookie", "a=b"); 120])].concat();
    frames.send(kind::HEADERS, HEAD, 1, &crumbs).expect("open");
    let answer = frames.until(|frame| frame.stream == 1).expect("an answer");
    assert_eq!(answer.kind, kind::HEADERS, "{driver}: 431 for too many fields");
    assert_ne!(answer.payload.first(), Some(&0x88), "{driver}: not 200");

    // One field that is put into the table and then named by one byte, again and again.
    let mut bomb = get("/");
    bomb.extend([0x40, 4]);
    bomb.extend(b"bomb");
    bomb.extend([127, 0xA1, 0x1E]);
    bomb.extend(vec![b'x'; 4000]);
    bomb.extend(vec![0xBE; 10_000]);
    frames.send(kind::HEADERS, HEAD, 3, &bomb).expect("open");
    let refused = frames.until(|frame| frame.stream == 3 || frame.kind == kind::GOAWAY);
    let refused = refused.expect("a refusal");
    assert!(refused.kind != kind::DATA && refused.payload.first() != Some(&0x88), "{driver}: {refused:?}");
    assert_eq!(origin.served(), 0, "{driver}: nothing of it went on");
}

/// A client that opens streams and gives no window: what waits for it is bounded, and others are served.
pub fn zero_window(driver: &str) {
    let large = Scripted::start();
    let body = vec![b'x'; 8 * 1024 * 1024];
    let answer = [format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len()).into_bytes(), body];
    let answer = answer.concat();
    large.answer(move |_| Answer::keep(answer.clone()));
    let (proxy, front) = start(driver, large.address, Protocol::Http, |_| {});
    let resident = || {
        let status =
            std::fs::read_to_string(format!("/proc/{}/status", proxy.process.pid())).expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a resident size");
        line.trim().trim_end_matches(" kB").parse::<u64>().expect("KiB")
    };
    let before = resident();
    let mut frames = Frames::open(front);
    // SETTINGS_INITIAL_WINDOW_SIZE 0.
    frames.send(kind::SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0]).expect("open");
    for turn in 0..50 {
        frames.send(kind::HEADERS, HEAD, 1 + 2 * turn, &get("/")).expect("open");
    }
    for _ in 0..50 {
        frames.until(|frame| frame.kind == kind::HEADERS).expect("a head needs no window");
    }
    frames.send(kind::PING, 0, 0, &[1; 8]).expect("open");
    frames.until(|frame| frame.kind == kind::PING && frame.flags == 1).expect("the connection lives");
    let grown = resident().saturating_sub(before);
    assert!(grown < 32 * 1024, "{driver}: 400 MiB wait upstream, {grown} KiB here");
}

/// Errors of streams that the proxy is made to send (CVE-2025-8671).
pub fn made_you_reset(driver: &str) {
    let origin = Origin::start("up");
    let (_proxy, front) = start(driver, origin.address, Protocol::Http, |_| {});
    let bad =
        block(&[(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "a"), ("a", " b")]);
    let code = flood(front, |turn| frame(kind::HEADERS, HEAD, 1 + 2 * turn, &bad));
    assert_eq!(code, Some(ENHANCE_YOUR_CALM), "{driver}: malformed by our rules");
    // A window that overflows is an error of its stream by the protocol's.
    let code = flood(front, |turn| {
        let stream = 1 + 2 * turn;
        let update = frame(kind::WINDOW_UPDATE, 0, stream, &0x7FFF_FFFF_u32.to_be_bytes());
        [frame(kind::HEADERS, END_HEADERS, stream, &get("/")), update].concat()
    });
    assert_eq!(code, Some(ENHANCE_YOUR_CALM), "{driver}: malformed by the protocol's");
    assert_eq!(origin.served(), 0);
}
