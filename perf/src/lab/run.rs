//! Runs the scenarios, interleaved: each round takes every cell once, every second round in the reverse order (A B B
//! A), each cell with a fresh process.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context, Result, bail};

use super::build::{self, Built, Guide};
use super::launch::Launcher;
use super::measure::Bench;
use super::origins::Origins;
use super::result::{Lab, ScenarioResult};
use super::scenario::{self, Action, Budget, Cell, Rate, Scenario};
use super::setup::Place;
use super::subject::Subject;
use super::{certs, goals, machine, tools};
use crate::feed;
use crate::instructions;
use crate::rig::{cpu, tls};

/// What to run.
#[derive(Clone, Debug)]
pub struct Options {
    /// A cut in under three minutes.
    pub quick: bool,
    /// Scenarios to run; all when empty.
    pub only: Vec<String>,
    /// Subjects to run; all when empty.
    pub subjects: Vec<Subject>,
    /// Rounds of the scenarios that goals are judged by.
    pub rounds: Option<usize>,
    /// Use this `dromon-proxy` and build none.
    pub proxy: Option<PathBuf>,
    /// How to build one.
    pub guide: Guide,
    /// Ask for the highest scheduling priority.
    pub priority: bool,
}

/// Descriptors for 10,000 connections on both sides of a proxy.
const DESCRIPTORS: u64 = 65_536;

/// Runs the lab.
pub fn run(options: &Options) -> Result<Lab> {
    let budget =
        Budget { quick: options.quick, rounds: options.rounds.unwrap_or(if options.quick { 2 } else { 6 }) };
    let scenarios = chosen(options, &budget)?;
    let machine = machine::describe()?;
    let descriptors = cpu::allow_descriptors(DESCRIPTORS)?;
    let dromon = match &options.proxy {
        Some(path) => path
            .canonicalize()
            .map(|path| Built { path, how: "given".into() })
            .with_context(|| format!("no proxy at {}", path.display())),
        None => build::build(options.guide),
    };
    let mut left_out = BTreeMap::new();
    // Before this process is bound to a processor, which its programs would be too.
    let control_plane = control_plane(options, &mut left_out);
    let peers = tools::peers();
    if options.priority {
        cpu::first_in_line()?;
    }
    cpu::pin(machine.rig_cpu)?;
    cpu::exact_timers()?;
    let scratch = std::env::temp_dir().join(format!("dromon-lab-{}", std::process::id()));
    std::fs::create_dir_all(&scratch).with_context(|| format!("making {}", scratch.display()))?;
    certs::make(&scratch)?;
    let origins = Origins::start(machine.rig_cpu, &scratch, &peers.nghttpd)?;
    let launcher = Launcher {
        peers,
        dromon,
        proxy_cpu: machine.proxy_cpu,
        rig_cpu: machine.rig_cpu,
        descriptors,
        origins,
        tls: tls::client(&certs::folder(&scratch, "client"))?,
        scratch: scratch.clone(),
    };
    let began = Instant::now();
    let mut lab = Lab {
        started: machine::now(),
        seconds: 0.0,
        quick: options.quick,
        machine,
        versions: versions(&launcher),
        skipped: skipped(&launcher),
        scenarios: Vec::new(),
        goals: Vec::new(),
    };
    for (name, reason) in &lab.skipped {
        eprintln!("without {name}: {reason}");
    }
    lab.skipped.extend(left_out);
    lab.scenarios.extend(control_plane);
    let mut envoy = BTreeMap::new();
    for scenario in &scenarios {
        let result = one(&launcher, scenario, &mut envoy, &mut lab.skipped)?;
        lab.scenarios.push(result);
    }
    let counts = if options.only.is_empty() { instructions::ratios() } else { Vec::new() };
    lab.seconds = began.elapsed().as_secs_f64();
    lab.goals = goals::judge(&lab, &counts);
    drop(launcher);
    // The folder is in the temporary directory; leaving it behind does no harm.
    let _ = std::fs::remove_dir_all(scratch);
    Ok(lab)
}

/// The control plane at size, if it is asked for and can be measured here.
fn control_plane(options: &Options, skipped: &mut BTreeMap<String, String>) -> Option<ScenarioResult> {
    let is_asked = match options.only.as_slice() {
        [] => !options.quick && options.subjects.is_empty(),
        only => only.iter().any(|id| id == feed::SCENARIO),
    };
    if !is_asked {
        return None;
    }
    let reason = match feed::missing() {
        Some(missing) => missing,
        None => match feed::scenario(&feed::FeedArgs::default()) {
            Ok(result) => return Some(result),
            Err(error) => format!("{error:#}"),
        },
    };
    eprintln!("without {}: {reason}", feed::SCENARIO);
    skipped.insert(feed::SCENARIO.to_owned(), reason);
    None
}

/// The scenarios asked for, with the subjects asked for.
fn chosen(options: &Options, budget: &Budget) -> Result<Vec<Scenario>> {
    let mut scenarios = scenario::all(budget);
    let is_known = |id: &&String| **id == feed::SCENARIO || scenarios.iter().any(|it| it.id == **id);
    if let Some(unknown) = options.only.iter().find(|id| !is_known(id)) {
        let mut known: Vec<&str> = scenarios.iter().map(|scenario| scenario.id).collect();
        known.push(feed::SCENARIO);
        bail!("no scenario {unknown}; there are {}", known.join(", "));
    }
    scenarios.retain(|scenario| match options.only.as_slice() {
        [] => !options.quick || !scenario::NOT_QUICK.contains(&scenario.id),
        only => only.iter().any(|id| id == scenario.id),
    });
    if !options.subjects.is_empty() {
        for scenario in &mut scenarios {
            scenario.cells.retain(|cell| options.subjects.contains(&cell.subject));
        }
    }
    Ok(scenarios)
}

fn versions(launcher: &Launcher) -> BTreeMap<String, String> {
    let peers = [
        ("Envoy", &launcher.peers.envoy),
        ("nginx", &launcher.peers.nginx),
        ("HAProxy", &launcher.peers.haproxy),
        ("nghttpx", &launcher.peers.nghttpx),
        ("h2load", &launcher.peers.h2load),
    ];
    let known =
        peers.into_iter().filter_map(|(name, tool)| Some((name, tool.as_ref().ok()?.version.clone())));
    let mut versions: BTreeMap<String, String> =
        known.map(|(name, version)| (name.to_owned(), version)).collect();
    if let Ok(Built { path, how }) = &launcher.dromon {
        let version = tools::run(std::process::Command::new(path).arg("--version")).unwrap_or_default();
        let commit = std::process::Command::new("git").args(["rev-parse", "--short", "HEAD"]).output();
        let commit = commit.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
        versions
            .insert("Dromon".into(), format!("{} {} ({how})", version.trim(), commit.unwrap_or_default()));
    }
    versions
}

fn skipped(launcher: &Launcher) -> BTreeMap<String, String> {
    let missing = |subject: Subject| Some((subject.title().to_owned(), launcher.missing(subject)?));
    [Subject::Dromon, Subject::Envoy, Subject::Nginx, Subject::Haproxy, Subject::Nghttpx]
        .into_iter()
        .filter_map(missing)
        .collect()
}

fn one(
    launcher: &Launcher,
    scenario: &Scenario,
    envoy: &mut BTreeMap<Place, f64>,
    skipped: &mut BTreeMap<String, String>,
) -> Result<ScenarioResult> {
    let mut result = ScenarioResult {
        id: scenario.id.to_owned(),
        title: scenario.title.to_owned(),
        detail: scenario.detail.clone(),
        samples: Vec::new(),
    };
    let share_of_envoy =
        |cell: &&Cell| matches!(&cell.action, Action::Load(load) if matches!(load.rate, Rate::OfEnvoy(_)));
    // Whoever runs at a share of Envoy's throughput is compared with an Envoy in the same place; without any proxy, with all.
    let place = scenario.cells.iter().filter(share_of_envoy).map(|cell| cell.setup.place).max();
    if let Some(place) = place
        && !envoy.contains_key(&place)
    {
        let highest = envoy_highest(launcher, scenario, place)?;
        envoy.insert(place, highest);
    }
    let bench = Bench { launcher, envoy_per_second: place.and_then(|place| envoy.get(&place)).copied() };
    let cells: Vec<&Cell> =
        scenario.cells.iter().filter(|cell| launcher.missing(cell.subject).is_none()).collect();
    let total = cells.len() * scenario.rounds;
    for round in 0..scenario.rounds {
        let order: Vec<&&Cell> =
            if round % 2 == 0 { cells.iter().collect() } else { cells.iter().rev().collect() };
        for cell in order {
            progress(scenario, cell, result.samples.len() + 1, total);
            match bench.measure(cell, round) {
                Ok(sample) => result.samples.push(sample),
                Err(error) => {
                    let name = format!("{} {} {}", scenario.id, cell.subject.title(), cell.variant);
                    eprintln!("\n{name}: {error:#}");
                    skipped.insert(name.trim().to_owned(), format!("{error:#}"));
                }
            }
        }
    }
    eprintln!();
    if scenario.id == "small" {
        let row = super::result::Row { subject: Subject::Envoy, variant: "" };
        if let Some(spread) = result.spread(row, "requests_per_second") {
            envoy.insert(Place::Gateway, spread.median);
        }
    }
    Ok(result)
}

/// Envoy's highest throughput, measured on its own where the scenario that shows it is not run.
fn envoy_highest(launcher: &Launcher, scenario: &Scenario, place: Place) -> Result<f64> {
    if let Some(reason) = launcher.missing(Subject::Envoy) {
        bail!("rates are shares of Envoy's throughput, and Envoy is missing: {reason}");
    }
    let budget = Budget { quick: true, rounds: 1 };
    let small = scenario::all(&budget).into_iter().find(|scenario| scenario.id == "small");
    let cell = small.and_then(|small| small.cells.into_iter().find(|cell| cell.subject == Subject::Envoy));
    let mut cell = cell.context("the scenario that shows Envoy's throughput")?;
    if let Some(same) = scenario.cells.iter().find(|cell| cell.setup.place == place) {
        cell.setup = same.setup.clone();
    }
    let sample = Bench { launcher, envoy_per_second: None }.measure(&cell, 0)?;
    sample.metrics.get("requests_per_second").copied().context("Envoy's throughput")
}

fn progress(scenario: &Scenario, cell: &Cell, number: usize, total: usize) {
    let name = format!("{} {}", cell.subject.title(), cell.variant);
    let line = format!("{:<18} {number:>3}/{total:<3} {}", scenario.id, name.trim());
    if std::io::stderr().is_terminal() {
        eprint!("\r\x1b[2K{line}");
    } else {
        eprintln!("{line}");
    }
}
