//! What is counted and logged of exchanges that end otherwise than with an answer: upgrades, TCP connections.

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use dromon_core::config::model::{
    AccessLog, HttpRule, ListenerKind, Resource, Retries, RetryOn, Role, TcpRule, VirtualHost,
    destination_name,
};
use dromon_tests::eventually;
use dromon_tests::http::get;
use dromon_tests::proxy::{Proxy, destination, listener, proxy, to};
use dromon_tests::scripted::{Answer, Scripted, Then};
use tempfile::TempDir;

use crate::{free_address, start};

/// Has the proxy of these resources write its access log to a file, in this format (Istio's where it is empty).
fn log_to(resources: &mut [Resource], file: &Path, format: &str) {
    for resource in resources {
        if let Resource::Proxy(proxy) = resource {
            let path = file.to_str().expect("a name in ASCII").to_owned();
            proxy.access_log = Some(AccessLog { path, format: format.into(), ..AccessLog::default() });
        }
    }
}

fn log_file() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("access.log");
    (folder, file)
}

/// The log once it has so many lines.
fn lines(file: &Path, count: usize) -> Vec<String> {
    eventually("the access log", || {
        let text = fs::read_to_string(file).ok()?;
        let lines: Vec<_> = text.lines().map(str::to_owned).collect();
        (lines.len() >= count).then_some(lines)
    })
}

/// The sum of a metric's samples whose labels contain `label`.
fn metric(proxy: &Proxy, name: &str, label: &str) -> u64 {
    let page = get(proxy.stats, "/stats/prometheus", &[]).expect("metrics").text();
    let of_name = page.lines().filter(|line| line.starts_with(&format!("{name}{{")) && line.contains(label));
    of_name.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum::<f64>() as u64
}

/// An upgraded exchange lasts as long as its tunnel: it holds its place under the caps, and its bytes and its duration
/// are told when it ends, with the status 101.
pub fn upgrade(driver: &str) {
    let upstream = Scripted::start();
    upstream.answer(|seen| match seen.header("upgrade") {
        Some(_) => {
            let head =
                "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n";
            Answer { bytes: head.into(), then: Then::Echo }
        }
        None => Answer::keep("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
    });
    let (_folder, file) = log_file();
    let format = "%RESPONSE_CODE% %RESPONSE_FLAGS% %BYTES_RECEIVED% %BYTES_SENT% %DURATION% %REQ(:PATH)%";
    let (proxy, front) = start(driver, &[upstream.address], HttpRule::default(), |resources| {
        log_to(resources, &file, format);
        for resource in resources {
            if let Resource::Destination(destination) = resource {
                destination.pool.http2_max_requests = Some(1);
            }
        }
    });
    let mut stream = TcpStream::connect(front).expect("the gateway listens");
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a socket option");
    let ask = b"GET /chat HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nearly";
    stream.write_all(ask).expect("open");
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"\r\n\r\nearly") {
        let mut byte = [0; 1];
        stream.read_exact(&mut byte).expect("the head, then the echo");
        bytes.push(byte[0]);
    }
    assert_eq!(get(front, "/other", &[]).expect("an answer").status, 503, "the tunnel fills the cap");
    assert_eq!(metric(&proxy, "istio_requests_total", "response_code=\"101\""), 0, "it is not over");
    std::thread::sleep(Duration::from_millis(300));
    stream.write_all(&[b'x'; 1_000]).expect("open");
    stream.shutdown(Shutdown::Write).expect("open");
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).expect("a clean end");
    assert_eq!(rest.len(), 1_000);
    let lines = lines(&file, 2);
    let line = lines.iter().find(|line| line.ends_with(" /chat")).expect("the upgrade's line");
    let fields: Vec<_> = line.split(' ').collect();
    assert_eq!(fields[..4], ["101", "-", "1005", "1005"], "{line}");
    let duration_ms: u64 = fields[4].parse().expect("milliseconds");
    assert!(duration_ms >= 300, "the tunnel's time counts: {line}");
    assert_eq!(metric(&proxy, "istio_requests_total", "response_code=\"101\""), 1);
    let sent = metric(&proxy, "istio_response_bytes_sum", "response_code=\"101\"");
    assert!((1_005..1_500).contains(&sent), "head and tunnel: {sent}");
    assert_eq!(get(front, "/other", &[]).expect("an answer").status, 200, "the place is free again");
}

/// The first try is answered and tried again, the second breaks off: nothing of the first's answer is told of the end.
pub fn discarded_try(driver: &str) {
    let upstream = Scripted::start();
    let tries = AtomicU64::new(0);
    upstream.answer(move |_| match tries.fetch_add(1, Ordering::Relaxed) {
        0 => Answer::keep("HTTP/1.1 503 No\r\nX-Try: first\r\nGrpc-Status: 14\r\nContent-Length: 0\r\n\r\n"),
        _ => Answer::close("HTTP/1.1 200 O"),
    });
    let on = RetryOn { server_error: true, ..RetryOn::default() };
    let retries = Retries { attempts: 1, on, backoff_ms: Some(1), ..Retries::default() };
    let (_folder, file) = log_file();
    let format = "%RESPONSE_CODE% %RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS% %RESP(X-TRY)% %RESP(GRPC-STATUS)% \
        %GRPC_STATUS_NUMBER% %RESPONSE_DURATION% %UPSTREAM_REQUEST_ATTEMPT_COUNT%";
    let rule = HttpRule { retries: Some(retries), ..HttpRule::default() };
    let (_proxy, front) =
        start(driver, &[upstream.address], rule, |resources| log_to(resources, &file, format));
    assert_eq!(get(front, "/", &[]).expect("an answer").status, 503);
    assert_eq!(lines(&file, 1), ["503 UC,URX upstream_reset - - - - 2"]);
}

/// A TCP gateway to this upstream, with Istio's access log.
pub fn tcp_gateway(
    driver: &str,
    upstream: SocketAddr,
    file: &Path,
    idle_ms: Option<u64>,
) -> (Proxy, SocketAddr) {
    let front = free_address();
    let mut resources = destination("opaque.local", &[upstream]);
    for resource in &mut resources {
        if let Resource::Destination(destination) = resource {
            destination.pool.idle_timeout_ms = idle_ms;
        }
    }
    resources.push(proxy(Role::Gateway, vec![listener("gateway/tcp", front, ListenerKind::GatewayTcp)]));
    resources.push(Resource::VirtualHost(VirtualHost {
        name: "gateway/tcp/*".into(),
        listener: Some("gateway/tcp".into()),
        domains: vec!["*".into()],
        tcp: vec![TcpRule { destinations: vec![to("opaque.local")], ..TcpRule::default() }],
        ..VirtualHost::default()
    }));
    log_to(&mut resources, file, "");
    (Proxy::start("gateway~ingress.default", driver, &resources, &["--shards", "1"]), front)
}

/// Connects through the proxy, and accepts behind it.
fn pair(front: SocketAddr, listener: &TcpListener) -> (TcpStream, TcpStream) {
    let client = TcpStream::connect(front).expect("the gateway listens");
    let (server, _) = listener.accept().expect("the proxy connects");
    for stream in [&client, &server] {
        stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a socket option");
    }
    (client, server)
}

fn pass(from: &mut TcpStream, to: &mut TcpStream, bytes: usize) {
    from.write_all(&vec![b'x'; bytes]).expect("open");
    to.read_exact(&mut vec![0; bytes]).expect("the relay passes it on");
}

/// A TCP connection's bytes show while it is open, and its line comes when it ends.
pub fn tcp(driver: &str) {
    let upstream = TcpListener::bind("127.0.0.1:0").expect("a loopback port");
    let address = upstream.local_addr().expect("bound");
    let (_folder, file) = log_file();
    let (proxy, front) = tcp_gateway(driver, address, &file, None);
    let (mut client, mut server) = pair(front, &upstream);
    pass(&mut client, &mut server, 1_000);
    pass(&mut server, &mut client, 5_000);
    let counted = || {
        ["received", "sent"]
            .map(|way| metric(&proxy, &format!("istio_tcp_{way}_bytes_total"), "opaque.local"))
    };
    assert_eq!(counted(), [1_000, 5_000], "while it is open");
    assert_eq!(counted(), [1_000, 5_000], "once");
    assert_eq!(metric(&proxy, "istio_tcp_connections_closed_total", "opaque.local"), 0);
    pass(&mut client, &mut server, 24);
    assert!(!file.exists(), "nothing is logged before the end");
    let (client_address, local) =
        (client.local_addr().expect("bound"), server.peer_addr().expect("connected"));
    client.shutdown(Shutdown::Write).expect("open");
    server.shutdown(Shutdown::Write).expect("open");
    let line = lines(&file, 1).remove(0);
    assert_eq!(counted(), [1_024, 5_000]);
    assert_eq!(metric(&proxy, "istio_tcp_connections_closed_total", "opaque.local"), 1);
    let (start, rest) = line.split_once("] ").expect("the moment, then the rest");
    assert!(start.starts_with("[20") && start.ends_with('Z'), "{line}");
    let fields: Vec<_> = rest.split(' ').collect();
    assert_eq!(fields[..10].join(" "), "\"- - -\" 0 - - - \"-\" 1024 5000", "{line}");
    assert!(fields[10].parse::<u64>().is_ok(), "the duration: {line}");
    let cluster = destination_name(80, "", "opaque.local");
    let expected =
        format!("- \"-\" \"-\" \"-\" \"-\" \"{address}\" {cluster} {local} {front} {client_address} - -");
    assert_eq!(fields[11..].join(" "), expected, "{line}");

    // An upstream that breaks off is told of, and the client does not take it for an end.
    let (mut client, server) = pair(front, &upstream);
    client.write_all(b"unread").expect("open");
    eventually("the bytes to arrive", || (server.peek(&mut [0; 8]).ok()? == 6).then_some(()));
    drop(server);
    assert!(client.read(&mut [0; 1]).is_err(), "the client's side is reset");
    let line = lines(&file, 2).remove(1);
    assert!(line.contains("\"- - -\" 0 UC - upstream_reset \"-\" 6 0 "), "{line}");
}

/// A TCP connection that cannot be made, or that nobody uses, says so in the log and in the metrics.
pub fn tcp_failures(driver: &str) {
    let (_folder, file) = log_file();
    let (proxy, front) = tcp_gateway(driver, free_address(), &file, None);
    let mut client = TcpStream::connect(front).expect("the gateway listens");
    assert!(client.read(&mut [0; 1]).is_err(), "a connection that leads nowhere is reset");
    let line = lines(&file, 1).remove(0);
    assert!(line.contains("\"- - -\" 0 UF,URX - upstream_connect_failed \"-\" 0 0 "), "{line}");
    assert_eq!(metric(&proxy, "istio_tcp_connections_closed_total", "response_flags=\"UF,URX\""), 1);

    let upstream = TcpListener::bind("127.0.0.1:0").expect("a loopback port");
    let (_folder, file) = log_file();
    let address = upstream.local_addr().expect("bound");
    let (_proxy, front) = tcp_gateway(driver, address, &file, Some(200));
    let (mut client, _server) = pair(front, &upstream);
    assert_eq!(client.read(&mut [0; 1]).expect("a clean end"), 0, "the idle time is over");
    let line = lines(&file, 1).remove(0);
    assert!(line.contains("\"- - -\" 0 SI - stream_idle_timeout \"-\" 0 0 "), "{line}");
}
