//! `--set` and `--values`, as every command that renders manifests has them.

use std::path::PathBuf;

use anyhow::Context;
use clap::Args;
use dromon_k8s::install::Values;

/// Values of the installation.
#[derive(Clone, Debug, Default, Args)]
pub struct ValueArgs {
    /// A value, as in controller.replicas=3; docs/kubernetes.md lists them
    #[arg(long = "set", value_name = "PATH=VALUE")]
    pub set: Vec<String>,
    /// A YAML file of values; those of --set come on top
    #[arg(long = "values", value_name = "FILE")]
    pub files: Vec<PathBuf>,
}

impl ValueArgs {
    /// The values, complete.
    ///
    /// # Errors
    /// A file cannot be read, or there is no such value.
    pub fn read(&self) -> anyhow::Result<Values> {
        let mut values = Values::new();
        for file in &self.files {
            let name = file.display();
            let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {name}"))?;
            values.merge_yaml(&text).with_context(|| name.to_string())?;
        }
        for assignment in &self.set {
            values.set(assignment)?;
        }
        Ok(values)
    }
}
