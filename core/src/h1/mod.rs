//! The HTTP/1 codec: bytes to heads, bodies to ranges, heads to bytes. No I/O, and no allocation on the ordinary path.
//!
//! It owns the safety rules that depend on a message's bytes alone ([`Rule`]); what depends on time or on connections
//! (R19, R21 to R24) is the data plane's. Nothing is repaired: a message that breaks a rule is refused and names it.
//! Field lines are split by `httparse`; a pre-scan and checks after it close what that parser is lenient about.
//!
//! Heads are offsets, so they live across suspension points beside a pooled buffer. One request takes this way:
//!
//! ```
//! use dromon_core::exchange::RequestView;
//! use dromon_core::h1::{self, Body, Progress, PortRules, RequestHead, RequestRef, ResponseHead};
//!
//! // 1. Read into the client's buffer until its head is complete.
//! let mut buffer = b"GET /reviews/1 HTTP/1.1\r\nHost: reviews:9080\r\nConnection: close\r\n\r\n".to_vec();
//! let mut head = RequestHead::new(); // one per connection
//! let head_bytes = match head.parse(&buffer, PortRules::default()) {
//!     Ok(Progress::Complete(head_bytes)) => head_bytes,
//!     Ok(Progress::Incomplete) => unreachable!("read more, then parse again"),
//!     Err(reject) => panic!("answer {} and close: {reject}", reject.reason.facts().status),
//! };
//! // 2. Decide.
//! let mut scratch = Vec::new();
//! let matched = head.normalized_path(&buffer, h1::PathPolicy::default(), &mut scratch).unwrap();
//! let request = RequestRef::new(&head, &buffer, "http").with_path(matched);
//! assert_eq!(request.authority(), b"reviews:9080");
//! // 3. Write the head for the upstream; body bytes that came with it start at `buffer[head_bytes..]`.
//! let mut out = Vec::new(); // pooled
//! let rewrite = h1::RequestRewrite { request_id: Some(b"f3c1"), ..Default::default() };
//! h1::encode::request(&head, &buffer, &rewrite, &mut out);
//! assert_eq!(out, b"GET /reviews/1 HTTP/1.1\r\nHost: reviews:9080\r\nx-request-id: f3c1\r\n\r\n");
//! assert_eq!(head.body(), Body::Empty); // Length(n): count; Chunked: ChunkDecoder
//! assert_eq!(head_bytes, buffer.len());
//! // 4. Read the upstream's head; 1xx heads first, by `h1::interim`.
//! let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
//! let mut response = ResponseHead::new();
//! assert_eq!(response.parse(answer, request.method() == b"HEAD"), Ok(Progress::Complete(38)));
//! // 5. Write it for the client; `sent` says how the body goes out and whether the connection lives on.
//! let rewrite = h1::ResponseRewrite {
//!     client: head.version(),
//!     keep_alive: head.keep_alive(),
//!     accepts_trailers: head.accepts_trailers(),
//!     ..Default::default()
//! };
//! out.clear();
//! let sent = h1::encode::response(&response, answer, &rewrite, &mut out);
//! assert_eq!(out, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nconnection: close\r\n\r\n");
//! assert_eq!((sent.body, sent.keep_alive), (Body::Length(2), false));
//! ```

mod chunk;
pub mod encode;
mod expect;
mod explain;
mod field;
mod framing;
mod hop;
mod request;
pub mod request_id;
mod response;
mod rule;
mod scan;
mod status;
mod target;
#[cfg(test)]
mod tests;

pub use chunk::{ChunkDecoder, ChunkHeader, LAST_CHUNK, Mode, Piece, trailers};
pub use encode::{Forwarded, LocalResponse, RequestRewrite, ResponseRewrite, Sent, local_response};
pub use expect::{CONTINUE, Interim, interim};
pub(crate) use field::is_framing_look_alike;
pub use field::{Field, Fields, Known, Span};
pub(crate) use framing::content_length;
pub use hop::check_switch;
pub(crate) use hop::is_hop_by_hop;
pub use request::{PortRules, RequestHead, RequestRef};
pub use response::{ResponseHead, ResponseRef};
pub use rule::{Reject, Rule};
pub(crate) use status::phrase;
pub use target::{EscapedSlash, Form, PathPolicy, normalize};
pub(crate) use target::{authority as check_authority, check_target};

/// HTTP versions of this codec.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Version {
    /// HTTP/1.0.
    Http10,
    /// HTTP/1.1.
    #[default]
    Http11,
}

/// How long a body is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Body {
    /// There is none.
    #[default]
    Empty,
    /// So many bytes, at least 1.
    Length(u64),
    /// Chunked: [`ChunkDecoder`] finds its end.
    Chunked,
    /// Until the connection closes; responses only.
    UntilClose,
}

/// How far a head has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Read more and parse again.
    Incomplete,
    /// The head is complete and this many bytes long, from the start of the bytes parsed.
    Complete(usize),
}
