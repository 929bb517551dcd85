//! HTTP/1: heads and chunked bodies, as they come and as they go on.

use dromon_core::exchange::RequestView;
use dromon_core::h1::{
    Body, ChunkDecoder, Mode, PathPolicy, Piece, PortRules, Progress, RequestHead, RequestRef,
    RequestRewrite, ResponseHead, ResponseRewrite, Rule, Version, encode, trailers,
};

use super::pieces;

/// A request's head is read the same in one piece and in many, and what is sent on for one that is taken is a request
/// again: the same one, with the same framing.
pub fn h1_request(bytes: &[u8]) {
    let mut head = RequestHead::new();
    let whole = head.parse(bytes, PortRules::default());
    let mut stepped = RequestHead::new();
    let (mut end, mut last) = (0, Ok(Progress::Incomplete));
    for piece in pieces(bytes) {
        end += piece.len();
        last = stepped.parse(&bytes[..end], PortRules::default());
        if last != Ok(Progress::Incomplete) {
            break;
        }
    }
    assert_eq!(whole.is_err(), last.is_err(), "{whole:?} at once, {last:?} in pieces");
    let Ok(Progress::Complete(length)) = whole else { return };
    assert!(last == whole && length <= bytes.len());
    assert_eq!((stepped.body(), stepped.keep_alive()), (head.body(), head.keep_alive()));

    let sent = RequestRef::new(&head, bytes, "http");
    let mut scratch = Vec::new();
    let normal = head.normalized_path(bytes, PathPolicy::default(), &mut scratch);
    if let Ok(Some(path)) = normal {
        assert!(!path.windows(4).any(|it| it == b"/../") && !path.ends_with(b"/.."), "{path:?}");
    }
    let mut out = Vec::new();
    encode::request(&head, bytes, &RequestRewrite { upgrade: true, ..Default::default() }, &mut out);
    let mut again = RequestHead::new();
    let onward = again.parse(&out, PortRules::default());
    let last_hop = matches!(onward, Err(reject) if reject.rule == Rule::R36);
    if head.authority().is_empty() || last_hop {
        // HTTP/1.0 without Host, or Max-Forwards at its end: the upstream judges.
        return;
    }
    assert_eq!(onward, Ok(Progress::Complete(out.len())), "{:?}", String::from_utf8_lossy(&out));
    let after = RequestRef::new(&again, &out, "http");
    assert_eq!(again.body(), head.body());
    assert_eq!((after.method(), after.authority()), (sent.method(), sent.authority()));
    assert_eq!(after.path_and_query(), sent.path_and_query());
    assert_eq!(again.wants_upgrade(), head.wants_upgrade());
}

/// What is sent on of a response is a response again, for either version of client and with a framing that it understands.
pub fn h1_response(bytes: &[u8]) {
    for to_head in [false, true] {
        let mut head = ResponseHead::new();
        let Ok(Progress::Complete(length)) = head.parse(bytes, to_head) else { continue };
        assert!(length <= bytes.len() && (100..600).contains(&head.status()));
        for client in [Version::Http10, Version::Http11] {
            let rewrite = ResponseRewrite { client, keep_alive: true, ..Default::default() };
            let mut out = Vec::new();
            let sent = encode::response(&head, bytes, &rewrite, &mut out);
            let mut again = ResponseHead::new();
            let onward = again.parse(&out, to_head);
            assert_eq!(onward, Ok(Progress::Complete(out.len())), "{:?}", String::from_utf8_lossy(&out));
            assert_eq!(again.status(), head.status());
            if head.is_interim() {
                continue;
            }
            assert_eq!(again.body(), sent.body, "{:?}", String::from_utf8_lossy(&out));
            assert!(client == Version::Http11 || sent.body != Body::Chunked, "no chunks for HTTP/1.0");
        }
    }
}

/// A body as a decoder takes it apart, and how many bytes that took.
#[derive(Debug, PartialEq, Eq)]
struct Decoded {
    sent: Vec<u8>,
    used: usize,
    done: bool,
    refused: bool,
}

fn decode<'a>(mode: Mode, input: impl Iterator<Item = &'a [u8]>) -> Decoded {
    let (mut decoder, mut held, mut cursor, mut before) = (ChunkDecoder::new(mode), Vec::new(), 0, 0);
    let mut sent = Vec::new();
    for piece in input {
        held.extend_from_slice(piece);
        loop {
            match decoder.next(&held, &mut cursor) {
                Ok(Piece::More) => break,
                Ok(Piece::Data(range)) => sent.extend_from_slice(&held[range]),
                Ok(Piece::Trailers(range)) if mode == Mode::Framed => {
                    trailers(&held[range], true, &mut sent);
                }
                Ok(Piece::Trailers(_) | Piece::End) => {}
                Err(_) => return Decoded { sent, used: before + cursor, done: false, refused: true },
            }
            assert!(cursor <= held.len());
            if decoder.is_done() {
                return Decoded { sent, used: before + cursor, done: true, refused: false };
            }
        }
        // As the data plane does: what was used is dropped.
        before += cursor;
        held.drain(..cursor);
        cursor = 0;
    }
    Decoded { sent, used: before, done: false, refused: false }
}

/// A chunked body is taken the same in one piece and in many; what is sent on in chunks holds the same data.
pub fn h1_chunked(bytes: &[u8]) {
    let bare = decode(Mode::Bare, [bytes].into_iter());
    let bare_stepped = decode(Mode::Bare, pieces(bytes));
    let framed = decode(Mode::Framed, [bytes].into_iter());
    let framed_stepped = decode(Mode::Framed, pieces(bytes));
    assert_eq!((bare.done, bare.refused), (framed.done, framed.refused), "{bare:?} {framed:?}");
    for (whole, stepped) in [(&bare, &bare_stepped), (&framed, &framed_stepped)] {
        assert_eq!((whole.done, whole.refused), (stepped.done, stepped.refused), "{whole:?} {stepped:?}");
        if whole.done {
            assert_eq!(whole, stepped);
        }
    }
    if framed.done {
        assert_eq!(framed.used, bare.used);
        let onward = decode(Mode::Bare, [framed.sent.as_slice()].into_iter());
        assert!(onward.done && onward.used == framed.sent.len(), "{framed:?} became {onward:?}");
        assert_eq!(onward.sent, bare.sent);
    }
}
