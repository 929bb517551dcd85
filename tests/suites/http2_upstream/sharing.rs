//! Requests of many clients on few connections: limits, caps, ends.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use dromon_core::config::model::{Balancer, TcpKeepalive};
use dromon_tests::eventually;
use dromon_tests::http::{Connection, get};

use crate::start;
use crate::upstream::{Counts, Frame, Limits, Raw, answer, kind, serve};

/// A server that takes so long for every request.
fn slow(limits: Limits, millis: u64) -> (SocketAddr, Arc<Counts>) {
    serve(limits, move |_, respond| async move {
        tokio::time::sleep(Duration::from_millis(millis)).await;
        answer(respond, "ok").await;
    })
}

/// Asks from so many clients at once; the statuses in order of their size.
fn at_once(front: SocketAddr, clients: usize) -> Vec<u16> {
    let asking = (0..clients).map(|_| std::thread::spawn(move || get(front, "/", &[])));
    let asking: Vec<_> = asking.collect();
    let mut statuses: Vec<u16> = asking
        .into_iter()
        .map(|thread| thread.join().expect("no panic").expect("an answer").status)
        .collect();
    statuses.sort_unstable();
    statuses
}

/// 64 clients at once, on one shard: one connection.
pub fn one_connection(driver: &str) {
    let (origin, counts) = slow(Limits::default(), 200);
    let (_proxy, front) = start(driver, &[origin], 1, |_, _| {});
    assert_eq!(at_once(front, 64), [200; 64]);
    assert_eq!((counts.connections(), counts.requests()), (1, 64));
    assert!(counts.most_streams.load(Ordering::SeqCst) > 16, "they were under way together");
}

/// The peer allows four streams, then the destination two: no connection carries more, and nothing fails.
pub fn streams_run_out(driver: &str) {
    let (origin, counts) = slow(Limits { streams: Some(4), ..Limits::default() }, 300);
    let (_proxy, front) = start(driver, &[origin], 1, |_, _| {});
    assert_eq!(get(front, "/", &[]).expect("an answer").status, 200, "the limit is known after this one");
    assert_eq!(at_once(front, 12), [200; 12]);
    assert_eq!(counts.most_streams.load(Ordering::SeqCst), 4);
    assert!((3..=4).contains(&counts.connections()), "{} connections for 12 requests", counts.connections());

    let (origin, counts) = slow(Limits::default(), 300);
    let (_proxy, front) = start(driver, &[origin], 1, |_, destination| {
        destination.pool.max_concurrent_streams = Some(2);
    });
    assert_eq!(at_once(front, 6), [200; 6]);
    assert_eq!(counts.most_streams.load(Ordering::SeqCst), 2);
    assert!((3..=4).contains(&counts.connections()), "{} connections for 6 requests", counts.connections());
}

/// Requests in flight, connections, and who waits for one: in total over four shards.
pub fn caps(driver: &str) {
    let (origin, counts) = slow(Limits::default(), 500);
    let (_proxy, front) = start(driver, &[origin], 4, |_, destination| {
        destination.pool.http2_max_requests = Some(10);
    });
    let statuses = at_once(front, 24);
    assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 10, "{statuses:?}");
    assert_eq!(statuses.iter().filter(|status| **status == 503).count(), 14, "{statuses:?}");
    assert_eq!(counts.requests(), 10);

    let (origin, counts) = slow(Limits::default(), 50);
    let (_proxy, front) = start(driver, &[origin], 4, |_, destination| {
        destination.pool.max_connections = Some(1);
    });
    assert_eq!(at_once(front, 32), [200; 32], "shards hand the only connection on");
    assert!(counts.connections() >= 1);

    // Nothing to connect to: all but those that may wait are turned away at once.
    let (origin, _) = slow(Limits { streams: Some(1), ..Limits::default() }, 800);
    let (_proxy, front) = start(driver, &[origin], 1, |_, destination| {
        destination.pool.max_connections = Some(1);
        destination.pool.max_concurrent_streams = Some(1);
        destination.pool.http1_max_pending_requests = Some(2);
    });
    let statuses = at_once(front, 8);
    let served = statuses.iter().filter(|status| **status == 200).count();
    assert!((2..=3).contains(&served), "one under way and two in line: {statuses:?}");
    assert!(statuses.iter().all(|status| matches!(status, 200 | 503)), "{statuses:?}");
}

/// Three requests a connection, and not one lost.
pub fn requests_per_connection(driver: &str) {
    let (origin, counts) = slow(Limits::default(), 0);
    let (_proxy, front) = start(driver, &[origin], 1, |_, destination| {
        destination.pool.max_requests_per_connection = Some(3);
    });
    let mut client = Connection::open(front).expect("the gateway listens");
    for _ in 0..9 {
        assert_eq!(client.send("GET", "/", &[], b"").expect("an answer").status, 200);
    }
    assert_eq!((counts.connections(), counts.requests()), (3, 9));
}

/// A connection without streams is closed after its time; the next request gets another.
pub fn idle(driver: &str) {
    let (origin, counts) = slow(Limits::default(), 0);
    let (proxy, front) = start(driver, &[origin], 1, |_, destination| {
        destination.pool.idle_timeout_ms = Some(300);
        destination.pool.tcp_keepalive = Some(TcpKeepalive { time_s: 1, ..TcpKeepalive::default() });
    });
    assert_eq!(get(front, "/", &[]).expect("an answer").status, 200);
    eventually("the idle connection to be closed", || {
        let text = get(proxy.stats, "/stats/prometheus", &[]).ok()?.text();
        let line =
            text.lines().find(|line| line.starts_with("dromon_upstream_connections_active"))?.to_owned();
        line.ends_with(" 0").then_some(())
    });
    assert_eq!(get(front, "/", &[]).expect("an answer").status, 200);
    assert_eq!(counts.connections(), 2);
}

/// One client connection, three endpoints: each request is balanced on its own.
pub fn balanced(driver: &str) {
    let servers: Vec<_> = (0..3).map(|_| slow(Limits::default(), 0)).collect();
    let origins: Vec<_> = servers.iter().map(|(address, _)| *address).collect();
    let (_proxy, front) = start(driver, &origins, 1, |_, destination| {
        destination.balancer = Balancer::RoundRobin;
    });
    let mut client = Connection::open(front).expect("the gateway listens");
    for _ in 0..30 {
        assert_eq!(client.send("GET", "/", &[], b"").expect("an answer").status, 200);
    }
    for (_, counts) in &servers {
        assert_eq!((counts.requests(), counts.connections()), (10, 1));
    }
}

/// A connection takes no request after its time: it is told so by GOAWAY, used or not.
pub fn age(driver: &str) {
    let origin = Raw::start(true, |_, stream| (vec![Frame::ok(stream, true)], false));
    let (_proxy, front) = start(driver, &[origin.address], 1, |_, destination| {
        destination.pool.max_connection_duration_ms = Some(1_500);
    });
    let began = Instant::now();
    assert_eq!(get(front, "/", &[]).expect("an answer").status, 200);
    eventually("the idle connection to end", || (origin.count(kind::GOAWAY) == 1).then_some(()));
    assert!(began.elapsed() >= Duration::from_millis(1_400), "{driver}: not before its time");
    // One that is used all the time ends as well, and no request with it.
    let mut client = Connection::open(front).expect("the gateway listens");
    eventually("the busy connection to end", || {
        assert_eq!(client.send("POST", "/", &[], b"x").expect("an answer").status, 200, "{driver}");
        (origin.count(kind::GOAWAY) == 2).then_some(())
    });
    assert!(origin.connections.load(Ordering::SeqCst) >= 2, "{driver}");
}
