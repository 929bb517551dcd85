//! The command line of `dromon-perf`.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Result;
use clap::{Args, Parser, Subcommand};

use crate::rig::load::{Pace, Plan};
use crate::rig::schedule::Arrivals;
use crate::rig::{cpu, load, origin, relay};

/// Dromon's perf lab.
#[derive(Debug, Parser)]
#[command(name = "dromon-perf", version, about)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Send load to an address and print what came back
    Load(LoadArgs),
    /// Run the origin server: answers /…/100, /…/10k, /…/100k and /…/1m
    Origin(ServerArgs),
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
    /// Processor to run on
    #[arg(long)]
    pin: Option<usize>,
}

/// Carries out the command line.
pub fn run(cli: Cli) -> Result<()> {
    match cli.command {
        Command::Load(args) => load_command(&args),
        Command::Origin(args) => origin::serve(listen(&args)?),
        Command::Relay { server, upstream } => relay::serve(listen(&server)?, upstream),
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
