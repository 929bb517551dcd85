//! HTTP/2: the meter of frames, and the way of heads between the two versions.

use dromon_core::exchange::RequestView;
use dromon_core::h1::{PortRules, Progress, RequestHead, RequestRef, ResponseHead};
use dromon_core::h2::{self, Line, Meter, Onward, PREFACE, Sending, Trip};
use dromon_core::limits::H2_HEADER_BLOCK_MS;
use dromon_core::time::Tick;
use http::header::{HeaderName, HeaderValue};
use http::request::Parts;
use http::{HeaderMap, Request};

use super::pieces;

/// Bytes of a frame's head (RFC 9113, 4.1).
const FRAME_HEAD: usize = 9;
/// Fields of a connection (RFC 9113, 8.2.2), which the `h2` crate refuses before anybody sees them.
const OF_CONNECTIONS: [&str; 5] =
    ["connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade"];

/// Waits before bytes arrive: none, within a second's budget, beyond it, and beyond a header block's time.
const WAITS_MS: [u64; 5] = [0, 1, 300, 1_001, H2_HEADER_BLOCK_MS];

/// The meter comes to the same judgement however the bytes of a moment are cut, and never lets more through than it was given.
pub fn h2_meter(bytes: &[u8]) {
    for preface in [true, false] {
        let meter = || if preface { Meter::of_client() } else { Meter::of_upstream() };
        let (mut one, mut many) = (meter(), meter());
        if preface {
            assert_eq!(one.inspect(PREFACE, Tick(1)), many.inspect(PREFACE, Tick(1)));
        }
        let mut now = Tick(1);
        let mut rest = bytes;
        // The bytes themselves tell when and in what portions they come, and what this side does meanwhile.
        while let [first, ..] = rest {
            now = now.plus_millis(WAITS_MS[usize::from(*first) % WAITS_MS.len()]);
            let (arrived, after) = rest.split_at((1 + usize::from(*first) * 3).min(rest.len()));
            rest = after;
            if first & 0x40 != 0 {
                for meter in [&mut one, &mut many] {
                    meter.data_sent();
                    meter.answered();
                }
            }
            // A connection's timer rings before what comes too late is looked at.
            let in_time = one.check_time(now);
            assert_eq!(in_time, many.check_time(now));
            if in_time.is_err() || arrive(&mut one, &mut many, arrived, now).is_err() {
                break;
            }
        }
        assert!(one.blocks() <= 1 + bytes.len() as u64 / FRAME_HEAD as u64);
    }
}

/// Shows the same bytes to one meter at once and to the other in pieces.
fn arrive(one: &mut Meter, many: &mut Meter, bytes: &[u8], now: Tick) -> Result<(), Trip> {
    let (good, judged) = one.inspect(bytes, now);
    assert!(good <= bytes.len() && (judged.is_err() || good == bytes.len()));
    let (mut passed, mut stepped) = (0, Ok(()));
    for piece in pieces(bytes) {
        let (count, result) = many.inspect(piece, now);
        assert!(count <= piece.len());
        passed += count;
        stepped = result;
        if result.is_err() {
            break;
        }
    }
    assert_eq!(judged, stepped);
    // The head of the frame at fault may have passed in part before it was whole.
    assert!((good..=good + FRAME_HEAD).contains(&passed), "{good} at once, {passed} in pieces");
    assert!(judged.is_err() || (one.deadline(), one.blocks()) == (many.deadline(), many.blocks()));
    judged
}

/// A request as the `h2` crate would hand it over: a line of method, target and perhaps protocol, then fields.
fn parts(bytes: &[u8]) -> Option<(Parts, Option<String>)> {
    let mut lines = bytes.split(|byte| *byte == b'\n');
    let mut words = lines.next()?.split(|byte| *byte == b' ');
    let method = http::Method::from_bytes(words.next()?).ok()?;
    let uri = http::Uri::try_from(words.next()?).ok()?;
    let protocol = words.next().and_then(|word| String::from_utf8(word.to_vec()).ok());
    let mut parts = Request::builder().method(method).uri(uri).body(()).ok()?.into_parts().0;
    parts.version = http::Version::HTTP_2;
    parts.headers = fields(lines)?;
    Some((parts, protocol))
}

fn fields<'a>(lines: impl Iterator<Item = &'a [u8]>) -> Option<HeaderMap> {
    let mut fields = HeaderMap::new();
    for line in lines.filter(|line| !line.is_empty()) {
        let colon = line.iter().position(|byte| *byte == b':')?;
        let name = HeaderName::from_bytes(&line[..colon]).ok()?;
        let value = HeaderValue::from_bytes(line[colon + 1..].strip_prefix(b" ").unwrap_or(&[])).ok()?;
        let hop = OF_CONNECTIONS.contains(&name.as_str()) || (name == "te" && value != "trailers");
        if hop || fields.try_append(name, value).is_err() {
            return None;
        }
    }
    Some(fields)
}

/// What a request of HTTP/2 becomes on its way to a server of HTTP/1 is one request, that one, whatever it holds.
pub fn h2_to_h1(bytes: &[u8]) {
    let Some((parts, protocol)) = parts(bytes) else { return };
    let Ok(checked) = h2::check(&parts, protocol.as_deref()) else { return };
    let authority = match parts.uri.authority() {
        Some(authority) => authority.as_str().as_bytes(),
        None => parts.headers.get("host").map_or(&b""[..], |host| host.as_bytes()),
    };
    let path = parts.uri.path_and_query().map_or(&b"/"[..], |path| path.as_str().as_bytes());
    let fields = h2::fields(&parts, &Onward { request_id: Some(b"id"), ..Onward::default() });
    let body = checked.length.map_or(Sending::Chunked, Sending::Length);
    let method = if parts.method == http::Method::CONNECT { "GET" } else { parts.method.as_str() };
    let line = Line { method: method.as_bytes(), path, authority, body, upgrade: None, close: true };
    let mut out = Vec::new();
    h2::to_h1(&line, &fields, &mut out);
    let mut head = RequestHead::new();
    let read = head.parse(&out, PortRules::default());
    if matches!(read, Err(reject) if reject.reason != dromon_core::fault::Reason::BadRequest) {
        // A length, a method or an expectation that only a server of HTTP/1 can judge, and does by refusing.
        return;
    }
    assert_eq!(read, Ok(Progress::Complete(out.len())), "{:?}", String::from_utf8_lossy(&out));
    let view = RequestRef::new(&head, &out, "http");
    assert_eq!((view.method(), view.authority()), (method.as_bytes(), authority));
    assert_eq!((view.path_and_query(), view.header("x-request-id")), (path, Some(&b"id"[..])));
    let framed = match body {
        Sending::Chunked => dromon_core::h1::Body::Chunked,
        Sending::Empty | Sending::Length(0) => dromon_core::h1::Body::Empty,
        Sending::Length(length) => dromon_core::h1::Body::Length(length),
    };
    assert_eq!((head.body(), head.keep_alive(), head.wants_upgrade()), (framed, false, false));
}

/// What a response of HTTP/1 becomes for a client of HTTP/2 holds nothing of its connection, and its trailers nothing that
/// frames or routes.
pub fn h1_to_h2(bytes: &[u8]) {
    let mut head = ResponseHead::new();
    if matches!(head.parse(bytes, false), Ok(Progress::Complete(_)))
        && let Some(response) = h2::from_h1(&head, bytes)
    {
        assert_eq!(response.status().as_u16(), head.status());
        assert!(OF_CONNECTIONS.iter().all(|name| !response.headers().contains_key(*name)), "{response:?}");
        let lengths = response.headers().get_all("content-length").iter().count();
        assert!(lengths <= 1, "{response:?}");
    }
    let trailers = h2::trailers_from_h1(bytes);
    for framing in OF_CONNECTIONS.iter().chain(&["content-length", "host", "te", "authorization"]) {
        assert!(!trailers.contains_key(*framing), "{trailers:?}");
    }
    let mut out = Vec::new();
    h2::trailers_to_h1(&trailers, true, &mut out);
    assert_eq!(h2::trailers_from_h1(&out), trailers);
}
