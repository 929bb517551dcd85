//! What is remembered of earlier handshakes, so that a later one is short.
//!
//! Resumption skips certificates: a session vouches for what was checked when it began. So everything that such a check
//! depends on (own certificate, roots, trust domains, who is allowed, how TLS is spoken) is part of the key under which
//! sessions are kept, and a change of any of it starts afresh. A configuration that is built again from the same inputs
//! finds its sessions again.

use std::collections::HashMap;
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use aws_lc_rs::digest::{Context, SHA256};
use dromon_core::limits::{TLS_SESSION_KINDS_MAX, TLS_SESSION_NAMES_MAX};
use rustls::client::{ClientSessionMemoryCache, ClientSessionStore};
use rustls::crypto::aws_lc_rs::Ticketer;
use rustls::server::ProducesTickets;

use crate::credential::Credential;
use crate::identity::Identity;
use crate::options::{Options, OptionsError};
use crate::roots::Roots;
use crate::spiffe::Trust;
use crate::verify::Allowed;
use crate::verify::clients::Clients;
use crate::verify::named_servers::Servers;

/// Everything that a session's checks depended on, hashed.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Kind([u8; 32]);

impl Kind {
    pub(crate) fn server(shown: &[u8], clients: &Clients, options: &Options) -> Kind {
        let mut parts = Parts::new("server");
        parts.add(shown).options(options);
        match clients {
            Clients::Anyone => parts.add(b"anyone"),
            Clients::Mesh { roots, trust } => parts.add(b"mesh").roots(roots).trust(trust),
            Clients::Known { roots, names, optional } => {
                parts.add(b"known").roots(roots).add(&[u8::from(*optional)]).texts(names.iter())
            }
        };
        parts.finish()
    }

    pub(crate) fn mesh_client(
        identity: &Identity,
        trust: &Trust,
        allowed: &Allowed,
        options: &Options,
    ) -> Kind {
        let mut parts = Parts::new("mesh client");
        parts
            .add(identity.info().fingerprint.as_bytes())
            .roots(identity.roots())
            .trust(trust)
            .options(options);
        match allowed {
            Allowed::AnyOfMesh => parts.add(b"any"),
            Allowed::Only(ids) => parts.add(b"only").texts(ids.iter().map(|id| id.as_str())),
        };
        parts.finish()
    }

    pub(crate) fn origination(servers: &Servers, credential: Option<&Credential>, options: &Options) -> Kind {
        let mut parts = Parts::new("origination");
        parts.options(options);
        match servers {
            Servers::Web(roots) => parts.add(b"web").roots(roots),
            Servers::Named(roots, names) => parts.add(b"named").roots(roots).texts(names.iter()),
            Servers::Any => parts.add(b"any"),
        };
        parts.texts(credential.iter().map(|credential| &credential.info().fingerprint));
        parts.finish()
    }
}

/// A hash over parts, each with its length before it.
struct Parts(Context);

impl Parts {
    fn new(what: &str) -> Parts {
        let mut parts = Parts(Context::new(&SHA256));
        parts.add(what.as_bytes());
        parts
    }

    fn add(&mut self, part: &[u8]) -> &mut Parts {
        self.0.update(&(part.len() as u64).to_le_bytes());
        self.0.update(part);
        self
    }

    fn texts<'a, T: AsRef<str> + ?Sized + 'a>(
        &mut self,
        texts: impl ExactSizeIterator<Item = &'a T>,
    ) -> &mut Parts {
        self.add(&(texts.len() as u64).to_le_bytes());
        for text in texts {
            self.add(text.as_ref().as_bytes());
        }
        self
    }

    fn roots(&mut self, roots: &Roots) -> &mut Parts {
        self.texts(roots.fingerprints().iter())
    }

    fn trust(&mut self, trust: &Trust) -> &mut Parts {
        for domain in trust.domains() {
            self.add(domain.as_str().as_bytes());
        }
        self.add(b"")
    }

    fn options(&mut self, options: &Options) -> &mut Parts {
        // Only equality within this process matters, so the standard hash will do for what is no secret.
        let mut hasher = DefaultHasher::new();
        options.hash(&mut hasher);
        self.add(&hasher.finish().to_le_bytes())
    }

    fn finish(self) -> Kind {
        let mut kind = [0; 32];
        kind.iter_mut().zip(self.0.finish().as_ref()).for_each(|(to, from)| *to = *from);
        Kind(kind)
    }
}

/// The sessions of a process. One for its life; lasts over changes of configuration.
#[derive(Default)]
pub struct Sessions {
    tickets: Mutex<HashMap<Kind, Weak<dyn ProducesTickets>>>,
    stores: Mutex<HashMap<Kind, Weak<dyn ClientSessionStore>>>,
}

impl Sessions {
    /// Nothing remembered yet.
    pub fn new() -> Sessions {
        Sessions::default()
    }

    /// The tickets of this kind of server; their keys change every six hours. `None` if there are too many kinds.
    pub(crate) fn ticketer(&self, kind: Kind) -> Result<Option<Arc<dyn ProducesTickets>>, OptionsError> {
        let mut failed = None;
        let ticketer = remembered(&self.tickets, kind, || {
            Ticketer::new().map_err(|error| failed = Some(OptionsError::from(error))).ok()
        });
        failed.map_or(Ok(ticketer), Err)
    }

    /// The sessions of this kind of client. `None` if there are too many kinds.
    pub(crate) fn client_store(&self, kind: Kind) -> Option<Arc<dyn ClientSessionStore>> {
        remembered(&self.stores, kind, || {
            Some(Arc::new(ClientSessionMemoryCache::new(TLS_SESSION_NAMES_MAX)))
        })
    }
}

/// The thing of this kind that some configuration still uses, or a new one.
fn remembered<T: ?Sized>(
    map: &Mutex<HashMap<Kind, Weak<T>>>,
    kind: Kind,
    make: impl FnOnce() -> Option<Arc<T>>,
) -> Option<Arc<T>> {
    let mut map = map.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(found) = map.get(&kind).and_then(Weak::upgrade) {
        return Some(found);
    }
    // Sweeping before the map would grow keeps its size within twice what is in use.
    if map.len() == map.capacity() {
        map.retain(|_, thing| thing.strong_count() > 0);
    }
    if map.len() >= TLS_SESSION_KINDS_MAX {
        return None;
    }
    let made = make()?;
    map.insert(kind, Arc::downgrade(&made));
    Some(made)
}

impl fmt::Debug for Sessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sessions")
    }
}

#[cfg(test)]
mod tests;
