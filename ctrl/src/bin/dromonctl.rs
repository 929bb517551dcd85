//! `dromonctl`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use dromon_ctrl::analyze;
use dromon_ctrl::run::options::Options;
use dromon_ctrl::run::{child, command, guard};

/// Run and inspect a Dromon mesh
#[derive(Debug, Parser)]
#[command(name = "dromonctl", version, max_term_width = 110)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Run(Box<Options>),
    Analyze(analyze::Options),
    /// Become a program that ends with its parent
    #[command(hide = true)]
    Child {
        parent: u32,
        #[arg(last = true, required = true)]
        command: Vec<String>,
    },
    /// End what a run leaves behind
    #[command(hide = true)]
    Guard {
        remove: Option<PathBuf>,
    },
}

fn main() -> anyhow::Result<ExitCode> {
    match Cli::parse().command {
        Command::Run(options) => {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(command::run(*options))?;
            // Helper threads that wait for files hold nothing that has to be saved.
            runtime.shutdown_background();
        }
        Command::Analyze(options) => {
            return Ok(if analyze::run(&options)? { ExitCode::SUCCESS } else { ExitCode::FAILURE });
        }
        Command::Child { parent, command } => {
            let error = child::become_child(parent, &command);
            eprintln!("cannot start {}: {error}", command.first().map_or("", String::as_str));
            return Ok(ExitCode::from(127));
        }
        Command::Guard { remove } => guard::keep(std::io::stdin().lock(), remove),
    }
    Ok(ExitCode::SUCCESS)
}
