//! The command lines of what a run starts.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::address::Pair;
use super::child::{self, Program};
use super::options::Options;
use super::part::{Question, Readiness, Restart, Spec};
use super::pods::Pod;
use crate::ca::members;
use crate::controller::SOCKET;

/// A sidecar's ports on its own address, as the field knows them.
const ADMIN_PORT: u16 = 15_000;
const METRICS_PORT: u16 = 15_020;
const HEALTH_PORT: u16 = 15_021;
const STATS_PORT: u16 = 15_090;
/// The controller's status port.
pub const STATUS_PORT: u16 = 15_014;
/// How much longer than its drain a proxy may take to end.
const GRACE: Duration = Duration::from_secs(2);
/// How long the controller may take to end.
const CONTROLLER_PATIENCE: Duration = Duration::from_secs(3);

/// In a gateway's lines that others tell better: about a port that it cannot open, the run, which says whose fault it is; about
/// a Secret that is not there, the controller, which says in which file it is asked for.
const TOLD_BY_OTHERS: &[&str] = &[" cannot listen on ", " is down: there is no credential "];
/// In the controller's line about a port that the gateway cannot open.
const GATEWAY_HAS_NO_PORT: &[&str] =
    &["gateway~gateway.default refuses Proxy gateway~gateway.default: listener "];

/// The gateway's name and namespace.
pub const GATEWAY: (&str, &str) = ("gateway", "default");

/// Makes command lines.
#[derive(Clone, Debug)]
pub struct Programs {
    /// The run's options.
    pub options: Options,
    /// The run directory.
    pub run_dir: PathBuf,
    /// Where the controller serves its status.
    pub status: SocketAddr,
}

/// Where a proxy answers operators.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Endpoints {
    /// `/config`, `/stats`, `/drain`.
    pub admin: SocketAddr,
    /// `/healthz/ready`.
    pub health: SocketAddr,
    metrics: SocketAddr,
    stats: SocketAddr,
}

impl Endpoints {
    /// On a sidecar's own address.
    pub fn at(address: Ipv4Addr) -> Endpoints {
        let at = |port| SocketAddr::new(IpAddr::V4(address), port);
        Endpoints {
            admin: at(ADMIN_PORT),
            health: at(HEALTH_PORT),
            metrics: at(METRICS_PORT),
            stats: at(STATS_PORT),
        }
    }

    /// Of a sidecar in a pod: all but the admin port on the pod's address, that one relayed from `control`.
    pub fn of_pod(control: Ipv4Addr, pod: Ipv4Addr) -> Endpoints {
        Endpoints { admin: Endpoints::at(control).admin, ..Endpoints::at(pod) }
    }

    /// The gateway's: on 127.0.0.1 if this run has the well-known ports there, each on the gateway's own address where it
    /// is taken nevertheless.
    pub fn of_gateway(own: Ipv4Addr, well_known: bool) -> Endpoints {
        let own = Endpoints::at(own);
        let choose = |own: SocketAddr| well_known_or(own, well_known);
        Endpoints {
            admin: choose(own.admin),
            health: choose(own.health),
            metrics: choose(own.metrics),
            stats: choose(own.stats),
        }
    }
}

/// The same port of 127.0.0.1 if it may be used and is free, else the one given.
pub fn well_known_or(own: SocketAddr, well_known: bool) -> SocketAddr {
    let local = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), own.port());
    if well_known && std::net::TcpListener::bind(local).is_ok() { local } else { own }
}

impl Programs {
    /// The controller.
    pub fn controller(&self) -> Spec {
        let mut command = vec![
            program("dromon-controller"),
            "--config".into(),
            text(&self.options.config),
            "--run-dir".into(),
            text(&self.run_dir),
            "--status-addr".into(),
            self.status.to_string(),
            "--log-level".into(),
            self.options.log_level.name().into(),
        ];
        command.extend(self.options.certs.options());
        Spec {
            program: Program {
                name: "controller".into(),
                command,
                is_silent: true,
                is_own: true,
                muted: GATEWAY_HAS_NO_PORT,
                ..Program::default()
            },
            readiness: Readiness::new(Question::Http(self.status, "/healthz".into())),
            restart: Restart::Always,
            patience: CONTROLLER_PATIENCE,
            told: None,
        }
    }

    /// The gateway.
    pub fn gateway(&self, endpoints: Endpoints) -> Spec {
        let (name, namespace) = GATEWAY;
        let pin = self.options.pin.clone();
        let spec = self.proxy("gateway", &format!("gateway~{name}.{namespace}"), endpoints, pin);
        Spec { program: Program { muted: TOLD_BY_OTHERS, ..spec.program }, ..spec }
    }

    /// A sidecar. Sidecars share the machine, so they float between processors.
    pub fn sidecar(&self, label: &str, id: &str, endpoints: Endpoints, pod: Option<&Pod>) -> Spec {
        let inside = match pod {
            Some(_) => Endpoints { admin: Endpoints::at(Ipv4Addr::LOCALHOST).admin, ..endpoints },
            None => endpoints,
        };
        let (label, id) = (format!("{label} sidecar"), format!("sidecar~{id}"));
        let mut spec = self.proxy(&label, &id, inside, Some("off".into()));
        if let Some(pod) = pod {
            spec.program.command.splice(0..0, pod.enter_as_sidecar());
        }
        spec
    }

    fn proxy(&self, label: &str, id: &str, endpoints: Endpoints, pin: Option<String>) -> Spec {
        let Endpoints { admin, health, metrics, stats } = endpoints;
        let mut command = vec![program("dromon-proxy")];
        let mut option = |name: &str, value: String| command.extend([format!("--{name}"), value]);
        option("id", id.to_owned());
        option("feed", format!("unix:{}", text(&self.run_dir.join(SOCKET))));
        option("certs", text(&members::directory(&self.run_dir, id)));
        option("state-dir", text(&self.run_dir.join("state").join(id)));
        option("driver", self.options.driver.name().into());
        option("admin-addr", admin.to_string());
        option("metrics-addr", metrics.to_string());
        option("health-addr", health.to_string());
        option("stats-addr", stats.to_string());
        option("drain-seconds", self.options.drain_seconds.to_string());
        option("log-level", self.options.log_level.name().into());
        if let Some(shards) = self.options.shards {
            option("shards", shards.to_string());
        }
        if let Some(pin) = pin {
            option("pin", pin);
        }
        Spec {
            program: Program { name: label.to_owned(), command, is_own: true, ..Program::default() },
            readiness: Readiness::new(Question::Http(health, "/healthz/ready".into())),
            restart: Restart::Always,
            patience: Duration::from_secs(self.options.drain_seconds) + GRACE,
            told: None,
        }
    }

    /// An application.
    pub fn application(
        &self,
        plan: &super::plan::Process,
        pair: Pair,
        pod: Option<&Pod>,
        env: BTreeMap<String, String>,
    ) -> Spec {
        let mut command = plan.life.command.clone();
        if let Some(program) = command.first_mut() {
            *program = text(&child::find(program, &self.options.config));
        }
        if let Some(pod) = pod {
            command.splice(0..0, pod.enter());
        }
        // In its pod an application is asked as it would ask itself; the pod's address leads to its sidecar.
        let asked = if pod.is_some() { Ipv4Addr::LOCALHOST } else { pair.application };
        let readiness = plan.life.readiness(Pair { application: asked, ..pair });
        let directory = plan.life.directory.as_ref().map(|directory| self.options.config.join(directory));
        Spec {
            program: Program { name: plan.label(), command, env, directory, ..Program::default() },
            readiness: Readiness { pod: pod.cloned(), ..readiness },
            restart: plan.life.restart,
            patience: Duration::from_secs(10),
            told: pod.is_none().then(|| plan.life.told(pair.application)),
        }
    }
}

/// A program of ours lies beside this one.
fn program(name: &str) -> String {
    text(&child::find(name, Path::new(".")))
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}
