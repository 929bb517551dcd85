//! Destinations that are told by the PROXY protocol whom a connection is for.

use std::net::TcpStream;

use dromon_core::config::model::ProxyProtocol;
use dromon_tests::frames::{self, END_HEADERS, END_STREAM, Frames};
use dromon_tests::http::Connection;

use crate::start;
use crate::upstream::{Frame, Raw, kind};

/// No connection carries requests of two clients.
pub fn each_client(driver: &str) {
    let origin = Raw::introduced(|_, stream| (vec![Frame::ok(stream, true)], false));
    let (_proxy, front) = start(driver, &[origin.address], 1, |_, destination| {
        destination.proxy_protocol = Some(ProxyProtocol::V1)
    });
    let mut clients: Vec<_> = (0..2).map(|_| Connection::open(front).expect("the gateway listens")).collect();
    for _ in 0..2 {
        for client in &mut clients {
            assert_eq!(client.send("GET", "/", &[], b"").expect("an answer").status, 200, "{driver}");
        }
    }
    let told = origin.introductions();
    assert_eq!(told.len(), 4, "{driver}: a connection for each request: {told:?}");
    let ends: Vec<_> = told.iter().map(|line| line.rsplit(' ').nth(1).expect("a port").to_owned()).collect();
    assert_eq!((&ends[0], &ends[1]), (&ends[2], &ends[3]), "{driver}: who asked again is named again");
    assert_ne!(ends[0], ends[1], "{driver}: each has its own name");

    let stream = TcpStream::connect(front).expect("the gateway listens");
    let port = stream.local_addr().expect("connected").port();
    let mut client = Frames::on(stream, &[]);
    for number in [1, 3, 5] {
        client.send(kind::HEADERS, END_HEADERS | END_STREAM, number, &frames::get("/")).expect("open");
    }
    for _ in 0..3 {
        let answer = client.until(|frame| frame.kind == kind::HEADERS).expect("an answer");
        assert_eq!(answer.payload.first(), Some(&0x88), "{driver}");
    }
    let told = origin.introductions();
    let of_client = format!(" {port} {}", front.port());
    assert_eq!(
        told.iter().filter(|line| line.trim_end().ends_with(&of_client)).count(),
        3,
        "{driver}: {told:?}"
    );
    let seen = origin.seen.lock().expect("no panic");
    for connection in 0..told.len() {
        let requests = seen.iter().filter(|(at, it)| *at == connection && it.kind == kind::HEADERS).count();
        assert_eq!(requests, 1, "{driver}: connection {connection}");
    }
}
