//! PeerAuthentications: what a port of a workload takes from clients, and which object says so.
//!
//! As in Istio: the workload's object before the namespace's before the mesh's (one without a selector in the root
//! namespace), of several at one level the oldest; what one leaves UNSET the next wider says; PERMISSIVE where none says
//! anything. Ports are the workload's own, and single ones are for objects with a selector. Objects with a selector in the
//! root namespace have no effect.

use std::collections::HashMap;

use dromon_core::config::model::MtlsMode;

use crate::api::peer_authentication::{Mode, MutualTls, PeerAuthentication};

use super::Held;
use super::workloads::{Labels, has_all};

/// All of them, indexed.
#[derive(Clone, Debug, Default)]
pub struct PeerAuthentications {
    mesh: Option<Held<PeerAuthentication>>,
    namespaces: HashMap<String, Namespace>,
}

#[derive(Clone, Debug, Default)]
struct Namespace {
    general: Option<Held<PeerAuthentication>>,
    /// Those with a selector, oldest first.
    selecting: Vec<Held<PeerAuthentication>>,
}

/// What holds for a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// What the port takes.
    pub mode: MtlsMode,
    /// The object and field that say so; empty: Istio's default.
    pub origin: String,
}

impl PeerAuthentications {
    /// Indexes objects, given oldest first.
    pub fn new(all: Vec<Held<PeerAuthentication>>, root_namespace: &str) -> PeerAuthentications {
        let mut index = PeerAuthentications::default();
        for held in all {
            let is_root = held.key.namespace == root_namespace;
            match (selector(&held).is_empty(), is_root) {
                (true, true) => _ = index.mesh.get_or_insert(held),
                (true, false) => {
                    let namespace = index.namespaces.entry(held.key.namespace.clone()).or_default();
                    namespace.general.get_or_insert(held);
                }
                (false, true) => {}
                (false, false) => {
                    let namespace = index.namespaces.entry(held.key.namespace.clone()).or_default();
                    namespace.selecting.push(held);
                }
            }
        }
        index
    }

    /// What a port of a workload takes.
    pub fn of(&self, namespace: &str, labels: &Labels, port: u16) -> Decision {
        let namespace = self.namespaces.get(namespace);
        let selecting =
            namespace.and_then(|it| it.selecting.iter().find(|held| has_all(labels, selector(held))));
        if let Some(held) = selecting {
            let single = held.rule.spec.port_level_mtls.get(&port).and_then(|it| set(it.mode));
            if let Some(mode) = single {
                return Decision { mode, origin: format!("{} spec.portLevelMtls.{port}", held.key) };
            }
        }
        let general = namespace.and_then(|it| it.general.as_ref());
        [selecting, general, self.mesh.as_ref()]
            .into_iter()
            .flatten()
            .find_map(whole)
            .unwrap_or(Decision { mode: MtlsMode::Permissive, origin: String::new() })
    }
}

/// What an object says of all ports.
fn whole(held: &Held<PeerAuthentication>) -> Option<Decision> {
    let MutualTls { mode } = held.rule.spec.mtls?;
    Some(Decision { mode: set(mode)?, origin: format!("{} spec.mtls", held.key) })
}

fn set(mode: Mode) -> Option<MtlsMode> {
    match mode {
        Mode::Unset => None,
        Mode::Disable => Some(MtlsMode::Disable),
        Mode::Permissive => Some(MtlsMode::Permissive),
        Mode::Strict => Some(MtlsMode::Strict),
    }
}

/// The labels that an object asks for; empty: none.
pub fn selector(held: &Held<PeerAuthentication>) -> &Labels {
    static NONE: Labels = Labels::new();
    held.rule.spec.selector.as_ref().map_or(&NONE, |it| &it.match_labels)
}

#[cfg(test)]
mod tests;
