//! The oldest kubelet's version: a pod is injected before anybody knows on which node it will run.

use std::time::Duration;

use dromon_k8s::diagnostic::Severity;
use dromon_k8s::inject::KubernetesVersion;
use k8s_openapi::api::core::v1::Node;
use kube::api::ListParams;
use kube::{Api, Client};
use tokio::sync::watch;

use crate::cluster::client::explain;
use crate::feed::server::Log;

/// Time between two looks; nodes are renewed over hours.
const PERIOD: Duration = Duration::from_secs(60);
/// Wait after a failure.
const RETRY: Duration = Duration::from_secs(2);
/// Nodes of one page.
const PAGE: u32 = 250;

/// Keeps the version; there is none before the first answer.
pub async fn keep(client: Client, known: watch::Sender<Option<KubernetesVersion>>, log: Log) {
    loop {
        let wait = match oldest(&client).await {
            Ok(version) => {
                known.send_replace(Some(version));
                PERIOD
            }
            Err(why) => {
                if known.borrow().is_none() {
                    log(Severity::Warning, format!("webhooks: the kubelets' versions are not known: {why}"));
                }
                RETRY
            }
        };
        tokio::select! {
            () = known.closed() => return,
            () = tokio::time::sleep(wait) => {}
        }
    }
}

/// The oldest kubelet's version; the API server's where there is no node yet.
async fn oldest(client: &Client) -> Result<KubernetesVersion, String> {
    let nodes = Api::<Node>::all(client.clone());
    let mut oldest: Option<KubernetesVersion> = None;
    let mut page = ListParams::default().limit(PAGE);
    loop {
        let list = nodes.list(&page).await.map_err(|error| explain(&error, "list", "nodes"))?;
        for node in &list.items {
            let version = node.status.as_ref().and_then(|status| status.node_info.as_ref());
            let Some(Ok(version)) = version.map(|info| info.kubelet_version.parse()) else { continue };
            oldest = Some(oldest.map_or(version, |oldest| oldest.min(version)));
        }
        match list.metadata.continue_ {
            Some(token) if !token.is_empty() => page = page.continue_token(&token),
            _ => break,
        }
    }
    if let Some(oldest) = oldest {
        return Ok(oldest);
    }
    let server = client.apiserver_version().await.map_err(|error| explain(&error, "get", "/version"))?;
    format!("{}.{}", server.major, server.minor).parse().map_err(|error| format!("{error}"))
}
