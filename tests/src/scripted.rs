//! A scripted upstream: sends prepared bytes for each request and keeps the raw bytes that it received.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

/// What happens to a connection after an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// It stays open for the next request.
    Keep,
    /// It is closed in order (FIN).
    Close,
    /// It turns into an echo.
    Echo,
}

/// One answer.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Raw bytes; none: nothing is sent.
    pub bytes: Vec<u8>,
    /// What comes after.
    pub then: Then,
}

impl Answer {
    /// These bytes, and the connection stays open.
    pub fn keep(bytes: impl Into<Vec<u8>>) -> Answer {
        Answer { bytes: bytes.into(), then: Then::Keep }
    }

    /// These bytes, and the connection is closed.
    pub fn close(bytes: impl Into<Vec<u8>>) -> Answer {
        Answer { bytes: bytes.into(), then: Then::Close }
    }
}

/// A request as it came: head and body, raw.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Counts connections from 0.
    pub connection: u64,
    /// The other end of its connection.
    pub client: SocketAddr,
    /// Everything up to and with the empty line.
    pub head: String,
    /// The body's raw bytes, chunk framing included.
    pub body: Vec<u8>,
}

impl Seen {
    /// The first value of a header, by its name in any case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.split("\r\n").skip(1).find_map(|line| {
            let (it, value) = line.split_once(':')?;
            it.eq_ignore_ascii_case(name).then_some(value.trim())
        })
    }
}

type Script = dyn Fn(&Seen) -> Answer + Send + Sync;

/// A running scripted upstream.
pub struct Scripted {
    /// Where it listens.
    pub address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    script: Arc<Mutex<Arc<Script>>>,
    connections: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
}

impl Scripted {
    /// Starts it with an empty 200 for everything.
    ///
    /// # Panics
    /// If no loopback port can be had.
    pub fn start() -> Scripted {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a loopback port");
        let script: Arc<Script> = Arc::new(|_| Answer::keep("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"));
        let scripted = Scripted {
            address: listener.local_addr().expect("a bound socket has an address"),
            seen: Arc::default(),
            script: Arc::new(Mutex::new(script)),
            connections: Arc::default(),
            stop: Arc::default(),
        };
        let (seen, script) = (Arc::clone(&scripted.seen), Arc::clone(&scripted.script));
        let (count, stop) = (Arc::clone(&scripted.connections), Arc::clone(&scripted.stop));
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if stop.load(Ordering::Relaxed) {
                    return;
                }
                let connection = count.fetch_add(1, Ordering::Relaxed);
                let (seen, script) = (Arc::clone(&seen), Arc::clone(&script));
                std::thread::spawn(move || serve(stream, connection, &seen, &script));
            }
        });
        scripted
    }

    /// From now on answers like this; what was seen before is forgotten.
    ///
    /// # Panics
    /// If a connection's thread panicked.
    pub fn answer(&self, script: impl Fn(&Seen) -> Answer + Send + Sync + 'static) {
        self.seen.lock().expect("no thread panics").clear();
        *self.script.lock().expect("no thread panics") = Arc::new(script);
    }

    /// Requests since the last [`Scripted::answer`].
    ///
    /// # Panics
    /// If a connection's thread panicked.
    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().expect("no thread panics").clone()
    }

    /// Connections accepted so far.
    pub fn connections(&self) -> u64 {
        self.connections.load(Ordering::Relaxed)
    }
}

impl Drop for Scripted {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(self.address);
    }
}

fn serve(mut stream: TcpStream, connection: u64, seen: &Mutex<Vec<Seen>>, script: &Mutex<Arc<Script>>) {
    let _ = stream.set_nodelay(true);
    let mut bytes = Vec::new();
    while let Some(request) = next_request(&mut stream, &mut bytes, connection) {
        let script = Arc::clone(&script.lock().expect("no thread panics"));
        let answer = script(&request);
        seen.lock().expect("no thread panics").push(request);
        if stream.write_all(&answer.bytes).is_err() {
            return;
        }
        match answer.then {
            Then::Keep => {}
            Then::Close => {
                let _ = stream.shutdown(Shutdown::Both);
                return;
            }
            Then::Echo => return echo(stream, &bytes),
        }
    }
}

fn echo(mut stream: TcpStream, early: &[u8]) {
    let _ = stream.write_all(early);
    let mut buffer = [0; 4096];
    while let Ok(count @ 1..) = stream.read(&mut buffer) {
        if stream.write_all(&buffer[..count]).is_err() {
            return;
        }
    }
    let _ = stream.shutdown(Shutdown::Write);
}

/// The next whole request; none when the connection ends first.
fn next_request(stream: &mut TcpStream, bytes: &mut Vec<u8>, connection: u64) -> Option<Seen> {
    loop {
        if let Some((head_end, end)) = request_end(bytes) {
            let rest = bytes.split_off(end);
            let request = std::mem::replace(bytes, rest);
            let head = String::from_utf8_lossy(&request[..head_end]).into_owned();
            let client = stream.peer_addr().ok()?;
            return Some(Seen { connection, client, head, body: request[head_end..].to_vec() });
        }
        let mut buffer = [0; 16 * 1024];
        match stream.read(&mut buffer) {
            Ok(count @ 1..) => bytes.extend_from_slice(&buffer[..count]),
            _ => return None,
        }
    }
}

fn request_end(bytes: &[u8]) -> Option<(usize, usize)> {
    let head_end = bytes.windows(4).position(|it| it == b"\r\n\r\n")? + 4;
    let head = String::from_utf8_lossy(&bytes[..head_end]).to_ascii_lowercase();
    if head.contains("transfer-encoding: chunked") {
        // The last chunk, then trailers or none.
        let last = head_end - 2 + bytes[head_end - 2..].windows(5).position(|it| it == b"\r\n0\r\n")?;
        let end = bytes[last + 3..].windows(4).position(|it| it == b"\r\n\r\n")?;
        return Some((head_end, last + 3 + end + 4));
    }
    let length =
        head.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse::<usize>().ok());
    let end = head_end + length.unwrap_or(0);
    (bytes.len() >= end).then_some((head_end, end))
}
