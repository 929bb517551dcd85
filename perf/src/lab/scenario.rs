//! The scenarios: what is measured, on whom, for how long.

pub mod mesh;

use std::time::Duration;

use super::setup::{RateLimit, Setup};
use super::subject::Subject;
use crate::rig::schedule::Arrivals;

/// A question with its cells.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// Its short name, for `--only`.
    pub id: &'static str,
    /// What it shows.
    pub title: &'static str,
    /// Conditions.
    pub detail: String,
    /// What is run in each round, in this order and then in the reverse.
    pub cells: Vec<Cell>,
    /// How often.
    pub rounds: usize,
}

/// One thing to run.
#[derive(Clone, Debug)]
pub struct Cell {
    /// On whom.
    pub subject: Subject,
    /// Under which variant; empty where the scenario has none.
    pub variant: &'static str,
    /// With which table.
    pub setup: Setup,
    /// What is done.
    pub action: Action,
}

/// What is done to a subject.
#[derive(Clone, Debug)]
pub enum Action {
    /// Load, and what it costs.
    Load(Load),
    /// Load over HTTP/2, and what it costs.
    Http2(Http2Load),
    /// Nothing, then load: memory in both states.
    Memory(Load),
    /// So many idle connections: memory for each.
    Hold(usize),
    /// More than a rate limit admits: how much goes through.
    Admit(Load),
}

/// Load on a subject.
#[derive(Clone, Debug)]
pub struct Load {
    /// Which of the origin's answers.
    pub answer: &'static str,
    /// When requests are sent.
    pub rate: Rate,
    /// Connections.
    pub connections: usize,
    /// Every request on a connection of its own.
    pub connection_each: bool,
    /// Only the table's last entry, not all in turn.
    pub last: bool,
    /// What changes meanwhile.
    pub changes: Changes,
    /// Time before the measured window.
    pub warm_up: Duration,
    /// The measured window.
    pub window: Duration,
}

/// Load over HTTP/2, every stream kept busy.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Http2Load {
    /// Connections.
    pub connections: usize,
    /// Streams at once on each.
    pub streams: usize,
    /// Requests of one run of h2load.
    pub requests: u64,
    /// How long at least, by as many runs as it takes.
    pub window: Duration,
}

/// What changes under load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Changes {
    /// Nothing.
    None,
    /// A file of the same size that nobody reads, so often a second: the writer's own cost, for a fair comparison.
    Elsewhere(u32),
    /// The rules, so often a second.
    Rules(u32),
}

/// When requests are sent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Rate {
    /// As soon as a connection is free.
    Saturate,
    /// So many a second.
    PerSecond(f64, Arrivals),
    /// This share of Envoy's highest throughput on this machine in the same place, at random times.
    OfEnvoy(f64),
}

/// How much time a run may take.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    /// A cut for a first look.
    pub quick: bool,
    /// Rounds of the scenarios that goals are judged by.
    pub rounds: usize,
}

use Subject::{Direct, Dromon, DromonAgain, DromonEpoll, Envoy, Haproxy, HaproxySplice, Nginx, Relay};

impl Budget {
    fn load(&self, answer: &'static str, rate: Rate) -> Load {
        let (warm_up, window) = match (self.quick, rate) {
            (true, Rate::Saturate) => (200, 800),
            (true, _) => (200, 1_500),
            (false, Rate::Saturate) => (500, 2_000),
            (false, _) => (500, 4_000),
        };
        Load {
            answer,
            rate,
            connections: 64,
            connection_each: false,
            last: false,
            changes: Changes::None,
            warm_up: Duration::from_millis(warm_up),
            window: Duration::from_millis(window),
        }
    }

    /// Rounds of the mesh's scenarios, of which there are many.
    fn goal_rounds(&self) -> usize {
        if self.quick { 1 } else { (self.rounds * 2 / 3).max(2) }
    }

    /// How long HTTP/2 is loaded, and by how many requests at a time.
    fn http2_load(&self, (connections, streams): (usize, usize)) -> Http2Load {
        let (window_ms, requests) = if self.quick { (300, 20_000) } else { (2_000, 60_000) };
        Http2Load { connections, streams, requests, window: Duration::from_millis(window_ms) }
    }

    fn fewer(&self) -> usize {
        if self.quick { 1 } else { (self.rounds / 3).max(2) }
    }
}

/// All scenarios, in the order in which they run.
pub fn all(budget: &Budget) -> Vec<Scenario> {
    let mut all = vec![
        small(budget),
        size(budget, "10k"),
        size(budget, "100k"),
        size(budget, "1m"),
        connection_each(budget),
        latency(budget, "latency-1k", Rate::PerSecond(1_000.0, Arrivals::Poisson)),
        latency(budget, "latency-10k", Rate::PerSecond(10_000.0, Arrivals::Poisson)),
        latency(budget, "latency-80", Rate::OfEnvoy(0.8)),
        memory(budget),
        hold(budget),
        table(budget),
        churn(budget),
        admission(budget),
    ];
    all.extend(mesh::all(budget));
    all
}

/// Scenarios that a quick run leaves out, unless they are asked for.
pub const NOT_QUICK: [&str; 7] =
    ["10k", "connect", "latency-1k", "latency-10k", "mtls-up", "h2-64x1", "pair-80"];

fn cells(subjects: &[Subject], load: &Load) -> Vec<Cell> {
    let cell =
        |&subject| Cell { subject, variant: "", setup: Setup::default(), action: Action::Load(load.clone()) };
    subjects.iter().map(cell).collect()
}

fn small(budget: &Budget) -> Scenario {
    let all = [Direct, Relay, Dromon, Envoy, DromonEpoll, Nginx, Haproxy, HaproxySplice, DromonAgain];
    let quick = [Direct, Relay, Dromon, Envoy, DromonEpoll, Nginx, Haproxy, DromonAgain];
    Scenario {
        id: "small",
        title: "CPU per request and throughput of one core, 100 B answers",
        detail: "HTTP/1.1 keep-alive, 64 connections, 100 hosts in the table, as fast as it goes".into(),
        cells: cells(if budget.quick { &quick } else { &all }, &budget.load("100", Rate::Saturate)),
        rounds: budget.rounds,
    }
}

fn size(budget: &Budget, answer: &'static str) -> Scenario {
    let (id, title) = match answer {
        "10k" => ("10k", "CPU per request and throughput of one core, 10 KiB answers"),
        "100k" => ("100k", "CPU per request and throughput of one core, 100 KiB answers"),
        _ => ("1m", "CPU per request and throughput of one core, 1 MiB answers"),
    };
    let all = [Direct, Relay, Dromon, Envoy, DromonEpoll, Nginx, Haproxy, HaproxySplice];
    let quick = [Relay, Dromon, Envoy, Nginx, Haproxy, HaproxySplice];
    Scenario {
        id,
        title,
        detail: "HTTP/1.1 keep-alive, 64 connections, 100 hosts in the table, as fast as it goes".into(),
        cells: cells(if budget.quick { &quick } else { &all }, &budget.load(answer, Rate::Saturate)),
        rounds: if answer == "10k" { budget.fewer() } else { budget.rounds },
    }
}

fn connection_each(budget: &Budget) -> Scenario {
    let load = Load { connection_each: true, ..budget.load("100", Rate::Saturate) };
    Scenario {
        id: "connect",
        title: "A new connection for each request, 100 B answers",
        detail: "64 at a time, kept alive towards the origin".into(),
        cells: cells(&[Direct, Relay, Dromon, Envoy, DromonEpoll, Nginx, Haproxy], &load),
        rounds: budget.fewer(),
    }
}

fn latency(budget: &Budget, id: &'static str, rate: Rate) -> Scenario {
    let (title, detail) = match rate {
        Rate::OfEnvoy(_) => {
            ("Latency at 80 % of Envoy's highest throughput", "80 % of Envoy's maximum".to_owned())
        }
        Rate::PerSecond(rate, _) if rate < 5_000.0 => {
            ("Latency at 1,000 requests a second", format!("{rate} requests a second"))
        }
        _ => ("Latency at 10,000 requests a second", "10,000 requests a second".to_owned()),
    };
    let all = [Direct, Relay, Dromon, Envoy, DromonEpoll, Nginx, Haproxy, DromonAgain];
    let quick = [Direct, Dromon, Envoy, Nginx, Haproxy];
    let goal = matches!(rate, Rate::OfEnvoy(_));
    Scenario {
        id,
        title,
        detail: format!(
            "{detail}, Poisson arrivals, 64 connections, 100 B answers, from the planned send time"
        ),
        cells: cells(if budget.quick { &quick } else { &all }, &budget.load("100", rate)),
        rounds: if goal && !budget.quick { budget.rounds } else { budget.fewer() },
    }
}

fn memory(budget: &Budget) -> Scenario {
    let load = budget.load("100", Rate::PerSecond(5_000.0, Arrivals::Poisson));
    let setup = Setup { workers: 2, ..Setup::default() };
    let cell =
        |subject| Cell { subject, variant: "", setup: setup.clone(), action: Action::Memory(load.clone()) };
    Scenario {
        id: "memory",
        title: "Resident memory with two workers",
        detail: "idle after the first request, and under 5,000 requests a second on 64 connections".into(),
        cells: [Dromon, Envoy, DromonEpoll, Nginx, Haproxy].map(cell).into(),
        rounds: if budget.quick { 1 } else { 2 },
    }
}

fn hold(budget: &Budget) -> Scenario {
    let cell = |subject| Cell { subject, variant: "", setup: Setup::default(), action: Action::Hold(10_000) };
    Scenario {
        id: "idle-connections",
        title: "Memory for each idle keep-alive connection",
        detail: "10,000 connections, each after one request; growth of the proxy's user-space memory".into(),
        cells: [Dromon, Envoy, DromonEpoll, Nginx, Haproxy].map(cell).into(),
        rounds: if budget.quick { 1 } else { 2 },
    }
}

fn table(budget: &Budget) -> Scenario {
    let load = Load { last: true, ..budget.load("100", Rate::Saturate) };
    let variants: &[(&str, usize, usize)] = if budget.quick {
        &[("10 hosts", 10, 1), ("10,000 hosts", 10_000, 1)]
    } else {
        &[
            ("10 hosts", 10, 1),
            ("1,000 hosts", 1_000, 1),
            ("10,000 hosts", 10_000, 1),
            ("10 routes", 1, 10),
            ("1,000 routes", 1, 1_000),
            ("10,000 routes", 1, 10_000),
        ]
    };
    let subjects: &[Subject] = if budget.quick { &[Dromon] } else { &[Dromon, Envoy, Nginx, Haproxy] };
    let cells = variants.iter().flat_map(|&(variant, hosts, routes)| {
        let load = &load;
        subjects.iter().map(move |&subject| Cell {
            subject,
            variant,
            setup: Setup { hosts, routes, ..Setup::default() },
            action: Action::Load(load.clone()),
        })
    });
    Scenario {
        id: "table",
        title: "Cost against the number of hosts and routes",
        detail: "100 B answers, as fast as it goes, all requests for the last entry".into(),
        cells: cells.collect(),
        rounds: if budget.quick { 1 } else { 2 },
    }
}

fn churn(budget: &Budget) -> Scenario {
    let load = Load { changes: Changes::Elsewhere(10), ..budget.load("100", Rate::OfEnvoy(0.5)) };
    let changing = Load { changes: Changes::Rules(10), ..load.clone() };
    let cell = |(subject, variant, load): (Subject, &'static str, &Load)| Cell {
        subject,
        variant,
        setup: Setup::default(),
        action: Action::Load(load.clone()),
    };
    let dromon = [(Dromon, "static", &load), (Dromon, "changing", &changing), (DromonAgain, "static", &load)];
    let envoy = [(Envoy, "static", &load), (Envoy, "changing", &changing)];
    let envoy: &[_] = if budget.quick { &[] } else { &envoy };
    Scenario {
        id: "churn",
        title: "Rules changing ten times a second under load",
        detail: "half of Envoy's highest throughput, Poisson arrivals, the whole table rewritten each time"
            .into(),
        cells: dromon.iter().chain(envoy).copied().map(cell).collect(),
        rounds: if budget.quick { 2 } else { budget.rounds },
    }
}

fn admission(budget: &Budget) -> Scenario {
    let limit = RateLimit { per_second: 1_000, burst: 100 };
    let load = Load {
        warm_up: Duration::ZERO,
        window: Duration::from_secs(if budget.quick { 4 } else { 60 }),
        ..budget.load("100", Rate::PerSecond(3_000.0, Arrivals::Poisson))
    };
    let cell = |(variant, workers)| Cell {
        subject: Dromon,
        variant,
        setup: Setup { workers, limit: Some(limit), ..Setup::default() },
        action: Action::Admit(load.clone()),
    };
    Scenario {
        id: "rate-limit",
        title: "Requests admitted by a rate limit",
        detail: "limit 1,000 a second with a burst of 100, three times as many offered".into(),
        cells: [("1 shard", 1), ("4 shards", 4)].map(cell).into(),
        rounds: 1,
    }
}
