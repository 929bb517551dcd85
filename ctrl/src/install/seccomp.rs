//! `dromonctl install-seccomp`: the profile that allows io_uring onto the nodes, and their label; and out again.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use dromon_k8s::inject::SECCOMP_NODE_LABEL;
use dromon_k8s::install::seccomp;
use serde_json::{Value, json};

use super::ClusterArgs;
use super::apply::Apply;
use super::objects::{Cluster, Id};
use super::values::ValueArgs;

/// Time between two looks.
const PAUSE: Duration = Duration::from_millis(500);

/// Put the seccomp profile that allows io_uring onto the nodes and label them, for `--set seccomp=Localhost`
#[derive(Clone, Debug, Args)]
pub struct Options {
    /// Where kubelets keep their files
    #[arg(long, value_name = "DIR", default_value = seccomp::KUBELET_DIR)]
    pub kubelet_dir: String,
    /// Only say what would be done
    #[arg(long)]
    pub dry_run: bool,
    /// How long to wait until every node has it
    #[arg(long, value_name = "SECONDS", default_value_t = 180)]
    pub timeout: u64,
    /// Where
    #[command(flatten)]
    pub cluster: ClusterArgs,
    /// What: image and seccompProfile count
    #[command(flatten)]
    pub values: ValueArgs,
}

/// Puts the profile onto all nodes, telling each step on standard output. Nodes that join later get the profile by themselves, and
/// their label when this is run again.
///
/// # Errors
/// A value is wrong, the API server refuses, or a node does not get it in time.
pub async fn run(options: &Options) -> anyhow::Result<()> {
    let values = options.values.read()?;
    let cluster = options.cluster.connect().await?;
    let until = Instant::now() + Duration::from_secs(options.timeout);
    let mut apply = Apply { cluster: &cluster, dry_run: options.dry_run };
    for object in seccomp::objects(&values, &options.kubelet_dir) {
        apply.object(&Id::of(&object), &object).await?;
    }
    if options.dry_run {
        println!("nothing was changed (--dry-run)");
        return Ok(());
    }
    rolled_out(&cluster, until).await?;
    for pod in cluster.labelled(&of("v1", "Pod", ""), &format!("app={}", seccomp::NAME)).await? {
        let Some(node) = pod["spec"]["nodeName"].as_str() else { continue };
        label(&cluster, node, json!("true")).await?;
        println!("node/{node} labelled {SECCOMP_NODE_LABEL}=true");
    }
    println!("next: dromonctl install --set seccomp=Localhost, then restart injected workloads");
    Ok(())
}

/// Takes labels, profiles and what put them there away; nothing to do where there are none.
///
/// # Errors
/// The API server refuses, or something stays for too long.
pub async fn remove(cluster: &Cluster, until: Instant) -> anyhow::Result<()> {
    for node in
        cluster.labelled(&Id { namespace: String::new(), ..of("v1", "Node", "") }, SECCOMP_NODE_LABEL).await?
    {
        let name = Id::of(&node).name;
        label(cluster, &name, Value::Null).await?;
        println!("node/{name} label {SECCOMP_NODE_LABEL} removed");
    }
    let daemon_set = of("apps/v1", "DaemonSet", seccomp::NAME);
    let Some(found) = cluster.get(&daemon_set).await? else { return Ok(()) };
    cluster.merge(&daemon_set, &seccomp::removing(&found)).await?;
    rolled_out(cluster, until).await?;
    println!("the seccomp profile is removed from the nodes");
    let namespace = Id { namespace: String::new(), ..of("v1", "Namespace", seccomp::NAMESPACE) };
    super::uninstall::remove(cluster, &namespace).await?;
    super::uninstall::gone(cluster, &namespace, until).await
}

fn of(api_version: &str, kind: &str, name: &str) -> Id {
    Id {
        api_version: api_version.to_owned(),
        kind: kind.to_owned(),
        namespace: seccomp::NAMESPACE.to_owned(),
        name: name.to_owned(),
    }
}

async fn label(cluster: &Cluster, node: &str, value: Value) -> anyhow::Result<()> {
    let id = Id { namespace: String::new(), ..of("v1", "Node", node) };
    cluster.merge(&id, &json!({"metadata": {"labels": {SECCOMP_NODE_LABEL: value}}})).await
}

/// Waits until the DaemonSet's present form has done its work on every node.
async fn rolled_out(cluster: &Cluster, until: Instant) -> anyhow::Result<()> {
    let id = of("apps/v1", "DaemonSet", seccomp::NAME);
    loop {
        let found = cluster.get(&id).await?.unwrap_or_default();
        let count = |field: &str| found["status"][field].as_u64().unwrap_or(0);
        let wanted = count("desiredNumberScheduled");
        let seen =
            count("observedGeneration") >= found["metadata"]["generation"].as_u64().unwrap_or(u64::MAX);
        if seen && count("updatedNumberScheduled") >= wanted && count("numberReady") >= wanted {
            return Ok(());
        }
        if Instant::now() > until {
            let ready = count("numberReady");
            bail!("{ready} of {wanted} nodes are ready; see kubectl -n {} describe pods", seccomp::NAMESPACE);
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// What the DaemonSet's containers do.
#[derive(Clone, Debug, Subcommand)]
pub enum File {
    /// Write the profile
    Put {
        /// Where
        path: PathBuf,
    },
    /// Take it away
    Remove {
        /// Where it is
        path: PathBuf,
    },
    /// Do nothing until asked to end
    Rest,
}

/// Does it.
///
/// # Errors
/// The folder is not writable.
pub async fn file(what: &File) -> anyhow::Result<()> {
    match what {
        File::Put { path } => put(path).with_context(|| format!("cannot write {}", path.display())),
        File::Remove { path } => take_away(path).with_context(|| format!("cannot remove {}", path.display())),
        File::Rest => {
            let mut end = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
            end.recv().await;
            Ok(())
        }
    }
}

/// Whole or not at all: a container that starts meanwhile reads the one or the other.
fn put(path: &Path) -> std::io::Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let new = path.with_extension("new");
    std::fs::write(&new, seccomp::profile().to_string())?;
    std::fs::rename(&new, path)
}

/// With the folder that it was in, if nothing else is there.
fn take_away(path: &Path) -> std::io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    if let Some(folder) = path.parent() {
        let _ = std::fs::remove_dir(folder);
    }
    Ok(())
}
