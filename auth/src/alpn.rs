//! The protocol names that sidecars speak of in the handshake, as Istio's sidecars do, so that the two can meet.
//!
//! The names say two things: that the client is a mesh peer (and not an application that speaks TLS itself), and which
//! protocol comes next. A server takes the plain names as well.

/// HTTP/2 between sidecars.
pub const MESH_H2: &[u8] = b"istio-h2";
/// HTTP/1.1 between sidecars.
pub const MESH_HTTP11: &[u8] = b"istio-http/1.1";
/// HTTP/1.0 between sidecars.
pub const MESH_HTTP10: &[u8] = b"istio-http/1.0";
/// TCP between sidecars with Istio's exchange of peer metadata first.
pub const MESH_PEER_EXCHANGE: &[u8] = b"istio-peer-exchange";
/// TCP between sidecars.
pub const MESH: &[u8] = b"istio";
/// HTTP/2 (RFC 9113, section 3.2).
pub const H2: &[u8] = b"h2";
/// HTTP/1.1 (RFC 7301, section 6).
pub const HTTP11: &[u8] = b"http/1.1";
/// HTTP/1.0 (RFC 7301, section 6).
pub const HTTP10: &[u8] = b"http/1.0";

/// What a sidecar takes from a client, best first. The exchange of metadata is for those who know nothing else.
pub const MESH_SERVER: &[&[u8]] =
    &[MESH_H2, MESH_HTTP11, MESH_HTTP10, MESH, H2, HTTP11, HTTP10, MESH_PEER_EXCHANGE];
/// What a sidecar offers for TCP.
pub const MESH_TCP_CLIENT: &[&[u8]] = &[MESH];
/// What a sidecar offers for HTTP/1.1; a server that knows only the plain name takes that.
pub const MESH_HTTP1_CLIENT: &[&[u8]] = &[MESH_HTTP11, HTTP11];
/// What a sidecar offers for HTTP/2.
pub const MESH_H2_CLIENT: &[&[u8]] = &[MESH_H2, H2];
/// What a gateway takes from clients of HTTP.
pub const HTTP_SERVER: &[&[u8]] = &[H2, HTTP11, HTTP10];

/// The list as rustls takes it.
pub fn list(names: &[&[u8]]) -> Vec<Vec<u8>> {
    names.iter().map(|name| name.to_vec()).collect()
}
