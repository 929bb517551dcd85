//! `dromon-perf`: the perf lab. It measures Dromon beside its peers on one machine, in one interleaved run, and says
//! for each goal whether it was met; see `docs/perf.md`.

#![forbid(unsafe_code)]

mod cli;
mod feed;
mod instructions;
mod lab;
mod report;
mod rig;

use clap::Parser;

fn main() -> std::process::ExitCode {
    match cli::run(cli::Cli::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("dromon-perf: {error:#}");
            std::process::ExitCode::FAILURE
        }
    }
}
