use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use super::load::{self, Edge, Outcome, Pace, Plan};
use super::response::{Complete, Response, ResponseError};
use super::schedule::{Arrivals, Schedule};
use super::{hold, origin, relay, tls};
use crate::lab::certs;

fn due_within(arrivals: Arrivals, per_second: f64, ns: u64) -> Vec<u64> {
    let mut schedule = Schedule::new(arrivals, per_second, 7);
    std::iter::from_fn(|| schedule.due(ns)).collect()
}

#[test]
fn fixed_arrivals_are_evenly_spaced_and_do_not_drift() {
    let due = due_within(Arrivals::Fixed, 3_000.0, 999_999_999);
    assert_eq!(due.len(), 3_000);
    assert_eq!(due[0], 0);
    assert_eq!(due[1], 333_333);
    assert_eq!(due[2_999], 999_666_666);
}

#[test]
fn poisson_arrivals_have_the_mean_and_the_spread_of_independent_clients() {
    let due = due_within(Arrivals::Poisson, 1_000.0, 100_000_000_000);
    // 100,000 expected, standard deviation 316.
    assert!((98_500..101_500).contains(&due.len()), "{}", due.len());
    let gaps: Vec<f64> = due.windows(2).map(|pair| (pair[1] - pair[0]) as f64 / 1e6).collect();
    let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
    let variance = gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / gaps.len() as f64;
    assert!((variance.sqrt() / mean - 1.0).abs() < 0.03, "an exponential's deviation is its mean");
    assert_eq!(due, due_within(Arrivals::Poisson, 1_000.0, 100_000_000_000), "a seed fixes the plan");
}

#[test]
fn a_request_that_is_not_due_is_not_taken() {
    let mut schedule = Schedule::new(Arrivals::Fixed, 10.0, 0);
    assert_eq!(schedule.due(0), Some(0));
    assert_eq!(schedule.due(99_999_999), None);
    assert_eq!(schedule.due(100_000_000), Some(100_000_000));
}

/// Feeds the same bytes whole and in pieces of every size, which must not make a difference.
fn follow(bytes: &[u8]) -> Result<Vec<Complete>, ResponseError> {
    let pieces = |size: usize| {
        let mut response = Response::default();
        let fed = bytes.chunks(size).map(|piece| response.feed(piece));
        fed.filter_map(Result::transpose).collect::<Result<Vec<_>, _>>()
    };
    let whole = pieces(1);
    for size in 2..bytes.len() {
        assert_eq!(pieces(size).is_ok(), whole.is_ok(), "pieces of {size}");
    }
    whole
}

fn complete(status: u16, close: bool) -> Vec<Complete> {
    vec![Complete { status, close }]
}

#[test]
fn lengths_and_chunks_end_a_response() {
    assert_eq!(follow(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"), Ok(complete(200, false)));
    assert_eq!(
        follow(b"HTTP/1.1 503 No\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"),
        Ok(complete(503, true))
    );
    assert_eq!(follow(b"HTTP/1.1 204 None\r\n\r\n"), Ok(complete(204, false)));
    assert_eq!(
        follow(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;x=1\r\nhello\r\na\r\n0123456789\r\n0\r\n\r\n"),
        Ok(complete(200, false))
    );
    assert_eq!(
        follow(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\ntrailer: 1\r\n\r\n"),
        Ok(complete(200, false))
    );
    assert_eq!(
        follow(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx"),
        Ok(complete(200, false))
    );
}

#[test]
fn a_response_without_a_clear_end_is_an_error() {
    assert_eq!(follow(b"HTTP/1.1 200 OK\r\n\r\n"), Err(ResponseError::NoLength));
    assert_eq!(follow(b"HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\n"), Err(ResponseError::Malformed));
    assert_eq!(follow(b"FTP/1.1 200 OK\r\n\r\n"), Err(ResponseError::Malformed));
    let mut response = Response::default();
    let bytes = b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nxy";
    assert_eq!(response.feed(bytes), Err(ResponseError::Trailing));
}

#[test]
fn a_body_can_be_skipped_unread() {
    let mut response = Response::default();
    assert_eq!(response.feed(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nabc"), Ok(None));
    assert_eq!(response.body_left(), 997);
    assert_eq!(response.skip(900), None);
    assert_eq!(response.skip(97), Some(Complete { status: 200, close: false }));
    assert_eq!(response.body_left(), 0);
}

#[test]
fn the_origin_answers_by_the_last_segment() {
    assert_eq!(origin::choose(b"GET /r0007/100k?x=/1m HTTP/1.1\r\n\r\n"), 2);
    assert_eq!(origin::choose(b"GET /100 HTTP/1.1\r\n\r\n"), 0);
    assert_eq!(origin::choose(b"GET /100/ HTTP/1.1\r\n\r\n"), origin::SIZES.len());
}

fn start(serve: impl FnOnce(TcpListener) -> anyhow::Result<()> + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || serve(listener).unwrap());
    address
}

fn plan(target: SocketAddr, path: &str) -> Plan {
    Plan {
        target,
        requests: vec![load::request("lab.example", path, false)],
        connections: 4,
        pace: Pace::Saturate,
        warm_up: Duration::from_millis(20),
        window: Duration::from_millis(100),
        connection_each: false,
        tls: None,
        seed: 1,
    }
}

fn quiet(plan: &Plan) -> Outcome {
    load::run(plan, &mut |_| {}).unwrap()
}

#[test]
fn load_passes_through_the_relay_to_the_origin_and_back() {
    let origin = start(|listener| origin::serve(listener, None));
    let relay = start(move |listener| relay::serve(listener, origin));
    for path in ["/100", "/10k", "/100k", "/1m"] {
        for target in [origin, relay] {
            let mut edges = Vec::new();
            let outcome = load::run(&plan(target, path), &mut |edge| edges.push(edge)).unwrap();
            assert_eq!(edges, [Edge::Start, Edge::End]);
            assert_eq!((outcome.failed(), outcome.refused(), outcome.closed), (0, 0, 0), "{outcome:?}");
            assert!(outcome.completed > 0, "{path}");
        }
    }
}

#[test]
fn a_relay_passes_half_closes_and_both_directions() {
    let echo = TcpListener::bind("127.0.0.1:0").unwrap();
    let upstream = echo.local_addr().unwrap();
    std::thread::spawn(move || {
        let (mut stream, _) = echo.accept().unwrap();
        let mut all = Vec::new();
        stream.read_to_end(&mut all).unwrap();
        all.reverse();
        stream.write_all(&all).unwrap();
    });
    let relay = start(move |listener| relay::serve(listener, upstream));
    let mut client = TcpStream::connect(relay).unwrap();
    let sent: Vec<u8> = (0..3_000_000u32).map(|number| number as u8).collect();
    client.write_all(&sent).unwrap();
    client.shutdown(std::net::Shutdown::Write).unwrap();
    let mut got = Vec::new();
    client.read_to_end(&mut got).unwrap();
    got.reverse();
    assert!(got == sent, "{} of {} bytes came back", got.len(), sent.len());
}

#[test]
fn a_connection_for_each_request_and_an_open_loop_work() {
    let target = start(|listener| origin::serve(listener, None));
    let mut each = plan(target, "/100");
    each.connection_each = true;
    each.requests = vec![load::request("lab.example", "/100", true)];
    let outcome = quiet(&each);
    assert_eq!((outcome.failed(), outcome.refused()), (0, 0), "{outcome:?}");
    assert!(outcome.completed > 0);

    let mut open = plan(target, "/100");
    open.pace = Pace::Open { arrivals: Arrivals::Fixed, per_second: 1_000.0 };
    let outcome = quiet(&open);
    assert_eq!(outcome.failed(), 0);
    assert!((90..=101).contains(&outcome.latency.len()), "{}", outcome.latency.len());
}

#[test]
fn mutual_tls_carries_load_of_every_size_and_handshakes() {
    let scratch = std::env::temp_dir().join(format!("dromon-perf-tls-{}", std::process::id()));
    certs::make(&scratch).unwrap();
    let server = tls::server(&certs::folder(&scratch, "server")).unwrap();
    let client = tls::client(&certs::folder(&scratch, "client")).unwrap();
    std::fs::remove_dir_all(&scratch).unwrap();
    let target = start(move |listener| origin::serve(listener, Some(server)));
    for (path, connection_each) in [("/100", false), ("/1m", false), ("/100", true)] {
        let mut plan = plan(target, path);
        plan.tls = Some(client.clone());
        plan.connection_each = connection_each;
        plan.requests = vec![load::request("lab.example", path, connection_each)];
        let outcome = quiet(&plan);
        assert_eq!((outcome.failed(), outcome.refused()), (0, 0), "{path} {:?}", outcome.errors);
        assert!(outcome.completed > 0, "{path}");
    }
    let request = load::request("lab.example", "/100", false);
    let held = hold::Held::open(target, Some(&client), 3, &request).unwrap();
    assert_eq!(held.alive(), 3);
    let plain = quiet(&plan(target, "/100"));
    assert_eq!(plain.completed, 0, "a server that wants TLS answers nothing else");
}

#[test]
fn an_answer_larger_than_what_is_kept_of_it_comes_whole() {
    let target = start(|listener| origin::serve(listener, None));
    let mut plan = plan(target, "/1g");
    plan.connections = 1;
    let outcome = quiet(&plan);
    assert_eq!((outcome.failed(), outcome.refused()), (0, 0));
    assert!(outcome.statuses.contains_key(&200) && outcome.bytes > 1_000_000);
}

/// An origin that answers at once, but once stays silent for a time: every request planned meanwhile must show it.
#[test]
fn a_stall_shows_in_every_request_it_delayed() {
    let stall = Duration::from_millis(200);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let target = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut buffer = [0; 4096];
        for turn in 0.. {
            if matches!(stream.read(&mut buffer), Ok(0) | Err(_)) {
                return;
            }
            if turn == 50 {
                std::thread::sleep(stall);
            }
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").unwrap();
        }
    });
    let mut plan = plan(target, "/100");
    plan.connections = 1;
    plan.pace = Pace::Open { arrivals: Arrivals::Fixed, per_second: 500.0 };
    plan.window = Duration::from_millis(600);
    let outcome = quiet(&plan);
    assert_eq!(outcome.failed(), 0);
    // 100 requests were planned during the stall, half of them more than 100 ms before its end. Counting from the
    // moment of sending would show one.
    let delayed = outcome.latency.len() - outcome.latency.count_between(0, 100_000_000);
    assert!((45..=150).contains(&delayed), "{delayed} delayed of {}", outcome.latency.len());
}

#[test]
fn closed_connections_and_refused_answers_are_counted() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let target = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, mut buffer) = (stream.unwrap(), [0; 4096]);
            let _ = stream.read(&mut buffer);
            let _ = stream.write_all(b"HTTP/1.1 503 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        }
    });
    let mut plan = plan(target, "/100");
    plan.connections = 1;
    let outcome = quiet(&plan);
    assert!(outcome.refused() > 0 && outcome.closed > 0, "{outcome:?}");
}
