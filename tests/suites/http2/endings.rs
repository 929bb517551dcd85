//! Connections that are told to go, or that never get started: what was answered arrives whole, and nobody waits for ever.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use dromon_core::config::model::Protocol;
use dromon_tests::eventually;
use dromon_tests::frames::{END_HEADERS, END_STREAM, Frames, PREFACE, get, kind};
use dromon_tests::origin::Origin;
use dromon_tests::proxy::Proxy;
use dromon_tests::scripted::{Answer, Scripted};

use crate::{start, start_with};

const HEAD: u8 = END_HEADERS | END_STREAM;
/// More than all buffers between the proxy and a client with a small one hold.
const BODY_BYTES: usize = 16 * 1024 * 1024;
/// The last of it, which is the proxy's and the kernel's when a client begins to take its time.
const TAIL_BYTES: usize = 2 * 1024 * 1024;

/// A client with a small receive buffer, so that what it has not read is the proxy's to keep, and windows as wide as can be.
fn narrow(address: SocketAddr) -> Frames {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let stream = runtime.block_on(async {
        let socket = tokio::net::TcpSocket::new_v4().expect("a socket");
        socket.set_recv_buffer_size(128 * 1024).expect("a socket option");
        socket.connect(address).await.expect("the proxy listens").into_std().expect("a stream")
    });
    stream.set_nonblocking(false).expect("a socket option");
    let mut frames = Frames::on(stream, &[0, 4, 0x7F, 0xFF, 0xFF, 0xFF]);
    frames.send(kind::WINDOW_UPDATE, 0, 0, &0x7000_0000_u32.to_be_bytes()).expect("open");
    frames
}

fn large() -> Scripted {
    let upstream = Scripted::start();
    let mut answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {BODY_BYTES}\r\n\r\n").into_bytes();
    answer.resize(answer.len() + BODY_BYTES, b'x');
    upstream.answer(move |_| Answer::keep(answer.clone()));
    upstream
}

/// Reads so much of the body, waiting between frames and giving windows back as clients do; how much came, and whether that
/// was the end.
fn read(frames: &mut Frames, bytes: usize, pause: Duration) -> (usize, bool) {
    let mut came = 0;
    while came < bytes {
        let Some(frame) = frames.read() else { return (came, false) };
        match frame.kind {
            kind::DATA => {
                came += frame.payload.len();
                if frame.flags & END_STREAM != 0 {
                    return (came, true);
                }
                // A proxy that has closed its connection answers this by a reset, which cuts what was on its way.
                if frames.send(kind::WINDOW_UPDATE, 0, 0, &1_u32.to_be_bytes()).is_err() {
                    return (came, false);
                }
                std::thread::sleep(pause);
            }
            kind::PING if frame.flags == 0 => frames.send(kind::PING, 1, 0, &frame.payload).expect("open"),
            _ => {}
        }
    }
    (came, false)
}

/// What the statistics say of exchanges under way.
fn under_way(proxy: &Proxy) -> Option<u64> {
    let text = dromon_tests::http::get(proxy.stats, "/stats/prometheus", &[]).ok()?.text();
    let lines = text.lines().filter(|line| line.starts_with("dromon_requests_active"));
    Some(lines.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum())
}

/// The last of an answer stays on its way for longer than a client has to answer the ping of its GOAWAY.
pub fn slow_tail(driver: &str) {
    let upstream = large();
    let arguments = ["--shards", "1", "--http2-max-requests", "1"];
    let (_proxy, front) = start_with(driver, upstream.address, Protocol::Http, |_| {}, &arguments);
    let mut frames = narrow(front);
    frames.send(kind::HEADERS, HEAD, 1, &get("/")).expect("open");
    let told = Instant::now();
    let (mut came, mut ended) = read(&mut frames, BODY_BYTES - TAIL_BYTES, Duration::ZERO);
    while told.elapsed() < Duration::from_secs(24) && !ended {
        let (more, end) = read(&mut frames, 1, Duration::from_millis(900));
        (came, ended) = (came + more, end);
        assert!(more > 0, "{driver}: cut after {came} bytes");
    }
    let (more, ended) = read(&mut frames, BODY_BYTES, Duration::ZERO);
    assert_eq!((came + more, ended), (BODY_BYTES, true), "{driver}");
}

/// SIGTERM while the last of an answer is in the proxy's buffers and the kernel's: it still arrives, and only then is the
/// drain over.
pub fn drained_tail(driver: &str) {
    let upstream = large();
    let arguments = ["--shards", "1", "--drain-seconds", "40"];
    let (mut proxy, front) = start_with(driver, upstream.address, Protocol::Http, |_| {}, &arguments);
    let mut frames = narrow(front);
    frames.send(kind::HEADERS, HEAD, 1, &get("/")).expect("open");
    let (came, ended) = read(&mut frames, BODY_BYTES - TAIL_BYTES, Duration::ZERO);
    assert!(!ended);
    proxy.process.signal(15);
    let (more, ended) = read(&mut frames, BODY_BYTES, Duration::from_millis(40));
    assert_eq!((came + more, ended), (BODY_BYTES, true), "{driver}: all of it");
    drop(frames);
    eventually("the proxy to end", || proxy.process.ended());
}

/// What has left counts no longer as under way.
pub fn under_way_to_the_end(driver: &str) {
    let origin = Origin::start("up");
    let (proxy, front) = start(driver, origin.address, Protocol::Http, |_| {});
    let mut frames = Frames::open(front);
    for turn in 0..20 {
        frames.send(kind::HEADERS, HEAD, 1 + 2 * turn, &get("/")).expect("open");
    }
    for _ in 0..20 {
        frames.until(|frame| frame.flags & END_STREAM != 0 && frame.stream > 0).expect("an answer");
    }
    eventually("nothing to be under way", || (under_way(&proxy)? == 0).then_some(()));
    frames.send(kind::PING, 0, 0, &[7; 8]).expect("open");
    assert!(
        frames.until(|frame| frame.kind == kind::PING && frame.flags == 1).is_some(),
        "{driver}: it lives"
    );
}

/// A client whose preface, or whose SETTINGS, come byte by byte: both together have the time of a head.
pub fn dripped_preface(driver: &str) {
    let origin = Origin::start("up");
    let (_proxy, front) = start(driver, origin.address, Protocol::Http, |_| {});
    let greeting = [PREFACE, &dromon_tests::frames::frame(kind::SETTINGS, 0, 0, &[0; 96])].concat();
    let mut threads = Vec::new();
    // The bytes that tell the protocol come at once, or the whole preface does.
    for at_once in [16, PREFACE.len()] {
        let (greeting, driver) = (greeting.clone(), driver.to_owned());
        threads.push(std::thread::spawn(move || {
            let mut stream = TcpStream::connect(front).expect("the proxy listens");
            stream.set_nodelay(true).expect("a socket option");
            stream.set_read_timeout(Some(Duration::from_millis(500))).expect("a socket option");
            stream.write_all(&greeting[..at_once]).expect("open");
            let began = Instant::now();
            let mut buffer = [0; 1024];
            for byte in &greeting[at_once..] {
                match stream.read(&mut buffer) {
                    Ok(0) => break,
                    Ok(_) => {}
                    Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                    Err(_) => break,
                }
                if stream.write_all(std::slice::from_ref(byte)).is_err() {
                    break;
                }
                assert!(began.elapsed() < Duration::from_secs(40), "{driver}: still open after {at_once}");
            }
            assert!(began.elapsed() > Duration::from_secs(5), "{driver}: it had its time");
        }));
    }
    threads.into_iter().for_each(|thread| thread.join().expect("no panic"));
    assert_eq!(origin.served(), 0);
}
