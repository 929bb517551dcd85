//! The control plane at size: a real controller over a real API server, generated objects, proxies that are played and speak the
//! feed, and a real proxy that takes requests meanwhile.
//!
//! A change's time begins when another watcher of the same API server is told of it, which is when the controller is, or when
//! the API server has answered the write; it ends when a request has been decided by the change at the real proxy.

mod api;
mod api_server;
mod changes;
mod figures;
mod played;
mod real;
mod track;
mod world;

use std::collections::BTreeMap;
use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::Args;
use tokio::sync::mpsc;

use api::{Api, Events};
pub use api_server::missing;
use api_server::{ApiServer, Program, SYSTEM, free_port};
use changes::Changes;
use figures::Figures;
use played::Told;
use real::RealProxy;
use track::Tracker;
use world::{ACCOUNT, Size, USED};

use crate::lab::result::{Sample, ScenarioResult};
use crate::lab::subject::Subject;

/// Longest wait for anything.
const DEADLINE: Duration = Duration::from_secs(180);
/// A controller has nothing left to do once it has taken less than this share of a processor for a second.
const IDLE: f64 = 0.03;
/// The pod of the real proxy.
const REAL: &str = "outside";
/// Its address, at which nothing has to listen.
const REAL_IP: &str = "10.99.0.1";

/// How large a mesh, and how it changes.
#[derive(Clone, Debug, Args)]
pub struct FeedArgs {
    /// Namespaces, over which services are spread
    #[arg(long, default_value_t = 10)]
    pub namespaces: usize,
    /// Services
    #[arg(long, default_value_t = 1000)]
    pub services: usize,
    /// Endpoints of each service, each a pod
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u8).range(1..=100))]
    pub endpoints_each: u8,
    /// Routes of each service
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u8).range(2..=100))]
    pub routes_each: u8,
    /// Connected proxies, each of which uses 5 services
    #[arg(long, default_value_t = 500)]
    pub proxies: usize,
    /// Changes, of routes and of endpoints
    #[arg(long, default_value_t = 600)]
    pub changes: u64,
    /// Changes a second
    #[arg(long, default_value_t = 10.0)]
    pub rate: f64,
    /// Played proxies only: a real one opens ports 15001 and 15006
    #[arg(long)]
    pub no_proxy: bool,
    /// The folder of dromon-controller and dromon-proxy; that of this program unless set
    #[arg(long, value_name = "DIR")]
    pub programs: Option<PathBuf>,
    /// Where feed.json goes
    #[arg(long, default_value = "lab-results")]
    pub out: PathBuf,
}

impl Default for FeedArgs {
    /// The size that the goals name.
    fn default() -> FeedArgs {
        FeedArgs {
            namespaces: 10,
            services: 1000,
            endpoints_each: 10,
            routes_each: 5,
            proxies: 500,
            changes: 600,
            rate: 10.0,
            no_proxy: false,
            programs: None,
            out: PathBuf::from("lab-results"),
        }
    }
}

/// Runs the simulation and prints its table.
///
/// # Errors
/// The controller cannot be run, or does not feed its proxies as it should.
pub fn run(args: &FeedArgs) -> Result<()> {
    let figures = measure(args)?;
    fs::create_dir_all(&args.out)?;
    fs::write(args.out.join("feed.json"), serde_json::to_string_pretty(&figures)?)?;
    print!("{figures}");
    Ok(())
}

/// Its short name among the lab's scenarios.
pub const SCENARIO: &str = "feed";

/// Runs the simulation as a scenario of the lab.
///
/// # Errors
/// As of [`run`].
pub fn scenario(args: &FeedArgs) -> Result<ScenarioResult> {
    let figures = measure(args)?;
    let sample = Sample {
        subject: Subject::Dromon,
        variant: String::new(),
        round: 0,
        metrics: figures.metrics(),
        curve: Vec::new(),
        errors: BTreeMap::new(),
    };
    let detail = format!(
        "real API server and controller; {} services, {} endpoints (pods), {} routes, half in Istio's dialect and half in Gateway \
         API's, {} proxies that use {USED} services each; {} changes a second of routes and endpoints",
        figures.services, figures.endpoints, figures.routes, figures.proxies, args.rate
    );
    let title = "The control plane at size".to_owned();
    Ok(ScenarioResult { id: SCENARIO.to_owned(), title, detail, samples: vec![sample] })
}

/// Runs the simulation.
///
/// # Errors
/// As of [`run`].
pub fn measure(args: &FeedArgs) -> Result<Figures> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let folder = Folder::new()?;
    let figures = runtime.block_on(simulate(args, &folder.0));
    // What still waits for something of the run does not hold up its end.
    runtime.shutdown_background();
    figures
}

async fn simulate(args: &FeedArgs, folder: &Path) -> Result<Figures> {
    let size = Size {
        namespaces: args.namespaces.clamp(1, args.services),
        services: args.services,
        endpoints_each: args.endpoints_each.into(),
        routes_each: args.routes_each.into(),
        proxies: args.proxies.min(args.services * usize::from(args.endpoints_each)),
    };
    let server = ApiServer::start(&folder.join("kube"))?;
    let api = Api::new(&server.admin()).await?;
    let own = real::own_address().filter(|_| !args.no_proxy);
    let mut run = Run { args, size, folder, api, server, figures: Figures::new(size) };
    let [namespaces, accounts, rest, statuses] = size.objects();
    run.api.write_all(namespaces.into_iter()).await?;
    run.api.write_all(accounts.into_iter()).await?;
    if own.is_some() {
        for write in size.put_pod(REAL, REAL_IP) {
            run.api.write(write).await?;
        }
        run.empty_mesh().await?;
    }
    say("writing the objects");
    run.api.write_all(rest.into_iter()).await?;
    run.api.write_all(statuses.into_iter()).await?;
    run.settle().await?;
    let mut fed = run.feed().await?;
    if let Some(ip) = own {
        run.use_services(ip, &mut fed).await?;
    }
    run.change(fed).await?;
    Ok(run.figures)
}

/// Progress, for whoever waits.
fn say(line: &str) {
    eprintln!("feed: {line}");
}

/// A run under way.
struct Run<'a> {
    args: &'a FeedArgs,
    size: Size,
    folder: &'a Path,
    api: Api,
    server: ApiServer,
    figures: Figures,
}

/// A controller whose proxies have everything.
struct Fed {
    controller: Controller,
    told: mpsc::UnboundedReceiver<Told>,
    /// The real proxy, with the ports of the origins of the services that it uses.
    real: Option<(RealProxy, Vec<[u16; 2]>, IpAddr)>,
}

impl Run<'_> {
    fn program(&self, name: &str) -> Result<PathBuf> {
        let beside = || Ok::<_, std::io::Error>(std::env::current_exe()?.with_file_name(name));
        let path = self.args.programs.as_ref().map_or_else(beside, |folder| Ok(folder.join(name)))?;
        if !path.exists() {
            bail!("{} is missing: run `make build`", path.display());
        }
        Ok(path)
    }

    fn controller(&self, log: &str) -> Result<Controller> {
        let program = self.program("dromon-controller")?;
        Controller::start(&program, &self.server.controller(), &self.folder.join(log))
    }

    fn real_proxy(&self, feed: SocketAddr) -> Result<RealProxy> {
        let id = format!("sidecar~{REAL}.{}", self.size.namespace(0));
        let certificates = played::certificates(self.folder, 0);
        RealProxy::start(&self.program("dromon-proxy")?, &id, feed, &certificates, self.folder)
    }

    /// Puts the Secret of a namespace's account into a folder, as a kubelet mounts it; waits until there is one.
    async fn mount(&self, number: usize) -> Result<()> {
        let path = format!("/api/v1/namespaces/team-{number}/secrets/dromon.{ACCOUNT}");
        let deadline = Instant::now() + DEADLINE;
        let secret = loop {
            match self.api.read(&path).await {
                Ok(secret) => break secret,
                Err(error) if Instant::now() > deadline => {
                    return Err(error.context("a Secret of an account"));
                }
                Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
            }
        };
        let folder = played::certificates(self.folder, number);
        fs::create_dir_all(&folder)?;
        for file in ["key.pem", "cert-chain.pem", "root-cert.pem"] {
            let text = secret["data"][file].as_str().with_context(|| format!("{file} of a Secret"))?;
            fs::write(folder.join(file), decode(text)?)?;
        }
        Ok(())
    }

    /// What a proxy takes in a mesh of nothing.
    async fn empty_mesh(&mut self) -> Result<()> {
        say("a real proxy in an empty mesh");
        let mut controller = self.controller("controller-empty.log")?;
        self.mount(0).await?;
        controller.ready()?;
        let proxy = self.real_proxy(controller.feed)?;
        self.figures.proxy_empty_mib = Some(proxy.settled_memory_mib()?);
        Ok(())
    }

    /// Lets a controller make certificates and write statuses, so that the measured one finds a mesh at rest.
    async fn settle(&self) -> Result<()> {
        say("a first controller makes certificates and writes statuses");
        let mut controller = self.controller("controller-first.log")?;
        for number in 0..self.size.namespaces.min(self.size.services) {
            self.mount(number).await?;
        }
        controller.ready()?;
        controller.idle().await
    }

    /// Starts the controller that is measured, with all proxies waiting for it.
    async fn feed(&mut self) -> Result<Fed> {
        say("all proxies are fed");
        let mut controller = self.controller("controller.log")?;
        let began = controller.began;
        let (sender, mut told) = mpsc::unbounded_channel();
        played::play(self.size, controller.feed, self.folder, sender)?;
        let fed = all_fed(self.size, &mut told, &mut controller).await?;
        self.figures.start_to_all_fed_s = (fed - began).as_secs_f64();
        controller.idle().await?;
        self.figures.controller_mib = controller.program.memory_mib("VmRSS:")?;
        self.figures.controller_start_peak_mib = controller.program.memory_mib("VmHWM:")?;
        Ok(Fed { controller, told, real: None })
    }

    /// Starts the real proxy, whose workload uses some services with origins of this run behind them.
    async fn use_services(&mut self, ip: IpAddr, fed: &mut Fed) -> Result<()> {
        say("a real proxy uses some services");
        let mut ports = Vec::new();
        for service in 0..USED.min(self.size.services) {
            let pair = [real::origin(ip)?, real::origin(ip)?];
            self.api.write(self.size.put_endpoints(service, &[])).await?;
            for (number, port) in pair.into_iter().enumerate() {
                self.api.write(self.size.put_origin(service, number, Some((ip, port)), true)).await?;
            }
            ports.push(pair);
        }
        let proxy = self.real_proxy(fed.controller.feed)?;
        let mut client = real::Client::new()?;
        for service in 0..ports.len() {
            client.use_host(&self.size.host(service))?;
        }
        self.figures.proxy_mib = Some(proxy.settled_memory_mib()?);
        fed.real = Some((proxy, ports, ip));
        Ok(())
    }

    /// Changes routes and endpoints, and sees when each is in force where it should be.
    async fn change(&mut self, fed: Fed) -> Result<()> {
        say("routes and endpoints change");
        let Fed { controller, told, real } = fed;
        let events = Events::watch(&self.server.admin(), world::WATCHED).await?;
        let tracker = Tracker::start(self.size, told);
        let before = controller.program.processor_s()?;
        let stages_before = real::page(controller.status, "/metrics")?;
        let origins = real.as_ref().map(|(_, ports, ip)| (ports.clone(), *ip));
        let changes = Changes {
            api: &self.api,
            size: self.size,
            events,
            tracker,
            origins,
            writing: tokio::sync::Mutex::default(),
            taking: tokio::sync::Mutex::default(),
        };
        changes.run(self.args.changes, self.args.rate, &mut self.figures).await?;
        let spent = controller.program.processor_s()? - before;
        let stages = real::page(controller.status, "/metrics")?;
        self.figures.stages = figures::Stage::between(&stages_before, &stages);
        self.figures.processor_ms_per_change = spent * 1000.0 / self.args.changes.max(1) as f64;
        self.figures.controller_peak_mib = controller.program.memory_mib("VmHWM:")?;
        self.figures.controller_changed_mib = controller.program.memory_mib("VmRSS:")?;
        if let Some((proxy, ..)) = &real {
            self.figures.proxy_changed_mib = Some(proxy.memory_mib()?);
        }
        Ok(())
    }
}

/// When the last proxy had everything.
async fn all_fed(
    size: Size,
    told: &mut mpsc::UnboundedReceiver<Told>,
    controller: &mut Controller,
) -> Result<Instant> {
    let mut missing = size.proxies;
    let deadline = Instant::now() + DEADLINE;
    loop {
        let next = tokio::time::timeout(Duration::from_millis(100), told.recv()).await;
        match next {
            Ok(Some(Told::Fed(at))) => {
                missing = missing.saturating_sub(1);
                if missing == 0 {
                    return Ok(at);
                }
            }
            Ok(Some(Told::Foreign(line))) => bail!(line),
            Ok(Some(Told::Came(_))) => {}
            Ok(None) => bail!("nobody plays proxies"),
            // A controller that has ended tells why.
            Err(_) => controller.program.until("the controller to go on", || true)?,
        }
        if Instant::now() > deadline {
            bail!("{missing} of {} proxies were not fed in time", size.proxies);
        }
    }
}

/// The controller under test.
struct Controller {
    program: Program,
    feed: SocketAddr,
    status: SocketAddr,
    began: Instant,
}

impl Controller {
    fn start(program: &Path, kubeconfig: &Path, log: &Path) -> Result<Controller> {
        let at = |port: u16| SocketAddr::from(([127, 0, 0, 1], port));
        let (feed, status) = (at(free_port()?), at(free_port()?));
        let mut arguments = Vec::new();
        for (flag, value) in [
            ("--source", "kube".to_owned()),
            ("--system-namespace", SYSTEM.to_owned()),
            ("--kubeconfig", kubeconfig.display().to_string()),
            ("--feed-tcp", feed.to_string()),
            ("--status-addr", status.to_string()),
            ("--log-level", "warn".to_owned()),
        ] {
            arguments.extend([flag.to_owned(), value]);
        }
        let began = Instant::now();
        Ok(Controller { program: Program::start(program, &arguments, log)?, feed, status, began })
    }

    fn ready(&mut self) -> Result<()> {
        let status = self.status;
        self.program.until("the controller to be ready", || real::is_ready(status, "/readyz"))
    }

    /// Waits until it has nothing left to do.
    async fn idle(&mut self) -> Result<()> {
        let deadline = Instant::now() + DEADLINE;
        let mut before = self.program.processor_s()?;
        loop {
            tokio::time::sleep(Duration::from_secs(1)).await;
            let now = self.program.processor_s()?;
            if now - before < IDLE {
                return Ok(());
            }
            before = now;
            if Instant::now() > deadline {
                bail!("the controller finds no rest");
            }
        }
    }
}

/// A folder that goes when the run ends.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Result<Folder> {
        let path = std::env::temp_dir().join(format!("dromon-feed-{}", std::process::id()));
        fs::create_dir(&path).with_context(|| path.display().to_string())?;
        Ok(Folder(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Base64 as Secrets have it.
fn decode(text: &str) -> Result<Vec<u8>> {
    let mut bits: u32 = 0;
    let mut count = 0;
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    for letter in text.bytes().filter(|it| *it != b'=') {
        let value = match letter {
            b'A'..=b'Z' => letter - b'A',
            b'a'..=b'z' => letter - b'a' + 26,
            b'0'..=b'9' => letter - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => bail!("no base64"),
        };
        bits = (bits << 6) | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count) as u8);
            bits &= (1 << count) - 1;
        }
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests;
