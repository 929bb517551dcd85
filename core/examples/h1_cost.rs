//! What one request costs in the core's HTTP/1 codec and telemetry, to be counted by callgrind:
//!
//! ```text
//! cargo build --release -p dromon-core --example h1_cost
//! for n in 1000 11000; do valgrind --tool=callgrind --callgrind-out-file=/dev/null \
//!     target/release/examples/h1_cost request $n 2>&1 | grep Collected; done    # the difference / 10,000
//! ```

use std::hint::black_box;
use std::sync::Arc;

use dromon_core::config::model;
use dromon_core::exchange::RequestView;
use dromon_core::h1::{
    self, PathPolicy, PortRules, RequestHead, RequestRef, ResponseHead, ResponseRewrite, request_id,
};
use dromon_core::rng::Rng;
use dromon_core::telemetry::{Record, Recorder, Sides};

const REQUEST: &[u8] = b"GET /reviews/0?page=1 HTTP/1.1\r\nHost: reviews.default.svc.cluster.local:9080\r\n\
    User-Agent: curl/8.5.0\r\nAccept: */*\r\nAccept-Encoding: gzip\r\nConnection: keep-alive\r\n\r\n";
const RESPONSE: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\
    server: origin\r\ndate: Tue, 14 Nov 2023 22:13:20 GMT\r\n\r\n";

fn main() {
    let mut arguments = std::env::args().skip(1);
    let what = arguments.next().unwrap_or_default();
    let count: u64 = arguments.next().and_then(|count| count.parse().ok()).unwrap_or(1_000);
    match what.as_str() {
        "parse" => parse(count),
        "request" => request(count),
        "response" => response(count),
        "record" => record(count),
        "id" => id(count),
        _ => eprintln!("usage: h1_cost parse|request|response|record|id COUNT"),
    }
}

/// A request's head read, up to framing and the path to match.
fn parse(count: u64) {
    let (mut head, mut scratch) = (RequestHead::new(), Vec::new());
    for _ in 0..count {
        let bytes = black_box(REQUEST);
        black_box(head.parse(bytes, PortRules::default())).unwrap_or_else(|reject| panic!("{reject}"));
        let path = head.normalized_path(bytes, PathPolicy::default(), &mut scratch);
        black_box(path.is_ok());
    }
}

/// The same, then the head written for the upstream.
fn request(count: u64) {
    let (mut head, mut scratch, mut out) = (RequestHead::new(), Vec::new(), Vec::with_capacity(4_096));
    for _ in 0..count {
        let bytes = black_box(REQUEST);
        black_box(head.parse(bytes, PortRules::default())).unwrap_or_else(|reject| panic!("{reject}"));
        let path = head.normalized_path(bytes, PathPolicy::default(), &mut scratch).unwrap_or(None);
        let view = RequestRef::new(&head, bytes, "http").with_path(path);
        black_box((view.authority(), view.path_and_query()));
        let rewrite = h1::RequestRewrite { request_id: Some(&[b'x'; 36]), ..h1::RequestRewrite::default() };
        out.clear();
        h1::encode::request(&head, bytes, &rewrite, &mut out);
        black_box(&out);
    }
}

/// A response's head read and written for the client.
fn response(count: u64) {
    let (mut head, mut out) = (ResponseHead::new(), Vec::with_capacity(4_096));
    for _ in 0..count {
        let bytes = black_box(RESPONSE);
        black_box(head.parse(bytes, false)).unwrap_or_else(|reject| panic!("{reject}"));
        let rewrite = ResponseRewrite { keep_alive: true, ..ResponseRewrite::default() };
        out.clear();
        black_box(h1::encode::response(&head, bytes, &rewrite, &mut out));
    }
}

/// A finished exchange counted.
fn record(count: u64) {
    let destination =
        Arc::new(model::Destination { name: "outbound|9080||reviews".into(), ..Default::default() });
    let mut recorder = Recorder::new(Arc::new(model::Workload::default()));
    for index in 0..count {
        let record = Record {
            sides: Sides { destination: Some(&destination), ..Sides::default() },
            response_code: 200,
            request_bytes: 180,
            response_bytes: 230,
            duration_ns: 250_000 + index % 1_024 * 1_000,
            ..Record::default()
        };
        recorder.record(black_box(&record));
    }
    black_box(recorder.take());
}

/// A request id made.
fn id(count: u64) {
    let mut rng = Rng::new(1);
    for _ in 0..count {
        black_box(request_id::generate(&mut rng));
    }
}
