//! Counts and pins for several machines.

use super::*;

fn machine(processors: usize, quota: Option<usize>) -> Machine {
    Machine { processors: (0..processors).collect(), quota }
}

#[test]
fn a_sidecar_floats_and_stays_small() {
    assert_eq!(plan(None, &Pin::Auto, false, &machine(8, None)), [None, None]);
    assert_eq!(plan(None, &Pin::Auto, false, &machine(8, Some(1))), [None]);
}

#[test]
fn a_gateway_has_a_shard_on_each_processor() {
    assert_eq!(plan(None, &Pin::Auto, true, &machine(3, None)), [Some(0), Some(1), Some(2)]);
    assert_eq!(plan(None, &Pin::Off, true, &machine(2, None)), [None, None]);
    assert_eq!(plan(Some(4), &Pin::Auto, true, &machine(2, None)), [None; 4]);
    assert_eq!(plan(None, &Pin::Auto, true, &machine(4, Some(2))), [None, None]);
}

#[test]
fn a_list_is_used_in_turn() {
    assert_eq!(plan(Some(3), &Pin::List(vec![1, 5]), false, &machine(8, None)), [Some(1), Some(5), Some(1)]);
}
