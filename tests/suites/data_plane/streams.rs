//! Long and large streams: back-pressure, drain, configuration swaps under them.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use dromon_core::config::model::{HttpRule, Resource};
use dromon_tests::eventually;
use dromon_tests::http::get;
use dromon_tests::proxy::{Proxy, gateway};

use crate::{free_address, start};

const MIB: usize = 1024 * 1024;

/// Serves each connection on a thread of its own.
fn upstream(serve: impl Fn(TcpStream) + Send + Sync + Clone + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a loopback port");
    let address = listener.local_addr().expect("a bound socket has an address");
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let serve = serve.clone();
            std::thread::Builder::new().stack_size(64 * 1024).spawn(move || serve(stream)).expect("a thread");
        }
    });
    address
}

fn skip_head(stream: &mut TcpStream) {
    let mut last = [0; 4];
    let mut byte = [0; 1];
    while last != *b"\r\n\r\n" && stream.read_exact(&mut byte).is_ok() {
        last.rotate_left(1);
        last[3] = byte[0];
    }
}

fn resident_kib(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("the process runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a resident size");
    line.trim().trim_end_matches(" kB").parse().expect("KiB")
}

/// 64 MiB up and down at once; then a reader that stops: the sender is held, memory stays.
pub fn large_bodies(driver: &str) {
    let echo = upstream(|mut stream| {
        skip_head(&mut stream);
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", 64 * MIB);
        let _ = stream.write_all(head.as_bytes());
        let mut buffer = vec![0; 64 * 1024];
        while let Ok(count @ 1..) = stream.read(&mut buffer) {
            if stream.write_all(&buffer[..count]).is_err() {
                return;
            }
        }
    });
    let (proxy, front) = start(driver, &[echo], HttpRule::default(), |_| {});
    let mut up = TcpStream::connect(front).expect("the gateway listens");
    up.set_read_timeout(Some(Duration::from_secs(30))).expect("a socket option");
    let mut down = up.try_clone().expect("a second handle");
    let writer = std::thread::spawn(move || {
        let head = format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", 64 * MIB);
        up.write_all(head.as_bytes()).expect("open");
        for block in 0..64_u8 {
            up.write_all(&vec![block; MIB]).expect("open");
        }
    });
    skip_head(&mut down);
    let mut block = vec![0; MIB];
    for expected in 0..64_u8 {
        down.read_exact(&mut block).expect("the whole body comes back");
        assert!(block.iter().all(|byte| *byte == expected), "block {expected} is damaged");
    }
    writer.join().expect("the writer does not panic");

    let before = resident_kib(proxy.process.pid());
    let stalled: Vec<_> = (0..8).map(|_| stalled_reader(front)).collect();
    let mut last = 0;
    eventually("the stalled senders to stand still", || {
        let now = resident_kib(proxy.process.pid());
        std::thread::sleep(Duration::from_millis(200));
        let still = now.abs_diff(last) < 64;
        last = now;
        still.then_some(())
    });
    let grown = resident_kib(proxy.process.pid()).saturating_sub(before);
    assert!(grown < 8 * 1024, "8 stalled streams of 64 MiB took {grown} KiB");
    drop(stalled);
}

/// A client that sends what it can and reads nothing.
fn stalled_reader(front: SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect(front).expect("the gateway listens");
    let head = format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", 64 * MIB);
    stream.write_all(head.as_bytes()).expect("open");
    stream.set_write_timeout(Some(Duration::from_millis(500))).expect("a socket option");
    while stream.write(&[0; 16 * 1024]).is_ok() {}
    stream
}

/// SIGTERM: the exchange under way ends well, its connection is closed after it, the process ends with 0.
pub fn drain(driver: &str) {
    let slow = upstream(|mut stream| {
        skip_head(&mut stream);
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello");
        std::thread::sleep(Duration::from_millis(1_500));
        let _ = stream.write_all(b"world");
        std::thread::sleep(Duration::from_secs(5));
    });
    let (mut proxy, front) = start(driver, &[slow], HttpRule::default(), |_| {});
    let mut stream = TcpStream::connect(front).expect("the gateway listens");
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a socket option");
    stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").expect("open");
    skip_head(&mut stream);
    proxy.process.signal(15);
    eventually("readiness to go", || match get(proxy.health, "/healthz/ready", &[]) {
        Ok(answer) => (answer.status == 503).then_some(()),
        Err(_) => Some(()),
    });
    let mut rest = String::new();
    stream.read_to_string(&mut rest).expect("the exchange ends, then the connection");
    assert_eq!(rest, "helloworld");
    assert!(proxy.process.wait().success(), "a drained proxy ends with 0");
}

const STREAMS: usize = 1_000;
const SWAPS: u32 = 1_000;

/// Streams opened before the swaps and between them flow on after the last one, and the proxy is no larger for the tables
/// that they began under.
pub fn swaps(driver: &str) {
    for shards in ["1", "4"] {
        swaps_on(driver, shards);
    }
}

fn swaps_on(driver: &str, shards: &str) {
    let gate = Arc::new((Mutex::new(false), Condvar::new()));
    let waiting = gate.clone();
    let ticking = upstream(move |mut stream| {
        skip_head(&mut stream);
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n");
        let (open, opened) = &*waiting;
        let held = open.lock().expect("nobody panics with it");
        drop(opened.wait_while(held, |open| !*open).expect("nobody panics with it"));
        let _ = stream.write_all(b"1\r\nb\r\n");
        // The test's client closes in the end, which ends the wait for its next request.
        let _ = stream.read(&mut [0; 1]);
    });
    let front = free_address();
    let table = |version: u32| -> Vec<Resource> {
        let rule = HttpRule { name: format!("version-{version}"), ..HttpRule::default() };
        let mut resources = gateway(front, &[ticking], rule);
        if let Some(Resource::VirtualHost(host)) = resources.last_mut() {
            let other = host.http[0].clone();
            host.http.splice(
                0..0,
                (0..50).map(|number| HttpRule { name: format!("{version}/{number}"), ..other.clone() }),
            );
        }
        resources
    };
    let proxy = Proxy::start("gateway~ingress.default", driver, &table(0), &["--shards", shards]);
    let resident = || resident_kib(proxy.process.pid());
    let open = || {
        let mut stream = open_stream(front);
        skip_head(&mut stream);
        expect_chunk(&mut stream, b"1\r\na\r\n");
        stream
    };
    // One stream warms up what all share.
    let mut streams = vec![open()];
    let bare = resident();
    streams.extend((1..STREAMS / 2).map(|_| open()));
    let each = (resident().saturating_sub(bare)).div_ceil(STREAMS as u64 / 2 - 1);
    let version = || config_version(&proxy);
    let (first, start) = (version(), Instant::now());
    let mut settled = (0, 0);
    for swap in 1..=SWAPS {
        let before = version();
        proxy.configure(&table(swap));
        eventually("the next table", || (version() > before).then_some(()));
        if streams.len() < STREAMS {
            streams.push(open());
        }
        if swap == SWAPS / 10 {
            settled = (resident(), streams.len() as u64);
        }
    }
    assert!(version() >= first + u64::from(SWAPS), "a thousand tables in {:?}", start.elapsed());
    let grown = resident().saturating_sub(settled.0);
    let allowed = 4 * 1024 + (streams.len() as u64 - settled.1) * each;
    assert!(grown < allowed, "900 swaps grew the proxy by {grown} KiB, with {each} KiB for each stream");
    *gate.0.lock().expect("nobody panics with it") = true;
    gate.1.notify_all();
    streams.iter_mut().for_each(|stream| expect_chunk(stream, b"1\r\nb\r\n"));
}

fn expect_chunk(stream: &mut TcpStream, expected: &[u8]) {
    let mut chunk = [0; 6];
    stream.read_exact(&mut chunk).expect("every stream flows");
    assert_eq!(chunk, expected);
}

fn open_stream(front: SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect(front).expect("the gateway listens");
    stream.set_read_timeout(Some(Duration::from_secs(30))).expect("a socket option");
    stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").expect("open");
    stream
}

/// The version of the table in force, as `/stats` counts it.
fn config_version(proxy: &Proxy) -> u64 {
    let answer = get(proxy.admin, "/stats?format=json", &[]).expect("an answer");
    let stats: serde_json::Value = serde_json::from_slice(&answer.body).expect("JSON");
    stats["version"].as_u64().unwrap_or_else(|| panic!("no version in {stats}"))
}

/// A relay whose receiver takes nothing for the idle time ends with resets; one that takes a little now and then goes on
/// for longer than that.
pub fn stalled_relay(driver: &str) {
    const IDLE_MS: u64 = 1_000;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (told, ended) = std::sync::mpsc::channel();
    let flood = upstream(move |mut stream| {
        let result = (0..1_024).try_for_each(|_| stream.write_all(&[b'x'; 64 * 1024]));
        let _ = told.send(result);
    });
    let log = folder.path().join("log");
    let (_proxy, front) = crate::accounts::tcp_gateway(driver, flood, &log, Some(IDLE_MS));
    let mut slow = TcpStream::connect(front).expect("the gateway listens");
    let reader = std::thread::spawn(move || {
        let (start, mut buffer) = (Instant::now(), vec![0; MIB / 2]);
        while start.elapsed() < Duration::from_millis(4 * IDLE_MS) {
            let read = slow.read(&mut buffer).expect("the slow one's relay goes on");
            assert!(read > 0, "and does not end");
            std::thread::sleep(Duration::from_millis(IDLE_MS / 10));
        }
        slow
    });
    let stalled = TcpStream::connect(front).expect("the gateway listens");
    let broken = ended.recv_timeout(Duration::from_secs(20)).expect("the stalled relay ends");
    assert!(broken.is_err(), "its sender is told, not left with bytes that nobody took");
    let slow = reader.join().expect("no panic");
    assert!(ended.try_recv().is_err(), "only that one");
    drop((stalled, slow));
}
