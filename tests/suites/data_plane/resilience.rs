//! Limits, retries, time limits, ejection, caps.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use dromon_core::config::model::{
    ConnectionPool, HttpRule, Limit, LimitKey, LimitScope, Outlier, RateLimit, Resource, Retries, RetryOn,
};
use dromon_tests::http::{Connection, get};
use dromon_tests::load::Load;
use dromon_tests::origin::Origin;
use dromon_tests::scripted::{Answer, Scripted};

use crate::{free_address, start, start_with};

fn limit(requests: u64, unit_ms: u64, burst: u64, per: Vec<LimitKey>) -> impl Fn(&mut Vec<Resource>) {
    move |resources| {
        let limit = Limit { requests, unit_ms, burst, per: per.clone(), when: None };
        let scope = LimitScope::Gateway { listeners: vec!["gateway/http".into()] };
        resources.push(Resource::RateLimit(RateLimit {
            name: "default/test".into(),
            scope,
            limits: vec![limit],
        }));
    }
}

/// 200 a second with a burst of 20, asked for far more often.
pub fn limit_with_one_and_four_shards(driver: &str) {
    for shards in ["1", "4"] {
        let origin = Origin::start("ok");
        let change = limit(200, 1_000, 20, vec![]);
        let (_proxy, front) =
            start_with(driver, &[origin.address], HttpRule::default(), change, &["--shards", shards]);
        let (admitted, refused) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let (good, bad) = (Arc::clone(&admitted), Arc::clone(&refused));
        let began = Instant::now();
        let load = Load::start(front, 8, "/", Duration::from_millis(1), move |answer| match answer.status {
            200 => {
                good.fetch_add(1, Ordering::Relaxed);
                Ok(())
            }
            429 if answer.header("retry-after").is_some() => {
                bad.fetch_add(1, Ordering::Relaxed);
                Ok(())
            }
            other => Err(format!("status {other}")),
        });
        std::thread::sleep(Duration::from_secs(3));
        let outcome = load.stop();
        let elapsed = began.elapsed().as_secs_f64();
        assert_eq!(outcome.failures, Vec::<String>::new());
        let (admitted, refused) = (admitted.load(Ordering::Relaxed) as f64, refused.load(Ordering::Relaxed));
        assert!(refused > 50, "the load is not above the limit: {refused} refused");
        assert!(admitted <= 200.0 * elapsed + 20.0, "{admitted} in {elapsed} s with {shards} shards");
        assert!(admitted >= 0.9 * 200.0 * 3.0, "{admitted} in {elapsed} s with {shards} shards");
    }
}

/// Two a minute for each user.
pub fn keyed_limit(driver: &str) {
    let origin = Origin::start("ok");
    let change = limit(2, 60_000, 0, vec![LimitKey::Header("end-user".into())]);
    let (_proxy, front) = start(driver, &[origin.address], HttpRule::default(), change);
    for user in ["ada", "bob"] {
        let answers = [(); 3].map(|()| get(front, "/", &[("End-User", user)]).expect("an answer").status);
        assert_eq!(answers, [200, 200, 429], "{user}");
    }
}

/// One of two endpoints refuses connections: the default policy tries elsewhere, whatever the method.
pub fn dead_endpoint(driver: &str) {
    let origin = Origin::start("alive");
    let (_proxy, front) = start(driver, &[free_address(), origin.address], HttpRule::default(), |_| {});
    let mut connection = Connection::open(front).expect("the gateway listens");
    for method in ["GET", "POST"] {
        for _ in 0..20 {
            let answer = connection.send(method, "/", &[], b"").expect("an answer");
            assert_eq!((answer.status, answer.text().as_str()), (200, "alive"), "{method}");
        }
    }
}

fn failing(times: u64) -> (Scripted, Arc<AtomicU64>) {
    let upstream = Scripted::start();
    let asked = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&asked);
    upstream.answer(move |_| {
        let status = if count.fetch_add(1, Ordering::Relaxed) < times { "503 No" } else { "200 OK" };
        Answer::keep(format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n"))
    });
    (upstream, asked)
}

/// `retryOn: gateway-error` with two more tries.
pub fn configured_retries(driver: &str) {
    let on = RetryOn { gateway_error: true, ..RetryOn::default() };
    let retries = Retries { attempts: 2, on, backoff_ms: Some(5), ..Retries::default() };
    let rule = HttpRule { retries: Some(retries), ..HttpRule::default() };
    for (failures, tries, status) in [(0, 1, 200), (2, 3, 200), (5, 3, 503)] {
        let (upstream, asked) = failing(failures);
        let (_proxy, front) = start(driver, &[upstream.address], rule.clone(), |_| {});
        let answer = Connection::open(front).and_then(|mut it| it.send("POST", "/", &[], b"body"));
        assert_eq!(answer.expect("an answer").status, status, "{failures} failures");
        assert_eq!(asked.load(Ordering::Relaxed), tries, "{failures} failures");
        assert!(upstream.seen().iter().all(|it| it.body == b"body"), "each try carries the body");
    }
    let (upstream, asked) = failing(1);
    let (_proxy, front) = start(driver, &[upstream.address], HttpRule::default(), |_| {});
    assert_eq!(get(front, "/", &[]).expect("an answer").status, 503, "an answer is no reason to try again");
    assert_eq!(asked.load(Ordering::Relaxed), 1);
}

/// The rule's time covers all tries; a try's own time is a reason to try again.
pub fn time_limits(driver: &str) {
    let upstream = Scripted::start();
    let asked = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&asked);
    upstream.answer(move |_| {
        count.fetch_add(1, Ordering::Relaxed);
        std::thread::sleep(Duration::from_secs(3));
        Answer::close("")
    });
    let on = RetryOn { server_error: true, ..RetryOn::default() };
    let retries = Retries { attempts: 5, per_try_timeout_ms: Some(200), on, ..Retries::default() };
    let rule = HttpRule { timeout_ms: Some(500), retries: Some(retries), ..HttpRule::default() };
    let (_proxy, front) = start(driver, &[upstream.address], rule, |_| {});
    let began = Instant::now();
    let answer = get(front, "/", &[]).expect("an answer");
    let took = began.elapsed();
    assert_eq!(answer.status, 504, "{}", answer.text());
    assert!(took >= Duration::from_millis(450) && took < Duration::from_millis(2_500), "took {took:?}");
    let tries = asked.load(Ordering::Relaxed);
    assert!((2..=3).contains(&tries), "{tries} tries of 200 ms in 500 ms");
}

/// Three errors in a row eject an endpoint; the other serves alone.
pub fn ejection(driver: &str) {
    let (broken, asked) = failing(u64::MAX);
    let origin = Origin::start("good");
    let outlier = Outlier { consecutive_5xx: 3, max_ejection_percent: 100, ..Outlier::default() };
    let change = move |resources: &mut Vec<Resource>| {
        for resource in resources {
            if let Resource::Destination(destination) = resource {
                destination.outlier = Some(outlier);
            }
        }
    };
    let (_proxy, front) = start(driver, &[broken.address, origin.address], HttpRule::default(), change);
    let bad = (0..60).filter(|_| get(front, "/", &[]).is_ok_and(|it| it.status == 503)).count();
    assert_eq!((bad, asked.load(Ordering::Relaxed)), (3, 3), "the third error ejects");
}

/// One connection, one request waiting: the third request at once is turned away with UO.
pub fn caps(driver: &str) {
    let upstream = Scripted::start();
    upstream.answer(|_| {
        std::thread::sleep(Duration::from_millis(1_500));
        Answer::keep("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    });
    let pool = ConnectionPool {
        max_connections: Some(1),
        http1_max_pending_requests: Some(1),
        ..ConnectionPool::default()
    };
    let change = move |resources: &mut Vec<Resource>| {
        for resource in resources {
            if let Resource::Destination(destination) = resource {
                destination.pool = pool.clone();
            }
        }
    };
    let (_proxy, front) = start(driver, &[upstream.address], HttpRule::default(), change);
    let statuses = at_once(front, 4);
    let good = statuses.iter().filter(|it| **it == 200).count();
    let turned_away = statuses.iter().filter(|it| **it == 503).count();
    assert_eq!((good, turned_away), (2, 2), "{statuses:?}");
    assert_eq!(upstream.connections(), 1);
}

/// One connection in all, several shards: an idle connection of one shard does not keep another's requests waiting.
pub fn caps_over_shards(driver: &str) {
    let origin = Origin::start("ok");
    let change = |resources: &mut Vec<Resource>| {
        for resource in resources {
            if let Resource::Destination(destination) = resource {
                destination.pool.max_connections = Some(1);
            }
        }
    };
    let (_proxy, front) =
        start_with(driver, &[origin.address], HttpRule::default(), change, &["--shards", "4"]);
    for turn in 0..24 {
        let began = Instant::now();
        assert_eq!(get(front, "/", &[]).expect("an answer").status, 200, "request {turn}");
        assert!(began.elapsed() < Duration::from_secs(5), "request {turn} waited {:?}", began.elapsed());
    }
}

/// A request that waits longer for a place than connecting may take is served; one that waits longer than a try may take
/// is not.
pub fn waiting_in_line(driver: &str) {
    let upstream = Scripted::start();
    upstream.answer(|_| {
        std::thread::sleep(Duration::from_millis(800));
        Answer::close("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
    });
    let one = |resources: &mut Vec<Resource>| {
        for resource in resources {
            if let Resource::Destination(destination) = resource {
                destination.pool.max_connections = Some(1);
                destination.pool.connect_timeout_ms = Some(300);
            }
        }
    };
    let (_proxy, front) = start(driver, &[upstream.address], HttpRule::default(), one);
    assert_eq!(at_once(front, 3), [200; 3]);

    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a connection");
        let mut head = [0; 4_096];
        let _ = std::io::Read::read(&mut stream, &mut head);
        let begun = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n";
        std::io::Write::write_all(&mut stream, begun).expect("open");
        std::thread::sleep(Duration::from_secs(8));
    });
    let retries = Retries { attempts: 0, per_try_timeout_ms: Some(500), ..Retries::default() };
    let rule = HttpRule { retries: Some(retries), ..HttpRule::default() };
    let (_proxy, front) = start(driver, &[address], rule, one);
    let mut slow = std::net::TcpStream::connect(front).expect("the gateway listens");
    std::io::Write::write_all(&mut slow, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").expect("open");
    std::io::Read::read_exact(&mut slow, &mut [0; 12]).expect("the answer begins");
    let began = Instant::now();
    assert_eq!(get(front, "/", &[]).expect("an answer").status, 504);
    assert!(began.elapsed() < Duration::from_secs(4), "the try took {:?}", began.elapsed());
}

/// A client that leaves gives back what it held: the next one is served.
pub fn clients_that_leave(driver: &str) {
    let upstream = Scripted::start();
    let asked = AtomicU64::new(0);
    upstream.answer(move |_| {
        if asked.fetch_add(1, Ordering::Relaxed) == 0 {
            std::thread::sleep(Duration::from_secs(20));
        }
        Answer::keep("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    });
    let change = |resources: &mut Vec<Resource>| {
        for resource in resources {
            if let Resource::Destination(destination) = resource {
                destination.pool.max_connections = Some(1);
            }
        }
    };
    let (_proxy, front) = start(driver, &[upstream.address], HttpRule::default(), change);
    let mut impatient = std::net::TcpStream::connect(front).expect("the gateway listens");
    std::io::Write::write_all(&mut impatient, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").expect("open");
    dromon_tests::eventually("the request to arrive", || (upstream.connections() == 1).then_some(()));
    drop(impatient);
    let began = Instant::now();
    assert_eq!(get(front, "/", &[]).expect("an answer").status, 200);
    assert!(began.elapsed() < Duration::from_secs(15), "the next client waited {:?}", began.elapsed());
}

fn at_once(front: SocketAddr, count: usize) -> Vec<u16> {
    let ask = |_| std::thread::spawn(move || get(front, "/", &[]).map_or(0, |answer| answer.status));
    let threads: Vec<_> = (0..count).map(ask).collect();
    threads.into_iter().map(|thread| thread.join().expect("a client does not panic")).collect()
}
