//! `dromonctl`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use dromon_ctrl::run::options::Options;
use dromon_ctrl::run::part::NOT_STARTED;
use dromon_ctrl::run::{child, command, guard};
use dromon_ctrl::{analyze, inject, inspect, install};

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
    Status(inspect::status::Options),
    Routes(inspect::routes::Options),
    Explain(inspect::explain::Options),
    Certs(inspect::certs::Options),
    Install(install::Options),
    Uninstall(install::uninstall::Options),
    InstallSeccomp(install::seccomp::Options),
    Manifest(install::manifest::Options),
    Inject(inject::Options),
    /// What the DaemonSet of install-seccomp does on a node
    #[command(hide = true)]
    SeccompProfile {
        #[command(subcommand)]
        what: install::seccomp::File,
    },
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
        run: String,
        remove: Option<PathBuf>,
    },
}

fn main() -> ExitCode {
    carry_out(Cli::parse().command).unwrap_or_else(|error| {
        eprintln!("dromonctl: {error:#}");
        ExitCode::FAILURE
    })
}

fn carry_out(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Run(options) => {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(command::run(*options))?;
            // Helper threads that wait for files hold nothing that has to be saved.
            runtime.shutdown_background();
        }
        Command::Analyze(options) => {
            return Ok(if analyze::run(&options)? { ExitCode::SUCCESS } else { ExitCode::FAILURE });
        }
        Command::Status(options) => return inspect(inspect::status::run(&options)),
        Command::Routes(options) => return inspect(inspect::routes::run(&options)),
        Command::Certs(options) => return inspect(inspect::certs::run(&options)),
        Command::Explain(options) => return inspect(inspect::explain::run(&options)),
        Command::Install(options) => block_on(install::run(&options))?,
        Command::Uninstall(options) => block_on(install::uninstall::run(&options))?,
        Command::InstallSeccomp(options) => block_on(install::seccomp::run(&options))?,
        Command::SeccompProfile { what } => block_on(install::seccomp::file(&what))?,
        Command::Manifest(options) => install::manifest::run(&options)?,
        Command::Inject(options) => inject::run(&options)?,
        Command::Child { parent, command } => {
            let error = child::become_child(parent, &command);
            eprintln!("cannot start {}: {error}", command.first().map_or("", String::as_str));
            return Ok(ExitCode::from(u8::try_from(NOT_STARTED).unwrap_or(u8::MAX)));
        }
        Command::Guard { run, remove } => guard::keep(std::io::stdin().lock(), &run, remove),
    }
    Ok(ExitCode::SUCCESS)
}

/// Speaks to a cluster.
fn block_on(work: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(work)
}

/// Asks a running mesh.
fn inspect(asking: impl Future<Output = anyhow::Result<bool>>) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    Ok(if runtime.block_on(asking)? { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
