//! Keeps the Services of Gateways with an address of their own, as the elected replica.
//!
//! Which there should be is the pure word of [`dromon_k8s::install::gateway_services`] on the latest version and on the Services that
//! the API server has at that moment, so that no two Gateways are ever led to one port.

use std::sync::Arc;
use std::time::Duration;

use dromon_k8s::api::Kind;
use dromon_k8s::diagnostic::Severity;
use dromon_k8s::install::Values;
use dromon_k8s::install::gateway_services::{LABEL, changes};
use dromon_k8s::mesh::gateway_api::addresses::is_own;
use k8s_openapi::api::core::v1::Service;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams};
use kube::{Api, Client};
use tokio::sync::watch;

use super::client;
use crate::feed::server::Log;
use crate::store::oversee::Seen;

/// Who applies.
const MANAGER: &str = "dromon-controller";
/// Pause after something failed.
const AGAIN: Duration = Duration::from_secs(2);

/// The keeper of these Services.
pub struct Gateways {
    /// The API server.
    pub client: Client,
    /// The installed gateway's namespace.
    pub namespace: String,
    /// The installation's values.
    pub values: Values,
    /// Versions to follow.
    pub seen: watch::Receiver<Option<Arc<Seen>>>,
    /// Whether this replica is the elected one.
    pub leads: watch::Receiver<bool>,
    /// Where lines go.
    pub log: Log,
}

impl Gateways {
    /// Works until the process ends.
    pub async fn run(mut self) {
        let mut said: Option<String> = None;
        loop {
            if self.leads.wait_for(|leads| *leads).await.is_err() {
                return;
            }
            let seen = self.seen.borrow_and_update().clone();
            let done = match seen {
                Some(seen) => self.round(&seen).await,
                None => Ok(()),
            };
            let failed = done.is_err();
            let now = done.err();
            if let Some(text) = now.as_ref().filter(|text| said.as_ref() != Some(text)) {
                (self.log)(Severity::Warning, format!("warning: {text}"));
            }
            said = now;
            tokio::select! {
                Ok(()) = self.seen.changed() => {}
                Ok(()) = self.leads.changed() => {}
                () = tokio::time::sleep(AGAIN), if failed => {}
            }
        }
    }

    async fn round(&self, seen: &Seen) -> Result<(), String> {
        let Some(mesh) = &seen.mesh else { return Ok(()) };
        let gateways = &mesh.gateway_api.gateways;
        let mut services = seen.set.of_kind(Kind::Service);
        let some_there = services.any(|it| it.key.namespace == self.namespace && is_own(&it.key.name));
        if !some_there && gateways.iter().all(|it| it.own_service.is_none()) {
            return Ok(());
        }
        let api: Api<Service> = Api::namespaced(self.client.clone(), &self.namespace);
        let failed = |verb: &'static str| move |error| client::explain(&error, verb, "services");
        let there = api.list(&ListParams::default().labels(LABEL)).await.map_err(failed("list"))?.items;
        let changes = changes(gateways, &there, &self.namespace, &self.values);
        for service in &changes.apply {
            let name = service["metadata"]["name"].as_str().unwrap_or_default();
            let how = PatchParams::apply(MANAGER).force();
            api.patch(name, &how, &Patch::Apply(service)).await.map_err(failed("patch"))?;
            let gateway = service["metadata"]["labels"][LABEL].as_str().unwrap_or_default();
            (self.log)(Severity::Info, format!("Service {name} is the address of a Gateway of {gateway}"));
        }
        for name in &changes.remove {
            match api.delete(name, &DeleteParams::default()).await {
                Ok(_) => (self.log)(Severity::Info, format!("Service {name} removed: its Gateway is gone")),
                Err(error) if client::code(&error) == Some(404) => {}
                Err(error) => return Err(failed("delete")(error)),
            }
        }
        Ok(())
    }
}
