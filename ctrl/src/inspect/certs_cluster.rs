//! `dromonctl certs` in a cluster: read from the Secrets themselves, so that no way to the controller's pods is needed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;
use dromon_core::rng::Rng;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{ListParams, Patch, PatchParams};
use kube::{Api, Client};
use rustls_pki_types::UnixTime;
use serde_json::json;

use crate::ca::secrets::accounts::{Facts, account_of};
use crate::ca::secrets::state::State;
use crate::ca::secrets::{CA_SECRET, MANAGED, ROTATE, ROTATION_STATUS};
use crate::ca::status::{CertificateStatus, CertsStatus, RotationStatus};
use crate::cluster::client;

/// How often the state of a change is looked at.
const LOOK: Duration = Duration::from_millis(500);
/// Secrets of one page of a list.
const PAGE: u32 = 500;

/// Which cluster.
#[derive(Clone, Debug, Default, Args)]
pub struct Cluster {
    /// Ask this cluster's API server, not a local run
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// The controller's namespace
    #[arg(long, value_name = "NAME", default_value = "dromon-system", requires = "kubeconfig")]
    pub system_namespace: String,
}

/// The certificates of a cluster's accounts.
///
/// # Errors
/// The API server does not answer, or does not let its Secrets be read.
pub async fn status(cluster: &Cluster, kubeconfig: &Path) -> anyhow::Result<CertsStatus> {
    let client = client::connect(Some(kubeconfig)).await?;
    let (secret, state) = authority(&client, cluster).await?;
    let info = state.issuer().info();
    let mut status = CertsStatus {
        issuer: info.subject.clone(),
        issuer_not_after: info.not_after,
        roots: state.bundle_fingerprints(),
        rotation: rotation(&secret, &state),
        ..CertsStatus::default()
    };
    let now = UnixTime::now().as_secs() as f64;
    let mut rng = Rng::new(1);
    let api: Api<Secret> = Api::all(client);
    let mut page = ListParams::default().labels(&format!("{MANAGED}=true")).limit(PAGE);
    loop {
        let found = api.list(&page).await.map_err(|error| refused(&error, "list"))?;
        for secret in &found.items {
            let Some((namespace, account)) = account_of(secret) else { continue };
            let facts = Facts::of(secret, now, &mut rng);
            status.certificates.push(certificate(&namespace, &account, &facts));
        }
        match found.metadata.continue_.filter(|next| !next.is_empty()) {
            Some(next) => page = page.continue_token(&next),
            None => break,
        }
    }
    let domain = status.certificates.iter().find_map(|it| it.id.strip_prefix("spiffe://")?.split('/').next());
    status.trust_domain = domain.unwrap_or_default().to_owned();
    Ok(status)
}

fn certificate(namespace: &str, account: &str, facts: &Facts) -> CertificateStatus {
    let mut certificate =
        CertificateStatus { proxy: format!("{namespace}/{account}"), ..CertificateStatus::default() };
    match &facts.held {
        Err(why) => certificate.error = Some(why.clone()),
        Ok(held) => {
            certificate.renew_at = held.renew_at as u64;
            if let Some(identity) = &held.report.identity {
                certificate.id.clone_from(&identity.id);
                certificate.serial.clone_from(&identity.serial);
                certificate.issuer.clone_from(&identity.issuer);
                (certificate.not_before, certificate.not_after) = (identity.not_before, identity.not_after);
            }
        }
    }
    certificate
}

/// The authority's Secret, and what it holds.
async fn authority(client: &Client, cluster: &Cluster) -> anyhow::Result<(Secret, State)> {
    let namespace = &cluster.system_namespace;
    let api: Api<Secret> = Api::namespaced(client.clone(), namespace);
    let found = api.get_opt(CA_SECRET).await.map_err(|error| refused(&error, "get"))?;
    let secret = found.with_context(|| {
        format!(
            "there is no Secret {CA_SECRET} in {namespace}: is the controller there? (--system-namespace)"
        )
    })?;
    let data = secret.data.clone().unwrap_or_default();
    let state = State::read(&data, UnixTime::now()).with_context(|| format!("the Secret {CA_SECRET}"))?;
    Ok((secret, state))
}

/// How far a change of root is, with what the elected replica has told of it.
fn rotation(secret: &Secret, state: &State) -> Option<RotationStatus> {
    let rotation = state.rotation()?;
    let annotations = secret.metadata.annotations.as_ref();
    let told: Option<RotationStatus> =
        annotations.and_then(|it| it.get(ROTATION_STATUS)).and_then(|text| serde_json::from_str(text).ok());
    let told = told.filter(|told| told.step == rotation.step.number());
    Some(RotationStatus {
        step: rotation.step.number(),
        what: rotation.step.what().to_owned(),
        old: rotation.old.clone(),
        new: rotation.new.clone(),
        waits_for: told.map(|told| told.waits_for).unwrap_or_default(),
    })
}

fn refused(error: &kube::Error, verb: &str) -> anyhow::Error {
    anyhow::anyhow!("{}", client::explain(error, verb, "secrets"))
}

/// Asks for a change of root, and follows it to its end. `say` is told of each step.
///
/// # Errors
/// The API server refuses, or the change takes longer than `timeout`; it goes on.
pub async fn rotate_root(
    cluster: &Cluster,
    kubeconfig: &Path,
    timeout: Duration,
    mut say: impl FnMut(&str, Option<&RotationStatus>),
) -> anyhow::Result<()> {
    let client = client::connect(Some(kubeconfig)).await?;
    let (_, before) = authority(&client, cluster).await?;
    let old = before.current().root_fingerprint();
    if before.rotation().is_some() {
        say("a change of root is under way already: following it", None);
    } else {
        let word = UnixTime::now().as_secs().to_string();
        let patch = json!({"metadata": {"annotations": BTreeMap::from([(ROTATE, word)])}});
        let api: Api<Secret> = Api::namespaced(client.clone(), &cluster.system_namespace);
        let patched = api.patch(CA_SECRET, &PatchParams::default(), &Patch::Merge(patch)).await;
        patched.map_err(|error| refused(&error, "patch"))?;
        say("a change of root is asked for", None);
    }
    let deadline = tokio::time::Instant::now() + timeout;
    loop {
        // An API server that is being started again answers soon.
        if let Ok((secret, state)) = authority(&client, cluster).await {
            match rotation(&secret, &state) {
                None if state.current().root_fingerprint() != old => return Ok(()),
                None => {}
                Some(rotation) => say("", Some(&rotation)),
            }
        }
        if tokio::time::Instant::now() > deadline {
            bail!("not done after {} s; it goes on, and the same command follows it", timeout.as_secs());
        }
        tokio::time::sleep(LOOK).await;
    }
}
