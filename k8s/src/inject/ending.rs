//! The end of an application: it keeps its port for a moment after its pod is deleted.
//!
//! Kubernetes tells the application to end and everybody else to go elsewhere at the same time, and most applications close their
//! port at once. Whoever has not heard by then is refused. So each container without a `preStop` hook of its own gets one that
//! does nothing for as long as the sidecar drains; kubelet does that itself, so the image needs no program for it.

use serde_json::{Value, json};

/// Seconds that a pod has for its end unless it says otherwise.
const GRACE_DEFAULT_S: u64 = 30;

/// Gives the pod's containers their pause, unless that took more than half of the time that the pod has.
pub(super) fn pause(spec: &mut Value, seconds: u64) {
    let grace = spec["terminationGracePeriodSeconds"].as_u64().unwrap_or(GRACE_DEFAULT_S);
    if seconds == 0 || seconds > grace / 2 {
        return;
    }
    let Some(containers) = spec["containers"].as_array_mut() else { return };
    for container in containers {
        if container["lifecycle"]["preStop"].is_null() {
            super::map(container, "lifecycle")
                .insert("preStop".to_owned(), json!({"sleep": {"seconds": seconds}}));
        }
    }
}
