//! `dromonctl inject`: the webhook's work on a file.

use std::io::{Read, Write};
use std::path::PathBuf;

use anyhow::Context;
use clap::Args;
use dromon_k8s::inject::{Config, KubernetesVersion, file};

use crate::install::values::ValueArgs;

/// Give the workloads of a file their sidecars, as the webhook would; everything else stays byte for byte as it is
#[derive(Clone, Debug, Args)]
pub struct Options {
    /// The file; - for standard input
    #[arg(short, long, value_name = "FILE")]
    pub filename: PathBuf,
    /// Version of the oldest kubelet that will run the pods; as new as can be unless given
    #[arg(long, value_name = "MAJOR.MINOR")]
    pub kubernetes_version: Option<KubernetesVersion>,
    /// How the mesh is installed
    #[command(flatten)]
    pub values: ValueArgs,
}

/// Prints the file with its workloads injected; what was done to which goes to standard error.
///
/// # Errors
/// The file cannot be read, or a workload must not be injected.
pub fn run(options: &Options) -> anyhow::Result<()> {
    let config = Config::new(&options.values.read()?, options.kubernetes_version);
    let name = options.filename.display();
    let mut text = String::new();
    if options.filename.as_os_str() == "-" {
        std::io::stdin().read_to_string(&mut text).context("cannot read standard input")?;
    } else {
        text = std::fs::read_to_string(&options.filename).with_context(|| format!("cannot read {name}"))?;
    }
    let injected = file::text(&text, &config).with_context(|| format!("{name} is not injected"))?;
    for note in &injected.notes {
        eprintln!("{note}");
    }
    std::io::stdout().write_all(injected.text.as_bytes()).context("cannot write")
}
