//! Which of the connections that are kept a request takes.

use std::io::Write;
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use dromon_tests::eventually;
use dromon_tests::scripted::Answer;

use crate::bodies::count;
use crate::{Rig, read_until};

fn ask(stream: &mut TcpStream, path: &str) {
    let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("open");
}

/// The number of the upstream connection that the answer came on, which [`proven`]'s upstream tells.
fn answered(stream: &mut TcpStream) -> String {
    let text = read_until(stream, ";");
    let body = text.split("\r\n\r\n").nth(1).expect("a body");
    body.trim_end_matches(';').to_owned()
}

/// R40 (g): the first request of a client, which it may not be able to repeat, takes a connection that was reused before,
/// though another was put back later; later requests take that one.
pub fn proven(rig: &Rig) {
    let [asked, let_go] = [(); 2].map(|()| Arc::new(AtomicU64::new(0)));
    let (seen, gate) = (Arc::clone(&asked), Arc::clone(&let_go));
    rig.upstream.answer(move |request| {
        seen.fetch_add(1, Ordering::SeqCst);
        // `/2` is answered once two have been let go, `/` at once.
        let target = request.head.split(' ').nth(1).unwrap_or_default();
        let turn: u64 = target.trim_start_matches('/').parse().unwrap_or(0);
        eventually("the answer's turn", || (gate.load(Ordering::SeqCst) >= turn).then_some(()));
        let body = format!("{};", request.connection);
        Answer::keep(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()))
    });
    let idle = |wanted: f64| {
        let shown = || (count(rig, "dromon_upstream_connections_idle") == wanted).then_some(());
        eventually(&format!("{wanted} idle connections"), shown);
    };
    let asked = |wanted: u64| {
        eventually("the upstream to be asked", || (asked.load(Ordering::SeqCst) == wanted).then_some(()));
    };

    // Connection 0 serves a client that stays, and is reused for another's request: it is proven.
    let [mut old, mut first, mut second, mut third, mut new] = [(); 5].map(|()| rig.connect());
    ask(&mut old, "/");
    assert_eq!(answered(&mut old), "0");
    idle(1.0);
    ask(&mut first, "/1");
    asked(2);
    // Meanwhile connection 1 is made, and it is put back last.
    ask(&mut second, "/2");
    asked(3);
    let_go.store(1, Ordering::SeqCst);
    assert_eq!(answered(&mut first), "0");
    idle(1.0);
    let_go.store(2, Ordering::SeqCst);
    assert_eq!(answered(&mut second), "1");
    idle(2.0);

    ask(&mut new, "/");
    assert_eq!(answered(&mut new), "0", "R40: a first request takes what was reused before");
    idle(2.0);

    // Both are in use, so connection 2 is made, and put back last.
    ask(&mut first, "/3");
    asked(5);
    ask(&mut second, "/4");
    asked(6);
    ask(&mut third, "/5");
    asked(7);
    for (turn, stream, connection) in [(3, &mut first, "0"), (4, &mut second, "1"), (5, &mut third, "2")] {
        let_go.store(turn, Ordering::SeqCst);
        assert_eq!(answered(stream), connection);
        idle(turn as f64 - 2.0);
    }
    ask(&mut old, "/");
    assert_eq!(answered(&mut old), "2", "R40: a later one takes what was put back last");
}
