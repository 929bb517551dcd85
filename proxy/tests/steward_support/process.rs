//! A proxy process.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicU8, AtomicU16, Ordering};

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

use super::{until, within};

/// A loopback address that no other test of this run has.
pub fn own_address() -> Ipv4Addr {
    static NEXT: AtomicU8 = AtomicU8::new(1);
    let process = std::process::id().to_le_bytes();
    Ipv4Addr::new(127, 100 + process[1] % 100, process[0], NEXT.fetch_add(1, Ordering::Relaxed))
}

/// An address whose port is free now, and that is given out only once: a port that the kernel chooses may be its next choice
/// too. It is below those that the kernel gives to outgoing connections.
pub fn free_port(ip: Ipv4Addr) -> SocketAddr {
    static GIVEN: AtomicU16 = AtomicU16::new(0);
    let free = |_| {
        let port = 18_000 + GIVEN.fetch_add(1, Ordering::Relaxed) % 14_000;
        TcpListener::bind((ip, port)).and_then(|listener| listener.local_addr()).ok()
    };
    (0..14_000).find_map(free).expect("a loopback port is free")
}

/// The program under test. Cargo says where it is, but a compiler wrapper written for a POSIX shell drops the variable, whose
/// name no shell's variable could have; then it lies where cargo puts it, above the tests.
fn program() -> PathBuf {
    option_env!("CARGO_BIN_EXE_dromon-proxy").map_or_else(
        || {
            let test = std::env::current_exe().expect("the test's own path");
            test.ancestors().nth(2).expect("the build's directory").join("dromon-proxy")
        },
        PathBuf::from,
    )
}

/// A proxy process; killed when dropped.
pub struct Process {
    pub child: Child,
    pub admin: SocketAddr,
    pub health: SocketAddr,
    stderr: PathBuf,
}

impl Process {
    /// Starts a proxy with its admin and readiness ports on an address of its own.
    pub fn start(dir: &Path, id: &str, ip: Ipv4Addr, options: &[&str]) -> Process {
        let (admin, health) = (free_port(ip), free_port(ip));
        let stderr = dir.join(format!("stderr-{admin}"));
        let log = std::fs::File::create(&stderr).expect("a log file");
        let child = Command::new(program())
            .args(["--id", id, "--pin", "off", "--log-level", "debug"])
            .args(if options.contains(&"--shards") { &[][..] } else { &["--shards", "2"] })
            .args(["--admin-addr", &admin.to_string(), "--health-addr", &health.to_string()])
            .args(options)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .expect("the proxy starts");
        Process { child, admin, health, stderr }
    }

    /// What it has printed so far.
    pub fn stderr(&self) -> String {
        std::fs::read_to_string(&self.stderr).unwrap_or_default()
    }

    /// Status and body of a page.
    pub async fn get(&self, address: SocketAddr, path: &str) -> Option<(u16, String)> {
        request(address, "GET", path).await
    }

    /// Waits until it says that it is ready.
    pub async fn ready(&self) {
        until(&format!("readiness; it says {}", self.stderr()), || async {
            self.get(self.health, "/healthz/ready").await.filter(|(status, _)| *status == 200)
        })
        .await;
    }

    /// Waits until it says why it is not ready, in words that hold this text.
    pub async fn not_ready(&self, text: &str) {
        until(&format!("not ready: {text}"), || async {
            let (status, body) = self.get(self.health, "/healthz/ready").await?;
            (status == 503 && body.contains(text)).then_some(())
        })
        .await;
    }

    /// The page of the configuration in force.
    pub async fn config(&self) -> Value {
        let (status, body) = self.get(self.admin, "/config").await.expect("the admin endpoint answers");
        assert_eq!(status, 200);
        serde_json::from_str(&body).expect("JSON")
    }

    /// Ends it without a word, as a crash does.
    pub async fn kill(mut self) {
        self.child.kill().await.expect("it can be killed");
    }

    /// Sends a signal.
    pub fn signal(&self, name: &str) {
        let pid = self.child.id().expect("it runs").to_string();
        let status = std::process::Command::new("kill").args(["-s", name, &pid]).status().expect("kill runs");
        assert!(status.success());
    }

    /// Waits for its end: exit code, or 128 and the signal's number.
    pub async fn end(&mut self) -> i32 {
        let status = within("the end of the process", self.child.wait()).await.expect("a child");
        status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or_default())
    }
}

/// A GET by way of a proxy: absolute-form.
pub async fn get_through(proxy: SocketAddr, authority: impl Into<String>) -> Option<(u16, String)> {
    let authority = authority.into();
    exchange(
        proxy,
        format!("GET http://{authority}/ HTTP/1.1\r\nHost: {authority}\r\nConnection: close\r\n\r\n"),
    )
    .await
}

/// One HTTP request on a connection of its own; `None` where nobody answers.
pub async fn request(address: SocketAddr, method: &str, path: &str) -> Option<(u16, String)> {
    request_for(address, &address.to_string(), method, path).await
}

/// The same, naming this host.
pub async fn request_for(address: SocketAddr, host: &str, method: &str, path: &str) -> Option<(u16, String)> {
    let length = if method == "POST" { "Content-Length: 0\r\n" } else { "" };
    let head = format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{length}\r\n");
    exchange(address, head).await
}

async fn exchange(address: SocketAddr, text: String) -> Option<(u16, String)> {
    let mut stream = TcpStream::connect(address).await.ok()?;
    stream.write_all(text.as_bytes()).await.ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.ok()?;
    let status = answer.split(' ').nth(1)?.parse().ok()?;
    let (_, body) = answer.split_once("\r\n\r\n")?;
    Some((status, body.to_owned()))
}
