//! Generated messages: what is accepted stays the same message through a rewrite, and nothing panics.

use proptest::prelude::*;

use super::{request, response};
use crate::exchange::RequestView;
use crate::h1::{
    ChunkDecoder, Mode, Piece, PortRules, Progress, RequestHead, RequestRef, RequestRewrite, ResponseHead,
    ResponseRewrite, encode,
};

fn field() -> impl Strategy<Value = (String, String)> {
    ("[Xx]-[A-Za-z0-9_.!]{1,12}", "[!-~\u{e9}]([ -~\t]{0,20}[!-~])?")
}

/// Bytes that are nearly HTTP, where the mistakes are.
fn nearly_http() -> impl Strategy<Value = Vec<u8>> {
    let words: Vec<&[u8]> = vec![
        b"GET ",
        b"/ ",
        b"/a/../b ",
        b"HTTP/1.1",
        b"HTTP/1.0",
        b"\r\n",
        b"\r\n",
        b"\r\n\r\n",
        b"Host: a",
        b"Content-Length: 5",
        b"Transfer-Encoding: chunked",
        b"Connection: x, te",
        b"TE: trailers",
        b": ",
        b"\n",
        b"\r",
        b" ",
        b"\0",
        b"\xff",
        b"HTTP/1.1 200 OK",
        b"Upgrade: h2c,",
        b"Expect: 100-continue",
        b"x",
        b"5\r\nhello\r\n",
        b"0\r\n\r\n",
        b"http://a",
        b"*",
    ];
    prop::collection::vec(prop::sample::select(words), 0..16).prop_map(|words| words.concat())
}

proptest! {
    #[test]
    fn a_request_survives_its_rewrite(
        path in "/[a-z0-9/._~%=&?-]{0,30}",
        host in "[a-z][a-z0-9.-]{0,12}(:[1-9][0-9]{0,3})?",
        fields in prop::collection::vec(field(), 0..20),
        length in prop::option::of(0u64..1 << 60),
    ) {
        let mut bytes = format!("PUT {path} HTTP/1.1\r\nhost: {host}\r\n");
        for (name, value) in &fields {
            bytes.push_str(&format!("{name}: {value}\r\n"));
        }
        if let Some(length) = length {
            bytes.push_str(&format!("content-length: {length}\r\n"));
        }
        bytes.push_str("\r\n");
        let head = request(bytes.as_bytes()).unwrap();
        let mut out = Vec::new();
        let rewrite = RequestRewrite { request_id: Some(b"id"), close: true, ..RequestRewrite::default() };
        encode::request(&head, bytes.as_bytes(), &rewrite, &mut out);
        let again = request(&out).unwrap();
        let (before, after) = (RequestRef::new(&head, bytes.as_bytes(), "http"), RequestRef::new(&again, &out, "http"));
        prop_assert_eq!(before.path_and_query(), after.path_and_query());
        prop_assert_eq!(before.authority(), after.authority());
        prop_assert_eq!(head.body(), again.body());
        prop_assert_eq!(after.header("x-request-id"), Some(&b"id"[..]));
        prop_assert!(!again.keep_alive());
        for (name, _) in &fields {
            let name = name.to_ascii_lowercase();
            let values: Vec<_> = before.header_all(&name).collect();
            prop_assert_eq!(&values, &after.header_all(&name).collect::<Vec<_>>());
            prop_assert!(!values.is_empty());
        }
    }

    #[test]
    fn requests_are_read_the_same_in_any_steps(bytes in nearly_http(), step in 1usize..20) {
        let mut whole = RequestHead::new();
        let at_once = whole.parse(&bytes, PortRules::default());
        let mut stepped = RequestHead::new();
        let mut result = Ok(Progress::Incomplete);
        for end in (step..bytes.len()).step_by(step).chain([bytes.len()]) {
            result = stepped.parse(&bytes[..end], PortRules::default());
            if result != Ok(Progress::Incomplete) {
                break;
            }
        }
        prop_assert_eq!(at_once.is_err(), result.is_err());
        if let (Ok(one), Ok(other)) = (at_once, result) {
            prop_assert_eq!(one, other);
        }
        if let Ok(Progress::Complete(end)) = at_once {
            let mut out = Vec::new();
            encode::request(&whole, &bytes, &RequestRewrite::default(), &mut out);
            if !(whole.authority().is_empty()) {
                prop_assert!(request(&out).is_ok(), "{:?} became {:?}", bytes, out);
            }
            prop_assert!(end <= bytes.len());
        }
    }

    #[test]
    fn responses_and_chunks_never_panic(bytes in nearly_http(), to_head: bool) {
        let mut head = ResponseHead::new();
        if let Ok(Progress::Complete(_)) = head.parse(&bytes, to_head) {
            let mut out = Vec::new();
            encode::response(&head, &bytes, &ResponseRewrite::default(), &mut out);
            prop_assert!(response(&out, to_head).is_ok(), "{:?} became {:?}", bytes, out);
        }
        let mut decoder = ChunkDecoder::new(Mode::Framed);
        let mut cursor = 0;
        while let Ok(piece) = decoder.next(&bytes, &mut cursor) {
            prop_assert!(cursor <= bytes.len());
            if matches!(piece, Piece::More | Piece::End) {
                break;
            }
        }
    }
}
