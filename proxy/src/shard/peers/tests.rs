use std::sync::Arc;

use dromon_core::limits::PEERS_MAX;

use super::Peers;

#[test]
fn connections_of_one_peer_share_its_name() {
    let peers = Peers::default();
    let (client, server) = ("spiffe://mesh.test/ns/a/sa/b", "spiffe://mesh.test/ns/c/sa/d");
    let ends = peers.ends(client, server, [7; 32]);
    assert!(Arc::ptr_eq(&ends, &peers.ends(client, server, [7; 32])));
    assert_eq!(ends.principals.source, "mesh.test/ns/a/sa/b");
    let hash = "07".repeat(32);
    let told = format!("By=spiffe://mesh.test/ns/c/sa/d;Hash={hash};URI=spiffe://mesh.test/ns/a/sa/b");
    assert_eq!(&*ends.forwarded, told);
    let renewed = peers.ends(client, server, [8; 32]);
    assert!(renewed.forwarded.contains(&"08".repeat(32)), "{}", renewed.forwarded);
    assert!(Arc::ptr_eq(&ends.principals, &renewed.principals), "metrics go on");
}

#[test]
fn many_peers_are_forgotten_in_time() {
    let peers = Peers::default();
    for number in 0..3 * PEERS_MAX {
        peers.ends(&format!("spiffe://mesh.test/ns/a/sa/{number}"), "spiffe://mesh.test/ns/c/sa/d", [0; 32]);
        assert!(peers.0.borrow().len() <= PEERS_MAX);
    }
}
