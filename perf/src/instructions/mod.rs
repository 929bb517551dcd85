//! Instruction counts of the core's hot path. Wall-clock figures of a busy machine are noise; the number of instructions
//! is the same every time, so a change of a few per cent can be seen and refused. Counted by callgrind, against a
//! committed baseline.

mod account;
mod baseline;
mod hot;
mod http2;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};

use crate::lab::tools;
pub use baseline::Baseline;
pub use hot::run as run_case;

/// Requests counted for each case.
const TIMES: u32 = 200;
/// How much worse than the baseline a case may be.
const WORSE_MAX: f64 = 1.02;
/// What the last of 10,000 may cost in instructions, relative to the last of 10.
pub const GROWTH_MAX: f64 = 1.05;
/// The ratios that have a goal: what they compare, and of which cases.
const GROWTHS: [(&str, &str, &str); 3] = [
    ("last of 10,000 hosts / of 10", "whole/hosts-10000", "whole/hosts-10"),
    ("last of 10,000 exact rules / of 10", "whole/exact-10000", "whole/exact-10"),
    ("last of 10,000 prefix rules / of 10", "whole/prefix-10000", "whole/prefix-10"),
];

/// What is done with the counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Shown.
    Show,
    /// Compared with the baseline; the exit code says whether they hold.
    Check,
    /// Written as the new baseline.
    Update,
}

/// Counts, and does with the counts as asked.
pub fn run(mode: Mode) -> Result<ExitCode> {
    let valgrind = match valgrind() {
        Ok(version) => version,
        Err(error) if std::env::var_os("CI").is_none() => {
            skipped(&format!("instruction counts skipped: {error:#}; try `apt-get install valgrind`"))?;
            return Ok(ExitCode::SUCCESS);
        }
        Err(error) => return Err(error.context("instruction counts need valgrind")),
    };
    let found = Baseline { instructions: count()?, ..Baseline::here(valgrind)? };
    let known = Baseline::read().ok();
    if mode == Mode::Update {
        found.write()?;
    }
    let (text, faults) = verdict(&found, known.as_ref());
    print!("{text}");
    match (mode, faults.is_empty()) {
        (Mode::Check, false) => {
            for fault in &faults {
                eprintln!("instruction counts: {fault}");
            }
            eprintln!(
                "if the change is worth it: dromon-perf instructions --update, and say why in the commit"
            );
            Ok(ExitCode::FAILURE)
        }
        _ => Ok(ExitCode::SUCCESS),
    }
}

/// Says that nothing was counted, also to the file in which the test run gathers what was skipped.
fn skipped(line: &str) -> Result<()> {
    println!("{line}");
    let Some(path) = std::env::var_os("DROMON_SKIPS") else { return Ok(()) };
    let mut file =
        std::fs::OpenOptions::new().append(true).create(true).open(path).context("DROMON_SKIPS")?;
    Ok(writeln!(file, "{line}")?)
}

/// What the counts say beside the baseline: a table, and what is wrong.
fn verdict(found: &Baseline, known: Option<&Baseline>) -> (String, Vec<String>) {
    let mut text = String::new();
    let mut faults = Vec::new();
    let comparable = known.is_none_or(|known| known.comparable(found));
    for (case, &count) in &found.instructions {
        let before = known.and_then(|known| known.instructions.get(case)).copied();
        let change = before.map(|before| count / before);
        let shown = change.map(|change| format!("{:+.1} %", (change - 1.0) * 100.0)).unwrap_or_default();
        text += &format!("{case:<20} {count:>9.0} instructions {shown:>9}\n");
        if let Some(change) = change.filter(|change| comparable && *change > WORSE_MAX) {
            faults.push(format!("{case} takes {:.1} % more than the baseline", (change - 1.0) * 100.0));
        }
    }
    for (name, ratio) in growths(&found.instructions) {
        text += &format!("{name:<38} {ratio:.3}\n");
        if ratio > GROWTH_MAX {
            faults.push(format!("{name}: {ratio:.3}, at most {GROWTH_MAX}"));
        }
    }
    if !comparable {
        text += "the baseline was made with another toolchain or processor: only the ratios are checked\n";
    }
    (text, faults)
}

/// The ratios that have a goal.
fn growths(counts: &BTreeMap<String, f64>) -> Vec<(String, f64)> {
    let ratio = |&(name, large, small): &(&str, &str, &str)| {
        Some((name.to_owned(), counts.get(large)? / counts.get(small)?))
    };
    GROWTHS.iter().filter_map(ratio).collect()
}

/// The ratios that have a goal, counted now; none where they cannot be counted here.
pub fn ratios() -> Vec<(String, f64)> {
    let counted = valgrind().and_then(|_| count());
    match counted {
        Ok(counts) => growths(&counts),
        Err(error) => {
            eprintln!("without instruction counts: {error:#}");
            Vec::new()
        }
    }
}

fn valgrind() -> Result<String> {
    Ok(tools::run(Command::new("valgrind").arg("--version"))?.trim().to_owned())
}

/// Instructions of one request, by case.
fn count() -> Result<BTreeMap<String, f64>> {
    let mut counts = BTreeMap::new();
    for (name, ..) in hot::CASES {
        eprintln!("counting instructions: {name}");
        counts.insert(name.to_owned(), count_case(name)?);
    }
    Ok(counts)
}

fn count_case(name: &str) -> Result<f64> {
    let file = std::env::temp_dir().join(format!("dromon-callgrind-{}", std::process::id()));
    let result = tools::run(
        Command::new("valgrind")
            .args(["--tool=callgrind", "--quiet", "--collect-atstart=no"])
            .arg(format!("--toggle-collect={}", hot::COLLECTED))
            .arg(format!("--callgrind-out-file={}", file.display()))
            .arg(std::env::current_exe()?)
            .args(["hot-path", name, "--times", &TIMES.to_string()]),
    );
    let counted = result.and_then(|_| read_total(&file));
    // A file left behind in the temporary directory does no harm.
    let _ = std::fs::remove_file(&file);
    let total = counted.with_context(|| format!("counting {name}"))?;
    if total == 0 {
        bail!("counting {name}: callgrind saw nothing; is the binary stripped?");
    }
    Ok(total as f64 / f64::from(TIMES))
}

/// The sum of a callgrind file.
fn read_total(file: &Path) -> Result<u64> {
    let text = std::fs::read_to_string(file).context("reading callgrind's output")?;
    parse_total(&text).context("callgrind's output has no total")
}

fn parse_total(text: &str) -> Option<u64> {
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("totals:").or_else(|| line.strip_prefix("summary:")))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}
