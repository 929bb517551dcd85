//! At which address each Gateway is served: that of the installed gateway, or one of its own.
//!
//! What hangs on one Gateway must not be served at another's address. A port of the installed gateway's Service is therefore the
//! oldest Gateway's that names it; a newer one gets a Service of its own before the same pods, where its ports lead to ports
//! that nobody else has. So does one with a port that the installed Service lacks. It keeps that Service as long as it lives, so
//! that its address stays whatever becomes of the reason.
//!
//! Which Gateways need one, and what their Services are called, follows from the objects alone: so whoever makes the Services,
//! the pods that open the ports and the statuses agree without a word.

use std::collections::{BTreeMap, BTreeSet};

use crate::install::names::GATEWAY;
use crate::objects::Key;

use super::{Gateway, Known};

/// What names of such Services begin with.
const PREFIX: &str = "dromon-gateway-";
/// Longest part of a Gateway's own name in its Service's, so that the whole is a label of DNS (63 characters).
const NAME_MAX: usize = 38;

/// The name of the Service that is a Gateway's own, in the namespace of the installed gateway.
pub fn service_name(gateway: &Key) -> String {
    let name: String =
        gateway.name.chars().take(NAME_MAX).map(|it| if it == '.' { '-' } else { it }).collect();
    let step = |hash: u32, byte: u8| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193);
    // FNV-1a of 32 bits: tells Gateways of one name apart, the same in every replica and version.
    let hash = format!("{}/{}", gateway.namespace, gateway.name).bytes().fold(0x811c_9dc5, step);
    format!("{PREFIX}{name}-{hash:08x}")
}

/// Whether a Service of the installed gateway's namespace is some Gateway's own, by its name.
pub fn is_own(service: &str) -> bool {
    let hash = service.strip_prefix(PREFIX).and_then(|it| it.rsplit_once('-')).map(|(_, hash)| hash);
    hash.is_some_and(|it| it.len() == 8 && it.bytes().all(|it| it.is_ascii_hexdigit()))
}

/// Gives Gateways, oldest first, their addresses. `root` is the namespace of the installed gateway.
pub(super) fn settle(gateways: &mut [Gateway], known: Known<'_>, root: &str) {
    let mut taken: BTreeSet<u16> = BTreeSet::new();
    let installed = known.service(GATEWAY, root);
    let has_all = |ports: &BTreeSet<u16>| {
        let has = |port: &u16| installed.is_none_or(|it| it.ports.iter().any(|it| it.number == *port));
        ports.iter().all(has)
    };
    for gateway in gateways.iter_mut().filter(|it| it.accepted.holds) {
        let name = service_name(&gateway.key);
        let ports: BTreeSet<u16> = gateway.served_ports().keys().copied().collect();
        let has_one = known.service(&name, root).is_some();
        if has_one || !taken.is_disjoint(&ports) || !has_all(&ports) {
            gateway.own_service = Some(name);
        } else {
            taken.extend(ports);
        }
    }
}

impl Gateway {
    /// The ports of its listeners that can be served, with the first such listener's name.
    pub fn served_ports(&self) -> BTreeMap<u16, &str> {
        let mut ports = BTreeMap::new();
        for listener in self.listeners.iter().filter(|it| it.is_served()) {
            ports.entry(listener.port).or_insert(listener.name.as_str());
        }
        ports
    }
}
