//! Asks proxies which certificates they use, while a root is changed.

use std::net::SocketAddr;
use std::sync::mpsc::Sender;
use std::time::Duration;

use dromon_auth::plan::rotation::InUse;
use dromon_auth::report::Report;
use http::Method;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::keeper::Input;
use crate::run::probe;

/// How often is asked.
const PAUSE: Duration = Duration::from_millis(200);
/// How long an answer may take.
const ANSWER: Duration = Duration::from_secs(2);

/// Proxies with where they answer operators.
pub type Asked = Vec<(String, Option<SocketAddr>)>;

/// Asks as long as there is somebody to ask; ends when the keeper does.
pub async fn ask(mut asked: watch::Receiver<Asked>, keeper: Sender<Input>) {
    loop {
        let proxies = asked.borrow_and_update().clone();
        if proxies.is_empty() {
            if asked.changed().await.is_err() {
                return;
            }
            continue;
        }
        let answers = round(proxies).await;
        if keeper.send(Input::InUse(answers)).is_err() {
            return;
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// What each of these uses.
pub async fn round(proxies: Asked) -> Vec<InUse> {
    let mut asking = JoinSet::new();
    for (proxy, admin) in proxies {
        asking.spawn(one(proxy, admin));
    }
    asking.join_all().await
}

/// What one proxy uses; nothing if it does not say.
async fn one(proxy: String, admin: Option<SocketAddr>) -> InUse {
    let mut in_use = InUse { proxy, roots: Default::default(), vouched_by: None };
    let Some(admin) = admin else { return in_use };
    let Ok((200, body)) = probe::http(Method::GET, admin, "/certs", ANSWER).await else { return in_use };
    let Ok(report) = serde_json::from_slice::<Report>(&body) else { return in_use };
    in_use.roots = report.roots.into_iter().collect();
    in_use.vouched_by = report.identity.and_then(|held| held.root);
    in_use
}
