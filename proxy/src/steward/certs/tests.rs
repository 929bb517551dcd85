use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use dromon_auth::authority::{Authority, KeyKind, Wanted};
use dromon_auth::identity::{CHAIN_FILE, KEY_FILE, ROOTS_FILE};
use dromon_auth::{SpiffeId, TrustDomain};
use rustls::pki_types::UnixTime;
use tokio::sync::mpsc;

use super::{Loaded, load, watch, watch_by};
use crate::steward::event::Event;

fn issue(dir: &std::path::Path, authority: &Authority, account: &str, now: UnixTime) {
    let domain = TrustDomain::new("mesh.test").unwrap();
    let id = SpiffeId::new(&domain, "shop", account).unwrap();
    let wanted = Wanted { id, key: KeyKind::EcdsaP256, life: Duration::from_secs(60) };
    let issued = authority.issue(&wanted, now).unwrap();
    fs::write(dir.join(CHAIN_FILE), issued.chain).unwrap();
    fs::write(dir.join(KEY_FILE), issued.key.as_bytes()).unwrap();
    fs::write(dir.join(ROOTS_FILE), authority.root_pem()).unwrap();
}

fn authority(now: UnixTime) -> Authority {
    Authority::new_root(&TrustDomain::new("mesh.test").unwrap(), now).unwrap()
}

async fn next(told: &mut mpsc::Receiver<Event>) -> Loaded {
    match tokio::time::timeout(Duration::from_secs(20), told.recv()).await.unwrap() {
        Some(Event::Certificates(loaded)) => loaded,
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_is_wrong_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let now = UnixTime::now();
    assert!(load(dir.path(), now).unwrap_err().contains("cert-chain.pem: No such file"));
    let authority = authority(now);
    issue(dir.path(), &authority, "shop", now);
    assert_eq!(load(dir.path(), now).unwrap().id().as_str(), "spiffe://mesh.test/ns/shop/sa/shop");
    let later = UnixTime::since_unix_epoch(Duration::from_secs(now.as_secs() + 3600));
    assert!(load(dir.path(), later).unwrap_err().contains("expired"));
    fs::write(dir.path().join(KEY_FILE), "no key").unwrap();
    assert!(load(dir.path(), now).unwrap_err().contains("private key"));
}

#[tokio::test]
async fn changes_are_told_and_halves_are_not() {
    let dir = tempfile::tempdir().unwrap();
    let now = UnixTime::now();
    let authority = authority(now);
    issue(dir.path(), &authority, "first", now);
    let (events, mut told) = mpsc::channel(4);
    let watching = tokio::spawn(watch(dir.path().to_owned(), events));
    assert!(next(&mut told).await.unwrap().id().as_str().ends_with("first"));
    let key = fs::read(dir.path().join(KEY_FILE)).unwrap();
    fs::write(dir.path().join(KEY_FILE), "half a key").unwrap();
    assert!(next(&mut told).await.unwrap_err().contains("key"));
    fs::write(dir.path().join(KEY_FILE), key).unwrap();
    assert!(next(&mut told).await.is_ok());
    issue(dir.path(), &authority, "second", now);
    assert!(next(&mut told).await.unwrap().id().as_str().ends_with("second"));
    watching.abort();
}

#[tokio::test]
async fn what_was_refused_for_its_time_is_taken_when_its_time_comes() {
    let dir = tempfile::tempdir().unwrap();
    let now = UnixTime::now().as_secs();
    let at = |seconds| UnixTime::since_unix_epoch(Duration::from_secs(seconds));
    let authority = authority(at(now - 86_400));
    issue(dir.path(), &authority, "early", at(now + 86_400));
    let clock = Arc::new(AtomicU64::new(now));
    let (events, mut told) = mpsc::channel(4);
    let of_watch = clock.clone();
    let watching =
        tokio::spawn(watch_by(dir.path().to_owned(), events, move || at(of_watch.load(Ordering::Relaxed))));
    assert!(next(&mut told).await.unwrap_err().contains("not valid yet"));
    clock.store(now + 86_400, Ordering::Relaxed);
    assert!(next(&mut told).await.unwrap().id().as_str().ends_with("early"));
    watching.abort();
}
