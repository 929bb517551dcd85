//! The control plane at size: a real controller, generated objects and played proxies that speak the feed.
//!
//! What is measured ends where a proxy has read an object's message; what a proxy then does with it is the proxy's own
//! figure. A change begins when its file is in place, so finding out about it counts.

mod proxy;
mod world;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::Args;
use dromon_core::config::model::Kind;
use serde::Serialize;
use tokio::sync::mpsc;

use proxy::Told;
use world::{Size, World};

/// Longest wait for anything.
const DEADLINE: Duration = Duration::from_secs(120);

/// How large a mesh, and how it changes.
#[derive(Clone, Debug, Args)]
pub struct FeedArgs {
    /// Services
    #[arg(long, default_value_t = 1000)]
    services: usize,
    /// Endpoints of each service
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u8).range(1..=100))]
    endpoints_each: u8,
    /// Routes of each service
    #[arg(long, default_value_t = 5)]
    routes_each: usize,
    /// Connected proxies, each of which uses 5 services
    #[arg(long, default_value_t = 500)]
    proxies: usize,
    /// Changes of rules, and as many of endpoints
    #[arg(long, default_value_t = 200)]
    changes: u64,
    /// Changes a second
    #[arg(long, default_value_t = 10.0)]
    rate: f64,
    /// The dromon-controller to measure; the one beside this program unless set
    #[arg(long, value_name = "FILE")]
    controller: Option<PathBuf>,
    /// Where feed.json goes
    #[arg(long, default_value = "lab-results")]
    out: PathBuf,
}

/// What was measured.
#[derive(Clone, Debug, Serialize)]
struct Figures {
    services: usize,
    endpoints: usize,
    routes: usize,
    proxies: usize,
    /// From the controller's start until every proxy had everything, in seconds.
    start_to_all_fed_s: f64,
    /// The controller's resident memory with all proxies fed, in MiB.
    controller_memory_mib: f64,
    /// Its largest so far, at the end of all changes.
    controller_memory_peak_mib: f64,
    /// A rule's change until a proxy has it, in milliseconds.
    route: Spread,
    /// An endpoint's end until a proxy knows, in milliseconds.
    endpoint: Spread,
}

/// How times spread.
#[derive(Clone, Copy, Debug, Serialize)]
struct Spread {
    count: usize,
    p50_ms: f64,
    p99_ms: f64,
    max_ms: f64,
}

/// Runs the simulation and prints its table.
///
/// # Errors
/// The controller cannot be run, or does not feed its proxies in time.
pub fn run(args: &FeedArgs) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let figures = runtime.block_on(simulate(args))?;
    fs::create_dir_all(&args.out)?;
    fs::write(args.out.join("feed.json"), serde_json::to_string_pretty(&figures)?)?;
    print(&figures);
    Ok(())
}

async fn simulate(args: &FeedArgs) -> Result<Figures> {
    let size = Size {
        services: args.services,
        endpoints_each: args.endpoints_each.into(),
        routes_each: args.routes_each,
        proxies: args.proxies,
    };
    let folder = Folder::new()?;
    let world = World::new(&folder.0.join("rules"), size)?;
    let (sender, mut told) = mpsc::unbounded_channel();
    for number in 0..size.proxies {
        tokio::spawn(proxy::play(number, size, folder.0.join("run/feed.sock"), sender.clone()));
    }
    let start = Instant::now();
    let controller = Controller::start(args.controller.as_deref(), &folder.0)?;
    let fed = all_fed(size, &mut told).await?;
    let memory = controller.memory_mib("VmRSS:")?;
    let pause = Duration::from_secs_f64(1.0 / args.rate);
    let mut routes = Vec::new();
    let mut endpoints = Vec::new();
    for change in 1..=args.changes {
        // One of each, in turn, far apart in the mesh and never the same service twice in a row.
        let service = usize::try_from(change * 7)? % size.services.min(size.proxies * world::USED);
        let begin = Instant::now();
        world.routes(service, change)?;
        let mark = world::generation_mark(change);
        routes.extend(
            arrivals(&mut told, size, service, Kind::VirtualHost, begin, |body| body.contains(&mark)).await?,
        );
        tokio::time::sleep_until((begin + pause).into()).await;
        let begin = Instant::now();
        world.endpoints(service, 1)?;
        let gone = format!("\"{}:8080\"", world::address(service, 0));
        endpoints.extend(
            arrivals(&mut told, size, service, Kind::Endpoints, begin, |body| !body.contains(&gone)).await?,
        );
        world.endpoints(service, 0)?;
        tokio::time::sleep_until((begin + pause).into()).await;
    }
    Ok(Figures {
        services: size.services,
        endpoints: size.services * size.endpoints_each,
        routes: size.services * size.routes_each,
        proxies: size.proxies,
        start_to_all_fed_s: (fed - start).as_secs_f64(),
        controller_memory_mib: memory,
        controller_memory_peak_mib: controller.memory_mib("VmHWM:")?,
        route: spread(routes),
        endpoint: spread(endpoints),
    })
}

/// When the last proxy had everything.
async fn all_fed(size: Size, told: &mut mpsc::UnboundedReceiver<Told>) -> Result<Instant> {
    let mut missing = size.proxies;
    let deadline = Instant::now() + DEADLINE;
    loop {
        let next = tokio::time::timeout_at(deadline.into(), told.recv()).await;
        let next =
            next.with_context(|| format!("{missing} of {} proxies were not fed in time", size.proxies))?;
        if let Some(Told::Fed(at)) = next {
            missing -= 1;
            if missing == 0 {
                return Ok(at);
            }
        }
    }
}

/// How long each proxy that uses a service waited, in milliseconds, for the object of a kind that `is_new` accepts.
async fn arrivals(
    told: &mut mpsc::UnboundedReceiver<Told>,
    size: Size,
    service: usize,
    of: Kind,
    begin: Instant,
    is_new: impl Fn(&str) -> bool,
) -> Result<Vec<f64>> {
    let host = world::host(service);
    let mut waiting: Vec<usize> =
        (0..size.proxies).filter(|proxy| world::used_by(*proxy, size).any(|it| it == service)).collect();
    let mut times = Vec::new();
    while !waiting.is_empty() {
        let next = tokio::time::timeout(DEADLINE, told.recv()).await;
        let next = next.with_context(|| format!("a change of {of:?} {host} reached no proxy"))?;
        let Some(Told::Came { at, proxy, kind, name, body }) = next else { continue };
        if kind == of && name.ends_with(&host) && is_new(&String::from_utf8_lossy(&body)) {
            let before = waiting.len();
            waiting.retain(|it| *it != proxy);
            if waiting.len() < before {
                times.push((at - begin).as_secs_f64() * 1000.0);
            }
        }
    }
    Ok(times)
}

fn spread(mut times: Vec<f64>) -> Spread {
    times.sort_by(f64::total_cmp);
    let at = |share: f64| {
        let index = (share * times.len() as f64).ceil() as usize;
        times.get(index.saturating_sub(1)).copied().unwrap_or(f64::NAN)
    };
    Spread { count: times.len(), p50_ms: at(0.5), p99_ms: at(0.99), max_ms: at(1.0) }
}

fn print(figures: &Figures) {
    println!(
        "{} services, {} endpoints, {} routes, {} proxies that use {} services each\n",
        figures.services,
        figures.endpoints,
        figures.routes,
        figures.proxies,
        world::USED
    );
    println!("| figure | limit | measured |\n| --- | ---: | ---: |");
    println!("| controller start to all proxies fed | 5 s | {:.2} s |", figures.start_to_all_fed_s);
    println!("| controller memory | 150 MiB | {:.0} MiB |", figures.controller_memory_mib);
    println!("| the same, largest while rules change | | {:.0} MiB |", figures.controller_memory_peak_mib);
    let row = |what, limit, it: Spread| {
        println!(
            "| {what}, p99 of {} | {limit} | {:.1} ms (median {:.1}, most {:.1}) |",
            it.count, it.p99_ms, it.p50_ms, it.max_ms
        );
    };
    row("a route's change until a proxy has it", "20 ms", figures.route);
    row("an endpoint's end until a proxy knows", "10 ms", figures.endpoint);
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

/// The controller under test.
struct Controller(Child);

impl Controller {
    fn start(program: Option<&Path>, folder: &Path) -> Result<Controller> {
        let beside = || Ok::<_, std::io::Error>(std::env::current_exe()?.with_file_name("dromon-controller"));
        let program = program.map_or_else(beside, |it| Ok(it.to_owned()))?;
        if !program.exists() {
            bail!("{} is missing: run `cargo build --release --workspace --bins`", program.display());
        }
        let mut command = Command::new(program);
        command.arg("--config").arg(folder.join("rules")).arg("--run-dir").arg(folder.join("run"));
        command.args(["--status-addr", "127.0.0.1:0", "--log-level", "error"]).stdout(Stdio::null());
        Ok(Controller(command.spawn()?))
    }

    fn memory_mib(&self, field: &str) -> Result<f64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.0.id()))?;
        let line =
            status.lines().find_map(|it| it.strip_prefix(field)).context("a line of /proc/…/status")?;
        let kib: f64 = line.trim().trim_end_matches(" kB").parse()?;
        Ok(kib / 1024.0)
    }
}

impl Drop for Controller {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
