//! HTTP/2 servers under a test's control: one that answers by a script, with the `h2` crate, and one of raw frames for what
//! no well-behaved server does.

use std::future::Future;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{RecvStream, server};
use http::{HeaderMap, Request, Response};

type Served = Pin<Box<dyn Future<Output = ()>>>;
type Handler = dyn Fn(Request<RecvStream>, SendResponse<Bytes>) -> Served + Send + Sync;

/// What a server counts.
#[derive(Default)]
pub struct Counts {
    /// Connections accepted.
    pub connections: AtomicUsize,
    /// Requests taken.
    pub requests: AtomicUsize,
    /// Requests under way.
    pub active: AtomicUsize,
    /// Most requests under way at once on one connection.
    pub most_streams: AtomicUsize,
}

impl Counts {
    /// Connections accepted.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// Requests taken.
    pub fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }
}

/// How a server limits its clients.
#[derive(Clone, Copy, Default)]
pub struct Limits {
    /// Streams of one connection.
    pub streams: Option<u32>,
    /// Window of each stream.
    pub window: Option<u32>,
    /// It takes extended CONNECTs (RFC 8441).
    pub connect: bool,
}

/// Starts a server that treats every request by `handler`.
pub fn serve<F, S>(limits: Limits, handler: F) -> (SocketAddr, Arc<Counts>)
where
    F: Fn(Request<RecvStream>, SendResponse<Bytes>) -> S + Send + Sync + 'static,
    S: Future<Output = ()> + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").expect("a loopback port");
    let address = listener.local_addr().expect("a bound socket has an address");
    listener.set_nonblocking(true).expect("a socket option");
    let counts = Arc::new(Counts::default());
    let (counted, handler): (_, Arc<Handler>) =
        (counts.clone(), Arc::new(move |request, respond| Box::pin(handler(request, respond))));
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        tokio::task::LocalSet::new().block_on(&runtime, async move {
            let listener = tokio::net::TcpListener::from_std(listener).expect("a listener");
            while let Ok((stream, _)) = listener.accept().await {
                counted.connections.fetch_add(1, Ordering::SeqCst);
                tokio::task::spawn_local(connection(stream, limits, handler.clone(), counted.clone()));
            }
        });
    });
    (address, counts)
}

async fn connection(
    stream: tokio::net::TcpStream,
    limits: Limits,
    handler: Arc<Handler>,
    counts: Arc<Counts>,
) {
    let _ = stream.set_nodelay(true);
    let mut builder = server::Builder::new();
    builder.initial_connection_window_size(1 << 20).max_concurrent_streams(limits.streams.unwrap_or(1_000));
    if limits.connect {
        builder.enable_connect_protocol();
    }
    if let Some(window) = limits.window {
        builder.initial_window_size(window).initial_connection_window_size(65_535);
    }
    let Ok(mut connection) = builder.handshake::<_, Bytes>(stream).await else { return };
    let here = Arc::new(AtomicUsize::new(0));
    while let Some(Ok((request, respond))) = connection.accept().await {
        counts.requests.fetch_add(1, Ordering::SeqCst);
        counts.active.fetch_add(1, Ordering::SeqCst);
        counts.most_streams.fetch_max(here.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        let (handler, here, counts) = (handler.clone(), here.clone(), counts.clone());
        tokio::task::spawn_local(async move {
            handler(request, respond).await;
            here.fetch_sub(1, Ordering::SeqCst);
            counts.active.fetch_sub(1, Ordering::SeqCst);
        });
    }
}

/// Reads a body to its end; its trailers. What is read is released at once.
pub async fn read(body: &mut RecvStream) -> (Vec<u8>, HeaderMap) {
    let mut all = Vec::new();
    while let Some(Ok(part)) = body.data().await {
        let _ = body.flow_control().release_capacity(part.len());
        all.extend_from_slice(&part);
    }
    (all, body.trailers().await.ok().flatten().unwrap_or_default())
}

/// Sends bytes as far as the client's windows let them.
pub async fn send(stream: &mut h2::SendStream<Bytes>, mut bytes: Bytes, end: bool) -> bool {
    while !bytes.is_empty() {
        stream.reserve_capacity(bytes.len());
        let room = std::future::poll_fn(|context| stream.poll_capacity(context)).await;
        let Some(Ok(room)) = room else { return false };
        let part = bytes.split_to(room.min(bytes.len()));
        let last = end && bytes.is_empty();
        if stream.send_data(part, last).is_err() {
            return false;
        }
    }
    true
}

/// A 200 with these bytes.
pub async fn answer(mut respond: SendResponse<Bytes>, body: impl Into<Bytes>) {
    let body = body.into();
    if let Ok(mut stream) = respond.send_response(Response::new(()), body.is_empty()) {
        send(&mut stream, body, true).await;
    }
}

/// The kinds of frames that scripts need (RFC 9113, 6).
pub mod kind {
    pub const DATA: u8 = 0;
    pub const HEADERS: u8 = 1;
    pub const RST_STREAM: u8 = 3;
    pub const SETTINGS: u8 = 4;
    pub const PING: u8 = 6;
    pub const GOAWAY: u8 = 7;
}

/// One frame.
#[derive(Clone, Debug)]
pub struct Frame {
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
    pub payload: Vec<u8>,
}

impl Frame {
    /// A frame of these parts.
    pub fn new(kind: u8, flags: u8, stream: u32, payload: impl Into<Vec<u8>>) -> Frame {
        Frame { kind, flags, stream, payload: payload.into() }
    }

    /// `:status: 200` without more, the stream's end where `end`.
    pub fn ok(stream: u32, end: bool) -> Frame {
        Frame::new(kind::HEADERS, 4 | u8::from(end), stream, [0x88])
    }

    /// RST_STREAM with a code.
    pub fn reset(stream: u32, code: u32) -> Frame {
        Frame::new(kind::RST_STREAM, 0, stream, code.to_be_bytes())
    }

    /// GOAWAY with the last stream looked at.
    pub fn go_away(last: u32, code: u32) -> Frame {
        Frame::new(kind::GOAWAY, 0, 0, [last.to_be_bytes(), code.to_be_bytes()].concat())
    }

    fn bytes(&self) -> Vec<u8> {
        let length = (self.payload.len() as u32).to_be_bytes();
        let mut bytes = length[1..].to_vec();
        bytes.extend([self.kind, self.flags]);
        bytes.extend(self.stream.to_be_bytes());
        bytes.extend(&self.payload);
        bytes
    }

    fn write(&self, to: &mut TcpStream) {
        let _ = to.write_all(&self.bytes());
    }

    fn read(from: &mut TcpStream) -> Option<Frame> {
        let mut head = [0; 9];
        from.read_exact(&mut head).ok()?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        let mut payload = vec![0; length];
        from.read_exact(&mut payload).ok()?;
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        Some(Frame { kind: head[3], flags: head[4], stream, payload })
    }
}

/// What a script does about a request: `(number of the connection, stream)` → frames, and whether to close.
pub type Script = dyn Fn(usize, u32) -> (Vec<Frame>, bool) + Send + Sync;

/// A server of raw frames: acknowledges settings, answers pings if `pongs`, and treats requests by its script.
pub struct Raw {
    /// Where it listens.
    pub address: SocketAddr,
    /// Frames that came, with the number of their connection, settings and window updates left out.
    pub seen: Arc<Mutex<Vec<(usize, Frame)>>>,
    /// Connections accepted.
    pub connections: Arc<AtomicUsize>,
    introductions: Introductions,
}

/// What connections were introduced by, the first line of each.
type Introductions = Arc<Mutex<Vec<String>>>;

impl Raw {
    /// Starts it.
    pub fn start(
        pongs: bool,
        script: impl Fn(usize, u32) -> (Vec<Frame>, bool) + Send + Sync + 'static,
    ) -> Raw {
        Raw::with(pongs, false, script)
    }

    /// Starts one whose connections begin with a line of the PROXY protocol.
    pub fn introduced(script: impl Fn(usize, u32) -> (Vec<Frame>, bool) + Send + Sync + 'static) -> Raw {
        Raw::with(true, true, script)
    }

    /// The lines that connections began with.
    pub fn introductions(&self) -> Vec<String> {
        self.introductions.lock().expect("no panic").clone()
    }

    fn with(
        pongs: bool,
        introduced: bool,
        script: impl Fn(usize, u32) -> (Vec<Frame>, bool) + Send + Sync + 'static,
    ) -> Raw {
        let introductions = Introductions::default();
        let heard = introductions.clone();
        let listener = TcpListener::bind("127.0.0.1:0").expect("a loopback port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let (seen, connections) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicUsize::new(0)));
        let (kept, counted, script): (_, _, Arc<Script>) =
            (seen.clone(), connections.clone(), Arc::new(script));
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let number = counted.fetch_add(1, Ordering::SeqCst);
                let (kept, script, heard) = (kept.clone(), script.clone(), heard.clone());
                std::thread::spawn(move || {
                    let mut stream = stream;
                    if introduced {
                        heard.lock().expect("no panic").push(line(&mut stream));
                    }
                    raw_connection(stream, number, pongs, &kept, &*script);
                });
            }
        });
        Raw { address, seen, connections, introductions }
    }

    /// How many frames of a kind have come.
    pub fn count(&self, kind: u8) -> usize {
        self.seen.lock().expect("no panic").iter().filter(|(_, frame)| frame.kind == kind).count()
    }
}

/// The bytes up to a line's end, and no more.
fn line(stream: &mut TcpStream) -> String {
    let mut line = Vec::new();
    let mut byte = [0];
    while !line.ends_with(b"\n") && matches!(stream.read(&mut byte), Ok(1)) {
        line.push(byte[0]);
    }
    String::from_utf8_lossy(&line).into_owned()
}

fn raw_connection(
    mut stream: TcpStream,
    number: usize,
    pongs: bool,
    seen: &Mutex<Vec<(usize, Frame)>>,
    script: &Script,
) {
    let _ = stream.set_nodelay(true);
    let mut preface = [0; 24];
    if stream.read_exact(&mut preface).is_err() {
        return;
    }
    Frame::new(kind::SETTINGS, 0, 0, []).write(&mut stream);
    while let Some(frame) = Frame::read(&mut stream) {
        match frame.kind {
            kind::SETTINGS if frame.flags & 1 == 0 => {
                Frame::new(kind::SETTINGS, 1, 0, []).write(&mut stream);
                continue;
            }
            kind::PING if frame.flags & 1 == 0 && pongs => {
                Frame::new(kind::PING, 1, 0, frame.payload.clone()).write(&mut stream);
            }
            kind::HEADERS => {
                seen.lock().expect("no panic").push((number, frame.clone()));
                let (frames, close) = script(number, frame.stream);
                // At once: what comes together is seen together.
                let _ = stream.write_all(&frames.iter().flat_map(Frame::bytes).collect::<Vec<_>>());
                if close {
                    let _ = stream.shutdown(std::net::Shutdown::Both);
                    return;
                }
                continue;
            }
            _ => {}
        }
        seen.lock().expect("no panic").push((number, frame));
    }
}
