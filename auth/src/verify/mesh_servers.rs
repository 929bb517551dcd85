//! What a sidecar asks of the sidecar that it connects to.

use rustls::Error;
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use super::allowed::Allowed;
use super::peer::workload_of;
use super::servers::{Rule, led_to};
use crate::roots::Roots;
use crate::spiffe::Trust;

/// Takes servers that are workloads of the mesh and may stand behind the service's name. The name asked for plays no
/// part: a workload's certificate has none.
#[derive(Debug)]
pub(crate) struct MeshServers {
    pub(crate) roots: Roots,
    pub(crate) trust: Trust,
    pub(crate) allowed: Allowed,
}

impl Rule for MeshServers {
    fn check(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        now: UnixTime,
    ) -> Result<(), Error> {
        led_to(&self.roots, end_entity, intermediates, now)?;
        Ok(self.allowed.check(&workload_of(end_entity)?, &self.trust)?)
    }
}
