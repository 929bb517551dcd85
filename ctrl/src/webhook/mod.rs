//! The webhooks that the API server calls: `/inject` gives pods their sidecars, `/validate` looks rules over.
//!
//! Every replica serves them. The server's certificate is issued by the mesh's own CA and replaced while it serves; the
//! bundle by which the API server knows it is put into the webhook configurations and kept there ([`bundle`]).

mod bundle;
mod certificate;
mod inject;
mod kubelets;
mod review;
mod serve;
#[cfg(test)]
mod tests;
mod validate;

use std::sync::Arc;

use dromon_k8s::install::Values;
use dromon_k8s::objects::ObjectSet;
use kube::Client;
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::ca::secrets::keeper::Keeper;
use crate::feed::server::Log;

/// What the webhooks need.
pub struct Setup {
    /// The API server.
    pub client: Client,
    /// Who makes accounts' Secrets, and the server's certificate.
    pub keeper: Keeper,
    /// How pods are injected.
    pub values: Values,
    /// The objects in force.
    pub objects: watch::Receiver<Arc<ObjectSet>>,
    /// Where lines go.
    pub log: Log,
}

/// What requests are answered from.
struct Hooks {
    client: Client,
    keeper: Keeper,
    values: Values,
    objects: watch::Receiver<Arc<ObjectSet>>,
    /// Rules that were admitted just now, which may not be in force yet.
    admitted: validate::Admitted,
    /// The oldest kubelet's version, once it is known.
    kubelets: watch::Receiver<Option<dromon_k8s::inject::KubernetesVersion>>,
    log: Log,
}

/// Serves the webhooks; never returns.
pub async fn run(setup: Setup, listener: TcpListener) {
    let states = setup.keeper.states();
    let (known, kubelets) = watch::channel(None);
    tokio::spawn(kubelets::keep(setup.client.clone(), known, setup.log.clone()));
    tokio::spawn(bundle::keep(setup.client.clone(), states.clone(), setup.log.clone()));
    let configs = certificate::keep(states, setup.log.clone());
    let Setup { client, keeper, values, objects, log } = setup;
    let admitted = validate::Admitted::default();
    let hooks = Hooks { client, keeper, values, objects, admitted, kubelets, log };
    serve::serve(listener, configs, Arc::new(hooks)).await;
}
