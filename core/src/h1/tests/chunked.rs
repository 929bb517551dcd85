//! Chunked bodies.

use crate::h1::{ChunkDecoder, Mode, Piece};

/// Feeds `input` whole; what would be sent on, and whether the body ended.
fn decode(mode: Mode, input: &[u8]) -> (Vec<u8>, bool) {
    let mut decoder = ChunkDecoder::new(mode);
    let (mut cursor, mut out) = (0, Vec::new());
    loop {
        match decoder.next(input, &mut cursor).unwrap() {
            Piece::Data(range) => out.extend_from_slice(&input[range]),
            Piece::More => return (out, false),
            Piece::End | Piece::Trailers(_) => return (out, true),
        }
    }
}

#[test]
fn an_extension_is_dropped_and_the_rest_passes() {
    assert_eq!(
        decode(Mode::Framed, b"5;a=b\r\nhello\r\n1\r\n!\r\n0\r\n\r\n"),
        (b"5\r\nhello\r\n1\r\n!\r\n0\r\n\r\n".to_vec(), true)
    );
    assert_eq!(decode(Mode::Bare, b"5;a=b\r\nhello\r\n1\r\n!\r\n0\r\n\r\n"), (b"hello!".to_vec(), true));
}
