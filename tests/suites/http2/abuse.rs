//! What is within the protocol and costs more than it is worth (see `core::h2`'s meter for the budgets).

use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use dromon_core::config::model::{MtlsMode, Protocol};
use dromon_core::limits::{H2_HEADER_TABLE_BYTES, H2_STREAMS_MAX, WRITE_STALL_MS};
use dromon_tests::certs::MeshCa;
use dromon_tests::frames::{
    COMPRESSION_ERROR, END_HEADERS, END_STREAM, ENHANCE_YOUR_CALM, Frame, Frames, PROTOCOL_ERROR,
    REFUSED_STREAM, block, frame, get, kind,
};
use dromon_tests::origin::Origin;
use dromon_tests::pair::{self, free_address, metric};
use dromon_tests::proxy::Proxy;
use dromon_tests::scripted::{Answer, Scripted};
use dromon_tests::{DEADLINE, eventually};

use crate::start;
use crate::through::through_openssl;

const HEAD: u8 = END_HEADERS | END_STREAM;

/// Connections that abuse has ended, all of them (`reason` empty) or those that have spent this budget.
fn abuses(proxy: &Proxy, reason: &str) -> f64 {
    metric(proxy, &["dromon_downstream_http2_abuses_total{", &format!("reason=\"{reason}")])
}

/// Sends what `abuse` gives until the connection is over, and returns how it was ended.
fn flood(front: SocketAddr, abuse: impl FnMut(u32) -> Vec<u8>) -> Option<u32> {
    flood_on(Frames::open(front), abuse)
}

fn flood_on(mut frames: Frames, mut abuse: impl FnMut(u32) -> Vec<u8>) -> Option<u32> {
    let mut bytes = Vec::new();
    for turn in 0..600 {
        bytes.extend(abuse(turn));
    }
    // The proxy may close before all is written.
    let _ = frames.raw(&bytes);
    frames.goaway()
}

type Flood = Box<dyn FnMut(u32) -> Vec<u8>>;

/// Every kind of flood, and the budget that it spends.
fn all_floods() -> Vec<(&'static str, Flood)> {
    let open = |turn: u32| frame(kind::HEADERS, HEAD, 1 + 2 * turn, &get("/"));
    let first = move |turn: u32, more: Vec<u8>| if turn == 0 { [open(0), more].concat() } else { more };
    let post = |turn: u32, more: Vec<u8>| match turn {
        0 => [frame(kind::HEADERS, END_HEADERS, 1, &get("/")), more].concat(),
        _ => more,
    };
    vec![
        (
            "rapid_reset",
            Box::new(move |turn| {
                let reset = frame(kind::RST_STREAM, 0, 1 + 2 * turn, &8_u32.to_be_bytes());
                [open(turn), reset].concat()
            }),
        ),
        ("settings", Box::new(|_| frame(kind::SETTINGS, 0, 0, &[]))),
        ("pings", Box::new(|_| frame(kind::PING, 0, 0, &[0; 8]))),
        ("empty_data", Box::new(move |turn| post(turn, frame(kind::DATA, 0, 1, &[])))),
        ("priorities", Box::new(move |turn| first(turn, frame(kind::PRIORITY, 0, 1, &[0, 0, 0, 3, 1])))),
        (
            "window_updates",
            Box::new(move |turn| first(turn, frame(kind::WINDOW_UPDATE, 0, 0, &1_u32.to_be_bytes()))),
        ),
        (
            "continuations",
            Box::new(|turn| match turn {
                0 => frame(kind::HEADERS, 0, 1, &get("/")),
                _ => frame(kind::CONTINUATION, 0, 1, &[]),
            }),
        ),
        ("unknown_frames", Box::new(|_| frame(0x42, 0, 0, &[]))),
    ]
}

/// Connections that have spent this budget. The `h2` crate has limits of its own on resets, of either side's making, and
/// may see them first.
fn spent(proxy: &Proxy, reason: &str) -> f64 {
    let of_library = matches!(reason, "rapid_reset" | "stream_errors");
    abuses(proxy, reason) + if of_library { abuses(proxy, "h2_limit") } else { 0.0 }
}

/// Log and metric say which budget it was that a flood has spent, once; nothing but this has ended a connection.
fn is_told(proxy: &Proxy, reason: &str, turn: usize, what: &str) {
    eventually(&format!("{what} to be counted"), || (abuses(proxy, "") >= turn as f64).then_some(()));
    assert_eq!(abuses(proxy, ""), turn as f64, "{what}: nothing else was counted");
    assert_eq!(spent(proxy, reason), 1.0, "{what}");
    let said = if abuses(proxy, reason) > 0.0 { reason } else { "h2_limit" };
    proxy.process.expect_stderr_after(0, &["HTTP/2 abuse from 127.0.0.1:", &format!("): {said}: ")]);
}

/// Each kind of flood ends its own connection and no other, for the budget that it spends.
pub fn floods(driver: &str) {
    let silent = Scripted::start();
    silent.answer(|_| Answer::keep(""));
    let (proxy, front) = start(driver, silent.address, Protocol::Http, |_| {});
    let mut bystander = Frames::open(front);
    for (turn, (reason, abuse)) in all_floods().into_iter().enumerate() {
        assert_eq!(flood(front, abuse), Some(ENHANCE_YOUR_CALM), "{driver}: {reason}");
        is_told(&proxy, reason, turn + 1, &format!("{driver}: {reason}"));
    }
    bystander.send(kind::PING, 0, 0, &[7; 8]).expect("the bystander's connection is untouched");
    let answer = bystander.until(|frame| frame.kind == kind::PING).expect("an answer");
    assert_eq!((answer.flags, answer.payload), (1, vec![7; 8]));
}

/// The same inside mutual TLS, from a workload that may call.
pub fn floods_in_tls(driver: &str) {
    let silent = Scripted::start();
    silent.answer(|_| Answer::keep(""));
    let mesh = MeshCa::new();
    let (own, friend) = (mesh.folder("web"), mesh.folder("friend"));
    let inbound = free_address();
    let resources = pair::server(inbound, silent.address, Protocol::Http, MtlsMode::Strict);
    let proxy = pair::sidecar(driver, &resources, own.path());
    for (turn, (reason, abuse)) in all_floods().into_iter().enumerate() {
        let through = through_openssl(inbound, friend.path());
        let code = flood_on(Frames::on(through, &[]), abuse);
        // What openssl has not taken when the connection closes may cost it the answer.
        assert!(matches!(code, Some(ENHANCE_YOUR_CALM) | None), "{driver}: {reason}: {code:?}");
        is_told(&proxy, reason, turn + 1, &format!("{driver}, TLS: {reason}"));
    }
}

/// More streams at a time than SETTINGS allow: those beyond are refused, the others are served.
pub fn too_many_streams(driver: &str) {
    let silent = Scripted::start();
    silent.answer(|_| Answer::keep(""));
    let (proxy, front) = start(driver, silent.address, Protocol::Http, |_| {});
    let mut frames = Frames::open(front);
    let settings = frames.until(|frame| frame.kind == kind::SETTINGS && frame.flags == 0).expect("SETTINGS");
    let streams = settings.payload.chunks(6).find(|it| it[..2] == [0, 3]).expect("MAX_CONCURRENT_STREAMS");
    assert_eq!(streams[2..], H2_STREAMS_MAX.to_be_bytes());
    for turn in 0..=H2_STREAMS_MAX {
        frames.send(kind::HEADERS, HEAD, 1 + 2 * turn, &get("/")).expect("open");
    }
    let refused = frames.until(|frame| matches!(frame.kind, kind::RST_STREAM | kind::GOAWAY));
    let refused = refused.expect("a refusal");
    let last = 1 + 2 * H2_STREAMS_MAX;
    assert_eq!(
        (refused.kind, refused.stream, refused.code()),
        (kind::RST_STREAM, last, Some(REFUSED_STREAM))
    );
    frames.send(kind::PING, 0, 0, &[3; 8]).expect("the connection is as it was");
    frames.until(|frame| frame.kind == kind::PING).expect("an answer");
    assert_eq!(abuses(&proxy, ""), 0.0, "{driver}");
}

/// An encoder that wants a larger table than SETTINGS allow (RFC 7541, 4.2 and 6.3).
pub fn large_table(driver: &str) {
    let origin = Origin::start("up");
    let (_proxy, front) = start(driver, origin.address, Protocol::Http, |_| {});
    for (size, allowed) in [(H2_HEADER_TABLE_BYTES, true), (H2_HEADER_TABLE_BYTES + 1, false)] {
        let mut frames = Frames::open(front);
        // A size update has a prefix of five bits.
        let mut block = vec![0x3F];
        let mut rest = size - 31;
        while rest >= 128 {
            block.push((rest % 128) as u8 | 0x80);
            rest /= 128;
        }
        block.push(rest as u8);
        block.extend(get("/"));
        frames.send(kind::HEADERS, HEAD, 1, &block).expect("open");
        match allowed {
            true => {
                let ended = |frame: &Frame| frame.stream == 1 && frame.flags & END_STREAM != 0;
                assert!(frames.until(ended).is_some(), "{driver}: {size} is allowed");
            }
            // The crate says PROTOCOL_ERROR where the RFC has a code of its own.
            false => {
                let code = frames.goaway();
                let codes = [Some(COMPRESSION_ERROR), Some(PROTOCOL_ERROR)];
                assert!(codes.contains(&code), "{driver}: {size} is not: {code:?}");
            }
        }
    }
    assert_eq!(origin.served(), 1);
}

/// A client that gives no window, for its stream or for the connection, has the time of a stalled reader, and answers pings
/// meanwhile.
pub fn stalled_window(driver: &str) {
    let large = Scripted::start();
    let body = vec![b'x'; 1024 * 1024];
    let answer = [format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len()).into_bytes(), body];
    let answer = answer.concat();
    large.answer(move |_| Answer::keep(answer.clone()));
    let (_proxy, front) = start(driver, large.address, Protocol::Http, |_| {});
    std::thread::scope(|scope| {
        // SETTINGS_INITIAL_WINDOW_SIZE: nothing for a stream; more for a stream than the connection has.
        for (what, window) in [("the stream's", 0_u32), ("the connection's", 1024 * 1024)] {
            scope.spawn(move || {
                let settings = [&[0, 4][..], &window.to_be_bytes()].concat();
                let stream = TcpStream::connect(front).expect("the proxy listens");
                let mut frames = Frames::on(stream, &settings);
                let begin = Instant::now();
                frames.send(kind::HEADERS, HEAD, 1, &get("/")).expect("open");
                let reset = loop {
                    // Nothing may come for as long as a read waits: the loop is bounded by the time below.
                    match frames.read() {
                        Some(frame) if frame.kind == kind::PING && frame.flags == 0 => {
                            frames.send(kind::PING, 1, 0, &frame.payload).expect("open");
                        }
                        Some(frame) if frame.kind == kind::RST_STREAM => break frame,
                        Some(_) => {}
                        None => {
                            assert!(begin.elapsed() < DEADLINE, "{driver}: {what} window stalls for ever")
                        }
                    }
                };
                assert_eq!(reset.stream, 1);
                let stalled = begin.elapsed();
                assert!(
                    stalled >= Duration::from_millis(WRITE_STALL_MS - 2_000),
                    "{driver}: {what}: {stalled:?}"
                );
                frames.send(kind::PING, 0, 0, &[9; 8]).expect("the connection goes on");
                frames.until(|it| it.kind == kind::PING && it.payload == [9; 8]).expect("an answer");
            });
        }
    });
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
    assert_eq!(abuses(&proxy, ""), 0.0);
}

/// Five seconds for all of a header block, however its bytes trickle in.
pub fn slow_headers(driver: &str) {
    let origin = Origin::start("up");
    let (proxy, front) = start(driver, origin.address, Protocol::Http, |_| {});
    let begin = Instant::now();
    for whole in [true, false] {
        let mut frames = Frames::open(front);
        let head = frame(kind::HEADERS, if whole { 0 } else { HEAD }, 1, &get("/"));
        let part = if whole { head.len() } else { head.len() - 4 };
        frames.raw(&head[..part]).expect("open");
        assert_eq!(frames.goaway(), Some(ENHANCE_YOUR_CALM), "{driver}: whole frame {whole}");
    }
    assert!(begin.elapsed() >= Duration::from_secs(8), "{driver}: both had their time");
    assert_eq!((abuses(&proxy, "slow_headers"), abuses(&proxy, "")), (2.0, 2.0), "{driver}");
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
    let (proxy, front) = start(driver, origin.address, Protocol::Http, |_| {});
    let bad =
        block(&[(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "a"), ("a", " b")]);
    let code = flood(front, |turn| frame(kind::HEADERS, HEAD, 1 + 2 * turn, &bad));
    assert_eq!(code, Some(ENHANCE_YOUR_CALM), "{driver}: malformed by our rules");
    is_told(&proxy, "stream_errors", 1, driver);
    // A window that overflows is an error of its stream by the protocol's.
    let code = flood(front, |turn| {
        let stream = 1 + 2 * turn;
        let update = frame(kind::WINDOW_UPDATE, 0, stream, &0x7FFF_FFFF_u32.to_be_bytes());
        [frame(kind::HEADERS, END_HEADERS, stream, &get("/")), update].concat()
    });
    assert_eq!(code, Some(ENHANCE_YOUR_CALM), "{driver}: malformed by the protocol's");
    assert_eq!(spent(&proxy, "stream_errors"), 2.0, "{driver}: both for the same reason");
    assert_eq!(abuses(&proxy, ""), 2.0, "{driver}");
    assert_eq!(origin.served(), 0);
}
