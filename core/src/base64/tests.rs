use super::*;

#[test]
fn text_is_padded() {
    // RFC 4648, 10, and RFC 6455, 1.3.
    let cases: [(&[u8], &[u8]); 5] = [
        (b"", b""),
        (b"f", b"Zg=="),
        (b"fo", b"Zm8="),
        (b"foobar", b"Zm9vYmFy"),
        (b"the sample nonce", b"dGhlIHNhbXBsZSBub25jZQ=="),
    ];
    for (bytes, text) in cases {
        assert_eq!(encode(bytes), text);
    }
}
