use std::sync::Arc;

use dromon_core::limits::PEERS_MAX;

use super::Peers;

#[test]
fn connections_of_one_peer_share_its_name() {
    let peers = Peers::default();
    let (client, server) = ("spiffe://mesh.test/ns/a/sa/b", "spiffe://mesh.test/ns/c/sa/d");
    let ends = peers.ends(client, server);
    assert!(Arc::ptr_eq(&ends, &peers.ends(client, server)));
    assert_eq!(ends.principals.source, "mesh.test/ns/a/sa/b");
    assert_eq!(&*ends.forwarded, "By=spiffe://mesh.test/ns/c/sa/d;URI=spiffe://mesh.test/ns/a/sa/b");
}

#[test]
fn many_peers_are_forgotten_in_time() {
    let peers = Peers::default();
    for number in 0..3 * PEERS_MAX {
        peers.ends(&format!("spiffe://mesh.test/ns/a/sa/{number}"), "spiffe://mesh.test/ns/c/sa/d");
        assert!(peers.0.borrow().len() <= PEERS_MAX);
    }
}
