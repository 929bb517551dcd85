//! Objects of any kind at the API server.

use anyhow::{anyhow, bail};
use kube::api::{
    ApiResource, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PropagationPolicy,
};
use kube::core::GroupVersionKind;
use kube::{Api, Client};
use serde_json::Value;

use crate::cluster::client::{code, explain};

/// Who the applied fields belong to.
const FIELD_MANAGER: &str = "dromonctl";

/// The cluster that is worked on.
pub struct Cluster {
    /// The API server.
    pub client: Client,
}

/// What names an object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Id {
    /// `GROUP/VERSION`, or the version alone for Kubernetes' core.
    pub api_version: String,
    /// Its kind.
    pub kind: String,
    /// Empty for objects of the whole cluster.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl std::fmt::Display for Id {
    /// As kubectl names it: `deployment/dromon-controller`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.kind.to_ascii_lowercase(), self.name)
    }
}

impl Id {
    /// The name of a manifest.
    pub fn of(object: &Value) -> Id {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        Id {
            api_version: text(&object["apiVersion"]),
            kind: text(&object["kind"]),
            namespace: text(&object["metadata"]["namespace"]),
            name: text(&object["metadata"]["name"]),
        }
    }

    fn resource(&self) -> ApiResource {
        let (group, version) = self.api_version.split_once('/').unwrap_or(("", &self.api_version));
        ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, &self.kind))
    }

    fn plural(&self) -> String {
        self.resource().plural
    }
}

impl Cluster {
    /// A cluster by its client.
    pub fn new(client: Client) -> Cluster {
        Cluster { client }
    }

    fn api(&self, id: &Id) -> Api<DynamicObject> {
        let resource = id.resource();
        match id.namespace.as_str() {
            "" => Api::all_with(self.client.clone(), &resource),
            namespace => Api::namespaced_with(self.client.clone(), namespace, &resource),
        }
    }

    /// The object; none where it, its namespace or its kind does not exist.
    pub async fn get(&self, id: &Id) -> anyhow::Result<Option<Value>> {
        match self.api(id).get(&id.name).await {
            Ok(found) => Ok(Some(serde_json::to_value(found)?)),
            Err(error) if code(&error) == Some(404) => Ok(None),
            Err(error) => bail!("{id}: {}", explain(&error, "get", &id.plural())),
        }
    }

    /// Applies an object; with `dry_run` nothing comes of it.
    pub async fn apply(&self, id: &Id, object: &Value, dry_run: bool) -> anyhow::Result<Value> {
        let mut how = PatchParams::apply(FIELD_MANAGER).force();
        how.dry_run = dry_run;
        let applied = self.api(id).patch(&id.name, &how, &Patch::Apply(object)).await;
        let applied = applied.map_err(|error| anyhow!("{id}: {}", explain(&error, "patch", &id.plural())))?;
        Ok(serde_json::to_value(applied)?)
    }

    /// Merges fields into an object (RFC 7386).
    pub async fn merge(&self, id: &Id, fields: &Value) -> anyhow::Result<()> {
        let merged = self.api(id).patch(&id.name, &PatchParams::default(), &Patch::Merge(fields)).await;
        merged.map(drop).map_err(|error| anyhow!("{id}: {}", explain(&error, "patch", &id.plural())))
    }

    /// Deletes an object with what depends on it; false where it was not there.
    pub async fn delete(&self, id: &Id) -> anyhow::Result<bool> {
        let how = DeleteParams {
            propagation_policy: Some(PropagationPolicy::Foreground),
            ..DeleteParams::default()
        };
        match self.api(id).delete(&id.name, &how).await {
            Ok(_) => Ok(true),
            Err(error) if code(&error) == Some(404) => Ok(false),
            Err(error) => bail!("{id}: {}", explain(&error, "delete", &id.plural())),
        }
    }

    /// Objects of a kind that have a label; in one namespace, or in all where `like` names none. None of a kind that does not
    /// exist.
    pub async fn labelled(&self, like: &Id, selector: &str) -> anyhow::Result<Vec<Value>> {
        let how = ListParams::default().labels(selector);
        match self.api(like).list(&how).await {
            Ok(list) => list.items.into_iter().map(|item| Ok(serde_json::to_value(item)?)).collect(),
            Err(error) if code(&error) == Some(404) => Ok(Vec::new()),
            Err(error) => bail!("{}", explain(&error, "list", &like.plural())),
        }
    }
}
