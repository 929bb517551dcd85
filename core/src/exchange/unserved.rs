//! A sidecar's word that its application never saw a request: it could not be connected to.
//!
//! A pod that ends closes its application's port before every caller has heard of it. Its sidecar still answers, and only it
//! knows that the request may go elsewhere whatever its method. It says so with the address that the caller had asked: who
//! passes an answer on from further behind names another one, so nobody speaks but for himself.

use std::net::SocketAddr;

use super::{Exchange, Input};
use crate::fault::{Reason, RetryClass};

/// The field, with the address that was asked (`10.1.2.3:9080`).
pub const UNSERVED: &str = "x-dromon-unserved";

/// Status of such an answer.
const STATUS: u16 = 503;
/// The same to callers of gRPC: UNAVAILABLE.
const GRPC_STATUS: u8 = 14;

/// Whether an answer made here, for the application, says that this has not seen the request.
pub fn tells(reason: Reason) -> bool {
    reason.facts().retry == RetryClass::NotProcessed
}

impl Exchange {
    /// What a final head means: an answer, or that the endpoint's sidecar could not reach its application, which is as if there
    /// had been no connection. `unserved` is looked up only where it can be.
    pub fn head<'a>(
        &self,
        status: u16,
        grpc_status: Option<u8>,
        replayable: bool,
        unserved: impl FnOnce() -> Option<&'a [u8]>,
    ) -> Input {
        let may_be = status == STATUS || grpc_status == Some(GRPC_STATUS);
        let asked = || self.endpoint().map(|endpoint| endpoint.address);
        let told = || std::str::from_utf8(unserved()?).ok()?.parse::<SocketAddr>().ok();
        if may_be && told().is_some_and(|told| asked() == Some(told)) {
            let (request_bytes_sent, connection_reused) = (true, false);
            let reason = Reason::ConnectFailed;
            return Input::AttemptFailed { reason, request_bytes_sent, connection_reused, replayable };
        }
        Input::ResponseHead { status, grpc_status, replayable }
    }
}
