//! `dromon-controller`.

use clap::Parser;
use dromon_ctrl::controller::{Args, run};

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(run(args))
}
