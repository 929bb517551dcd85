//! The server's certificate: issued by the mesh's CA, replaced at half of its life and whenever the CA changes.

use std::sync::Arc;
use std::time::Duration;

use dromon_auth::credential::Credential;
use dromon_auth::options::Options;
use dromon_auth::tls::server::open_server;
use dromon_k8s::diagnostic::Severity;
use dromon_k8s::install::names::{CONTROLLER, SYSTEM_NAMESPACE};
use rustls::ServerConfig;
use rustls_pki_types::UnixTime;
use tokio::sync::watch;

use crate::ca::secrets::state::State;
use crate::feed::server::Log;

/// Life of a certificate. Short, since nothing but this process uses it.
const LIFE: Duration = Duration::from_secs(24 * 3_600);
/// Wait after a failure to make one.
const RETRY: Duration = Duration::from_secs(5);

/// Keeps a certificate; the receiver has none before the CA is there.
pub fn keep(
    mut states: watch::Receiver<Option<State>>,
    log: Log,
) -> watch::Receiver<Option<Arc<ServerConfig>>> {
    let (sender, receiver) = watch::channel(None);
    tokio::spawn(async move {
        loop {
            let state = states.borrow_and_update().clone();
            let wait = match state.map(|state| config(&state)) {
                None => LIFE,
                Some(Ok(config)) => {
                    sender.send_replace(Some(config));
                    LIFE / 2
                }
                Some(Err(why)) => {
                    log(Severity::Error, format!("webhooks: no certificate can be made: {why}"));
                    RETRY
                }
            };
            tokio::select! {
                changed = states.changed() => if changed.is_err() { return },
                () = tokio::time::sleep(wait) => {}
            }
        }
    });
    receiver
}

fn config(state: &State) -> Result<Arc<ServerConfig>, String> {
    let service = format!("{CONTROLLER}.{SYSTEM_NAMESPACE}");
    let names = [format!("{service}.svc"), format!("{service}.svc.cluster.local"), "localhost".to_owned()];
    let issued = state.issuer().issue_server(&names, LIFE, UnixTime::now());
    let issued = issued.map_err(|error| error.to_string())?;
    let credential = Credential::from_pem(issued.chain.as_bytes(), issued.key.as_bytes());
    let credential = credential.map_err(|error| error.to_string())?;
    open_server(&credential, &Options::public(&[b"http/1.1"])).map_err(|error| error.to_string())
}
