//! `dromon-proxy capture`: carries the plan of [`dromon_core::capture`] to the kernel of this network namespace.
//!
//! Runs once, as an init container, and ends: nothing of it is part of the proxy that serves. The programs that it needs
//! (iptables or nft) are found on the PATH, or where they usually are.

mod args;
mod install;
mod programs;
mod report;

pub use args::Args;

use std::process::ExitCode;

use args::Output;
use dromon_core::capture::Settings;
use report::Report;

/// Exit code where the command line cannot be read, as clap has it.
const USAGE: u8 = 2;

/// Does what the command line asks and says so.
pub fn run(args: &Args) -> ExitCode {
    let settings = match args.settings() {
        Ok(settings) => settings,
        Err(error) => {
            eprintln!("error: {error}");
            return ExitCode::from(USAGE);
        }
    };
    match carry_out(args, &settings) {
        Ok(report) => {
            match args.output {
                Output::Text => print!("{report}"),
                Output::Json => println!("{}", report.json()),
            }
            ExitCode::SUCCESS
        }
        Err(error) => {
            let done = if args.remove { "not removed" } else { "not installed" };
            eprintln!("error: the capture is {done}: {error}");
            if args.output == Output::Json {
                println!("{}", serde_json::json!({ "error": error.to_string() }));
            }
            ExitCode::FAILURE
        }
    }
}

fn carry_out(args: &Args, settings: &Settings) -> Result<Report, install::Error> {
    if args.print {
        return Ok(report::print(settings));
    }
    let kernel = install::Kernel::here(settings.mode, args.iptables_backend)?;
    if args.remove { kernel.remove() } else { kernel.install(settings) }
}
