//! A raw HTTP/2 client: frames as a test wants them, well-formed or not.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// Frame types (RFC 9113, 6).
pub mod kind {
    #![allow(missing_docs)]
    pub const DATA: u8 = 0;
    pub const HEADERS: u8 = 1;
    pub const PRIORITY: u8 = 2;
    pub const RST_STREAM: u8 = 3;
    pub const SETTINGS: u8 = 4;
    pub const PING: u8 = 6;
    pub const GOAWAY: u8 = 7;
    pub const WINDOW_UPDATE: u8 = 8;
    pub const CONTINUATION: u8 = 9;
}

/// END_STREAM of DATA and HEADERS; ACK of SETTINGS and PING.
pub const END_STREAM: u8 = 0x1;
/// END_HEADERS of HEADERS and CONTINUATION.
pub const END_HEADERS: u8 = 0x4;

/// Error codes (RFC 9113, 7).
pub const PROTOCOL_ERROR: u32 = 0x1;
/// The code of streams that were not looked at.
pub const REFUSED_STREAM: u32 = 0x7;
/// The code of a header block that cannot be decoded.
pub const COMPRESSION_ERROR: u32 = 0x9;
/// The code that abuse is answered by.
pub const ENHANCE_YOUR_CALM: u32 = 0xb;

/// What a client sends first (RFC 9113, 3.4).
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A frame as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Its type.
    pub kind: u8,
    /// Its flags.
    pub flags: u8,
    /// Its stream; 0 for the connection.
    pub stream: u32,
    /// Its payload.
    pub payload: Vec<u8>,
}

impl Frame {
    /// The error code of RST_STREAM or GOAWAY.
    pub fn code(&self) -> Option<u32> {
        let code = match self.kind {
            kind::RST_STREAM => self.payload.get(..4),
            kind::GOAWAY => self.payload.get(4..8),
            _ => None,
        };
        code.map(|bytes| u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    }
}

/// A connection that has sent its preface.
pub struct Frames {
    stream: TcpStream,
}

impl Frames {
    /// Connects and sends preface and empty SETTINGS.
    ///
    /// # Panics
    /// If that fails.
    pub fn open(address: SocketAddr) -> Frames {
        Frames::on(TcpStream::connect(address).expect("the proxy listens"), &[])
    }

    /// As [`Frames::open`] on a connection, with these settings.
    ///
    /// # Panics
    /// If the connection takes nothing.
    pub fn on(stream: TcpStream, settings: &[u8]) -> Frames {
        stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a socket option");
        stream.set_nodelay(true).expect("a socket option");
        let mut frames = Frames { stream };
        frames.raw(PREFACE).expect("a fresh connection takes bytes");
        frames.send(kind::SETTINGS, 0, 0, settings).expect("a fresh connection takes bytes");
        frames
    }

    /// Sends bytes as they are.
    ///
    /// # Errors
    /// A connection that the proxy has closed.
    pub fn raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// Sends a frame.
    ///
    /// # Errors
    /// A connection that the proxy has closed.
    pub fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) -> io::Result<()> {
        self.raw(&frame(kind, flags, stream, payload))
    }

    /// The next frame; none when the connection is over.
    pub fn read(&mut self) -> Option<Frame> {
        let mut head = [0; 9];
        self.stream.read_exact(&mut head).ok()?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        let mut payload = vec![0; length];
        self.stream.read_exact(&mut payload).ok()?;
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]) & 0x7FFF_FFFF;
        Some(Frame { kind: head[3], flags: head[4], stream, payload })
    }

    /// Reads until a frame fits; none when the connection is over before.
    ///
    /// # Panics
    /// If frames come for longer than a test may take.
    pub fn until(&mut self, fits: impl Fn(&Frame) -> bool) -> Option<Frame> {
        let start = Instant::now();
        while let Some(frame) = self.read() {
            if fits(&frame) {
                return Some(frame);
            }
            assert!(start.elapsed() < crate::DEADLINE, "the frame waited for does not come");
        }
        None
    }

    /// The code of the GOAWAY that the connection ends with; none if it is closed without one.
    pub fn goaway(&mut self) -> Option<u32> {
        let code = self.until(|frame| frame.kind == kind::GOAWAY).and_then(|frame| frame.code())?;
        assert!(self.until(|_| false).is_none(), "after this GOAWAY the connection closes");
        Some(code)
    }
}

/// A frame's bytes.
///
/// # Panics
/// If the payload is longer than a frame can say.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a short payload").to_be_bytes();
    let mut bytes = vec![length[1], length[2], length[3], kind, flags];
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// A header block of literal fields that no table takes up (RFC 7541, 6.2.2).
///
/// # Panics
/// If a name is longer than a test needs.
pub fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (name, value) in fields {
        bytes.push(0);
        for text in [name, value] {
            integer(text.len(), &mut bytes);
            bytes.extend(text.as_bytes());
        }
    }
    bytes
}

/// RFC 7541, 5.1, with a prefix of seven bits.
fn integer(mut number: usize, bytes: &mut Vec<u8>) {
    if number < 127 {
        return bytes.push(number as u8);
    }
    bytes.push(127);
    number -= 127;
    while number >= 128 {
        bytes.push((number % 128) as u8 | 0x80);
        number /= 128;
    }
    bytes.push(number as u8);
}

/// The block of a GET of `path`.
pub fn get(path: &str) -> Vec<u8> {
    block(&[(":method", "GET"), (":scheme", "http"), (":path", path), (":authority", "a")])
}
