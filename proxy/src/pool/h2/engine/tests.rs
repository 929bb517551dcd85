use dromon_core::limits::{H2_PING_AGAIN_MS, H2_PING_DEADLINE_MS, H2_PING_QUIET_MS};
use dromon_core::time::Tick;

use super::Keepalive;

/// A connection that was heard of last at 0; times are in ms.
fn quiet() -> Keepalive {
    Keepalive { heard: Tick::ZERO, ..Keepalive::of(None) }
}

fn at(millis: u64) -> Tick {
    Tick::from_millis(millis)
}

#[test]
fn a_ping_is_due_after_silence_counted_from_the_last_use() {
    let mut keepalive = quiet();
    assert!(!keepalive.due(Tick::ZERO, at(H2_PING_QUIET_MS - 1)));
    assert!(keepalive.due(Tick::ZERO, at(H2_PING_QUIET_MS)));
    assert!(!keepalive.due(at(1), at(H2_PING_QUIET_MS)), "a stream was opened since");
    keepalive.heard(at(5));
    assert_eq!(keepalive.wake_at(Tick::ZERO), at(5 + H2_PING_QUIET_MS));
}

#[test]
fn a_connection_is_lost_at_the_deadline_unless_the_ping_is_answered() {
    let mut keepalive = quiet();
    keepalive.sent(at(1_000));
    assert!(!keepalive.due(Tick::ZERO, at(100_000)), "one ping at a time");
    assert_eq!(keepalive.wake_at(Tick::ZERO), at(1_000 + H2_PING_DEADLINE_MS));
    assert!(!keepalive.is_lost(at(999 + H2_PING_DEADLINE_MS)));
    assert!(keepalive.is_lost(at(1_000 + H2_PING_DEADLINE_MS)));
    keepalive.answered();
    assert!(!keepalive.is_lost(at(1_000_000)));
}

#[test]
fn servers_see_no_more_pings_than_they_put_up_with() {
    let mut keepalive = quiet();
    keepalive.sent(at(0));
    // The answer itself is no traffic.
    keepalive.heard(at(10));
    keepalive.answered();
    assert_eq!(keepalive.wake_at(Tick::ZERO), at(H2_PING_AGAIN_MS));
    keepalive.heard(at(20));
    assert_eq!(
        keepalive.wake_at(Tick::ZERO),
        at(20 + H2_PING_QUIET_MS),
        "after traffic it may be asked sooner"
    );
}

#[test]
fn pings_that_a_rule_asks_for_come_however_long_there_is_nothing_else() {
    let mut keepalive = Keepalive { always: true, quiet_ms: 2_000, ..quiet() };
    keepalive.sent(at(2_000));
    keepalive.heard(at(2_010));
    keepalive.answered();
    assert_eq!(keepalive.wake_at(Tick::ZERO), at(4_010));
}
