//! The data plane's process: shards that carry traffic, and a steward that keeps their configuration.

mod args;
mod mailbox;
mod shard;
mod steward;
mod sys;

use clap::Parser;

fn main() -> anyhow::Result<()> {
    let args = args::Args::parse();
    anyhow::bail!("no shard is built into this version for {}", args.id)
}
