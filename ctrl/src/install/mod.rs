//! `dromonctl install`, `uninstall` and `manifest`: a mesh into a cluster, and out of it again.
//!
//! Objects are applied by the server (server-side apply), so what somebody else has added to them stays, and a second run
//! changes only what differs. What an earlier version installed and this one does not is removed, but for
//! CustomResourceDefinitions: users' rules would go with them.

mod apply;
mod health;
pub mod manifest;
mod objects;
pub mod seccomp;
pub mod uninstall;
pub mod values;

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use dromon_k8s::install;

use crate::cluster::client;
use objects::Cluster;
use values::ValueArgs;

/// Where the cluster is.
#[derive(Clone, Debug, Args)]
pub struct ClusterArgs {
    /// The cluster and who to be there; $KUBECONFIG or ~/.kube/config unless given
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
}

impl ClusterArgs {
    /// The kubeconfig that is meant; none means that of the pod that this runs in.
    fn path(&self) -> Option<PathBuf> {
        let from_env = || std::env::var_os("KUBECONFIG").filter(|it| !it.is_empty()).map(PathBuf::from);
        let home = || std::env::home_dir().map(|home| home.join(".kube/config")).filter(|it| it.exists());
        self.kubeconfig.clone().or_else(from_env).or_else(home)
    }

    async fn connect(&self) -> anyhow::Result<Cluster> {
        Ok(Cluster::new(client::connect(self.path().as_deref()).await?))
    }
}

/// Install the mesh into a cluster, or bring an installation up to date
#[derive(Clone, Debug, Args)]
pub struct Options {
    /// Only say what would be done
    #[arg(long)]
    pub dry_run: bool,
    /// How long to wait until everything is healthy; 0: do not wait
    #[arg(long, value_name = "SECONDS", default_value_t = 300)]
    pub timeout: u64,
    /// Where
    #[command(flatten)]
    pub cluster: ClusterArgs,
    /// What
    #[command(flatten)]
    pub values: ValueArgs,
}

/// Installs, telling each step on standard output.
///
/// # Errors
/// A value is wrong, the API server refuses, or something is not healthy in time.
pub async fn run(options: &Options) -> anyhow::Result<()> {
    let values = options.values.read()?;
    let cluster = options.cluster.connect().await?;
    let wanted = install::objects(&values);
    let mut apply = apply::Apply { cluster: &cluster, dry_run: options.dry_run };
    apply.all(&wanted).await?;
    apply.prune(&wanted).await?;
    if options.dry_run {
        println!("nothing was changed (--dry-run)");
        return Ok(());
    }
    if options.timeout > 0 {
        health::wait(&cluster, &wanted, Duration::from_secs(options.timeout)).await?;
        println!("dromon {} is installed and healthy", env!("CARGO_PKG_VERSION"));
        println!("next: kubectl label namespace NAME dromon.io/inject=enabled, then restart its workloads");
    }
    Ok(())
}
