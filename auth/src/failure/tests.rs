use std::collections::BTreeSet;

use super::*;

#[test]
fn names_are_stable_and_unlike() {
    let names: BTreeSet<&str> = Reason::ALL.iter().map(|reason| reason.name()).collect();
    assert_eq!(names.len(), Reason::ALL.len());
    assert!(names.iter().all(|name| name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')));
}

#[test]
fn alerts_are_told_in_words() {
    let failure = Failure::of(&rustls::Error::AlertReceived(AlertDescription::UnknownCA));
    assert_eq!(failure.reason, Reason::RefusedByPeer);
    assert!(failure.to_string().starts_with("refused_by_peer: "));
    assert!(failure.detail.contains("does not believe the CA"));
}
