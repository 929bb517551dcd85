//! Which connections may serve which requests: those of one destination, with its TLS settings, to one address.

use std::hash::{BuildHasherDefault, Hash, Hasher};
use std::net::SocketAddr;
use std::sync::Arc;

use super::Wanted;
use dromon_core::balance::DestinationState;
use dromon_core::config::model::Discovery;
use dromon_core::config::table::Destination;

/// A destination, by its state, which outlives configuration versions, an address, and how it is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Key {
    destination: usize,
    address: SocketAddr,
    /// The destination as configured, by its address, where it has TLS settings: others are for new connections.
    settings: usize,
    /// The credential that it names, by its address.
    credential: usize,
    /// Which of the proxy's own certificates was in force; see [`Wanted::identity`].
    identity: u32,
    mtls: bool,
}

impl Key {
    pub(super) fn of(wanted: &Wanted<'_>) -> Key {
        let &Wanted { destination, address, identity, mtls, .. } = wanted;
        // A new DNS answer is for new connections: those to the one before serve on (Envoy's logical host).
        let logical =
            |it: &Arc<Destination>| it.model.discovery == Discovery::DnsRoundRobin && it.endpoints.len() == 1;
        let address = match destination.is_some_and(logical) {
            true => SocketAddr::from(([0; 4], 0)),
            false => address,
        };
        let settings = destination.filter(|it| it.model.tls.is_some());
        Key {
            destination: destination.map_or(0, |destination| id(&destination.state)),
            address,
            settings: settings.map_or(0, |it| Arc::as_ptr(&it.model) as usize),
            credential: settings
                .and_then(|it| it.credential.as_ref())
                .map_or(0, |credential| Arc::as_ptr(credential) as usize),
            identity: settings.map_or(0, |_| identity),
            mtls: mtls && settings.is_some(),
        }
    }

    pub(super) fn belongs_to(&self, state: &Arc<DestinationState>) -> bool {
        self.destination == id(state)
    }
}

/// A pool's connections keep the state they were made for alive (see `Upstream`), so no other can take its address.
pub(super) fn id(state: &Arc<DestinationState>) -> usize {
    Arc::as_ptr(state) as usize
}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let address = match self.address {
            SocketAddr::V4(v4) => u64::from(u32::from(*v4.ip())),
            SocketAddr::V6(v6) => {
                let bits = v6.ip().to_bits();
                (bits as u64) ^ (bits >> 64) as u64
            }
        };
        state.write_usize(self.destination);
        state.write_u64(address << 16 ^ u64::from(self.address.port()));
    }
}

/// A multiplicative hasher (Fibonacci hashing). Keys come from configuration, not from clients, so it needs no secret.
#[derive(Default)]
pub(super) struct Multiply(u64);

/// Builds [`Multiply`].
pub(super) type KeyHasher = BuildHasherDefault<Multiply>;

impl Hasher for Multiply {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    fn write_u64(&mut self, word: u64) {
        self.0 = (self.0.rotate_left(5) ^ word).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    }

    fn write_usize(&mut self, word: usize) {
        self.write_u64(word as u64);
    }
}
