//! The key's coding.

use super::*;

#[test]
fn keys_are_base64() {
    // RFC 6455, 1.3.
    assert_eq!(&base64(*b"the sample nonce"), b"dGhlIHNhbXBsZSBub25jZQ==");
}
