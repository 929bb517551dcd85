//! `/inject`: a pod that is about to be created, with its sidecar.

use std::time::Duration;

use dromon_k8s::inject::{self, Config, Outcome, Scope, decision, patch};
use k8s_openapi::api::core::v1::Namespace;
use kube::Api;

use super::Hooks;
use super::review::{Answer, Request};
use crate::cluster::client::explain;

/// How long the first pods after a start wait for what is asked of the cluster once.
const KNOWN: Duration = Duration::from_secs(5);

/// Injects the request's pod.
pub async fn answer(hooks: &Hooks, request: &Request) -> Answer {
    let scope = match scope(hooks, &request.namespace).await {
        Ok(scope) => scope,
        Err(why) => return Answer::refused(format!("dromon cannot inject the pod: {why}")),
    };
    let mut kubelets = hooks.kubelets.clone();
    let known = tokio::time::timeout(KNOWN, kubelets.wait_for(Option::is_some)).await;
    let Some(version) = known.ok().and_then(Result::ok).and_then(|version| *version) else {
        let why = "which versions the kubelets have is not known yet; see the controller's log";
        return Answer::refused(format!("dromon cannot inject the pod: {why}"));
    };
    let config = Config::new(&hooks.values, Some(version));
    match inject::pod(&request.object, &scope, &config) {
        Outcome::Skipped(why @ (decision::Skip::HostNetwork | decision::Skip::Windows)) => {
            Answer { warnings: vec![format!("the pod gets no sidecar: {why}")], ..Answer::default() }
        }
        Outcome::Skipped(_) => Answer::default(),
        Outcome::Refused(why) => Answer::refused(why),
        Outcome::Injected { pod, warnings } => {
            // Without its Secret the pod would wait for a volume; a dry run must leave nothing behind.
            if !request.dry_run {
                let account = inject::service_account(&pod);
                if let Err(why) = hooks.keeper.ensure_account_secret(&request.namespace, account).await {
                    let account = format!("{account} in namespace {}", request.namespace);
                    return Answer::refused(format!(
                        "dromon has no certificate for account {account}: {why}"
                    ));
                }
            }
            Answer { refusal: None, patch: patch::diff(&request.object, &pod), warnings }
        }
    }
}

async fn scope(hooks: &Hooks, namespace: &str) -> Result<Scope, String> {
    let found = Api::<Namespace>::all(hooks.client.clone()).get_opt(namespace).await;
    let found = found.map_err(|error| explain(&error, "get", "namespaces"))?;
    let labels = found.and_then(|found| found.metadata.labels).unwrap_or_default();
    Ok(Scope { namespace: namespace.to_owned(), namespace_labels: Some(labels) })
}
