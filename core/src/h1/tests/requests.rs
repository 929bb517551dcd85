//! Request heads.

use crate::h1::{Body, PortRules, Progress, Reject, RequestHead, Rule};

pub(super) fn parse(bytes: &[u8]) -> Result<RequestHead, Reject> {
    let mut head = RequestHead::new();
    match head.parse(bytes, PortRules::default())? {
        Progress::Complete(_) => Ok(head),
        Progress::Incomplete => panic!("incomplete: {:?}", String::from_utf8_lossy(bytes)),
    }
}

#[test]
fn a_plain_request_is_read() {
    let head = parse(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").unwrap();
    assert_eq!(head.body(), Body::Empty);
    assert!(head.keep_alive());
}

#[test]
fn length_and_chunked_together_are_refused() {
    let refused =
        parse(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n");
    assert_eq!(refused.unwrap_err().rule, Rule::R10);
}
