//! The servers behind the proxies, on the rig's processor: ours for HTTP/1.1 and TCP, plain and under mutual TLS, and
//! nghttpd for HTTP/2, once as it is and once with the trailer that ends a gRPC answer.

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use dromon_core::config::model::Protocol;

use super::certs;
use super::launch::free_ports;
use super::setup::Setup;
use super::tools::Tool;

/// The file that answers HTTP/2 requests, as its clients' path names it.
pub const ANSWER: &str = "100";
/// The file that answers gRPC calls.
pub const CALL: &str = "lab.Echo/Unary.grpc";
/// A message of 100 bytes, as a gRPC body holds it (a byte of flags, four of length), answers and asks alike.
pub const MESSAGE: &str = "message";
/// Longest wait for one to listen.
const START_LIMIT: Duration = Duration::from_secs(10);

/// The servers; they end when this is dropped.
#[derive(Debug)]
pub struct Origins {
    /// HTTP/1.1, or TCP, plain.
    pub plain: SocketAddr,
    /// The same under mutual TLS.
    pub tls: SocketAddr,
    /// HTTP/2, or why there is none.
    pub http2: Result<SocketAddr>,
    /// gRPC, or why there is none.
    pub grpc: Result<SocketAddr>,
    /// Folder of nghttpd's files.
    pub files: PathBuf,
    children: Vec<Child>,
}

impl Origins {
    /// Starts all of them; the calling thread is on the rig's processor.
    pub fn start(rig_cpu: usize, scratch: &Path, nghttpd: &Result<Tool>) -> Result<Origins> {
        let files = scratch.join("files");
        write_files(&files)?;
        let mut children = Vec::new();
        let mut ours = |tls: Option<&Path>| -> Result<SocketAddr> {
            let mut command = Command::new(std::env::current_exe()?);
            command.args(["origin", "--pin", &rig_cpu.to_string()]);
            if let Some(folder) = tls {
                command.arg("--tls").arg(folder);
            }
            begin(&mut children, command, scratch, |port| {
                vec!["--listen".into(), format!("127.0.0.1:{port}")]
            })
        };
        let plain = ours(None)?;
        let tls = ours(Some(&certs::folder(scratch, "server")))?;
        let mut theirs = |more: &[&str]| -> Result<SocketAddr> {
            let mut command = nghttpd.as_ref().map_err(|error| anyhow!("{error:#}"))?.command();
            command
                .args(["--no-tls", "--address", "127.0.0.1", "--mime-types-file"])
                .arg(files.join("types"));
            command.arg("--htdocs").arg(&files).args(more);
            begin(&mut children, command, scratch, |port| vec![port.to_string()])
        };
        let http2 = theirs(&[]);
        let grpc = theirs(&["--no-content-length", "--trailer", "grpc-status: 0"]);
        Ok(Origins { plain, tls, http2, grpc, files, children })
    }

    /// The one that a setup's requests end at.
    pub fn of(&self, setup: &Setup) -> Result<SocketAddr> {
        let known = |origin: &Result<SocketAddr>| {
            origin
                .as_ref()
                .copied()
                .map_err(|error| anyhow!("nghttpd, the origin that speaks HTTP/2: {error:#}"))
        };
        match setup.protocol {
            Protocol::Http2 => known(&self.http2),
            Protocol::Grpc => known(&self.grpc),
            _ if setup.tls_to_origin() => Ok(self.tls),
            _ => Ok(self.plain),
        }
    }
}

impl Drop for Origins {
    fn drop(&mut self) {
        for child in &mut self.children {
            // One that has ended meanwhile needs no signal.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn write_files(folder: &Path) -> Result<()> {
    let call = folder.join(CALL);
    std::fs::create_dir_all(call.parent().context("the call's folder")?)?;
    let mut message = vec![0, 0, 0, 0, 100];
    message.resize(message.len() + 100, b'x');
    std::fs::write(folder.join(ANSWER), [b'x'; 100])?;
    std::fs::write(call, &message)?;
    std::fs::write(folder.join(MESSAGE), &message)?;
    std::fs::write(folder.join("types"), "application/grpc grpc\n")?;
    Ok(())
}

/// Starts a server on a port that is free, and waits until it listens.
fn begin(
    children: &mut Vec<Child>,
    mut command: Command,
    scratch: &Path,
    place: impl Fn(u16) -> Vec<String>,
) -> Result<SocketAddr> {
    let [port, _] = free_ports()?;
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let log = File::create(scratch.join(format!("origin-{port}.log")))?;
    command.args(place(port)).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
    let mut child = command.spawn().with_context(|| format!("starting {command:?}"))?;
    let limit = Instant::now() + START_LIMIT;
    while std::net::TcpStream::connect(address).is_err() {
        if Instant::now() > limit || matches!(child.try_wait(), Ok(Some(_))) {
            let _ = child.kill();
            bail!("{command:?} does not listen");
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    children.push(child);
    Ok(address)
}
