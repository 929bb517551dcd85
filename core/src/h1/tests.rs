//! Raw bytes in, decisions and raw bytes out: each rule's accepted and refused side.

mod chunked;
mod corpus;
mod encoded_requests;
mod encoded_responses;
mod paths;
mod random;
mod requests;
mod responses;

use super::{PortRules, Progress, Reject, RequestHead, ResponseHead};

/// Parses a complete request head on an ordinary port.
fn request(bytes: &[u8]) -> Result<RequestHead, Reject> {
    request_on(bytes, PortRules::default())
}

fn request_on(bytes: &[u8], port: PortRules) -> Result<RequestHead, Reject> {
    let mut head = RequestHead::new();
    match head.parse(bytes, port)? {
        Progress::Complete(_) => Ok(head),
        Progress::Incomplete => panic!("incomplete: {:?}", String::from_utf8_lossy(bytes)),
    }
}

/// Parses a complete response head; `to_head`: the request was HEAD.
fn response(bytes: &[u8], to_head: bool) -> Result<ResponseHead, Reject> {
    let mut head = ResponseHead::new();
    match head.parse(bytes, to_head)? {
        Progress::Complete(_) => Ok(head),
        Progress::Incomplete => panic!("incomplete: {:?}", String::from_utf8_lossy(bytes)),
    }
}
