//! Carries out one cell: starts its subject afresh, does what the cell asks, reads the kernel's accounts.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};

use super::http2;
use super::launch::{Launcher, Running};
use super::proc::{self, CpuTime, Processor};
use super::result::Sample;
use super::scenario::{Action, Cell, Changes, Http2Load, Load, Rate};
use crate::rig::hold::Held;
use crate::rig::load::{self, Edge, Outcome, Pace, Plan};
use crate::rig::schedule::Arrivals;

/// Points of a latency curve.
const CURVE: [f64; 14] =
    [0.0, 25.0, 50.0, 75.0, 90.0, 95.0, 99.0, 99.5, 99.9, 99.95, 99.99, 99.995, 99.999, 100.0];
/// Below this share of its core the proxy was not what limited the throughput.
const SATURATED: f64 = 0.95;
/// Time for memory to settle before it is read.
const SETTLE: Duration = Duration::from_millis(300);
/// Requests over HTTP/2 before those that count.
const WARM_UP_REQUESTS: u64 = 5_000;

/// Runs cells on a machine.
#[derive(Debug)]
pub struct Bench<'a> {
    /// How subjects are started.
    pub launcher: &'a Launcher,
    /// Envoy's highest throughput in the scenario's place, that some rates are shares of.
    pub envoy_per_second: Option<f64>,
}

/// What the kernel had counted at one moment.
#[derive(Clone, Copy, Debug, Default)]
struct Account {
    cpu: CpuTime,
    processor: Processor,
}

impl Bench<'_> {
    /// Runs a cell in a round.
    pub fn measure(&self, cell: &Cell, round: usize) -> Result<Sample> {
        let running = self.launcher.start(cell.subject, &cell.setup)?;
        let mut sample = Sample {
            subject: cell.subject,
            variant: cell.variant.to_owned(),
            round,
            metrics: BTreeMap::new(),
            curve: Vec::new(),
            errors: BTreeMap::new(),
        };
        match &cell.action {
            Action::Load(load) => self.load(&running, load, &mut sample)?,
            Action::Http2(load) => self.http2(&running, load, &mut sample)?,
            Action::Memory(load) => self.memory(&running, load, &mut sample)?,
            Action::Hold(count) => hold(&running, *count, &mut sample)?,
            Action::Admit(load) => self.admit(&running, load, &mut sample)?,
        }
        Ok(sample)
    }

    fn plan(&self, running: &Running, load: &Load, seed: u64) -> Result<Plan> {
        let pace = match load.rate {
            Rate::Saturate => Pace::Saturate,
            Rate::PerSecond(per_second, arrivals) => Pace::Open { arrivals, per_second },
            Rate::OfEnvoy(share) => {
                let highest = self.envoy_per_second.context("Envoy's highest throughput is not known")?;
                Pace::Open { arrivals: Arrivals::Poisson, per_second: share * highest }
            }
        };
        Ok(Plan {
            target: running.address,
            requests: running.setup.requests(load.answer, load.last, load.connection_each),
            connections: load.connections,
            pace,
            warm_up: load.warm_up,
            window: load.window,
            connection_each: load.connection_each,
            tls: running.tls.clone(),
            seed,
        })
    }

    fn load(&self, running: &Running, load: &Load, sample: &mut Sample) -> Result<()> {
        let plan = self.plan(running, load, sample.round as u64)?;
        let pids = running.pids();
        let (mut start, mut end) = (Account::default(), Account::default());
        let mut memory = proc::Memory::default();
        let mut probe = |edge| {
            let account = self.account(&pids);
            match edge {
                Edge::Start => start = account,
                Edge::End => {
                    end = account;
                    memory = proc::memory(&pids);
                }
            }
        };
        let (outcome, changes) = changing(running, load.changes, || load::run(&plan, &mut probe))?;
        let outcome = outcome?;
        let mut put = |name: &str, value: f64| sample.metrics.insert(name.to_owned(), value);
        put("requests_per_second", outcome.per_second());
        if !pids.is_empty() {
            costs(
                &mut put,
                (outcome.completed, outcome.seconds),
                start,
                end,
                matches!(plan.pace, Pace::Saturate),
            );
            if load.answer == "1g" {
                let gib = outcome.bytes as f64 / f64::from(1 << 30);
                put("cpu_ms_per_gib", (end.cpu.total - start.cpu.total) / gib * 1e3);
                put("mib_per_second", gib * 1024.0 / outcome.seconds);
            }
            put("rss_mib", memory.rss as f64 / 1_048_576.0);
            put("pss_mib", memory.pss as f64 / 1_048_576.0);
        }
        put("steal_percent", (end.processor.steal - start.processor.steal) / outcome.seconds * 100.0);
        if let Pace::Open { per_second, .. } = plan.pace {
            put("rate_per_second", per_second);
            for (name, at) in [("p50_us", 50.0), ("p90_us", 90.0), ("p99_us", 99.0), ("p999_us", 99.9)] {
                put(name, outcome.percentile_us(at));
            }
            put("max_us", outcome.percentile_us(100.0));
            sample.curve = CURVE.iter().map(|&at| (at, outcome.percentile_us(at))).collect();
        }
        if load.changes != Changes::None {
            sample.metrics.insert("changes".into(), changes as f64);
        }
        troubles(&outcome, sample);
        Ok(())
    }

    fn http2(&self, running: &Running, load: &Http2Load, sample: &mut Sample) -> Result<()> {
        let tool = self.launcher.peers.h2load.as_ref().map_err(|error| anyhow!("h2load: {error:#}"))?;
        let files = &self.launcher.origins.files;
        let shape = (load.connections, load.streams);
        http2::load(tool, running, files, shape, WARM_UP_REQUESTS)?;
        let pids = running.pids();
        let start = self.account(&pids);
        let seen = http2::load_for(tool, running, files, load)?;
        let end = self.account(&pids);
        let memory = proc::memory(&pids);
        let mut put = |name: &str, value: f64| sample.metrics.insert(name.to_owned(), value);
        put("requests_per_second", seen.per_second);
        if !pids.is_empty() {
            costs(&mut put, (seen.succeeded, seen.seconds), start, end, false);
            put("rss_mib", memory.rss as f64 / 1_048_576.0);
            put("pss_mib", memory.pss as f64 / 1_048_576.0);
        }
        put("steal_percent", (end.processor.steal - start.processor.steal) / seen.seconds * 100.0);
        put("failed", seen.failed as f64);
        Ok(())
    }

    fn account(&self, pids: &[u32]) -> Account {
        let processor = proc::processor(self.launcher.proxy_cpu).unwrap_or_default();
        Account { cpu: proc::cpu_time(pids), processor }
    }

    fn memory(&self, running: &Running, load: &Load, sample: &mut Sample) -> Result<()> {
        std::thread::sleep(SETTLE);
        let idle = proc::memory(&running.pids());
        sample.metrics.insert("idle_rss_mib".into(), idle.rss as f64 / 1_048_576.0);
        sample.metrics.insert("idle_pss_mib".into(), idle.pss as f64 / 1_048_576.0);
        let mut loaded = proc::Memory::default();
        let pids = running.pids();
        let mut probe = |edge| {
            if edge == Edge::End {
                loaded = proc::memory(&pids);
            }
        };
        let outcome = load::run(&self.plan(running, load, sample.round as u64)?, &mut probe)?;
        sample.metrics.insert("loaded_rss_mib".into(), loaded.rss as f64 / 1_048_576.0);
        sample.metrics.insert("loaded_pss_mib".into(), loaded.pss as f64 / 1_048_576.0);
        troubles(&outcome, sample);
        Ok(())
    }

    fn admit(&self, running: &Running, load: &Load, sample: &mut Sample) -> Result<()> {
        let limit = running.setup.limit.context("this scenario needs a rate limit")?;
        // The request that showed the proxy to be ready took one from the burst; wait until that is made good.
        std::thread::sleep(Duration::from_secs_f64(1.5 / limit.per_second as f64).max(SETTLE));
        let began = Instant::now();
        let outcome = load::run(&self.plan(running, load, sample.round as u64)?, &mut |_| {})?;
        let seconds = load.window.as_secs_f64();
        let admitted = outcome.statuses.get(&200).copied().unwrap_or(0) as f64;
        let allowed = limit.per_second as f64 * seconds;
        let mut put = |name: &str, value: f64| sample.metrics.insert(name.to_owned(), value);
        put("admitted", admitted);
        put("limit", allowed);
        // A stalled generator sends its last requests late, and the bucket fills in that time too.
        let took = began.elapsed().as_secs_f64();
        put("limit_and_burst", limit.per_second as f64 * took.max(seconds) + limit.burst as f64);
        put("admitted_of_limit", admitted / allowed);
        put("refused_429", outcome.statuses.get(&429).copied().unwrap_or(0) as f64);
        put("took_seconds", took);
        troubles(&outcome, sample);
        sample.errors.remove("429");
        Ok(())
    }
}

/// Processor time by request, and how busy its core was.
fn costs(
    put: &mut dyn FnMut(&str, f64) -> Option<f64>,
    (completed, seconds): (u64, f64),
    start: Account,
    end: Account,
    full: bool,
) {
    let spent = end.cpu.total - start.cpu.total;
    let requests = completed.max(1) as f64;
    let (user, system) = (end.cpu.user - start.cpu.user, end.cpu.system - start.cpu.system);
    // The scheduler's account is exact, the split is sampled in ticks: the share comes from one, the sum from the other.
    let user_share = if user + system > 0.0 { user / (user + system) } else { 0.0 };
    put("cpu_us", spent / requests * 1e6);
    put("cpu_user_us", spent * user_share / requests * 1e6);
    put("cpu_system_us", spent * (1.0 - user_share) / requests * 1e6);
    let busy = spent / seconds;
    put("busy_percent", busy * 100.0);
    let machine = end.processor.busy - start.processor.busy;
    put("foreign_percent", ((machine - spent) / seconds * 100.0).max(0.0));
    if full {
        put("generator_bound", f64::from(u8::from(busy < SATURATED)));
    }
}

/// Notes what went wrong.
fn troubles(outcome: &Outcome, sample: &mut Sample) {
    for (&cause, &count) in &outcome.errors {
        sample.errors.insert(cause.to_owned(), count);
    }
    for (status, count) in outcome.statuses.iter().filter(|(status, _)| **status / 100 != 2) {
        sample.errors.insert(status.to_string(), *count);
    }
    let mut put = |name: &str, value: u64| sample.metrics.insert(name.to_owned(), value as f64);
    put("failed", outcome.failed());
    put("refused", outcome.refused());
    put("closed", outcome.closed);
}

/// Does `work` while files change as asked; also how often they did.
fn changing<T>(running: &Running, changes: Changes, work: impl FnOnce() -> T) -> Result<(T, u64)> {
    let (per_second, real) = match changes {
        Changes::None => return Ok((work(), 0)),
        Changes::Elsewhere(per_second) => (per_second, false),
        Changes::Rules(per_second) => (per_second, true),
    };
    // Made beforehand, so that the writer takes as little as possible of the generator's processor.
    let tables = [running.rules(1)?, running.rules(2)?];
    let path = running.rules_file(real);
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let changer = scope.spawn(|| -> Result<u64> {
            let gap = Duration::from_secs(1) / per_second;
            let mut count = 0;
            let mut next = Instant::now() + gap;
            while !over.load(Ordering::Relaxed) {
                std::thread::sleep(next.saturating_duration_since(Instant::now()));
                for table in tables.iter().skip(count as usize % 2).take(1) {
                    super::config::replace(&path, table)?;
                }
                count += 1;
                next += gap;
            }
            Ok(count)
        });
        let done = work();
        over.store(true, Ordering::Relaxed);
        let changes =
            changer.join().map_err(|_| anyhow::anyhow!("the thread that changes rules panicked"))??;
        Ok((done, changes))
    })
}

fn hold(running: &Running, count: usize, sample: &mut Sample) -> Result<()> {
    std::thread::sleep(SETTLE);
    let before = proc::memory(&running.pids());
    let request = running.setup.requests("100", true, false).pop().unwrap_or_default();
    let held = Held::open(running.address, running.tls.as_ref(), count, &request)?;
    std::thread::sleep(SETTLE);
    let after = proc::memory(&running.pids());
    let alive = held.alive();
    let mut put = |name: &str, value: f64| sample.metrics.insert(name.to_owned(), value);
    let each = |after: u64, before: u64| (after as f64 - before as f64) / 1024.0 / count as f64;
    put("kib_per_connection", each(after.rss, before.rss));
    put("pss_kib_per_connection", each(after.pss, before.pss));
    put("connections", alive as f64);
    put("failed", (count - alive) as f64);
    Ok(())
}
