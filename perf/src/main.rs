//! `dromon-perf`: the perf lab. It measures Dromon beside its peers on one machine, in one interleaved run, and says
//! for each goal whether it was met; see `docs/perf.md`.

#![forbid(unsafe_code)]

mod cli;
mod rig;

use clap::Parser;

fn main() -> anyhow::Result<()> {
    cli::run(cli::Cli::parse())
}
