use std::cell::Cell;
use std::time::Duration;

use super::*;
use crate::authority::{Authority, KeyKind, Wanted};
use crate::certificate::read_chain;
use crate::testing::{authority, id};

/// Asks whether a chain is believed at this time; how often it was really verified is counted.
struct Asked {
    believed: Believed,
    verified: Cell<u32>,
}

impl Asked {
    fn new() -> Asked {
        Asked { believed: Believed::default(), verified: Cell::new(0) }
    }

    fn ask(&self, chain: &[CertificateDer<'_>], at: UnixTime, good: bool) -> Result<(), &'static str> {
        let (leaf, intermediates) = chain.split_first().expect("a leaf");
        self.believed.or_verify(leaf, intermediates, at, || {
            self.verified.set(self.verified.get() + 1);
            if good { Ok(()) } else { Err("refused") }
        })
    }
}

fn now() -> UnixTime {
    UnixTime::now()
}

fn later(seconds: u64) -> UnixTime {
    UnixTime::since_unix_epoch(Duration::from_secs(now().as_secs() + seconds))
}

/// A chain whose leaf is valid for so many seconds from now.
fn chain(authority: &Authority, seconds: u64) -> Vec<CertificateDer<'static>> {
    let wanted = Wanted { id: id("frontend"), key: KeyKind::EcdsaP256, life: Duration::from_secs(seconds) };
    let issued = authority.issue(&wanted, now()).expect("a leaf");
    let mut chain = read_chain(issued.chain.as_bytes()).expect("a chain");
    chain.truncate(1);
    chain
}

#[test]
fn a_chain_is_verified_once() {
    let (asked, shown) = (Asked::new(), chain(&authority(), 600));
    for _ in 0..3 {
        assert_eq!(asked.ask(&shown, now(), true), Ok(()));
    }
    assert_eq!(asked.verified.get(), 1);
}

#[test]
fn a_chain_that_was_refused_is_verified_again() {
    let (asked, shown) = (Asked::new(), chain(&authority(), 600));
    assert_eq!(asked.ask(&shown, now(), false), Err("refused"));
    assert_eq!(asked.ask(&shown, now(), false), Err("refused"));
    assert_eq!(asked.verified.get(), 2);
}

#[test]
fn nothing_is_believed_outside_the_life_of_every_certificate() {
    let (asked, ca) = (Asked::new(), authority());
    let shown = chain(&ca, 600);
    assert_eq!(asked.ask(&shown, now(), true), Ok(()));
    assert_eq!(asked.ask(&shown, later(601), false), Err("refused"), "after its end");
    let before = UnixTime::since_unix_epoch(Duration::from_secs(now().as_secs() - 3_600));
    assert_eq!(asked.ask(&shown, before, false), Err("refused"), "before its beginning");
    // The shortest life of the chain counts, whichever certificate has it.
    let long = chain(&ca, 6_000);
    let short = chain(&ca, 60);
    let mixed = [long[0].clone(), short[0].clone()];
    assert_eq!(asked.ask(&mixed, now(), true), Ok(()));
    assert_eq!(asked.ask(&mixed, later(61), false), Err("refused"));
}

#[test]
fn every_byte_of_the_chain_counts_and_so_do_its_bounds() {
    let (asked, ca) = (Asked::new(), authority());
    let (one, other) = (chain(&ca, 600), chain(&ca, 600));
    assert_eq!(asked.ask(&one, now(), true), Ok(()));
    assert_eq!(asked.ask(&other, now(), false), Err("refused"), "another leaf");
    assert_eq!(
        asked.ask(&[one[0].clone(), other[0].clone()], now(), false),
        Err("refused"),
        "a longer chain"
    );
    let mut changed = one[0].to_vec();
    *changed.last_mut().expect("bytes") ^= 1;
    assert_eq!(asked.ask(&[changed.into()], now(), false), Err("refused"), "a changed signature");
    let joined: Vec<u8> = one[0].iter().chain(other[0].iter()).copied().collect();
    assert_ne!(digest(&joined.into(), &[]), digest(&one[0], &other[..1]));
}

#[test]
fn memory_is_bounded() {
    let (asked, ca) = (Asked::new(), authority());
    for _ in 0..TLS_BELIEVED_CHAINS_MAX + 8 {
        assert_eq!(asked.ask(&chain(&ca, 600), now(), true), Ok(()));
    }
    assert_eq!(asked.believed.chains.lock().expect("unlocked").len(), TLS_BELIEVED_CHAINS_MAX);
}
