//! The data plane's process: shards that carry traffic, and a steward that keeps their configuration.

mod args;
mod capture;
mod conn;
mod hook;
mod io;
mod mailbox;
mod pool;
mod refusal;
mod relay;
mod shard;
mod steward;
mod sys;
mod tls;

use std::process::ExitCode;

use anyhow::Context;
use dromon_core::config::model::Role;

use crate::args::Command;
use crate::shard::{Machine, plan};
use crate::sys::cpu;
use crate::sys::heap::Heap;
use crate::sys::memory;

#[global_allocator]
static HEAP: Heap = Heap;

fn main() -> anyhow::Result<ExitCode> {
    let line = args::CommandLine::read();
    match (line.command, line.serve) {
        (Some(Command::Capture(args)), _) => Ok(capture::run(&args)),
        (Some(Command::Wait(args)), _) => Ok(hook::wait(&args)),
        (Some(Command::Drain(args)), _) => Ok(hook::drain(&args)),
        (None, Some(args)) => serve(&args),
        // Clap has asked for what serving needs.
        (None, None) => Ok(ExitCode::FAILURE),
    }
}

fn serve(args: &args::Args) -> anyhow::Result<ExitCode> {
    let settings = steward::Settings::try_from(args)?;
    let machine = Machine {
        processors: cpu::affinity().context("cannot learn which processors this process may use")?,
        quota: cpu::quota(),
    };
    let processors = plan(args.shards, &args.pin, settings.role == Role::Gateway, &machine);
    let (driver, metrics) = (args.driver, !args.no_metrics);
    let http2_requests_max = args.http2_max_requests;
    let shard_settings =
        shard::Settings { driver, metrics, http2_requests_max, processors, seed: settings.seed };
    // Helpers, which live for seconds, share what the shards and the steward have.
    memory::limit_arenas(shard_settings.processors.len());
    let shards = shard::start(&shard_settings).context("cannot start the shards' threads")?;
    Ok(steward::run(settings, shards))
}
