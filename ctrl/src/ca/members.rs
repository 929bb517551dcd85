//! Who gets certificates.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use dromon_auth::{SpiffeId, Trust, TrustDomain};
use dromon_core::config::model::TRUST_DOMAIN;

use crate::local::Local;

/// Directory of the proxies' directories in the run directory.
pub const DIRECTORY: &str = "certs";
/// Namespace of the controller's own identity.
pub const CONTROLLER_NAMESPACE: &str = "dromon-system";
/// Account of the controller's own identity.
pub const CONTROLLER_ACCOUNT: &str = "dromon-controller";
/// Account of gateways of a local run.
pub const GATEWAY_ACCOUNT: &str = "default";

/// The proxies that get certificates.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Members {
    /// The mesh's trust domain; empty: the usual one.
    pub trust_domain: String,
    /// Domains whose ids mean the same workloads.
    pub aliases: Vec<String>,
    /// By proxy id (`sidecar~NAME.NAMESPACE`).
    pub proxies: BTreeMap<String, Member>,
}

/// A proxy that gets certificates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its namespace.
    pub namespace: String,
    /// Its service account.
    pub account: String,
    /// Where it answers operators, if that is known.
    pub admin: Option<SocketAddr>,
}

impl Members {
    /// The members of a local run.
    pub fn of(local: &Local, trust_domain: &str, aliases: &[String]) -> Members {
        let mut proxies = BTreeMap::new();
        if let Some(gateway) = &local.gateway {
            let member = Member {
                namespace: gateway.namespace.clone(),
                account: GATEWAY_ACCOUNT.to_owned(),
                admin: gateway.admin,
            };
            proxies.insert(format!("gateway~{}.{}", gateway.name, gateway.namespace), member);
        }
        for workload in &local.workloads {
            let member = Member {
                namespace: workload.namespace.clone(),
                account: workload.service_account.clone(),
                admin: workload.admin,
            };
            proxies.insert(format!("sidecar~{}.{}", workload.name, workload.namespace), member);
        }
        Members { trust_domain: trust_domain.to_owned(), aliases: aliases.to_vec(), proxies }
    }

    /// The trust domain in force.
    ///
    /// # Errors
    /// The mesh's settings name one that cannot be one.
    pub fn domain(&self) -> Result<TrustDomain, String> {
        let name = if self.trust_domain.is_empty() { TRUST_DOMAIN } else { &self.trust_domain };
        TrustDomain::new(name).map_err(|error| error.to_string())
    }

    /// Whose ids are the mesh's.
    ///
    /// # Errors
    /// The mesh's settings name a trust domain that cannot be one.
    pub fn trust(&self) -> Result<Trust, String> {
        let aliases = self.aliases.iter().map(|name| TrustDomain::new(name)).collect::<Result<Vec<_>, _>>();
        Ok(Trust::new(self.domain()?, aliases.map_err(|error| error.to_string())?))
    }

    /// Whether a caller of this identity may have this proxy's view: it has to be the proxy's own.
    ///
    /// # Errors
    /// It may not; says whose it would have to be.
    pub fn admit(&self, proxy: &str, caller: &SpiffeId) -> Result<(), String> {
        let Some(member) = self.proxies.get(proxy) else {
            return Err(format!("{caller} asks as {proxy}, which is no proxy of this mesh"));
        };
        let trust = self.trust()?;
        let own = member.id(trust.domain())?;
        if trust.is_same(&own, caller) {
            return Ok(());
        }
        Err(format!("{caller} asks as {proxy}, which is {own}"))
    }
}

impl Member {
    /// The identity that it gets.
    ///
    /// # Errors
    /// Its namespace or account cannot be in an identity.
    pub fn id(&self, domain: &TrustDomain) -> Result<SpiffeId, String> {
        SpiffeId::new(domain, &self.namespace, &self.account).map_err(|error| error.to_string())
    }
}

/// The directory of a proxy's certificates in a run directory.
pub fn directory(run_dir: &Path, proxy: &str) -> PathBuf {
    run_dir.join(DIRECTORY).join(proxy)
}
