//! The feed's messages: Envoy's incremental xDS (`envoy.service.discovery.v3`, Apache-2.0 API), field numbers as
//! published there, restricted to the fields that the feed uses. Service path [`STREAM_PATH`].
//!
//! Kept here and not in generated code because both ends need them and nothing else of that API is used.

/// gRPC path of the one bidirectional stream.
pub const STREAM_PATH: &str =
    "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources";

/// Who asks.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Node {
    /// The proxy's id, e.g. `sidecar~reviews-v2.default`.
    #[prost(string, tag = "1")]
    pub id: String,
    /// The proxy's cluster.
    #[prost(string, tag = "2")]
    pub cluster: String,
}

/// `google.rpc.Status`, as carried by a NACK.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Status {
    /// gRPC code.
    #[prost(int32, tag = "1")]
    pub code: i32,
    /// What was refused and why: one line `<type> <name>: <reason>` per refused resource.
    #[prost(string, tag = "2")]
    pub message: String,
}

/// `google.protobuf.Any`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Any {
    /// One of [`crate::config::model::TYPE_URLS`].
    #[prost(string, tag = "1")]
    pub type_url: String,
    /// JSON of the model's type.
    #[prost(bytes = "bytes", tag = "2")]
    pub value: bytes::Bytes,
}

/// One object at one version.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Resource {
    /// Version of this object; equal versions have equal bodies.
    #[prost(string, tag = "1")]
    pub version: String,
    /// The body.
    #[prost(message, optional, tag = "2")]
    pub resource: Option<Any>,
    /// Name, unique within its type.
    #[prost(string, tag = "3")]
    pub name: String,
}

/// Proxy → controller: subscribe, unsubscribe, ACK (nonce) or NACK (nonce and error).
#[derive(Clone, PartialEq, prost::Message)]
pub struct DeltaRequest {
    /// On the stream's first request only.
    #[prost(message, optional, tag = "1")]
    pub node: Option<Node>,
    /// Type that this message is about.
    #[prost(string, tag = "2")]
    pub type_url: String,
    /// Names wanted from now on; `*` for all of the type.
    #[prost(string, repeated, tag = "3")]
    pub resource_names_subscribe: Vec<String>,
    /// Names not wanted any more.
    #[prost(string, repeated, tag = "4")]
    pub resource_names_unsubscribe: Vec<String>,
    /// After a reconnect: what the proxy has, name → version, so that only differences travel.
    #[prost(map = "string, string", tag = "5")]
    pub initial_resource_versions: std::collections::HashMap<String, String>,
    /// The response that this acknowledges or refuses; empty in a spontaneous request.
    #[prost(string, tag = "6")]
    pub response_nonce: String,
    /// Present in a NACK.
    #[prost(message, optional, tag = "7")]
    pub error_detail: Option<Status>,
}

/// Controller → proxy: what changed.
#[derive(Clone, PartialEq, prost::Message)]
pub struct DeltaResponse {
    /// The store's version that this brings the type to; for people and for `/config`.
    #[prost(string, tag = "1")]
    pub system_version_info: String,
    /// New and changed objects.
    #[prost(message, repeated, tag = "2")]
    pub resources: Vec<Resource>,
    /// Type of all of them.
    #[prost(string, tag = "4")]
    pub type_url: String,
    /// To be echoed in the ACK or NACK.
    #[prost(string, tag = "5")]
    pub nonce: String,
    /// Names that are gone.
    #[prost(string, repeated, tag = "6")]
    pub removed_resources: Vec<String>,
}
