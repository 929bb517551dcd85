//! What is spoken inside mutual TLS, and who counts as whom.

use super::*;

#[test]
fn what_a_client_offers_never_makes_a_port_of_http_raw_tcp() {
    for declared in [Protocol::Http, Protocol::Http2, Protocol::Grpc] {
        for agreed in [None, Some(alpn::MESH), Some(alpn::MESH_H2), Some(alpn::HTTP11)] {
            assert_eq!(inside(declared, agreed), Protocol::Http, "{declared:?} {agreed:?}");
        }
    }
    assert_eq!(inside(Protocol::Auto, Some(alpn::MESH)), Protocol::Tcp);
    assert_eq!(inside(Protocol::Auto, Some(alpn::MESH_PEER_EXCHANGE)), Protocol::Tcp);
    assert_eq!(inside(Protocol::Auto, Some(alpn::MESH_H2)), Protocol::Http);
    assert_eq!(inside(Protocol::Auto, None), Protocol::Auto);
    assert_eq!(inside(Protocol::Tcp, Some(alpn::MESH_H2)), Protocol::Tcp);
}

#[test]
fn only_the_mesh_vouches_for_its_workloads() {
    assert_eq!(vouched(TlsMode::IstioMutual), Vouched::ByMesh);
    for mode in [TlsMode::Simple, TlsMode::Mutual, TlsMode::OptionalMutual] {
        assert_eq!(vouched(mode), Vouched::ByOthers, "{mode:?}");
    }
}
