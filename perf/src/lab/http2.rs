//! Load over HTTP/2 by h2load, which keeps all streams busy, and what it says of it.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use dromon_core::config::model::Protocol;

use super::launch::Running;
use super::origins::{ANSWER, CALL, MESSAGE};
use super::scenario::Http2Load;
use super::setup::Setup;
use super::tools::Tool;

/// What h2load saw.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Outcome {
    /// Answers of status 2xx.
    pub succeeded: u64,
    /// Everything else that was asked.
    pub failed: u64,
    /// Answers a second, by h2load's own clock.
    pub per_second: f64,
    /// How long it took, its start included, in seconds.
    pub seconds: f64,
}

/// Requests of one run on one connection: below what any product takes on one before it asks for another, which h2load
/// does not make.
const REQUESTS_PER_CONNECTION: u64 = 8_000;

impl Outcome {
    /// This and one more.
    fn and(self, other: Outcome) -> Outcome {
        let own_seconds =
            |it: Outcome| if it.per_second > 0.0 { it.succeeded as f64 / it.per_second } else { 0.0 };
        let succeeded = self.succeeded + other.succeeded;
        let seconds = own_seconds(self) + own_seconds(other);
        Outcome {
            succeeded,
            failed: self.failed + other.failed,
            per_second: if seconds > 0.0 { succeeded as f64 / seconds } else { 0.0 },
            seconds: self.seconds + other.seconds,
        }
    }
}

/// Runs h2load against a subject, again and again for as long as the plan says.
pub fn load_for(tool: &Tool, running: &Running, files: &Path, plan: &Http2Load) -> Result<Outcome> {
    let count = plan.requests.min(REQUESTS_PER_CONNECTION * plan.connections as u64);
    let shape = (plan.connections, plan.streams);
    let mut outcome = Outcome::default();
    while outcome.seconds < plan.window.as_secs_f64() {
        outcome = outcome.and(load(tool, running, files, shape, count)?);
    }
    Ok(outcome)
}

/// Runs h2load once against a subject.
pub fn load(
    tool: &Tool,
    running: &Running,
    files: &Path,
    (connections, streams): (usize, usize),
    count: u64,
) -> Result<Outcome> {
    let mut command = tool.command();
    command.args([
        "-n",
        &count.to_string(),
        "-t",
        "1",
        "-c",
        &connections.to_string(),
        "-m",
        &streams.to_string(),
    ]);
    command.args(["-H", &format!(":authority: {}", Setup::host(0))]);
    let path = if running.setup.protocol == Protocol::Grpc {
        command.args(["-H", "content-type: application/grpc", "-H", "te: trailers", "-d"]);
        command.arg(files.join(MESSAGE));
        CALL
    } else {
        ANSWER
    };
    command.arg(format!("http://{}/{path}", running.address));
    run(&mut command)
}

/// One request; an error unless it is answered with 2xx.
pub fn once(tool: &Tool, running: &Running, files: &Path) -> Result<()> {
    let outcome = load(tool, running, files, (1, 1), 1)?;
    if outcome.succeeded != 1 {
        bail!("h2load got no answer of status 2xx from {}", running.address);
    }
    Ok(())
}

fn run(command: &mut Command) -> Result<Outcome> {
    let began = Instant::now();
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("running {command:?}"))?;
    let seconds = began.elapsed().as_secs_f64();
    let text = String::from_utf8_lossy(&output.stdout);
    let mut outcome = parse(&text).with_context(|| {
        format!("{command:?}: {} {}", text.trim(), String::from_utf8_lossy(&output.stderr).trim())
    })?;
    outcome.seconds = seconds;
    Ok(outcome)
}

/// Reads h2load's summary; how long it took with its start is not in it.
pub fn parse(text: &str) -> Option<Outcome> {
    let line = |start: &str| text.lines().find_map(|line| line.strip_prefix(start));
    let numbers = |line: &str| -> Vec<(u64, String)> {
        line.split(',')
            .filter_map(|part| {
                let (number, name) = part.trim().split_once(' ')?;
                Some((number.parse().ok()?, name.to_owned()))
            })
            .collect()
    };
    let of = |numbers: &[(u64, String)], wanted: &str| {
        numbers.iter().find(|(_, name)| name == wanted).map(|(number, _)| *number)
    };
    let per_second =
        line("finished in ")?.split(", ").find_map(|part| part.strip_suffix(" req/s")?.parse().ok())?;
    let requests = numbers(line("requests: ")?);
    let succeeded = of(&numbers(line("status codes: ")?), "2xx")?;
    let done = of(&requests, "done")?;
    let failed = ["failed", "errored", "timeout"].iter().filter_map(|name| of(&requests, name)).max();
    let failed = failed.unwrap_or(0).max(done.saturating_sub(succeeded));
    Some(Outcome { succeeded, failed, per_second, seconds: 0.0 })
}
