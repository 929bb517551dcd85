use std::net::SocketAddr;

use super::*;
use crate::refusal::{Offence, Side};

fn refusal(peer: u8, reason: &'static str, at: &str, detail: &str) -> Refusal {
    let ground = Ground { offence: Offence::Handshake, side: Side::Downstream, reason };
    let peer = SocketAddr::from(([127, 0, 0, peer], 4_000));
    Refusal { ground, peer, at: at.into(), detail: detail.to_owned() }
}

#[test]
fn every_kind_place_and_text_has_its_lines() {
    let (mut told, now) = (Told::default(), Instant::now());
    let first = refusal(1, "no_san", "inbound/80", "names nobody");
    for _ in 0..ALIKE_MAX {
        assert!(told.tells(&first, now));
    }
    assert!(!told.tells(&first, now), "alike, and told of often enough");
    assert!(told.tells(&refusal(1, "no_san", "inbound/81", "names nobody"), now), "another listener");
    assert!(told.tells(&refusal(1, "no_san", "inbound/80", "names many"), now), "another text");
    assert!(told.tells(&refusal(2, "no_san", "inbound/80", "names nobody"), now), "another peer");
    assert_eq!(told.summary(now), None, "not before the window ends");
    let end = told.due().expect("something was told");
    let summary = told.summary(end).expect("one was not told");
    assert_eq!(summary, "1 more connections refused in the last 10 s (TLS from clients: no_san 1)");
    assert_eq!(told.due(), None);
    assert!(told.tells(&first, end), "a new window");
    assert_eq!(told.summary(end + WINDOW), None, "all was told");
}

#[test]
fn many_sources_silence_nothing() {
    let (mut told, now) = (Told::default(), Instant::now());
    for peer in 0..DIFFERENT_MAX {
        assert!(told.tells(&refusal(peer as u8, "expired", "inbound/80", ""), now));
    }
    assert!(!told.tells(&refusal(200, "expired", "inbound/80", ""), now));
    assert!(!told.tells(&refusal(200, "wrong_identity", "inbound/80", ""), now));
    let summary = told.summary(now + WINDOW).expect("two were not told");
    assert!(summary.starts_with("2 more connections"), "{summary}");
    assert!(summary.contains("expired 1") && summary.contains("wrong_identity 1"), "{summary}");
}
