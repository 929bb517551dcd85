//! Starts one subject in a folder of its own, pinned, waits until it serves, and ends it when dropped.

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};

use super::config::{self, Places};
use super::dromon;
use super::proc;
use super::setup::Setup;
use super::subject::Subject;
use super::tools::{Peers, Tool};
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
    pub dromon: Result<PathBuf>,
    /// The processor of proxies under test.
    pub proxy_cpu: usize,
    /// The processor of everything else.
    pub rig_cpu: usize,
    /// Descriptors that a process may open.
    pub descriptors: u64,
    /// Where the origin listens.
    pub origin: SocketAddr,
    /// Folder of the runs' files.
    pub scratch: PathBuf,
}

/// A process under test; ended when dropped.
#[derive(Debug)]
pub struct Running {
    child: Option<Child>,
    /// Where it listens.
    pub address: SocketAddr,
    /// Its folder.
    pub directory: PathBuf,
    /// Its configuration.
    pub setup: Setup,
    subject: Subject,
    origin_port: u16,
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
            Subject::Dromon | Subject::DromonAgain | Subject::DromonEpoll => {
                self.dromon.as_ref().err().map(|error| format!("{error:#}"))
            }
        }
    }

    /// Starts a subject on one processor and waits until it answers a request of its table with 200.
    pub fn start(&self, subject: Subject, setup: &Setup) -> Result<Running> {
        self.start_on(subject, setup, &[self.proxy_cpu])
    }

    /// Starts a subject on these processors.
    pub fn start_on(&self, subject: Subject, setup: &Setup, cpus: &[usize]) -> Result<Running> {
        let directory = self.scratch.join(subject.id());
        std::fs::create_dir_all(&directory)?;
        let [port, admin_port] = free_ports()?;
        let places = Places { directory: &directory, port, admin_port, origin_port: self.origin.port() };
        let mut running = Running {
            child: None,
            address: (Ipv4Addr::LOCALHOST, port).into(),
            directory: directory.clone(),
            setup: setup.clone(),
            subject,
            origin_port: self.origin.port(),
        };
        if subject == Subject::Direct {
            running.address = self.origin;
            return Ok(running);
        }
        let mut command = self.command(subject, setup, &places, cpus)?;
        let log = File::create(directory.join("log"))?;
        command.current_dir(&directory).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        // A child inherits the affinity of the thread that starts it.
        cpu::pin_to(cpus)?;
        let child = command.spawn().with_context(|| format!("starting {command:?}"));
        cpu::pin(self.rig_cpu)?;
        running.child = Some(child?);
        running.await_ready().with_context(|| format!("starting {}", subject.title()))?;
        Ok(running)
    }

    fn command(
        &self,
        subject: Subject,
        setup: &Setup,
        places: &Places<'_>,
        cpus: &[usize],
    ) -> Result<Command> {
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
                command.args(["--upstream", &self.origin.to_string()]);
                command
            }
            Subject::Envoy => {
                config::envoy(setup, places)?;
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
            Subject::Dromon | Subject::DromonAgain | Subject::DromonEpoll => {
                self.dromon_command(subject, setup, places, cpus)?
            }
        })
    }

    fn dromon_command(
        &self,
        subject: Subject,
        setup: &Setup,
        places: &Places<'_>,
        cpus: &[usize],
    ) -> Result<Command> {
        let binary = self.dromon.as_ref().map_err(|error| anyhow!("{error:#}"))?;
        let file = places.directory.join(dromon::FILE);
        let resources = dromon::resources(setup, places.port, places.origin_port, 0);
        config::replace(&file, &serde_json::to_vec(&resources)?)?;
        let pin: Vec<String> = cpus.iter().map(ToString::to_string).collect();
        let driver = if subject == Subject::DromonEpoll { "epoll" } else { "auto" };
        let mut command = Command::new(binary);
        command.args(["--id", dromon::PROXY_ID, "--config"]).arg(file);
        command.args(["--driver", driver, "--shards", &setup.workers.to_string(), "--pin", &pin.join(",")]);
        command.args(["--admin-addr", &format!("127.0.0.1:{}", places.admin_port), "--log-level", "warn"]);
        Ok(command)
    }
}

impl Running {
    /// Its processes; none where nothing was started.
    pub fn pids(&self) -> Vec<u32> {
        self.child.as_ref().map(|child| proc::tree(child.id())).unwrap_or_default()
    }

    /// Another version of its table, as its file holds it, that sends every request where it went before.
    pub fn rules(&self, generation: u64) -> Result<Vec<u8>> {
        match self.subject {
            subject if subject.is_dromon() => {
                let resources =
                    dromon::resources(&self.setup, self.address.port(), self.origin_port, generation);
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

    fn await_ready(&mut self) -> Result<()> {
        let request = self.setup.requests("100", true, false).pop().unwrap_or_default();
        let limit = Instant::now() + START_LIMIT;
        loop {
            let Err(error) = hold::Held::open(self.address, 1, &request) else { return Ok(()) };
            let ended = self.child.as_mut().and_then(|child| child.try_wait().ok().flatten());
            if ended.is_some() || Instant::now() > limit {
                let log = std::fs::read_to_string(self.directory.join("log")).unwrap_or_default();
                let lines: Vec<&str> = log.lines().rev().take(5).collect();
                bail!(
                    "{error:#}; its last words: {}",
                    lines.into_iter().rev().collect::<Vec<_>>().join(" | ")
                );
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn stop(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        let everyone = proc::tree(child.id());
        signal(&everyone, rustix::process::Signal::TERM);
        let limit = Instant::now() + STOP_LIMIT;
        while Instant::now() < limit {
            if matches!(child.try_wait(), Ok(Some(_))) {
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        signal(&everyone, rustix::process::Signal::KILL);
        // The process was just killed; if it cannot even be waited for there is nothing left to do.
        let _ = child.wait();
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
fn free_ports() -> Result<[u16; 2]> {
    let first = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let second = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    Ok([first.local_addr()?.port(), second.local_addr()?.port()])
}

/// Starts the origin on a processor of the rig's and returns it with its address.
pub fn origin(rig_cpu: usize, scratch: &Path) -> Result<(Running, SocketAddr)> {
    let [port, _] = free_ports()?;
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let directory = scratch.join("origin");
    std::fs::create_dir_all(&directory)?;
    let log = File::create(directory.join("log"))?;
    let child = Command::new(std::env::current_exe()?)
        .args(["origin", "--listen", &address.to_string(), "--pin", &rig_cpu.to_string()])
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()
        .context("starting the origin")?;
    let mut running = Running {
        child: Some(child),
        address,
        directory,
        setup: Setup::default(),
        subject: Subject::Direct,
        origin_port: port,
    };
    running.await_ready().context("starting the origin")?;
    Ok((running, address))
}
