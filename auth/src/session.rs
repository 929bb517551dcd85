//! What is remembered of earlier handshakes, so that a later one is short.
//!
//! Resumption skips certificates: a session vouches for what was checked when it began. So everything that such a check
//! depends on (own certificate, roots, trust domains, who is allowed, how TLS is spoken) is part of the key under which
//! sessions are kept, and a change of any of it starts afresh. A configuration that is built again from the same inputs
//! finds its sessions again.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use aws_lc_rs::digest::{Context, SHA256};
use dromon_core::limits::{TLS_SESSION_NAMES_MAX, TLS_TICKETS};
use rustls::client::Resumption;
use rustls::crypto::aws_lc_rs::Ticketer;
use rustls::server::NoServerSessionStorage;
use rustls::{ClientConfig, ServerConfig};

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
        self.texts(roots.fingerprints().iter()).add(&roots.revocations().len().to_le_bytes());
        roots.revocations().iter().fold(self, |parts, list| parts.add(list))
    }

    fn trust(&mut self, trust: &Trust) -> &mut Parts {
        for domain in trust.domains() {
            self.add(domain.as_str().as_bytes());
        }
        self.add(b"")
    }

    fn options(&mut self, options: &Options) -> &mut Parts {
        let Options { min_version, max_version, alpn, cipher_suites, post_quantum } = options;
        self.add(&[*min_version as u8, *max_version as u8, u8::from(*post_quantum)]);
        self.texts(cipher_suites.iter());
        for name in alpn {
            self.add(name);
        }
        self.add(b"")
    }

    fn finish(self) -> Kind {
        let mut kind = [0; 32];
        kind.iter_mut().zip(self.0.finish().as_ref()).for_each(|(to, from)| *to = *from);
        Kind(kind)
    }
}

/// The configurations of a process with their sessions, as long as somebody uses them. One for the process's life.
///
/// Configurations are kept whole: rustls resumes a session only under the very verifier and credential that it began
/// with.
#[derive(Default)]
pub struct Sessions {
    servers: Mutex<HashMap<Kind, Weak<ServerConfig>>>,
    clients: Mutex<HashMap<Kind, Weak<ClientConfig>>>,
}

impl Sessions {
    /// Nothing remembered yet.
    pub fn new() -> Sessions {
        Sessions::default()
    }

    /// The server of this kind that is in use, or a new one with tickets of its own, whose keys change every six hours.
    pub(crate) fn server(
        &self,
        kind: Kind,
        make: impl FnOnce() -> Result<ServerConfig, OptionsError>,
    ) -> Result<Arc<ServerConfig>, OptionsError> {
        remembered(&self.servers, kind, || {
            let mut config = make()?;
            // Sessions live in tickets only. A ticket of another kind of server is not understood, and the client proves
            // itself anew.
            config.session_storage = Arc::new(NoServerSessionStorage {});
            config.ticketer = Ticketer::new()?;
            config.send_tls13_tickets = TLS_TICKETS;
            Ok(config)
        })
    }

    /// The client of this kind that is in use, or a new one with no sessions yet.
    pub(crate) fn client(
        &self,
        kind: Kind,
        make: impl FnOnce() -> Result<ClientConfig, OptionsError>,
    ) -> Result<Arc<ClientConfig>, OptionsError> {
        remembered(&self.clients, kind, || {
            let mut config = make()?;
            config.resumption = Resumption::in_memory_sessions(TLS_SESSION_NAMES_MAX);
            Ok(config)
        })
    }
}

/// The thing of this kind that is still in use somewhere, or a new one.
fn remembered<T>(
    map: &Mutex<HashMap<Kind, Weak<T>>>,
    kind: Kind,
    make: impl FnOnce() -> Result<T, OptionsError>,
) -> Result<Arc<T>, OptionsError> {
    let mut map = map.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(found) = map.get(&kind).and_then(Weak::upgrade) {
        return Ok(found);
    }
    // Sweeping before the map would grow keeps its size within twice what is in use.
    if map.len() == map.capacity() {
        map.retain(|_, thing| thing.strong_count() > 0);
    }
    let made = Arc::new(make()?);
    map.insert(kind, Arc::downgrade(&made));
    Ok(made)
}

impl fmt::Debug for Sessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sessions")
    }
}

#[cfg(test)]
mod tests;
