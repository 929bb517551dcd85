//! gRPC with Python's grpcio at both ends.

use std::process::Command;

use dromon_core::config::model::{Protocol, Retries, RetryOn};
use dromon_tests::http::get;
use dromon_tests::pair::metric;
use dromon_tests::process::Process;
use dromon_tests::proxy::Proxy;
use dromon_tests::{eventually, free_port, python, root, skip};

use crate::{start, start_over};

/// A running service.
struct Service {
    process: Process,
    address: std::net::SocketAddr,
}

impl Service {
    /// Starts it; none where grpcio is not installed.
    fn start() -> Option<Service> {
        let python = python("grpc")?;
        let address = std::net::SocketAddr::from(([127, 0, 0, 1], free_port()));
        let script = root().join("tests/suites/http2/grpc_service.py");
        let process = Process::start(Command::new(python).arg(script).arg(address.to_string()));
        eventually("the service to listen", || std::net::TcpStream::connect(address).ok());
        Some(Service { process, address })
    }
}

/// Runs the calls of one scenario; they assert for themselves.
fn call(front: std::net::SocketAddr, scenario: &str) {
    let script = root().join("tests/suites/http2/grpc_calls.py");
    let output = Command::new(python("grpc").expect("the service has it"))
        .arg(script)
        .args([&front.to_string(), scenario])
        .output()
        .expect("it can be started");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{scenario}: {said}");
}

/// Waits until a series with these labels is counted: an exchange is accounted for just after its last byte.
fn counted(driver: &str, proxy: &Proxy, labels: &[&str]) {
    eventually(&format!("{labels:?} to be counted on {driver}"), || {
        let text = get(proxy.stats, "/stats/prometheus", &[]).expect("statistics").text();
        let has = |line: &str| labels.iter().all(|label| line.contains(label));
        text.lines().any(|line| line.starts_with("istio_requests_total") && has(line)).then_some(())
    });
}

/// Unary and streaming calls, metadata, deadlines, cancellation, 20 MiB in one message.
pub fn all_kinds(driver: &str) {
    let Some(service) = Service::start() else { return skip("all_kinds", "grpcio is missing") };
    let (proxy, front) = start(driver, service.address, Protocol::Grpc, |_| {});
    call(front, "kinds");
    call(front, "deadlines");
    call(front, "cancellation");
    eventually("the service to see the cancellation", || {
        service.process.stderr().iter().any(|line| line.contains("cancelled")).then_some(())
    });
    counted(driver, &proxy, &["request_protocol=\"grpc\"", "grpc_response_status=\"0\""]);
    // NOT_FOUND, from trailers.
    counted(driver, &proxy, &["grpc_response_status=\"5\""]);
}

/// Nothing listens at the upstream's address; and a rule's timeout is the deadline where it is shorter.
pub fn local_errors(driver: &str) {
    let Some(service) = Service::start() else { return skip("local_errors", "grpcio is missing") };
    let nobody = std::net::SocketAddr::from(([127, 0, 0, 1], free_port()));
    let (_proxy, front) = start(driver, nobody, Protocol::Grpc, |_| {});
    call(front, "unavailable");
    let (proxy, front) = start(driver, service.address, Protocol::Grpc, |rule| rule.timeout_ms = Some(300));
    call(front, "timeout");
    // The service is told how much time is left, so it may be the one that says so first.
    counted(driver, &proxy, &["grpc_response_status=\"4\""]);
    // One that never says anything cannot.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = silent.local_addr().expect("it is bound");
    let (proxy, front) = start(driver, address, Protocol::Grpc, |rule| rule.timeout_ms = Some(300));
    call(front, "silence");
    counted(driver, &proxy, &["grpc_response_status=\"4\"", "response_flags=\"UT\""]);
}

/// The service fails twice with the status that it is asked for; Trailers-Only answers are tried again.
pub fn retries(driver: &str) {
    let Some(service) = Service::start() else { return skip("retries", "grpcio is missing") };
    let grpc = vec![1, 4, 8, 13, 14];
    let retries = Retries {
        attempts: 3,
        on: RetryOn { grpc, ..RetryOn::default() },
        backoff_ms: Some(1),
        ..Retries::default()
    };
    let (_proxy, front) = start(driver, service.address, Protocol::Grpc, |rule| rule.retries = Some(retries));
    call(front, "retries");
}

/// One channel, one connection, three endpoints: each call is balanced on its own, one after another and all at once.
pub fn balanced(driver: &str) {
    let services: Option<Vec<Service>> = (0..3).map(|_| Service::start()).collect();
    let Some(services) = services else { return skip("balanced", "grpcio is missing") };
    let addresses: Vec<_> = services.iter().map(|service| service.address).collect();
    let (proxy, front) = start_over(driver, &addresses, Protocol::Grpc, |_| {}, &["--shards", "1"]);
    call(front, "shares");
    eventually("the channel's one connection to be counted", || {
        (metric(&proxy, &["dromon_downstream_connections_total"]) == 1.0).then_some(())
    });
}
