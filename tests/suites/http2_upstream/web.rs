//! gRPC-Web at the gateway: calls encoded by Python, as browsers encode them, to a service of grpcio.

use std::net::{SocketAddr, TcpStream};
use std::process::Command;

use dromon_core::config::model::Protocol;
use dromon_tests::http::get;
use dromon_tests::process::Process;
use dromon_tests::{eventually, free_port, python, root, skip};

use crate::start;

fn call(front: SocketAddr, version: &str, scenario: &str) {
    let script = root().join("tests/suites/http2_upstream/grpc_web_calls.py");
    let mut command = Command::new("python3");
    let output = command.arg(script).args([&front.to_string(), version, scenario]).output();
    let output = output.expect("python3 can be started");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{version}, {scenario}: {said}");
}

/// Binary and text, unary and streaming, errors and deadlines, from clients of both versions.
pub fn calls(driver: &str) {
    let Some(python) = python("grpc") else { return skip("calls", "grpcio is missing") };
    let service = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let script = root().join("tests/suites/http2/grpc_service.py");
    let _service = Process::start(Command::new(python).arg(script).arg(service.to_string()));
    eventually("the service to listen", || TcpStream::connect(service).ok());
    let (proxy, front) = start(driver, &[service], 1, |_, destination| destination.protocol = Protocol::Grpc);
    for version in ["h1", "h2"] {
        call(front, version, "kinds");
        call(front, version, "deadline");
    }
    call(front, "h1", "malformed");
    eventually("the calls to be counted as gRPC", || {
        let text = get(proxy.stats, "/stats/prometheus", &[]).ok()?.text();
        let counted = |status: &str| {
            text.lines().any(|line| {
                line.starts_with("istio_requests_total")
                    && line.contains("request_protocol=\"grpc\"")
                    && line.contains(&format!("grpc_response_status=\"{status}\""))
            })
        };
        ["0", "4", "5"].iter().all(|status| counted(status)).then_some(())
    });
    let nobody = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let (_proxy, front) = start(driver, &[nobody], 1, |_, destination| destination.protocol = Protocol::Grpc);
    for version in ["h1", "h2"] {
        call(front, version, "unavailable");
    }
}
