//! `dromonctl manifest`: what `install` would apply, as YAML or as a Helm chart.

use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;
use dromon_k8s::install::{crds, helm, objects};
use dromon_k8s::{emit, install};

use super::values::ValueArgs;

/// Print the manifests that `install` applies, or write a Helm chart of them
#[derive(Clone, Debug, Args)]
pub struct Options {
    /// Write a Helm chart into this directory; its templates are replaced
    #[arg(long, value_name = "DIR")]
    pub helm: Option<PathBuf>,
    /// Leave the CustomResourceDefinitions out
    #[arg(long, conflicts_with = "helm")]
    pub without_crds: bool,
    /// What to install
    #[command(flatten)]
    pub values: ValueArgs,
}

/// Prints or writes.
///
/// # Errors
/// A value is wrong, or the chart cannot be written.
pub fn run(options: &Options) -> anyhow::Result<()> {
    let values = options.values.read()?;
    match &options.helm {
        Some(directory) => chart(directory, &values),
        None => {
            let crds: Vec<_> = crds::ALL.iter().map(crds::Crd::object).collect();
            let crds = crds.iter().filter(|_| !options.without_crds);
            print!("{}", emit::documents(crds.chain(&objects(&values))));
            Ok(())
        }
    }
}

/// Replaces what a chart of ours consists of; other files are left alone.
fn chart(directory: &Path, values: &install::Values) -> anyhow::Result<()> {
    for below in ["templates", "crds"] {
        let below = directory.join(below);
        if below.exists() {
            std::fs::remove_dir_all(&below).with_context(|| format!("cannot replace {}", below.display()))?;
        }
    }
    for file in helm::chart(values) {
        let path = directory.join(&file.path);
        let written = path.parent().map_or(Ok(()), std::fs::create_dir_all);
        written
            .and_then(|()| std::fs::write(&path, &file.text))
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}
