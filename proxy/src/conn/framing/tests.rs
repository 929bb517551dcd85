//! What goes on of what came, for each way of framing.

use super::*;

fn buffer(bytes: &[u8]) -> Buffer {
    let mut buffer = Buffer::with_capacity(256);
    buffer.extend(bytes);
    buffer
}

/// Feeds `input` in pieces of `step` bytes; what goes on, and what is left behind the body.
fn run(mut framing: Framing, input: &[u8], step: usize) -> Result<(Vec<u8>, Vec<u8>), Reject> {
    let (mut inner, mut out, mut sent) = (buffer(b""), buffer(b""), Vec::new());
    for piece in input.chunks(step) {
        inner.extend(piece);
        out.clear();
        match framing.take(&mut inner, &mut out)? {
            Take::Whole => {
                sent.extend_from_slice(inner.filled());
                inner.clear();
            }
            Take::Copied => sent.extend_from_slice(out.filled()),
            Take::Nothing => {}
        }
        inner.compact();
    }
    assert!(framing.is_done(), "{framing:?}");
    Ok((sent, inner.filled().to_vec()))
}

#[test]
fn a_length_ends_where_it_says_and_leaves_the_rest() {
    for step in 1..12 {
        let framing = Framing::new(Body::Length(5), Body::Length(5), false);
        assert_eq!(run(framing, b"helloGET /", step), Ok((b"hello".to_vec(), b"GET /".to_vec())), "{step}");
    }
}

#[test]
fn chunks_pass_without_extensions_and_refused_trailers() {
    let came = b"5;x=y\r\nhello\r\n0\r\ncontent-length: 3\r\nx-sum: 1\r\n\r\nGET /";
    for step in 1..came.len() {
        let framing = Framing::new(Body::Chunked, Body::Chunked, true);
        let (sent, left) = run(framing, came, step).expect("well-formed");
        assert_eq!(String::from_utf8_lossy(&sent), "5\r\nhello\r\n0\r\nx-sum: 1\r\n\r\n", "{step}");
        assert_eq!(left, b"GET /", "{step}");
    }
}

#[test]
fn chunks_lose_their_framing_for_a_client_that_cannot_read_it() {
    let came = b"5\r\nhello\r\n1\r\n!\r\n0\r\nx-sum: 1\r\n\r\n";
    for step in 1..came.len() {
        let framing = Framing::new(Body::Chunked, Body::UntilClose, false);
        assert_eq!(run(framing, came, step), Ok((b"hello!".to_vec(), Vec::new())), "{step}");
    }
}

#[test]
fn an_unframed_body_goes_out_in_chunks() {
    let mut framing = Framing::new(Body::UntilClose, Body::Chunked, false);
    let (mut input, mut out) = (buffer(b"hello"), buffer(b""));
    assert_eq!(framing.take(&mut input, &mut out), Ok(Take::Copied));
    assert!(!framing.is_done());
    assert!(framing.end_of_stream(&mut out));
    assert_eq!(out.filled(), b"5\r\nhello\r\n0\r\n\r\n");
    assert!(framing.is_done());
}

#[test]
fn an_end_before_the_end_is_no_end() {
    let mut out = buffer(b"");
    assert!(!Framing::new(Body::Length(1), Body::Length(1), false).end_of_stream(&mut out));
    assert!(!Framing::new(Body::Chunked, Body::Chunked, false).end_of_stream(&mut out));
    assert!(Framing::new(Body::UntilClose, Body::UntilClose, false).end_of_stream(&mut out));
}

#[test]
fn a_body_that_broke_a_rule_stays_broken() {
    let mut framing = Framing::new(Body::Chunked, Body::Chunked, true);
    let (mut input, mut out) = (buffer(b"5\r\nhello\r\nZZ\r\n"), buffer(b""));
    let broken = framing.take(&mut input, &mut out).expect_err("no chunk length");
    let mut rest = buffer(b"0\r\n\r\n");
    assert_eq!(framing.take(&mut rest, &mut out), Err(broken), "whatever follows");
    assert!(!framing.is_done());
}
