//! Waits until what was installed works, telling what is still missing.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::bail;
use serde_json::Value;

use super::objects::{Cluster, Id};

/// Time between two looks.
const PAUSE: Duration = Duration::from_millis(500);

/// Waits for Deployments to be rolled out and for webhooks to have their CA bundle. An external address of the gateway's
/// Service is not waited for: many clusters give none.
pub async fn wait(cluster: &Cluster, wanted: &[Value], at_most: Duration) -> anyhow::Result<()> {
    let until = Instant::now() + at_most;
    let mut told: BTreeMap<Id, String> = BTreeMap::new();
    loop {
        let mut missing = Vec::new();
        for object in wanted {
            let id = Id::of(object);
            let lacks = match id.kind.as_str() {
                "Deployment" => deployment(cluster, &id).await?,
                "MutatingWebhookConfiguration" | "ValidatingWebhookConfiguration" => {
                    webhooks(cluster, &id).await?
                }
                _ => continue,
            };
            let state = lacks.clone().unwrap_or_else(|| "healthy".to_owned());
            if told.get(&id) != Some(&state) {
                println!("{id}: {state}");
                told.insert(id.clone(), state);
            }
            missing.extend(lacks.map(|lacks| format!("{id}: {lacks}")));
        }
        if missing.is_empty() {
            return Ok(());
        }
        if Instant::now() > until {
            let hint = "kubectl -n dromon-system describe pods, and the pods' logs, say more";
            bail!("not healthy after {} s: {} ({hint})", at_most.as_secs(), missing.join("; "));
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// What a Deployment lacks.
async fn deployment(cluster: &Cluster, id: &Id) -> anyhow::Result<Option<String>> {
    let Some(found) = cluster.get(id).await? else { return Ok(Some("it is gone".to_owned())) };
    let status = &found["status"];
    let count = |value: &Value| value.as_u64().unwrap_or(0);
    let wanted = found["spec"]["replicas"].as_u64().unwrap_or(1);
    let seen = count(&status["observedGeneration"]) >= count(&found["metadata"]["generation"]);
    let (updated, all, available) =
        (count(&status["updatedReplicas"]), count(&status["replicas"]), count(&status["availableReplicas"]));
    if seen && updated >= wanted && all <= updated && available >= wanted {
        return Ok(None);
    }
    let why = waiting(cluster, id).await?.map(|why| format!(" ({why})")).unwrap_or_default();
    Ok(Some(format!("{} of {wanted} replicas are available{why}", available.min(updated))))
}

/// Why a Deployment's pods do not run, where a container says so.
async fn waiting(cluster: &Cluster, id: &Id) -> anyhow::Result<Option<String>> {
    let pods = Id { api_version: "v1".to_owned(), kind: "Pod".to_owned(), ..id.clone() };
    let pods = cluster.labelled(&pods, &format!("app={}", id.name)).await?;
    let reason = |pod: &Value| {
        let lists = ["initContainerStatuses", "containerStatuses"];
        let mut statuses = lists.into_iter().filter_map(|list| pod["status"][list].as_array()).flatten();
        statuses.find_map(|status| {
            let waiting = &status["state"]["waiting"];
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            let told = |reason: &&str| *reason != "PodInitializing" && *reason != "ContainerCreating";
            let reason = waiting["reason"].as_str().filter(told)?;
            Some(format!("{} of {reason} {}", text(&status["name"]), text(&waiting["message"])))
        })
    };
    Ok(pods.iter().find_map(reason).map(|text| format!("container {}", text.trim_end())))
}

async fn webhooks(cluster: &Cluster, id: &Id) -> anyhow::Result<Option<String>> {
    let Some(found) = cluster.get(id).await? else { return Ok(Some("it is gone".to_owned())) };
    let mut hooks = found["webhooks"].as_array().into_iter().flatten();
    let lacks = hooks.any(|hook| hook["clientConfig"]["caBundle"].as_str().is_none_or(str::is_empty));
    Ok(lacks.then(|| "the controller has not put its CA bundle in yet".to_owned()))
}
