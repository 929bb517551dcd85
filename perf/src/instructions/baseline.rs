//! The committed baseline, `perf/baseline/instructions.json`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::lab::tools;

/// Processor features by which libraries choose their code at run time, and that valgrind passes on.
const FEATURES: [&str; 4] = ["ssse3", "sse4_2", "avx2", "bmi2"];

/// Counts with what they depend on beside the source.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Baseline {
    /// The compiler.
    pub toolchain: String,
    /// The counter.
    pub valgrind: String,
    /// Processor features in use.
    pub features: Vec<String>,
    /// Instructions of one request, by case.
    pub instructions: BTreeMap<String, f64>,
}

impl Baseline {
    /// An empty baseline of this machine.
    pub fn here(valgrind: String) -> Result<Baseline> {
        let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
        let toolchain = tools::run(Command::new(rustc).arg("--version"))?.trim().to_owned();
        let cpuinfo = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let flags = cpuinfo.lines().find(|line| line.starts_with("flags")).unwrap_or_default();
        let here = |feature: &&str| flags.split_ascii_whitespace().any(|flag| flag == *feature);
        let features = FEATURES.into_iter().filter(here).map(str::to_owned).collect();
        Ok(Baseline { toolchain, valgrind, features, instructions: BTreeMap::new() })
    }

    /// Whether counts can be compared one by one.
    pub fn comparable(&self, other: &Baseline) -> bool {
        self.toolchain == other.toolchain
            && self.valgrind == other.valgrind
            && self.features == other.features
    }

    fn path() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("baseline/instructions.json")
    }

    /// The committed baseline.
    pub fn read() -> Result<Baseline> {
        let path = Baseline::path();
        let text = std::fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
        serde_json::from_str(&text).with_context(|| format!("{} is not a baseline", path.display()))
    }

    /// Makes these counts the baseline.
    pub fn write(&self) -> Result<()> {
        let path = Baseline::path();
        let text = serde_json::to_string_pretty(self)? + "\n";
        path.parent().map(std::fs::create_dir_all).transpose()?;
        std::fs::write(&path, text).with_context(|| format!("writing {}", path.display()))
    }
}
