//! What statuses say: the pure word of `dromon-k8s` on a version, with what only a cluster knows beside.

use std::sync::Arc;

use super::status::Compute;

/// Computes statuses; `service` in `namespace` is what leads to the gateway from outside.
pub fn compute(_namespace: &str, _service: &str) -> Compute {
    Arc::new(|_, _| Vec::new())
}
