//! HTTP/2 at both ends, in raw frames: what ends a stream at one end ends it at the other, and a window holds from end to end.

use dromon_tests::eventually;
use dromon_tests::frames::{self, END_HEADERS, END_STREAM, ENHANCE_YOUR_CALM, Frames, REFUSED_STREAM};
use dromon_tests::pair::metric;

use crate::start;
use crate::upstream::{Frame, Raw, kind};

const CANCEL: u32 = 0x8;
const INTERNAL_ERROR: u32 = 0x2;

fn post(path: &str) -> Vec<u8> {
    frames::block(&[(":method", "POST"), (":scheme", "http"), (":path", path), (":authority", "a")])
}

/// What a server cuts after its head is cut for the client, one stream and no other; what a client takes back is taken back
/// upstream.
pub fn both_ways(driver: &str) {
    // By stream what the server says, and what its client is told: a clean end, or a refusal, it is not.
    let codes = [
        (1, CANCEL, CANCEL),
        (3, INTERNAL_ERROR, INTERNAL_ERROR),
        (5, ENHANCE_YOUR_CALM, ENHANCE_YOUR_CALM),
        (7, 0, INTERNAL_ERROR),
        (9, REFUSED_STREAM, INTERNAL_ERROR),
    ];
    let cutting = Raw::start(true, move |_, stream| {
        let code = codes.into_iter().find(|it| it.0 == stream).map_or(CANCEL, |it| it.1);
        let part = Frame::new(kind::DATA, 0, stream, *b"part");
        (vec![Frame::ok(stream, false), part, Frame::reset(stream, code)], false)
    });
    let (_proxy, front) = start(driver, &[cutting.address], 1, |_, _| {});
    let mut client = Frames::open(front);
    for (stream, said, told) in codes {
        client.send(kind::HEADERS, END_HEADERS | END_STREAM, stream, &frames::get("/")).expect("open");
        let cut = client.until(|it| it.kind == kind::RST_STREAM && it.stream == stream).expect("a reset");
        assert_eq!(cut.code(), Some(told), "{driver}: {said:#x}");
    }
    assert_eq!(
        cutting.connections.load(std::sync::atomic::Ordering::SeqCst),
        1,
        "{driver}: the streams alone"
    );

    let waiting = Raw::start(true, |_, _| (Vec::new(), false));
    let (_proxy, front) = start(driver, &[waiting.address], 1, |_, _| {});
    let mut client = Frames::open(front);
    for (turn, stream) in [1, 3, 5].into_iter().enumerate() {
        client.send(kind::HEADERS, END_HEADERS, stream, &post("/")).expect("open");
        eventually("the request to arrive", || (waiting.count(kind::HEADERS) == turn + 1).then_some(()));
        client.send(kind::RST_STREAM, 0, stream, &CANCEL.to_be_bytes()).expect("open");
        eventually("its reset to arrive", || (waiting.count(kind::RST_STREAM) == turn + 1).then_some(()));
    }
    let seen = waiting.seen.lock().expect("no panic").clone();
    for (_, reset) in seen.iter().filter(|(_, frame)| frame.kind == kind::RST_STREAM) {
        assert_eq!(reset.payload, CANCEL.to_be_bytes(), "{driver}");
    }
    assert!(seen.iter().all(|(_, frame)| frame.kind != kind::GOAWAY), "{driver}: the connection stands");
}

/// Longest payload of a frame unless a peer allows more.
const PART: usize = 16_384;
/// What a stream may send before it is given more (RFC 9113, 6.9.2).
const WINDOW: usize = 65_535;

/// A client that gives a stream no window gets nothing of its body, and what it gives arrives to the byte; a server that gives
/// none gets no more of a request's than it may.
pub fn window(driver: &str) {
    let sending = Raw::start(true, |_, stream| {
        let part = Frame::new(kind::DATA, 0, stream, vec![b'd'; 1_000]);
        let last = Frame::new(kind::DATA, END_STREAM, stream, vec![b'e'; 1_000]);
        (vec![Frame::ok(stream, false), part, last], false)
    });
    let (proxy, front) = start(driver, &[sending.address], 1, |_, _| {});
    // SETTINGS_INITIAL_WINDOW_SIZE of 0.
    let none = [0, 4, 0, 0, 0, 0];
    let mut client = Frames::on(std::net::TcpStream::connect(front).expect("it listens"), &none);
    client.send(kind::HEADERS, END_HEADERS | END_STREAM, 1, &frames::get("/")).expect("open");
    client.until(|it| it.kind == kind::HEADERS && it.stream == 1).expect("a head");
    for (given, last) in [(1_u32, false), (700, false), (1_299, true)] {
        client.send(frames::kind::WINDOW_UPDATE, 0, 1, &given.to_be_bytes()).expect("open");
        let mut left = given as usize;
        let mut ended = false;
        while left > 0 || (last && !ended) {
            let part = client.until(|it| it.kind == kind::DATA && it.stream == 1).expect("a part");
            assert!(part.payload.len() <= left, "{driver}: more than was given: {}", part.payload.len());
            left -= part.payload.len();
            ended |= part.flags & END_STREAM != 0;
        }
    }
    assert_eq!(metric(&proxy, &["dromon_upstream_connections_total"]), 1.0, "{driver}");

    // It gives the first stream more when a second one comes.
    let silent = Raw::start(true, |_, stream| {
        let more = |of| Frame::new(frames::kind::WINDOW_UPDATE, 0, of, (PART as u32).to_be_bytes());
        (if stream == 1 { Vec::new() } else { vec![more(0), more(1)] }, false)
    });
    let (_proxy, front) = start(driver, &[silent.address], 1, |_, _| {});
    let mut client = Frames::open(front);
    client.send(kind::HEADERS, END_HEADERS, 1, &post("/")).expect("open");
    // As much as a stream may send before it is given more.
    for length in [PART, PART, PART, WINDOW - 3 * PART] {
        client.send(kind::DATA, 0, 1, &vec![b'u'; length]).expect("open");
    }
    let arrived = || {
        let seen = silent.seen.lock().expect("no panic");
        seen.iter().filter(|(_, it)| it.kind == kind::DATA).map(|(_, it)| it.payload.len()).sum::<usize>()
    };
    eventually("what the server's window takes to arrive", || (arrived() >= WINDOW - 1).then_some(()));
    // Here what has gone on is given back, so there is room for more, which must wait.
    let mut given = 0;
    while given < PART {
        let update = client.until(|it| it.kind == frames::kind::WINDOW_UPDATE && it.stream == 1);
        let payload: [u8; 4] = update.expect("room").payload.try_into().expect("four bytes");
        given += u32::from_be_bytes(payload) as usize;
    }
    client.send(kind::DATA, END_STREAM, 1, &[b'u'; PART]).expect("open");
    client.send(kind::PING, 0, 0, b"are you?").expect("open");
    client.until(|it| it.kind == kind::PING && it.payload == b"are you?").expect("a ping's answer");
    assert!(arrived() <= WINDOW, "{driver}: {} bytes are more than the server has a window for", arrived());
    client.send(kind::HEADERS, END_HEADERS | END_STREAM, 3, &frames::get("/")).expect("open");
    eventually("the rest to arrive", || (arrived() == WINDOW + PART).then_some(()));
}
