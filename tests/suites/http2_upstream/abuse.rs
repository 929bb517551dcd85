//! Servers that send what costs more than it is worth: the budgets of `core::h2`'s meter hold for them too.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use dromon_tests::eventually;
use dromon_tests::http::{Connection, get};
use dromon_tests::pair::metric;
use dromon_tests::proxy::Proxy;

use crate::start;
use crate::upstream::{Frame, Raw, kind};

/// Connections that abuse has ended, all of them (`reason` empty) or those that have spent this budget.
fn abuses(proxy: &Proxy, reason: &str) -> f64 {
    metric(proxy, &["dromon_upstream_http2_abuses_total{", &format!("reason=\"{reason}")])
}

/// Each kind of flood ends its own connection for the budget that it has spent; the next request has another.
pub fn floods(driver: &str) {
    let many = |frame: Frame| vec![frame; 600];
    type Flood = Box<dyn Fn(u32) -> Vec<Frame> + Send + Sync>;
    let all: [(&str, Flood); 8] = [
        ("settings", Box::new(move |_| many(Frame::new(kind::SETTINGS, 0, 0, [])))),
        ("pings", Box::new(move |_| many(Frame::new(kind::PING, 0, 0, [0; 8])))),
        ("priorities", Box::new(move |stream| many(Frame::new(2, 0, stream, [0, 0, 0, 3, 1])))),
        ("window_updates", Box::new(move |_| many(Frame::new(8, 0, 0, [0, 0, 0, 1])))),
        ("unknown_frames", Box::new(move |_| many(Frame::new(0x42, 0, 0, [])))),
        (
            "continuations",
            Box::new(move |stream| {
                [vec![Frame::new(kind::HEADERS, 0, stream, [0x88])], many(Frame::new(9, 0, stream, []))]
                    .concat()
            }),
        ),
        ("slow_headers", Box::new(|stream| vec![Frame::new(kind::HEADERS, 0, stream, [0x88])])),
        (
            "empty_data",
            Box::new(move |stream| {
                [vec![Frame::ok(stream, false)], many(Frame::new(kind::DATA, 0, stream, []))].concat()
            }),
        ),
    ];
    for (what, flood) in all {
        let asked = Arc::new(AtomicUsize::new(0));
        let counted = asked.clone();
        let origin = Raw::start(true, move |_, stream| match counted.fetch_add(1, Ordering::SeqCst) {
            0 => (flood(stream), false),
            _ => (vec![Frame::ok(stream, true)], false),
        });
        let (proxy, front) = start(driver, &[origin.address], 1, |_, _| {});
        let mut client = Connection::open(front).expect("the gateway listens");
        let answer = client.send("POST", "/", &[], b"once only");
        let cut = answer.as_ref().map_or(true, |answer| answer.status == 503);
        // The head of an answer whose body was the abuse may have gone on.
        assert!(cut || what == "empty_data", "{driver}, {what}: {answer:?}");
        eventually(&format!("{driver}, {what}: it is counted"), || {
            (abuses(&proxy, what) == 1.0).then_some(())
        });
        assert_eq!(abuses(&proxy, ""), 1.0, "{driver}, {what}: and nothing else");
        let (by, reason) = (format!("HTTP/2 abuse by {}", origin.address), format!("): {what}: "));
        proxy.process.expect_stderr_after(0, &[&by, &reason]);
        assert_eq!(get(front, "/", &[]).expect("an answer").status, 200, "{driver}, {what}");
        assert_eq!(origin.connections.load(Ordering::SeqCst), 2, "{driver}, {what}");
        assert_eq!(asked.load(Ordering::SeqCst), 2, "{driver}, {what}: it was not repeated");
    }
}
