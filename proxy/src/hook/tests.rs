use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener};
use std::thread;

use super::{Drain, Wait, ask, drain, under_way, wait};

/// Answers these, one connection each; returns what was asked.
fn answering(answers: &'static [&'static str]) -> (SocketAddr, thread::JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("bound");
    let asked = thread::spawn(move || {
        let one = |answer: &&str| {
            let (stream, _) = listener.accept().expect("a connection");
            let mut reader = BufReader::new(stream);
            let mut first = String::new();
            reader.read_line(&mut first).expect("a line");
            let mut line = String::new();
            while reader.read_line(&mut line).expect("a line") > 2 {
                line.clear();
            }
            reader.get_mut().write_all(answer.as_bytes()).expect("taken");
            first.trim_end().to_owned()
        };
        answers.iter().map(one).collect()
    });
    (address, asked)
}

const READY: &str = "HTTP/1.1 200 OK\r\ncontent-length: 6\r\nconnection: close\r\n\r\nready\n";
const NOT_READY: &str =
    "HTTP/1.1 503 Service Unavailable\r\nconnection: close\r\n\r\nnot ready: no certificate\n";
const BUSY: &str = "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n{\"shards\":[{\"counts\":{\"requests_active\":2}},{\"counts\":{\"requests_active\":0}}]}";
const IDLE: &str =
    "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n{\"shards\":[{\"counts\":{\"requests_active\":0}}]}";

#[test]
fn waiting_ends_with_readiness() {
    let (health_addr, asked) = answering(&[NOT_READY, READY]);
    wait(&Wait { health_addr, at_most: 30 });
    assert_eq!(asked.join().expect("ended"), ["GET /healthz/ready HTTP/1.1"; 2]);
}

#[test]
fn a_drain_stays_while_something_is_under_way() {
    let (admin_addr, asked) = answering(&[READY, BUSY, IDLE]);
    drain(&Drain { admin_addr, until_idle: true, at_least: 0, at_most: 30 });
    let stats = "GET /stats?format=json HTTP/1.1";
    assert_eq!(asked.join().expect("ended"), ["POST /drain HTTP/1.1", stats, stats]);
}

#[test]
fn numbers_that_are_missing_are_not_taken_for_none() {
    assert_eq!(under_way("{\"shards\":[{\"counts\":null}]}"), None);
    assert_eq!(under_way("no JSON"), None);
    assert!(ask(([127, 0, 0, 1], 1).into(), "GET", "/").is_err());
}
