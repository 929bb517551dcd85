//! What a run of the lab found; the JSON file is this, and every report is made from it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::goals::Verdict;
use super::stats::{self, Spread};
use super::subject::Subject;

/// A run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Lab {
    /// When it began, UTC.
    pub started: String,
    /// How long it took, in seconds.
    pub seconds: f64,
    /// Whether it was a cut, with fewer and shorter rounds.
    pub quick: bool,
    /// Where it ran.
    pub machine: Machine,
    /// What each subject says of its version.
    pub versions: BTreeMap<String, String>,
    /// Subjects that were left out, and why.
    pub skipped: BTreeMap<String, String>,
    /// What was run.
    pub scenarios: Vec<ScenarioResult>,
    /// The goals.
    pub goals: Vec<Verdict>,
}

/// A machine.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Machine {
    /// Processor.
    pub processor: String,
    /// Processors at hand.
    pub processors: usize,
    /// The one of the proxy under test.
    pub proxy_cpu: usize,
    /// The one of generator and origin.
    pub rig_cpu: usize,
    /// Memory in MiB.
    pub memory_mib: u64,
    /// Kernel.
    pub kernel: String,
    /// Hypervisor, where there is one.
    pub hypervisor: String,
    /// Distribution.
    pub system: String,
}

/// A scenario's samples.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ScenarioResult {
    /// Its short name.
    pub id: String,
    /// What it shows.
    pub title: String,
    /// Conditions.
    pub detail: String,
    /// One for each cell and round, in the order in which they ran.
    pub samples: Vec<Sample>,
}

/// One cell in one round.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Sample {
    /// What was under test.
    pub subject: Subject,
    /// Under which variant of the scenario; empty where it has none.
    pub variant: String,
    /// Round, from 0.
    pub round: usize,
    /// Figures by name; the unit is last in the name.
    pub metrics: BTreeMap<String, f64>,
    /// Latency curve: percentile and µs. Empty for saturating load.
    pub curve: Vec<(f64, f64)>,
    /// Requests without an answer, by cause, and answers that were not 2xx, by status.
    pub errors: BTreeMap<String, u64>,
}

/// One row of a scenario: a subject under a variant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Row<'a> {
    /// The subject.
    pub subject: Subject,
    /// The variant.
    pub variant: &'a str,
}

/// A figure by round.
pub type Series = Vec<(usize, f64)>;

impl Lab {
    /// A scenario by its short name.
    pub fn scenario(&self, id: &str) -> Option<&ScenarioResult> {
        self.scenarios.iter().find(|scenario| scenario.id == id)
    }
}

impl ScenarioResult {
    /// Its rows, in the order of tables.
    pub fn rows(&self) -> Vec<Row<'_>> {
        let mut variants: Vec<&str> = Vec::new();
        for sample in &self.samples {
            if !variants.contains(&sample.variant.as_str()) {
                variants.push(&sample.variant);
            }
        }
        let rows = variants
            .into_iter()
            .flat_map(|variant| Subject::ALL.into_iter().map(move |subject| Row { subject, variant }));
        rows.filter(|row| self.of(*row).next().is_some()).collect()
    }

    /// A row's samples.
    pub fn of<'a>(&'a self, row: Row<'a>) -> impl Iterator<Item = &'a Sample> {
        self.samples
            .iter()
            .filter(move |sample| sample.subject == row.subject && sample.variant == row.variant)
    }

    /// A figure of a row by round.
    pub fn series(&self, row: Row<'_>, metric: &str) -> Series {
        self.samples
            .iter()
            .filter(|sample| sample.subject == row.subject && sample.variant == row.variant)
            .filter_map(|sample| Some((sample.round, *sample.metrics.get(metric)?)))
            .collect()
    }

    /// The spread of a figure of a row.
    pub fn spread(&self, row: Row<'_>, metric: &str) -> Option<Spread> {
        let values: Vec<f64> = self.series(row, metric).into_iter().map(|(_, value)| value).collect();
        stats::spread(&values)
    }

    /// The spread of a figure's ratio between two rows.
    pub fn ratio(&self, of: Row<'_>, to: Row<'_>, metric: &str) -> Option<Spread> {
        stats::ratio(&self.series(of, metric), &self.series(to, metric))
    }
}
