//! Who gets a connection.

use super::*;

fn loads(siblings: &Siblings) -> Vec<u64> {
    siblings.loads.iter().map(|load| load.0.load(Ordering::Relaxed)).collect()
}

/// A shard takes what it accepts, or says where it goes.
fn accept(siblings: &Siblings) {
    if siblings.choose().is_none() {
        siblings.enter();
    }
}

#[test]
fn a_few_connections_are_spread_evenly_wherever_they_come_in() {
    let shards = introduce(4);
    for _ in 0..16 {
        accept(&shards[0].0);
    }
    let counts = loads(&shards[0].0);
    assert_eq!(counts.iter().sum::<u64>(), 16);
    assert!(counts.iter().all(|count| (3..=5).contains(count)), "{counts:?}");
}

#[test]
fn many_connections_are_handed_over_only_where_it_matters() {
    let shards = introduce(2);
    for (shard, count) in [(0, 1_000), (1, 900)] {
        (0..count).for_each(|_| shards[shard].0.enter());
    }
    assert_eq!(shards[0].0.choose(), None, "within an eighth");
    (0..100).for_each(|_| shards[0].0.enter());
    assert_eq!(shards[0].0.choose(), Some(ShardId(1)));
    assert_eq!(shards[1].0.choose(), None);
}

#[test]
fn one_shard_keeps_everything() {
    let shards = introduce(1);
    (0..10).for_each(|_| accept(&shards[0].0));
    assert_eq!(loads(&shards[0].0), [10]);
}

#[test]
fn a_full_door_gives_the_socket_back() {
    let shards = introduce(2);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let handover =
        || Handover { listener: "a".into(), socket: TcpStream::connect(address).unwrap(), peer: address };
    let (siblings, _) = &shards[0];
    siblings.enter();
    siblings.enter();
    let to = siblings.choose().unwrap();
    for _ in 0..HANDOVERS_MAX {
        assert!(siblings.hand_over(to, handover()).is_ok());
    }
    assert_eq!(loads(siblings), [2, 1]);
    assert!(siblings.hand_over(to, handover()).is_err());
    assert_eq!(loads(siblings), [2, 0], "counted where it stays");
}
