//! The authority with a change of root under way ⇄ one Secret.
//!
//! | key | what |
//! |---|---|
//! | `tls.crt` `tls.key` `ca.crt` | the authority: certificate (with those between it and its root), key, root; cert-manager's names |
//! | `next.crt` `next.key` `next-ca.crt` | the one that follows, while the root is changed |
//! | `rotation` | how far the change is, JSON |

use std::collections::BTreeMap;
use std::sync::Arc;

use dromon_auth::TrustDomain;
use dromon_auth::authority::{Authority, AuthorityError};
use dromon_auth::plan::rotation::{Rotation, Step};
use k8s_openapi::ByteString;
use rustls_pki_types::UnixTime;

/// A Secret's content.
pub type Data = BTreeMap<String, ByteString>;

const CURRENT: [&str; 3] = ["tls.crt", "tls.key", "ca.crt"];
const NEXT: [&str; 3] = ["next.crt", "next.key", "next-ca.crt"];
const ROTATION: &str = "rotation";

/// Why a Secret is no authority.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// A part is not there.
    #[error("it has no `{0}`")]
    Missing(&'static str),
    /// The parts are no authority.
    #[error("{0}")]
    Authority(#[from] AuthorityError),
    /// `rotation` cannot be read.
    #[error("its `rotation`: {0}")]
    Rotation(#[from] serde_json::Error),
    /// A change of root is under way, but not with the roots that are there.
    #[error("its `rotation` speaks of other roots: remove `rotation` and `next.*` to give the change up")]
    OtherRoots,
}

/// The authority, and the one that follows. Cheap to clone.
#[derive(Clone, Debug)]
pub struct State {
    current: Arc<Authority>,
    next: Option<(Arc<Authority>, Rotation)>,
}

impl State {
    /// A new root.
    ///
    /// # Errors
    /// The cryptographic library refuses.
    pub fn new(domain: &TrustDomain, now: UnixTime) -> Result<State, StateError> {
        Ok(State { current: Arc::new(Authority::new_root(domain, now)?), next: None })
    }

    /// What a Secret holds.
    ///
    /// # Errors
    /// It is no authority.
    pub fn read(data: &Data, now: UnixTime) -> Result<State, StateError> {
        let current = Arc::new(authority(data, CURRENT, now)?);
        let Some(rotation) = data.get(ROTATION) else { return Ok(State { current, next: None }) };
        let rotation: Rotation = serde_json::from_slice(&rotation.0)?;
        let next = Arc::new(authority(data, NEXT, now)?);
        if rotation.step == Step::Done {
            return Ok(State { current: next, next: None });
        }
        if rotation.old != current.root_fingerprint() || rotation.new != next.root_fingerprint() {
            return Err(StateError::OtherRoots);
        }
        Ok(State { current, next: Some((next, rotation)) })
    }

    /// The Secret that holds it.
    pub fn data(&self) -> Data {
        let mut data = Data::new();
        write(&mut data, CURRENT, &self.current);
        if let Some((next, rotation)) = &self.next {
            write(&mut data, NEXT, next);
            // Fingerprints and a word: nothing that JSON lacks.
            data.insert(ROTATION.to_owned(), ByteString(serde_json::to_vec(rotation).unwrap_or_default()));
        }
        data
    }

    /// The authority that signs now.
    pub fn issuer(&self) -> &Authority {
        match &self.next {
            Some((next, rotation)) if rotation.issuer() == rotation.new => next,
            _ => &self.current,
        }
    }

    /// The roots to believe now, PEM.
    pub fn bundle(&self) -> String {
        let Some((next, rotation)) = &self.next else { return self.current.root_pem() };
        let known = [&self.current, next];
        let pem = |root: &str| known.iter().find(|it| it.root_fingerprint() == root).map(|it| it.root_pem());
        rotation.bundle().into_iter().filter_map(pem).collect()
    }

    /// The fingerprints of the roots to believe now.
    pub fn bundle_fingerprints(&self) -> Vec<String> {
        match &self.next {
            None => vec![self.current.root_fingerprint()],
            Some((_, rotation)) => rotation.bundle().into_iter().map(str::to_owned).collect(),
        }
    }

    /// The change of root under way.
    pub fn rotation(&self) -> Option<&Rotation> {
        self.next.as_ref().map(|(_, rotation)| rotation)
    }

    /// Begins a change to another authority; one below the same root is in force at once.
    pub fn begin(&self, next: Arc<Authority>) -> State {
        let rotation = Rotation::begin(self.current.root_fingerprint(), next.root_fingerprint());
        if rotation.step == Step::Done {
            return State { current: next, next: None };
        }
        State { current: self.current.clone(), next: Some((next, rotation)) }
    }

    /// At a step of the change; after the last, the new authority is the one in force.
    pub fn at(&self, rotation: Rotation) -> State {
        match &self.next {
            Some((next, _)) if rotation.step == Step::Done => State { current: next.clone(), next: None },
            Some((next, _)) => State { current: self.current.clone(), next: Some((next.clone(), rotation)) },
            None => self.clone(),
        }
    }

    /// The authority in force, whatever is to follow.
    pub fn current(&self) -> &Arc<Authority> {
        &self.current
    }

    /// Whether both say the same.
    pub fn is_same(&self, other: &State) -> bool {
        self.data() == other.data()
    }
}

fn authority(
    data: &Data,
    [certificate, key, root]: [&'static str; 3],
    now: UnixTime,
) -> Result<Authority, StateError> {
    let part = |name: &'static str| data.get(name).map(|it| it.0.as_slice()).ok_or(StateError::Missing(name));
    let (chain, key) = (part(certificate)?, part(key)?);
    // cert-manager leaves `ca.crt` out where the issuer is self-signed and nobody said so.
    let root = part(root).unwrap_or(chain);
    Ok(Authority::from_pem(chain, key, chain, root, now)?)
}

fn write(data: &mut Data, [certificate, key, root]: [&str; 3], authority: &Authority) {
    let files = authority.files();
    let chain = if files.chain.is_empty() { files.certificate } else { files.chain };
    let mut put = |name: &str, text: &str| data.insert(name.to_owned(), ByteString(text.as_bytes().to_vec()));
    put(certificate, &chain);
    put(key, &files.key);
    put(root, &files.root);
}
