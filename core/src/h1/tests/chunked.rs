//! Chunked bodies: R1, R15 to R18.

use proptest::prelude::*;

use crate::h1::{ChunkDecoder, ChunkHeader, LAST_CHUNK, Mode, Piece, Reject, Rule, trailers};
use crate::limits::{CHUNK_EXT_BODY_BYTES_MAX, CHUNK_EXT_BYTES_MAX, TRAILER_BYTES_MAX, TRAILER_FIELDS_MAX};

/// What a relay would send on for a body that arrives in pieces of `step` bytes, whether it ended, and what is left.
fn relay(mode: Mode, input: &[u8], step: usize) -> Result<(Vec<u8>, bool, Vec<u8>), Reject> {
    let mut decoder = ChunkDecoder::new(mode);
    let (mut buffer, mut out, mut cursor) = (Vec::new(), Vec::new(), 0);
    for arrived in input.chunks(step) {
        buffer.extend_from_slice(arrived);
        loop {
            let piece = decoder.next(&buffer, &mut cursor)?;
            match piece {
                Piece::Data(range) => out.extend_from_slice(&buffer[range]),
                Piece::Trailers(range) if mode == Mode::Framed => trailers(&buffer[range], true, &mut out),
                Piece::Trailers(_) => {}
                Piece::More => break,
                Piece::End => {
                    assert!(decoder.is_done());
                    break;
                }
            }
        }
        buffer.drain(..cursor);
        cursor = 0;
    }
    Ok((out, decoder.is_done(), buffer))
}

#[track_caller]
fn relayed(mode: Mode, input: &[u8], expected: &[u8]) {
    for step in 1..=input.len() {
        let (out, done, left) = relay(mode, input, step).unwrap();
        assert_eq!(String::from_utf8_lossy(&out), String::from_utf8_lossy(expected), "in steps of {step}");
        assert!(done && left.is_empty(), "in steps of {step}");
    }
}

#[track_caller]
fn refused(rule: Rule, input: &[u8]) {
    for mode in [Mode::Framed, Mode::Bare] {
        for step in [1, 2, input.len()] {
            match relay(mode, input, step) {
                Err(reject) => assert_eq!(reject.rule, rule, "{:?}", String::from_utf8_lossy(input)),
                Ok(_) => panic!("accepted: {:?}", String::from_utf8_lossy(input)),
            }
        }
    }
}

#[test]
fn a_plain_body_passes_as_it_is() {
    let body = b"5\r\nhello\r\n00A\r\n0123456789\r\n0\r\n\r\n";
    relayed(Mode::Framed, body, body);
    relayed(Mode::Bare, body, b"hello0123456789");
    let mut decoder = ChunkDecoder::new(Mode::Framed);
    let mut cursor = 0;
    assert_eq!(decoder.next(body, &mut cursor), Ok(Piece::Data(0..body.len())), "in one range");
    assert_eq!(decoder.next(body, &mut cursor), Ok(Piece::End));
}

#[test]
fn r19_what_follows_the_body_is_left() {
    let mut decoder = ChunkDecoder::new(Mode::Framed);
    let mut cursor = 0;
    assert_eq!(decoder.next(b"0\r\n\r\nGET /", &mut cursor), Ok(Piece::Data(0..5)));
    assert_eq!((decoder.next(b"0\r\n\r\nGET /", &mut cursor), cursor), (Ok(Piece::End), 5));
}

#[test]
fn r15_sizes() {
    for size in
        ["", "+5", "-5", "0x5", " 5", "5 ", "g", "00000000000000005", "5,", "\t5", "5\t;a=b", "5 ;a=b"]
    {
        refused(Rule::R15, format!("{size}\r\nhello\r\n0\r\n\r\n").as_bytes());
    }
    relayed(Mode::Bare, b"0000000000000005\r\nhello\r\n0\r\n\r\n", b"hello");
}

#[test]
fn r1_line_ends() {
    refused(Rule::R1, b"5\nhello\r\n0\r\n\r\n");
    refused(Rule::R1, b"5;a\nhello\r\n0\r\n\r\n");
    refused(Rule::R1, b"5;a\rb\r\nhello\r\n0\r\n\r\n");
    refused(Rule::R1, b"0\r\nA: b\n\r\n");
    refused(Rule::R1, b"0\r\n\n");
}

#[test]
fn r16_extensions_are_dropped_and_capped() {
    relayed(
        Mode::Framed,
        b"5;a=b\r\nhello\r\n1;q=\"x\"\r\n!\r\n0;z\r\n\r\n",
        b"5\r\nhello\r\n1\r\n!\r\n0\r\n\r\n",
    );
    relayed(Mode::Bare, b"5;a=b\r\nhello\r\n1;q=\"x\"\r\n!\r\n0;z\r\n\r\n", b"hello!");
    let chunk = |length: usize| format!("1;{}\r\nx\r\n", "e".repeat(length - 1));
    relayed(Mode::Bare, format!("{}0\r\n\r\n", chunk(CHUNK_EXT_BYTES_MAX)).as_bytes(), b"x");
    refused(Rule::R16, format!("{}0\r\n\r\n", chunk(CHUNK_EXT_BYTES_MAX + 1)).as_bytes());
    refused(Rule::R16, format!("{}0\r\n\r\n", chunk(4_000)).as_bytes());
    let count = CHUNK_EXT_BODY_BYTES_MAX / CHUNK_EXT_BYTES_MAX;
    let most = chunk(CHUNK_EXT_BYTES_MAX).repeat(count);
    assert!(relay(Mode::Framed, format!("{most}0\r\n\r\n").as_bytes(), 1_000).is_ok());
    refused(Rule::R16, format!("{most}1;e\r\nx\r\n0\r\n\r\n").as_bytes());
    refused(Rule::R16, b"5;a\x00b\r\nhello\r\n0\r\n\r\n");
}

#[test]
fn r17_data_ends_in_crlf() {
    refused(Rule::R17, b"5\r\nhelloX\r\n0\r\n\r\n");
    refused(Rule::R17, b"5\r\nhello\n0\r\n\r\n");
    refused(Rule::R17, b"5\r\nhello\rX0\r\n\r\n");
}

#[test]
fn r18_trailers() {
    relayed(
        Mode::Framed,
        b"1\r\nx\r\n0\r\nGrpc-Status: 0\r\nContent-Length: 5\r\nAuthorization: a\r\nHost: b\r\nx-sum: 1\r\n\r\n",
        b"1\r\nx\r\n0\r\nGrpc-Status: 0\r\nx-sum: 1\r\n\r\n",
    );
    relayed(Mode::Bare, b"1\r\nx\r\n0\r\nA: b\r\n\r\n", b"x");
    let mut out = Vec::new();
    trailers(b"A: b\r\n", false, &mut out);
    assert_eq!(out, b"\r\n", "not accepted, not sent");
    refused(Rule::R18, format!("0\r\n{}\r\n", "A: b\r\n".repeat(TRAILER_FIELDS_MAX + 1)).as_bytes());
    refused(Rule::R18, format!("0\r\nA: {}\r\n\r\n", "b".repeat(TRAILER_BYTES_MAX)).as_bytes());
    refused(Rule::R5, b"0\r\nA : b\r\n\r\n");
    refused(Rule::R5, b"0\r\nA: b\r\n c\r\n\r\n");
    refused(Rule::R1, b"0\r\nA: b\rc\r\n\r\n");
}

#[test]
fn r32_a_truncated_body_is_never_done() {
    let body = b"5\r\nhello\r\n0\r\nA: b\r\n\r\n";
    for end in 0..body.len() {
        if end > 0 {
            assert!(!relay(Mode::Framed, &body[..end], end).unwrap().1, "{end}");
        }
    }
}

#[test]
fn a_chunk_header_says_its_length() {
    for (length, line) in
        [(1, "1\r\n"), (16, "10\r\n"), (0xABC_DEF0, "abcdef0\r\n"), (usize::MAX, "ffffffffffffffff\r\n")]
    {
        assert_eq!(ChunkHeader::new(length).as_bytes(), line.as_bytes());
    }
}

proptest! {
    #[test]
    fn what_is_framed_comes_out_whole(
        chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..300), 0..8),
        step in 1usize..400,
    ) {
        let mut body = Vec::new();
        for chunk in &chunks {
            body.extend_from_slice(ChunkHeader::new(chunk.len()).as_bytes());
            body.extend_from_slice(chunk);
            body.extend_from_slice(b"\r\n");
        }
        body.extend_from_slice(LAST_CHUNK);
        let (bare, done, left) = relay(Mode::Bare, &body, step).unwrap();
        prop_assert!(done && left.is_empty());
        prop_assert_eq!(bare, chunks.concat());
        let (framed, done, _) = relay(Mode::Framed, &body, step).unwrap();
        prop_assert!(done);
        prop_assert_eq!(framed, body);
    }

    #[test]
    fn any_bytes_are_decoded_the_same_in_any_steps(
        body in prop::collection::vec(prop::sample::select(b"0125aF;= \r\n\r\n:x".to_vec()), 0..60),
        step in 1usize..10,
    ) {
        let whole = relay(Mode::Framed, &body, body.len().max(1));
        let stepped = relay(Mode::Framed, &body, step);
        match (whole, stepped) {
            (Ok(whole), Ok(stepped)) => prop_assert_eq!(whole, stepped),
            (Err(_), Err(_)) => {}
            (whole, stepped) => prop_assert!(false, "{:?} against {:?}", whole, stepped),
        }
    }
}
