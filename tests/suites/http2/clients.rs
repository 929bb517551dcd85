//! Clients and servers that others wrote.

use std::process::Command;

use dromon_core::config::model::Protocol;
use dromon_tests::eventually;
use dromon_tests::process::Process;
use dromon_tests::{free_port, skip};

use crate::start;

/// An nghttpd that serves files of a folder without TLS.
pub struct Nghttpd {
    _process: Process,
    folder: tempfile::TempDir,
    /// Where it listens.
    pub address: std::net::SocketAddr,
}

impl Nghttpd {
    /// Starts it; none where it is not installed.
    pub fn start() -> Option<Nghttpd> {
        let folder = tempfile::tempdir().expect("a temporary folder");
        std::fs::write(folder.path().join("small"), [b'a'; 100]).expect("writable");
        let large: Vec<u8> = (0..3_000_000_u32).flat_map(u32::to_le_bytes).collect();
        std::fs::write(folder.path().join("large"), large).expect("writable");
        let port = free_port();
        let mut command = Command::new("nghttpd");
        command.args(["--no-tls", "--address", "127.0.0.1", "-d"]).arg(folder.path()).arg(port.to_string());
        Command::new("nghttpd").arg("--version").output().ok()?;
        let process = Process::start(&mut command);
        let address = std::net::SocketAddr::from(([127, 0, 0, 1], port));
        eventually("nghttpd to listen", || std::net::TcpStream::connect(address).ok());
        Some(Nghttpd { _process: process, folder, address })
    }

    fn file(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }
}

fn output(program: &str, arguments: &[&str]) -> Option<(String, Vec<u8>)> {
    let output = Command::new(program).args(arguments).output().ok()?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{program} {arguments:?}: {said}");
    Some((said, output.stdout))
}

/// Prior knowledge and plain HTTP/1 on one port, to a service of HTTP/2.
pub fn real_clients(driver: &str) {
    let Some(service) = Nghttpd::start() else { return skip("real_clients", "nghttpd is missing") };
    let (_proxy, front) = start(driver, service.address, Protocol::Http2, |_| {});
    let url = format!("http://{front}/small");
    let version = ["-s", "-o", "/dev/null", "-w", "%{http_code} %{http_version}"];
    let origin = dromon_tests::origin::Origin::start("up");
    let (_other, other) = start(driver, origin.address, Protocol::Http, |_| {});
    let plain = format!("http://{other}/");
    for (flag, url, expected) in [
        ("--http2-prior-knowledge", &url, "200 2"),
        ("--http2-prior-knowledge", &plain, "200 2"),
        // Without prior knowledge curl asks for an upgrade to h2c, which is never granted.
        ("--http2", &plain, "200 1.1"),
    ] {
        let Some((_, said)) = output("curl", &[&version[..], &[flag, url]].concat()) else {
            return skip("real_clients", "curl is missing");
        };
        assert_eq!(String::from_utf8_lossy(&said), expected, "{driver}: curl {flag} {url}");
    }
    let Some((_, said)) = output("nghttp", &["--stat", "--no-dep", &url, &url]) else {
        return skip("real_clients", "nghttp is missing");
    };
    assert!(String::from_utf8_lossy(&said).matches(" 200 ").count() >= 1, "{driver}");
    let arguments = ["--requests=2000", "--clients=10", "--max-concurrent-streams=10", &url];
    let Some((_, said)) = output("h2load", &arguments) else {
        return skip("real_clients", "h2load is missing");
    };
    let said = String::from_utf8_lossy(&said).into_owned();
    assert!(said.contains("2000 succeeded, 0 failed, 0 errored, 0 timeout"), "{driver}: {said}");
}

/// 12 MB down from HTTP/2, and up and down through HTTP/1.
pub fn large_bodies(driver: &str) {
    let Some(service) = Nghttpd::start() else { return skip("large_bodies", "nghttpd is missing") };
    let large = std::fs::read(service.file("large")).expect("written above");
    let (_proxy, front) = start(driver, service.address, Protocol::Http2, |_| {});
    let url = format!("http://{front}/large");
    let Some((_, body)) = output("curl", &["-sS", "--http2-prior-knowledge", &url]) else {
        return skip("large_bodies", "curl is missing");
    };
    assert!(body == large, "{driver}: {} bytes came down", body.len());

    let echo = dromon_tests::scripted::Scripted::start();
    echo.answer(|seen| {
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", seen.body.len());
        dromon_tests::scripted::Answer::keep([head.as_bytes(), &seen.body].concat())
    });
    let (_proxy, front) = start(driver, echo.address, Protocol::Http, |_| {});
    let (url, file) = (format!("http://{front}/echo"), format!("@{}", service.file("large").display()));
    let arguments = ["-sS", "--http2-prior-knowledge", "--data-binary", &file, &url];
    let (_, body) = output("curl", &arguments).expect("it ran before");
    assert!(body == large, "{driver}: {} bytes came back", body.len());
}
