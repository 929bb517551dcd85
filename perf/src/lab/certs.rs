//! The run's identities: a CA of its own, and for each workload the folder of files that a sidecar is given.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};
use dromon_auth::authority::{KeyKind, Wanted};
use dromon_auth::{Authority, SpiffeId, TrustDomain};
use rustls::pki_types::UnixTime;

/// The mesh's trust domain.
const TRUST_DOMAIN: &str = "cluster.local";
/// Life of the certificates; no run takes as long.
const LIFE: Duration = Duration::from_secs(24 * 3600);
/// Who has an identity: both sidecars.
const WORKLOADS: [&str; 2] = ["client", "server"];

/// The SPIFFE id of a workload.
pub fn identity(workload: &str) -> String {
    format!("spiffe://{TRUST_DOMAIN}/ns/default/sa/{workload}")
}

/// Where a workload's files are.
pub fn folder(scratch: &Path, workload: &str) -> PathBuf {
    scratch.join("certs").join(workload)
}

/// Makes a CA and the files of every workload: ECDSA on P-256, as everybody's default is.
pub fn make(scratch: &Path) -> Result<()> {
    let now = UnixTime::since_unix_epoch(SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?);
    let domain = TrustDomain::new(TRUST_DOMAIN)?;
    let authority = Authority::new_root(&domain, now)?;
    for workload in WORKLOADS {
        let id = SpiffeId::new(&domain, "default", workload)?;
        let issued = authority.issue(&Wanted { id, key: KeyKind::EcdsaP256, life: LIFE }, now)?;
        let folder = folder(scratch, workload);
        std::fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
        let root = authority.root_pem();
        for (name, text) in
            [("cert-chain.pem", issued.chain.as_str()), ("key.pem", &issued.key), ("root-cert.pem", &root)]
        {
            std::fs::write(folder.join(name), text).with_context(|| format!("writing {name}"))?;
        }
    }
    Ok(())
}
