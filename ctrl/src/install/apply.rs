//! Applying and pruning, with a line for each object.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::bail;
use dromon_k8s::install::crds::{self, Crd};
use dromon_k8s::install::names::{INSTALL_LABEL, INSTALL_LABEL_VALUE};
use serde_json::Value;

use super::objects::{Cluster, Id};

/// How long the API server may take to serve a new kind.
const ESTABLISHED: Duration = Duration::from_secs(60);
/// Time between two looks.
const PAUSE: Duration = Duration::from_millis(200);

/// Carries an installation out.
pub struct Apply<'a> {
    /// Where.
    pub cluster: &'a Cluster,
    /// Only say what would be done.
    pub dry_run: bool,
}

impl Apply<'_> {
    /// Applies everything, CustomResourceDefinitions first.
    pub async fn all(&mut self, wanted: &[Value]) -> anyhow::Result<()> {
        let mut missing = BTreeSet::new();
        for crd in crds::ALL {
            if self.crd(crd).await? {
                missing.insert(crd.group);
            }
        }
        if !self.dry_run {
            self.established().await?;
        }
        for object in wanted {
            let id = Id::of(object);
            let group = id.api_version.split('/').next().unwrap_or_default();
            if self.dry_run && missing.contains(group) {
                println!("{id} would be created");
                continue;
            }
            self.object(&id, object).await?;
        }
        Ok(())
    }

    /// Installs a definition where it is missing, and brings ours up to date; whether it was missing.
    async fn crd(&mut self, crd: &Crd) -> anyhow::Result<bool> {
        let object = crd.object();
        let id = Id::of(&object);
        if self.cluster.get(&id).await?.is_some() {
            if crd.is_ours() {
                self.object(&id, &object).await?;
            }
            return Ok(false);
        }
        self.object(&id, &object).await?;
        Ok(true)
    }

    /// Applies one object and says what that changed.
    pub async fn object(&mut self, id: &Id, object: &Value) -> anyhow::Result<()> {
        let before = self.cluster.get(id).await?;
        if self.dry_run && before.is_none() {
            // Its namespace may be missing too, so the server cannot be asked.
            println!("{id} would be created");
            return Ok(());
        }
        let after = self.cluster.apply(id, object, self.dry_run).await?;
        let what = match before {
            None => "created",
            Some(before) if is_same(&before, &after) => "unchanged",
            Some(_) if self.dry_run => "would be changed",
            Some(_) => "changed",
        };
        println!("{id} {what}");
        Ok(())
    }

    /// Waits until the API server serves the kinds that were just defined.
    async fn established(&self) -> anyhow::Result<()> {
        let until = Instant::now() + ESTABLISHED;
        for crd in crds::ALL {
            let id = Id::of(&crd.object());
            while !self.cluster.get(&id).await?.is_some_and(|found| is_established(&found)) {
                if Instant::now() > until {
                    bail!("{id} is not served after {} s", ESTABLISHED.as_secs());
                }
                tokio::time::sleep(PAUSE).await;
            }
        }
        Ok(())
    }

    /// Removes what an earlier installation brought and this one does not.
    pub async fn prune(&mut self, wanted: &[Value]) -> anyhow::Result<()> {
        let keep: BTreeSet<Id> = wanted.iter().map(Id::of).collect();
        for id in installed(self.cluster).await? {
            if keep.contains(&id) {
                continue;
            }
            if self.dry_run {
                println!("{id} would be removed");
            } else if self.cluster.delete(&id).await? {
                println!("{id} removed");
            }
        }
        Ok(())
    }
}

/// Objects that an installation has brought, of every kind that one can bring.
pub(super) async fn installed(cluster: &Cluster) -> anyhow::Result<Vec<Id>> {
    let selector = format!("{INSTALL_LABEL}={INSTALL_LABEL_VALUE}");
    let mut found = Vec::new();
    for kind in dromon_k8s::install::kinds() {
        let like = Id::of(&kind);
        for object in cluster.labelled(&like, &selector).await? {
            let id = Id::of(&object);
            // Lists leave the kind of their items out.
            found.push(Id { api_version: like.api_version.clone(), kind: like.kind.clone(), ..id });
        }
    }
    Ok(found)
}

/// Whether nothing changed, but for what the API server keeps account of itself.
fn is_same(before: &Value, after: &Value) -> bool {
    let bare = |object: &Value| {
        let mut object = object.clone();
        for field in ["managedFields", "resourceVersion", "generation"] {
            object["metadata"][field] = Value::Null;
        }
        // Others write it meanwhile.
        object["status"] = Value::Null;
        object
    };
    bare(before) == bare(after)
}

fn is_established(crd: &Value) -> bool {
    let conditions = crd["status"]["conditions"].as_array();
    conditions.into_iter().flatten().any(|it| it["type"] == "Established" && it["status"] == "True")
}
