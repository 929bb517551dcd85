//! gateway.networking.k8s.io v1: the kinds of Kubernetes' Gateway API.

mod backend_tls;
mod common;
mod gateway;
mod grant;
mod grpc_route;
mod http_route;
mod stream_route;

pub use backend_tls::*;
pub use common::*;
pub use gateway::*;
pub use grant::*;
pub use grpc_route::*;
pub use http_route::*;
pub use stream_route::*;

/// The API group.
pub const GROUP: &str = "gateway.networking.k8s.io";
/// The name by which GatewayClasses say that Gateways of theirs are ours.
pub const CONTROLLER: &str = "dromon.io/controller";
/// The GatewayClass that an installation brings.
pub const CLASS: &str = "dromon";
