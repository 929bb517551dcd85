//! Starts one subject, or a pair of it, in folders of its own, pinned, waits until it serves, and ends it when dropped.

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use rustls::ClientConfig;

use super::build::Built;
use super::config::{self, Places};
use super::origins::Origins;
use super::setup::{Hop, Setup};
use super::subject::Subject;
use super::tools::{Peers, Tool};
use super::{certs, dromon, http2, proc};
use crate::rig::{cpu, hold};

/// Longest wait for a subject to serve its first request; Envoy takes seconds for a table of 10,000.
const START_LIMIT: Duration = Duration::from_secs(60);
/// Longest wait for a subject to end.
const STOP_LIMIT: Duration = Duration::from_secs(5);

/// What is needed to start subjects.
#[derive(Debug)]
pub struct Launcher {
    /// The peers.
    pub peers: Peers,
    /// `dromon-proxy`, or why there is none.
    pub dromon: Result<Built>,
    /// The processor of proxies under test.
    pub proxy_cpu: usize,
    /// The processor of everything else.
    pub rig_cpu: usize,
    /// Descriptors that a process may open.
    pub descriptors: u64,
    /// The servers behind the proxies.
    pub origins: Origins,
    /// The generator's side of mutual TLS.
    pub tls: Arc<ClientConfig>,
    /// Folder of the runs' files.
    pub scratch: PathBuf,
}

/// The processes under test, one or a pair; ended when dropped.
#[derive(Debug)]
pub struct Running {
    children: Vec<Child>,
    /// Where clients connect.
    pub address: SocketAddr,
    /// Folder of the proxy that clients connect to.
    pub directory: PathBuf,
    /// Its configuration.
    pub setup: Setup,
    /// How clients speak TLS to it; none: they do not.
    pub tls: Option<Arc<ClientConfig>>,
    subject: Subject,
    hop: Hop,
    upstream_port: u16,
}

impl Launcher {
    /// Why a subject cannot be run, if so.
    pub fn missing(&self, subject: Subject) -> Option<String> {
        let reason = |result: &Result<Tool>| result.as_ref().err().map(|error| format!("{error:#}"));
        match subject {
            Subject::Direct | Subject::Relay => None,
            Subject::Envoy => reason(&self.peers.envoy),
            Subject::Nginx => reason(&self.peers.nginx),
            Subject::Haproxy | Subject::HaproxySplice => reason(&self.peers.haproxy),
            Subject::Nghttpx => reason(&self.peers.nghttpx),
            Subject::Dromon | Subject::DromonAgain | Subject::DromonEpoll => {
                self.dromon.as_ref().err().map(|error| format!("{error:#}"))
            }
        }
    }

    /// Starts a subject on one processor and waits until it answers a request of its table with 200. Of a pair, each
    /// proxy is started when the one behind it answers.
    pub fn start(&self, subject: Subject, setup: &Setup) -> Result<Running> {
        let origin = self.origins.of(setup)?;
        let direct = Hop { tls_down: setup.tls_to_origin(), ..Hop::GATEWAY };
        let mut running = Running {
            children: Vec::new(),
            address: origin,
            directory: self.scratch.clone(),
            setup: setup.clone(),
            tls: None,
            subject,
            hop: direct,
            upstream_port: origin.port(),
        };
        if subject != Subject::Direct {
            for hop in setup.hops() {
                self.put_before(&mut running, hop)?;
            }
        }
        running.tls = running.hop.tls_down.then(|| self.tls.clone());
        self.await_ready(&mut running).with_context(|| format!("starting {}", subject.title()))?;
        Ok(running)
    }

    /// Starts one more proxy, before what runs so far.
    fn put_before(&self, running: &mut Running, hop: Hop) -> Result<()> {
        let directory = self.scratch.join(running.subject.id()).join(hop.name());
        std::fs::create_dir_all(&directory)?;
        let [port, admin_port] = free_ports()?;
        let certs = certs::folder(&self.scratch, hop.name());
        let origin_port = running.address.port();
        let places = Places { directory: &directory, port, admin_port, origin_port, certs: &certs };
        let mut command = self.command(running.subject, &running.setup, hop, &places)?;
        let log = File::create(directory.join("log"))?;
        command.current_dir(&directory).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        // A child inherits the affinity of the thread that starts it.
        cpu::pin(self.proxy_cpu)?;
        let child = command.spawn().with_context(|| format!("starting {command:?}"));
        cpu::pin(self.rig_cpu)?;
        running.children.push(child?);
        running.upstream_port = origin_port;
        running.hop = hop;
        running.directory = directory;
        running.address = (Ipv4Addr::LOCALHOST, port).into();
        Ok(())
    }

    fn command(&self, subject: Subject, setup: &Setup, hop: Hop, places: &Places<'_>) -> Result<Command> {
        let tool = |tool: &Result<Tool>| {
            tool.as_ref()
                .map(Tool::command)
                .map_err(|error| anyhow!("{} is missing: {error:#}", subject.title()))
        };
        let directory = places.directory;
        Ok(match subject {
            Subject::Direct => bail!("nothing to start"),
            Subject::Relay => {
                let mut command = Command::new(std::env::current_exe()?);
                command.args(["relay", "--listen", &format!("127.0.0.1:{}", places.port)]);
                command.args(["--upstream", &format!("127.0.0.1:{}", places.origin_port)]);
                command
            }
            Subject::Envoy => {
                config::envoy(setup, hop, places)?;
                let mut command = tool(&self.peers.envoy)?;
                command.args(["--disable-hot-restart", "--log-level", "error", "--concurrency"]);
                command.arg(setup.workers.to_string()).arg("-c").arg(directory.join("envoy.yaml"));
                command
            }
            Subject::Nginx => {
                config::nginx(setup, places, self.descriptors)?;
                let mut command = tool(&self.peers.nginx)?;
                command
                    .arg("-p")
                    .arg(directory)
                    .args(["-e", "stderr", "-c"])
                    .arg(directory.join("nginx.conf"));
                command
            }
            Subject::Haproxy | Subject::HaproxySplice => {
                config::haproxy(setup, places, subject == Subject::HaproxySplice)?;
                let mut command = tool(&self.peers.haproxy)?;
                command.args(["-db", "-f"]).arg(directory.join("haproxy.cfg"));
                command
            }
            Subject::Nghttpx => {
                config::nghttpx(setup, places)?;
                let mut command = tool(&self.peers.nghttpx)?;
                command.arg("--conf").arg(directory.join("nghttpx.conf"));
                command
            }
            Subject::Dromon | Subject::DromonAgain | Subject::DromonEpoll => {
                self.dromon_command(subject, setup, hop, places)?
            }
        })
    }

    fn dromon_command(
        &self,
        subject: Subject,
        setup: &Setup,
        hop: Hop,
        places: &Places<'_>,
    ) -> Result<Command> {
        let binary = &self.dromon.as_ref().map_err(|error| anyhow!("{error:#}"))?.path;
        let file = places.directory.join(dromon::FILE);
        let resources = dromon::resources(setup, hop, places.port, places.origin_port, 0);
        config::replace(&file, &serde_json::to_vec(&resources)?)?;
        let driver = if subject == Subject::DromonEpoll { "epoll" } else { "auto" };
        let mut command = Command::new(binary);
        command.args(["--id", &dromon::proxy_id(hop), "--config"]).arg(file);
        command.args(["--driver", driver, "--shards", &setup.workers.to_string()]);
        command.args(["--pin", &self.proxy_cpu.to_string(), "--log-level", "warn"]);
        command.args(["--admin-addr", &format!("127.0.0.1:{}", places.admin_port)]);
        if hop.tls_down || hop.tls_up {
            command.arg("--certs").arg(places.certs);
        }
        if !setup.metrics {
            command.arg("--no-metrics");
        }
        Ok(command)
    }

    fn await_ready(&self, running: &mut Running) -> Result<()> {
        let request = running.setup.requests("100", true, false).pop().unwrap_or_default();
        let limit = Instant::now() + START_LIMIT;
        loop {
            let answered = match self.peers.h2load.as_ref() {
                Ok(tool) if running.setup.is_http2() => http2::once(tool, running, &self.origins.files),
                _ => hold::Held::open(running.address, running.tls.as_ref(), 1, &request).map(drop),
            };
            let Err(error) = answered else { return Ok(()) };
            let ended = running.children.iter_mut().any(|child| !matches!(child.try_wait(), Ok(None)));
            if ended || Instant::now() > limit {
                bail!("{error:#}; its last words: {}", running.last_words());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Running {
    /// Its processes; none where nothing was started.
    pub fn pids(&self) -> Vec<u32> {
        self.children.iter().flat_map(|child| proc::tree(child.id())).collect()
    }

    /// Another version of its table, as its file holds it, that sends every request where it went before.
    pub fn rules(&self, generation: u64) -> Result<Vec<u8>> {
        match self.subject {
            subject if subject.is_dromon() => {
                let port = self.address.port();
                let resources =
                    dromon::resources(&self.setup, self.hop, port, self.upstream_port, generation);
                Ok(serde_json::to_vec(&resources)?)
            }
            Subject::Envoy => Ok(config::envoy_routes(&self.setup, generation).into_bytes()),
            other => bail!("{} is not asked to change its rules", other.title()),
        }
    }

    /// The file that holds its table, or one of which it does not know.
    pub fn rules_file(&self, real: bool) -> PathBuf {
        let name = match (real, self.subject) {
            (false, _) => "elsewhere.json",
            (true, Subject::Envoy) => config::ENVOY_ROUTES,
            (true, _) => dromon::FILE,
        };
        self.directory.join(name)
    }

    /// The end of its log.
    fn last_words(&self) -> String {
        let log = std::fs::read_to_string(self.directory.join("log")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().rev().take(5).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join(" | ")
    }

    fn stop(&mut self) {
        let everyone = self.pids();
        signal(&everyone, rustix::process::Signal::TERM);
        let limit = Instant::now() + STOP_LIMIT;
        for child in &mut self.children {
            while matches!(child.try_wait(), Ok(None)) {
                if Instant::now() > limit {
                    signal(&everyone, rustix::process::Signal::KILL);
                    // The process was just killed; if it cannot even be waited for there is nothing left to do.
                    let _ = child.wait();
                }
                std::thread::sleep(Duration::from_millis(5));
            }
        }
        self.children.clear();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop();
    }
}

fn signal(pids: &[u32], signal: rustix::process::Signal) {
    for &pid in pids {
        if let Some(pid) = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw) {
            // One that has ended meanwhile needs no signal.
            let _ = rustix::process::kill_process(pid, signal);
        }
    }
}

/// Two ports that are free now.
pub(super) fn free_ports() -> Result<[u16; 2]> {
    let first = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let second = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    Ok([first.local_addr()?.port(), second.local_addr()?.port()])
}
