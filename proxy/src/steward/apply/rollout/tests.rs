use super::*;

fn place(name: &str) -> Place {
    Place { name: name.into(), address: "127.0.0.1:1".parse().expect("an address") }
}

#[test]
fn every_shard_must_have_the_table() {
    let mut rollout = Rollout::new(4, 2, &Plan::default());
    rollout.acknowledged(ShardId(0), 4);
    rollout.acknowledged(ShardId(1), 3);
    assert!(!rollout.is_complete(), "an older version is no answer");
    assert_eq!(rollout.awaited(), "table 4 at shard 1");
    rollout.acknowledged(ShardId(1), 4);
    assert!(rollout.is_complete());
}

#[test]
fn sockets_that_wait_for_a_close_are_let_go_once() {
    let plan = Plan { open: vec![], close: vec!["old".into()], open_after_close: vec![place("new")] };
    let mut rollout = Rollout::new(1, 2, &plan);
    rollout.acknowledged(ShardId(0), 1);
    rollout.acknowledged(ShardId(1), 1);
    assert!(rollout.unlistened(ShardId(0), "old").is_empty());
    assert!(!rollout.is_complete());
    assert_eq!(rollout.unlistened(ShardId(1), "old"), [place("new")]);
    rollout.opened("new".into());
    assert!(!rollout.is_complete());
    rollout.listening(ShardId(0), "new");
    rollout.listening(ShardId(1), "new");
    assert!(rollout.is_complete());
    assert!(rollout.unlistened(ShardId(1), "old").is_empty());
}
