use super::*;

#[test]
fn the_proof_is_that_of_the_standard() {
    // RFC 6455, 1.3.
    assert_eq!(accept(b"dGhlIHNhbXBsZSBub25jZQ=="), b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
}
