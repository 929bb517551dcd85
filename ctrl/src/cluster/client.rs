//! The connection to the API server, and its errors in words that say what to do.

use std::path::Path;
use std::time::Duration;

use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};

/// How long a connection may take to be made.
const CONNECT: Duration = Duration::from_secs(5);

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The kubeconfig is of no use.
    #[error("the kubeconfig {path}: {error}")]
    Kubeconfig {
        /// The file.
        path: String,
        /// What is wrong.
        error: kube::config::KubeconfigError,
    },
    /// No kubeconfig was named and this is no pod.
    #[error("this is no pod of a cluster ({0}): name a kubeconfig with --kubeconfig")]
    NoCluster(kube::config::InClusterError),
    /// The client's TLS settings are of no use.
    #[error("cannot make a client: {0}")]
    Client(kube::Error),
}

/// Makes a client: by a kubeconfig's current context, or as the pod that this is. Nothing is asked of the server yet.
///
/// # Errors
/// There is no usable configuration.
pub async fn connect(kubeconfig: Option<&Path>) -> Result<Client, ClientError> {
    let mut config = match kubeconfig {
        Some(path) => {
            let failed = |error| ClientError::Kubeconfig { path: path.display().to_string(), error };
            let read = Kubeconfig::read_from(path).map_err(failed)?;
            let options = KubeConfigOptions::default();
            Config::from_custom_kubeconfig(read, &options).await.map_err(failed)?
        }
        None => Config::incluster().map_err(ClientError::NoCluster)?,
    };
    config.connect_timeout = Some(CONNECT);
    Client::try_from(config).map_err(ClientError::Client)
}

/// The HTTP status of an error that the API server answered with.
pub fn code(error: &kube::Error) -> Option<u16> {
    match error {
        kube::Error::Api(status) => Some(status.code),
        _ => None,
    }
}

/// An error for an operator: what happened and what to do. `verb` and `resource` (`secrets`, `gateways.networking.istio.io`) are what
/// was tried.
pub fn explain(error: &kube::Error, verb: &str, resource: &str) -> String {
    match error {
        kube::Error::Api(status) if status.code == 403 => {
            format!(
                "it may not {verb} {resource}: give its ClusterRole the verb `{verb}` on `{resource}` ({})",
                status.message
            )
        }
        kube::Error::Api(status) if status.code == 401 => {
            format!(
                "the API server does not know it (401): are its service account and token still there? ({})",
                status.message
            )
        }
        kube::Error::Api(status) => {
            format!("the API server refuses to {verb} {resource}: {} ({})", status.message, status.code)
        }
        other => format!("the API server cannot be asked to {verb} {resource}: {}", chain(other)),
    }
}

/// An error with its causes, each once.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        cause = error.source();
    }
    text
}
