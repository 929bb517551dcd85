//! `dromonctl certs`: who has which certificate until when, and the change of root.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use dromon_core::date::civil;

use super::certs_cluster::{self, Cluster};
use super::{Which, page};
use crate::ca::control;
use crate::ca::status::{CertificateStatus, CertsStatus, RotationStatus};
use crate::run::options::Output;
use crate::run::supervisor::Ready;

/// How often the state of a change is looked at.
const LOOK: Duration = Duration::from_millis(100);

/// Who has which certificate until when; exit with 1 if one is missing, expired or cannot be renewed
#[derive(Clone, Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Options {
    /// What to do with them
    #[command(subcommand)]
    pub command: Option<Command>,
    /// Which run
    #[command(flatten)]
    pub which: Which,
    /// Which cluster
    #[command(flatten)]
    pub cluster: Cluster,
    /// How to print
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    pub output: Output,
}

/// What to do with certificates.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Replace the root of trust.
    #[command(about = "Replace the mesh's root of trust in three steps, without a failed connection")]
    RotateRoot(RotateRoot),
}

/// Replace the mesh's root of trust in three steps, without a failed connection: both roots are believed everywhere, then
/// certificates come from the new one, then the old one goes
///
/// Each step waits until it is in force at every proxy. Interrupted, the change goes on by itself; called again, the command
/// follows it to its end. The new root is made, unless a CA of yours lies in `next/` of the CA's directory.
#[derive(Clone, Debug, Args)]
pub struct RotateRoot {
    /// Which run
    #[command(flatten)]
    pub which: Which,
    /// Which cluster
    #[command(flatten)]
    pub cluster: Cluster,
    /// Give up following after this time; the change itself goes on
    #[arg(long, value_name = "SECONDS", default_value_t = 600)]
    pub timeout: u64,
}

/// Carries the command out; true if all is well.
///
/// # Errors
/// No run is found, its controller does not answer or refuses, or the change takes too long.
pub async fn run(options: &Options) -> anyhow::Result<bool> {
    if let Some(Command::RotateRoot(rotate)) = &options.command {
        return rotate_root(rotate).await;
    }
    let status = match &options.cluster.kubeconfig {
        Some(kubeconfig) => certs_cluster::status(&options.cluster, kubeconfig).await?,
        None => status(&options.which.find()?).await?,
    };
    match options.output {
        Output::Json => println!("{}", serde_json::to_string_pretty(&status)?),
        Output::Text => print!("{}", describe(&status, now())),
    }
    Ok(is_well(&status, now()))
}

async fn status(run: &Ready) -> anyhow::Result<CertsStatus> {
    serde_json::from_value(page(run.controller, "/certs").await?).context("the controller's /certs")
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

fn is_well(status: &CertsStatus, now: u64) -> bool {
    let good = |it: &CertificateStatus| it.not_after > now && it.error.is_none();
    status.error.is_none() && status.certificates.iter().all(good)
}

/// The table.
pub fn describe(status: &CertsStatus, now: u64) -> String {
    let mut rows =
        vec![["PROXY", "IDENTITY", "SERIAL", "ISSUER", "NOT AFTER", "LEFT", "RENEWED IN"].map(String::from)];
    for it in &status.certificates {
        let has = !it.serial.is_empty();
        let or_none = |text: String| if has { text } else { "-".to_owned() };
        rows.push([
            it.proxy.clone(),
            or_none(it.id.clone()),
            or_none(it.serial.clone()),
            or_none(it.issuer.clone()),
            or_none(date(it.not_after)),
            if has { left(it.not_after, now) } else { "none".to_owned() },
            or_none(left(it.renew_at, now)),
        ]);
    }
    let widths: Vec<usize> =
        (0..7).map(|column| rows.iter().map(|row| row[column].len()).max().unwrap_or(0)).collect();
    let mut out = format!(
        "trust domain {}, root {}, CA {} until {} ({})\n",
        status.trust_domain,
        roots(status),
        status.issuer,
        date(status.issuer_not_after),
        left(status.issuer_not_after, now)
    );
    for row in &rows {
        let cells: Vec<String> =
            row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}", width = *width)).collect();
        out.push_str(cells.join("  ").trim_end());
        out.push('\n');
    }
    for it in &status.certificates {
        if let Some(error) = &it.error {
            out.push_str(&format!("{}: {error}\n", it.proxy));
        }
    }
    if let Some(error) = &status.error {
        out.push_str(&format!("nothing can be issued now: {error}\n"));
    }
    if let Some(rotation) = &status.rotation {
        out.push_str(&format!("change of root: {}\n", progress(rotation)));
    }
    out
}

fn progress(rotation: &RotationStatus) -> String {
    let waits = match rotation.waits_for.as_slice() {
        [] => String::new(),
        some => format!("; not yet at {}", some.join(", ")),
    };
    format!("step {} of 3: {}{waits}", rotation.step, rotation.what)
}

/// A time in UTC.
pub(super) fn date(unix: u64) -> String {
    let (year, month, day) = civil(unix / 86_400);
    let (hours, minutes, seconds) = (unix / 3_600 % 24, unix / 60 % 60, unix % 60);
    format!("{year:04}-{month:02}-{day:02}T{hours:02}:{minutes:02}:{seconds:02}Z")
}

/// How long until then, in the two largest units.
fn left(until: u64, now: u64) -> String {
    let Some(seconds) = until.checked_sub(now).filter(|seconds| *seconds > 0) else {
        return "expired".to_owned();
    };
    match (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60, seconds % 60) {
        (0, 0, 0, seconds) => format!("{seconds}s"),
        (0, 0, minutes, seconds) => format!("{minutes}m{seconds}s"),
        (0, hours, minutes, _) => format!("{hours}h{minutes}m"),
        (days, hours, _, _) => format!("{days}d{hours}h"),
    }
}

async fn rotate_root(options: &RotateRoot) -> anyhow::Result<bool> {
    if let Some(kubeconfig) = &options.cluster.kubeconfig {
        let (mut said, timeout) = (String::new(), Duration::from_secs(options.timeout));
        let say = |line: &str, rotation: Option<&RotationStatus>| {
            let line = rotation.map_or_else(|| line.to_owned(), progress);
            if line != said {
                println!("{line}");
                said = line;
            }
        };
        certs_cluster::rotate_root(&options.cluster, kubeconfig, timeout, say).await?;
        println!("done: the old root is believed no more");
        return Ok(true);
    }
    let run = options.which.find()?;
    let before = status(&run).await?;
    match (&before.rotation, control::rotate(&run.run_dir).await?) {
        (_, Ok(())) => println!("the change begins; the root until now is {}", roots(&before)),
        (Some(_), Err(_)) => println!("a change of root is under way already: following it"),
        (None, Err(why)) => bail!("{why}"),
    }
    let deadline = tokio::time::Instant::now() + Duration::from_secs(options.timeout);
    let mut said = String::new();
    loop {
        // A controller that is being started again answers soon.
        if let Ok(now) = status(&run).await {
            match &now.rotation {
                None if now.roots != before.roots || now.rotations_finished > before.rotations_finished => {
                    println!("done: the root is {}", roots(&now));
                    return Ok(true);
                }
                None => {}
                Some(rotation) => {
                    let line = progress(rotation);
                    if line != said {
                        println!("{line}");
                        said = line;
                    }
                }
            }
        }
        if tokio::time::Instant::now() > deadline {
            bail!(
                "not done after {} s ({said}); it goes on, and the same command follows it",
                options.timeout
            );
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// The roots that proxies are given, as every output of this command names them: by the start of their fingerprints.
fn roots(status: &CertsStatus) -> String {
    let short = |text: &String| text.get(..16).unwrap_or(text).to_owned();
    let all: Vec<String> = status.roots.iter().map(short).collect();
    if all.is_empty() { "unknown".to_owned() } else { all.join(" and ") }
}
