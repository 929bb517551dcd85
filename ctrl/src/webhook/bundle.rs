//! Keeps the CA bundle of our webhook configurations fresh, so that the API server believes the webhooks' certificate.

use std::time::Duration;

use dromon_k8s::diagnostic::Severity;
use dromon_k8s::install::names::{
    CONTROLLER, INJECTOR_WEBHOOK, INJECTOR_WEBHOOK_ISTIO, SYSTEM_NAMESPACE, VALIDATOR_WEBHOOK,
};
use k8s_openapi::ByteString;
use k8s_openapi::api::admissionregistration::v1::{
    MutatingWebhookConfiguration, ValidatingWebhookConfiguration, WebhookClientConfig,
};
use kube::api::{Patch, PatchParams};
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::ca::secrets::state::State;
use crate::cluster::client::explain;
use crate::feed::server::Log;

/// Time between two looks: how long somebody else's change, or a new installation's configurations, may go unseen.
const PERIOD: Duration = Duration::from_secs(5);

/// A webhook configuration, of either kind.
trait Configuration: Resource<DynamicType = ()> + Clone + DeserializeOwned + std::fmt::Debug {
    /// Plural name of the kind.
    const RESOURCE: &'static str;

    /// Its webhooks: names, and how they are reached.
    fn webhooks(&self) -> Vec<(&str, &WebhookClientConfig)>;
}

impl Configuration for MutatingWebhookConfiguration {
    const RESOURCE: &'static str = "mutatingwebhookconfigurations";

    fn webhooks(&self) -> Vec<(&str, &WebhookClientConfig)> {
        let all = self.webhooks.as_deref().unwrap_or_default();
        all.iter().map(|hook| (hook.name.as_str(), &hook.client_config)).collect()
    }
}

impl Configuration for ValidatingWebhookConfiguration {
    const RESOURCE: &'static str = "validatingwebhookconfigurations";

    fn webhooks(&self) -> Vec<(&str, &WebhookClientConfig)> {
        let all = self.webhooks.as_deref().unwrap_or_default();
        all.iter().map(|hook| (hook.name.as_str(), &hook.client_config)).collect()
    }
}

/// Looks at the configurations whenever the bundle changes, and every few seconds.
pub async fn keep(client: Client, mut states: watch::Receiver<Option<State>>, log: Log) {
    let mut last_error = String::new();
    loop {
        let bundle = states.borrow_and_update().as_ref().map(State::bundle);
        if let Some(bundle) = bundle {
            let error = match freshen(&client, &ByteString(bundle.into_bytes())).await {
                Ok(()) => String::new(),
                Err(error) => error,
            };
            if error != last_error && !error.is_empty() {
                log(Severity::Warning, format!("webhooks: the CA bundle is not kept fresh: {error}"));
            }
            last_error = error;
        }
        tokio::select! {
            changed = states.changed() => if changed.is_err() { return },
            () = tokio::time::sleep(PERIOD) => {}
        }
    }
}

async fn freshen(client: &Client, bundle: &ByteString) -> Result<(), String> {
    for name in [INJECTOR_WEBHOOK, INJECTOR_WEBHOOK_ISTIO] {
        freshen_one(&Api::<MutatingWebhookConfiguration>::all(client.clone()), name, bundle).await?;
    }
    freshen_one(&Api::<ValidatingWebhookConfiguration>::all(client.clone()), VALIDATOR_WEBHOOK, bundle).await
}

async fn freshen_one<K: Configuration>(api: &Api<K>, name: &str, bundle: &ByteString) -> Result<(), String> {
    let found = api.get_opt(name).await.map_err(|error| explain(&error, "get", K::RESOURCE))?;
    let Some(patch) = found.as_ref().and_then(|found| patch(found, bundle)) else { return Ok(()) };
    let written = api.patch(name, &PatchParams::default(), &Patch::Strategic(patch)).await;
    written.map(drop).map_err(|error| explain(&error, "patch", K::RESOURCE))
}

/// What brings the bundle of our webhooks up to date; none if it is. Others' webhooks in it are left alone.
fn patch<K: Configuration>(found: &K, bundle: &ByteString) -> Option<Value> {
    let is_ours = |config: &WebhookClientConfig| {
        config.service.as_ref().is_some_and(|it| it.name == CONTROLLER && it.namespace == SYSTEM_NAMESPACE)
    };
    let stale: Vec<Value> = found
        .webhooks()
        .into_iter()
        .filter(|(_, config)| is_ours(config) && config.ca_bundle.as_ref() != Some(bundle))
        .map(|(name, _)| json!({"name": name, "clientConfig": {"caBundle": bundle}}))
        .collect();
    (!stale.is_empty()).then(|| json!({"webhooks": stale}))
}
