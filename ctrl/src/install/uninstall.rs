//! `dromonctl uninstall`: everything out again.

use std::time::{Duration, Instant};

use anyhow::bail;
use clap::Args;
use dromon_k8s::inject::STATUS_ANNOTATION;
use dromon_k8s::install::crds;
use dromon_k8s::install::names::SYSTEM_NAMESPACE;
use serde_json::Value;

use super::apply::installed;
use super::objects::{Cluster, Id};
use super::{ClusterArgs, seccomp};

/// Label of the Secrets that the controller keeps.
const MANAGED: &str = "dromon.io/managed=true";
/// Label of the definitions that an installation has brought.
const PART_OF: &str = "dromon";
/// Time between two looks.
const PAUSE: Duration = Duration::from_millis(500);

/// Remove the mesh from a cluster
#[derive(Clone, Debug, Args)]
pub struct Options {
    /// Remove the CustomResourceDefinitions that an installation has brought even if there are objects of them, with these objects
    #[arg(long)]
    pub purge: bool,
    /// How long to wait until everything is gone
    #[arg(long, value_name = "SECONDS", default_value_t = 180)]
    pub timeout: u64,
    /// Where
    #[command(flatten)]
    pub cluster: ClusterArgs,
}

/// Removes the installation, telling each step on standard output.
///
/// # Errors
/// The API server refuses, or something stays for too long.
pub async fn run(options: &Options) -> anyhow::Result<()> {
    let cluster = options.cluster.connect().await?;
    let until = Instant::now() + Duration::from_secs(options.timeout);
    let mut all = installed(&cluster).await?;
    // First the webhooks, so that nobody waits for an answer that cannot come; then the controller, so that it puts nothing
    // back; the namespace last, with all that is in it.
    all.sort_by_key(|id| rank(&id.kind));
    for id in all.iter().filter(|id| id.kind != "Namespace") {
        remove(&cluster, id).await?;
        if id.kind == "Deployment" {
            gone(&cluster, id, until).await?;
        }
    }
    let secrets = secret("", "");
    for found in cluster.labelled(&secrets, MANAGED).await? {
        let id = Id::of(&found);
        remove(&cluster, &secret(&id.namespace, &id.name)).await?;
    }
    seccomp::remove(&cluster, until).await?;
    definitions(&cluster, options.purge).await?;
    let namespace = id("v1", "Namespace", "", SYSTEM_NAMESPACE);
    remove(&cluster, &namespace).await?;
    gone(&cluster, &namespace, until).await?;
    left(&cluster).await
}

fn rank(kind: &str) -> u8 {
    match kind {
        "MutatingWebhookConfiguration" | "ValidatingWebhookConfiguration" => 0,
        "HorizontalPodAutoscaler" => 1,
        "Deployment" | "DaemonSet" => 2,
        _ => 3,
    }
}

fn id(api_version: &str, kind: &str, namespace: &str, name: &str) -> Id {
    Id {
        api_version: api_version.to_owned(),
        kind: kind.to_owned(),
        namespace: namespace.to_owned(),
        name: name.to_owned(),
    }
}

fn secret(namespace: &str, name: &str) -> Id {
    id("v1", "Secret", namespace, name)
}

/// Deletes an object, and says so if it was there.
pub(super) async fn remove(cluster: &Cluster, id: &Id) -> anyhow::Result<()> {
    if cluster.delete(id).await? {
        let namespace = if id.namespace.is_empty() { "" } else { " in " };
        println!("{id}{namespace}{} removed", id.namespace);
    }
    Ok(())
}

/// Waits until an object is gone.
pub(super) async fn gone(cluster: &Cluster, id: &Id, until: Instant) -> anyhow::Result<()> {
    while cluster.get(id).await?.is_some() {
        if Instant::now() > until {
            bail!("{id} is still there; see its finalizers (kubectl get {id} -n {SYSTEM_NAMESPACE} -o yaml)");
        }
        tokio::time::sleep(PAUSE).await;
    }
    Ok(())
}

/// Removes the definitions that an installation has brought. One of which there are objects stays unless `purge` is given: these
/// are users' rules, and another mesh may follow them too.
async fn definitions(cluster: &Cluster, purge: bool) -> anyhow::Result<()> {
    for crd in crds::ALL {
        let definition = Id::of(&crd.object());
        let Some(found) = cluster.get(&definition).await? else { continue };
        if found["metadata"]["labels"]["app.kubernetes.io/part-of"] != PART_OF {
            continue;
        }
        let version = crd.versions.first().copied().unwrap_or_default();
        let kind = id(&format!("{}/{version}", crd.group), crd.kind, "", "");
        let count = cluster.labelled(&kind, "").await?.len();
        if count > 0 && !purge {
            println!("{definition} stays: there are {count} objects of it (--purge removes both)");
            continue;
        }
        remove(cluster, &definition).await?;
    }
    Ok(())
}

/// Says which pods still have a sidecar: they go on without a controller until they are restarted.
async fn left(cluster: &Cluster) -> anyhow::Result<()> {
    let pods = cluster.labelled(&id("v1", "Pod", "", ""), "security.istio.io/tlsMode=istio").await?;
    let ours = |pod: &&Value| pod["metadata"]["annotations"][STATUS_ANNOTATION].is_string();
    let names: Vec<String> =
        pods.iter().filter(ours).map(Id::of).map(|id| format!("{}/{}", id.namespace, id.name)).collect();
    if names.is_empty() {
        println!("nothing is left");
    } else {
        println!("{} pods still have a sidecar; restart their workloads: {}", names.len(), names.join(", "));
    }
    Ok(())
}
