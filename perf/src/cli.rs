//! The command line of `dromon-perf`.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::{Args, Parser, Subcommand};

use crate::feed;
use crate::instructions::{self, Mode};
use crate::lab::build::{self, Guide};
use crate::lab::run;
use crate::lab::subject::Subject;
use crate::report;
use crate::rig::load::{Pace, Plan};
use crate::rig::schedule::Arrivals;
use crate::rig::{cpu, load, origin, relay, tls};

/// Dromon's perf lab.
#[derive(Debug, Parser)]
#[command(name = "dromon-perf", version, about)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Measure Dromon beside its peers, interleaved, and judge the goals
    Lab(LabArgs),
    /// Make the reports again from a run's JSON file
    Report {
        /// The file, lab.json of a run
        json: PathBuf,
        /// Where the reports go; beside the file unless set
        #[arg(long)]
        out: Option<PathBuf>,
    },
    /// Count the instructions of the core's hot path with callgrind
    Instructions {
        /// Fail where they are worse than the committed baseline
        #[arg(long, conflicts_with = "update")]
        check: bool,
        /// Make them the baseline
        #[arg(long)]
        update: bool,
    },
    /// Run one case of the instruction counts; what callgrind looks at
    #[command(hide = true)]
    HotPath {
        case: String,
        #[arg(long, default_value_t = 1)]
        times: u32,
    },
    /// Measure the controller at size: generated objects, and played proxies that speak the feed
    Feed(feed::FeedArgs),
    /// Build dromon-proxy as the lab measures it, guided by a profile of its own load, and print where it is
    Build {
        /// Copy it there
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Send load to an address and print what came back
    Load(LoadArgs),
    /// Run the origin server: answers /…/100, /…/10k, /…/100k, /…/1m and /…/1g
    Origin {
        #[command(flatten)]
        server: ServerArgs,
        /// Mutual TLS with the identity in this folder (cert-chain.pem, key.pem, root-cert.pem)
        #[arg(long, value_name = "DIR")]
        tls: Option<PathBuf>,
    },
    /// Run the floor: a TCP relay that parses nothing
    Relay {
        #[command(flatten)]
        server: ServerArgs,
        /// Where connections go
        #[arg(long)]
        upstream: SocketAddr,
    },
}

#[derive(Debug, Args)]
struct LabArgs {
    /// A cut: fewer scenarios, two short rounds, less than 3 minutes
    #[arg(long)]
    quick: bool,
    /// Only these scenarios
    #[arg(long, value_name = "SCENARIO", value_delimiter = ',')]
    only: Vec<String>,
    /// Only these subjects, such as dromon,envoy
    #[arg(long, value_name = "SUBJECT", value_delimiter = ',', value_parser = subject)]
    subject: Vec<Subject>,
    /// Rounds of the scenarios that goals are judged by
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=100))]
    rounds: Option<u16>,
    /// Measure this dromon-proxy and build none
    #[arg(long, value_name = "FILE")]
    proxy: Option<PathBuf>,
    /// Measure a plain build, not one that is guided by a profile; a cut always does
    #[arg(long, conflicts_with = "proxy")]
    plain: bool,
    /// Run the rig and the proxies at the highest scheduling priority, for a machine that is not quiet (needs root)
    #[arg(long)]
    priority: bool,
    /// Where the reports go
    #[arg(long, default_value = "lab-results")]
    out: PathBuf,
    /// What is printed at the end
    #[arg(short, long, value_enum, default_value = "text")]
    output: Output,
}

/// What is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Output {
    /// Tables
    Text,
    /// The run as JSON
    Json,
}

#[derive(Debug, Args)]
struct ServerArgs {
    /// Address to listen on; the one in use is printed
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// Processor to run on
    #[arg(long)]
    pin: Option<usize>,
}

#[derive(Debug, Args)]
struct LoadArgs {
    /// Where to connect
    target: SocketAddr,
    /// Path of the requests
    #[arg(long, default_value = "/100")]
    path: String,
    /// Host of the requests
    #[arg(long, default_value = "lab.example")]
    host: String,
    /// Connections
    #[arg(short, long, default_value_t = 64)]
    connections: usize,
    /// Requests a second; without, as many as go through
    #[arg(short, long)]
    rate: Option<f64>,
    /// Spread of arrivals at a given rate
    #[arg(long, value_enum, default_value = "poisson")]
    arrivals: Arrivals,
    /// Measured time in seconds
    #[arg(short, long, default_value_t = 10.0)]
    seconds: f64,
    /// Time before that in seconds
    #[arg(long, default_value_t = 1.0)]
    warm_up: f64,
    /// A new connection for each request
    #[arg(long)]
    connection_each: bool,
    /// Mutual TLS with the identity in this folder (cert-chain.pem, key.pem, root-cert.pem)
    #[arg(long, value_name = "DIR")]
    tls: Option<PathBuf>,
    /// Processor to run on
    #[arg(long)]
    pin: Option<usize>,
}

/// Carries out the command line; the exit code says whether what was asked for held.
pub fn run(cli: Cli) -> Result<ExitCode> {
    match cli.command {
        Command::Lab(args) => lab_command(args)?,
        Command::Report { json, out } => {
            let folder = out.unwrap_or_else(|| json.parent().unwrap_or(Path::new(".")).to_owned());
            show(&report::write(&report::read(&json)?, &folder)?);
        }
        Command::Instructions { check, update } => {
            return instructions::run(match (check, update) {
                (true, _) => Mode::Check,
                (_, true) => Mode::Update,
                _ => Mode::Show,
            });
        }
        Command::HotPath { case, times } => instructions::run_case(&case, times)?,
        Command::Feed(args) => feed::run(&args)?,
        Command::Build { out } => {
            let built = build::build(Guide::Counts)?;
            if let Some(out) = &out {
                std::fs::copy(&built.path, out)
                    .with_context(|| format!("copying it to {}", out.display()))?;
            }
            println!("{}", out.unwrap_or(built.path).display());
        }
        Command::Load(args) => load_command(&args)?,
        Command::Origin { server, tls: folder } => {
            let tls = folder.as_deref().map(tls::server).transpose()?;
            origin::serve(listen(&server)?, tls)?;
        }
        Command::Relay { server, upstream } => relay::serve(listen(&server)?, upstream)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn subject(text: &str) -> Result<Subject, String> {
    let known = || Subject::ALL.map(Subject::id).join(", ");
    Subject::of(text).ok_or_else(|| format!("no subject {text}; there are {}", known()))
}

fn lab_command(args: LabArgs) -> Result<()> {
    let options = run::Options {
        quick: args.quick,
        only: args.only,
        subjects: args.subject,
        rounds: args.rounds.map(usize::from),
        proxy: args.proxy,
        guide: if args.plain || args.quick { Guide::Nothing } else { Guide::Counts },
        priority: args.priority,
    };
    let lab = run::run(&options)?;
    let paths = report::write(&lab, &args.out)?;
    match args.output {
        Output::Text => print!("{}", report::table::text(&lab)),
        Output::Json => println!("{}", serde_json::to_string_pretty(&lab)?),
    }
    show(&paths);
    Ok(())
}

fn show(paths: &[PathBuf]) {
    for path in paths {
        eprintln!("wrote {}", path.display());
    }
}

fn listen(args: &ServerArgs) -> Result<std::net::TcpListener> {
    if let Some(cpu) = args.pin {
        cpu::pin(cpu)?;
    }
    cpu::allow_descriptors(65_536)?;
    let listener = std::net::TcpListener::bind(args.listen)?;
    println!("{}", listener.local_addr()?);
    Ok(listener)
}

fn load_command(args: &LoadArgs) -> Result<()> {
    if let Some(cpu) = args.pin {
        cpu::pin(cpu)?;
    }
    cpu::allow_descriptors(args.connections as u64 + 64)?;
    cpu::exact_timers()?;
    let pace = match args.rate {
        Some(per_second) => Pace::Open { arrivals: args.arrivals, per_second },
        None => Pace::Saturate,
    };
    let plan = Plan {
        target: args.target,
        requests: vec![load::request(&args.host, &args.path, args.connection_each)],
        connections: args.connections,
        pace,
        warm_up: Duration::from_secs_f64(args.warm_up),
        window: Duration::from_secs_f64(args.seconds),
        connection_each: args.connection_each,
        tls: args.tls.as_deref().map(tls::client).transpose()?,
        seed: 1,
    };
    let outcome = load::run(&plan, &mut |_| {})?;
    println!("{:.0} answers a second over {:.1} s", outcome.per_second(), outcome.seconds);
    for percentile in [50.0, 90.0, 99.0, 99.9, 100.0] {
        println!("p{percentile:<5} {:>10.1} µs", outcome.percentile_us(percentile));
    }
    println!("statuses {:?} errors {:?} closed {}", outcome.statuses, outcome.errors, outcome.closed);
    Ok(())
}
