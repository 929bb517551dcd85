//! `dromon-controller`.

use std::process::ExitCode;

use clap::Parser;
use dromon_ctrl::controller::{Args, run};

/// What a mesh is made of comes and goes in small pieces for as long as the controller runs; the C library's allocator holds a
/// sixth more for the same, and a third more at its height (docs/perf.md).
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    match serve(Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("dromon-controller: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn serve(args: Args) -> anyhow::Result<()> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(run(args))
}
