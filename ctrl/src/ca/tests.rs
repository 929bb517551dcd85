use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use dromon_auth::Identity;
use dromon_auth::plan::rotation::InUse;
use dromon_auth::report::Report;
use tokio::sync::{oneshot, watch};

use super::deliver::{Files, deliver, read};
use super::keeper::{CONTROLLER, Input, Keeper, Setup};
use super::members::{Member, Members, directory};
use super::poll::Asked;
use super::settings::{KeyType, Settings, life};
use super::status::{CertsStatus, Shared};

/// A keeper whose clock the test sets.
struct Mesh {
    keeper: Keeper,
    shared: Shared,
    own: watch::Receiver<Option<Identity>>,
    asked: watch::Receiver<Asked>,
    run_dir: tempfile::TempDir,
    now: f64,
}

fn member(account: &str) -> Member {
    Member { namespace: "default".into(), account: account.into(), admin: None }
}

fn members(accounts: &[&str]) -> Members {
    let of = |account: &&str| (format!("sidecar~{account}.default"), member(account));
    Members { proxies: accounts.iter().map(of).collect(), ..Members::default() }
}

impl Mesh {
    fn new(accounts: &[&str]) -> Mesh {
        let run_dir = tempfile::tempdir().expect("a directory");
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
        let mut mesh = Mesh::in_directory(run_dir, now.as_secs_f64());
        mesh.keeper.take(Input::Members(members(accounts)));
        mesh
    }

    fn in_directory(run_dir: tempfile::TempDir, now: f64) -> Mesh {
        let (own, own_seen) = watch::channel(None);
        let (asked, asked_seen) = watch::channel(Vec::new());
        let shared = Shared::default();
        let setup = Setup {
            settings: Settings { cert_ttl: Duration::from_secs(1_000), ..Settings::default() },
            ca_dir: run_dir.path().join("ca"),
            run_dir: run_dir.path().to_owned(),
            log: Arc::new(|_, _| {}),
            shared: shared.clone(),
            own,
            asked,
        };
        Mesh { keeper: Keeper::new(setup), shared, own: own_seen, asked: asked_seen, run_dir, now }
    }

    /// The same mesh with a controller that was started again.
    fn restarted(self, accounts: &[&str]) -> Mesh {
        let mut mesh = Mesh::in_directory(self.run_dir, self.now);
        mesh.keeper.take(Input::Members(members(accounts)));
        mesh
    }

    fn step_after(&mut self, seconds: f64) -> Duration {
        self.now += seconds;
        self.keeper.step(self.now)
    }

    fn has(&self, account: &str) -> Option<Identity> {
        read(&directory(self.run_dir.path(), &format!("sidecar~{account}.default")))
    }

    fn serial(&self, account: &str) -> String {
        self.has(account).expect("an identity").info().serial.clone()
    }

    fn status(&self) -> CertsStatus {
        self.shared.lock().expect("no panic").clone()
    }

    fn ca_file(&self, name: &str) -> std::path::PathBuf {
        self.run_dir.path().join("ca").join(name)
    }

    /// What the proxies would report if they had taken up their files.
    fn in_use(&self, accounts: &[&str]) -> Vec<InUse> {
        let of = |account: &&str| {
            let report = Report::of(&self.has(account).expect("an identity"));
            InUse {
                proxy: format!("sidecar~{account}.default"),
                roots: report.roots.into_iter().collect(),
                vouched_by: report.identity.and_then(|held| held.root),
            }
        };
        accounts.iter().map(of).collect()
    }

    fn rotate(&mut self) -> Result<(), String> {
        let (answer, mut answered) = oneshot::channel();
        self.keeper.take(Input::Rotate(answer));
        answered.try_recv().expect("answered at once")
    }
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).expect("is there").permissions().mode() & 0o777
}

#[test]
fn each_proxy_gets_its_accounts_identity_and_nobody_else_can_read_it() {
    let mut mesh = Mesh::new(&["reviews", "ratings"]);
    mesh.step_after(0.0);
    let reviews = mesh.has("reviews").expect("an identity");
    assert_eq!(reviews.id().as_str(), "spiffe://cluster.local/ns/default/sa/reviews");
    assert_eq!(mesh.has("ratings").expect("an identity").id().account(), "ratings");
    let own = mesh.own.borrow().clone().expect("the controller's");
    assert_eq!(own.id().as_str(), "spiffe://cluster.local/ns/dromon-system/sa/dromon-controller");
    let place = directory(mesh.run_dir.path(), "sidecar~reviews.default");
    let files = [place.join("key.pem"), place.join("cert-chain.pem"), mesh.ca_file("ca-key.pem")];
    assert_eq!(files.each_ref().map(|file| mode(file)), [0o600; 3]);
    assert_eq!([mode(&place), mode(&mesh.run_dir.path().join("ca"))], [0o700; 2]);
    let status = mesh.status();
    assert_eq!((status.issued, status.failed, status.error), (3, 0, None));
    assert_eq!(status.certificates.len(), 3);
}

#[test]
fn leaves_are_renewed_at_half_of_their_life_and_not_before() {
    let mut mesh = Mesh::new(&["reviews"]);
    mesh.step_after(0.0);
    let first = mesh.serial("reviews");
    let wait = mesh.step_after(400.0);
    assert_eq!(mesh.serial("reviews"), first);
    assert!(wait <= Duration::from_secs(30), "a clock that is set is noticed");
    mesh.step_after(200.0);
    assert_ne!(mesh.serial("reviews"), first);
    assert_eq!(mesh.status().issued, 4);
}

#[test]
fn a_controller_that_was_started_again_goes_on_with_what_was_issued() {
    let mut mesh = Mesh::new(&["reviews"]);
    mesh.step_after(0.0);
    let (serial, root) = (mesh.serial("reviews"), mesh.status().roots);
    let mut mesh = mesh.restarted(&["reviews"]);
    mesh.step_after(10.0);
    assert_eq!((mesh.serial("reviews"), mesh.status().roots, mesh.status().issued), (serial, root, 0));
    assert!(mesh.own.borrow().is_some());
}

#[test]
fn while_the_ca_is_away_what_was_issued_lives_on_and_later_is_renewed() {
    let mut mesh = Mesh::new(&["reviews"]);
    mesh.step_after(0.0);
    let serial = mesh.serial("reviews");
    let (key, hidden) = (mesh.ca_file("ca-key.pem"), mesh.ca_file("hidden"));
    std::fs::rename(&key, &hidden).expect("moves");
    let mut mesh = mesh.restarted(&["reviews"]);
    for _ in 0..6 {
        mesh.step_after(100.0);
    }
    assert_eq!(mesh.serial("reviews"), serial, "past half of its life, and there");
    let error = mesh.status().error.expect("an error");
    assert!(error.contains("has ca-cert.pem but not ca-key.pem"), "{error}");
    std::fs::rename(&hidden, &key).expect("moves");
    mesh.step_after(100.0);
    assert_ne!(mesh.serial("reviews"), serial);
    assert_eq!(mesh.status().error, None);
}

#[test]
fn a_directory_that_cannot_be_written_is_tried_again() {
    let mut mesh = Mesh::new(&["reviews"]);
    let place = directory(mesh.run_dir.path(), "sidecar~reviews.default");
    std::fs::create_dir_all(place.parent().expect("a parent")).expect("made");
    std::fs::write(&place, "in the way").expect("written");
    mesh.step_after(0.0);
    let status = mesh.status();
    let reviews = &status.certificates[1];
    assert!(reviews.error.as_ref().expect("an error").contains("sidecar~reviews.default"), "{reviews:?}");
    assert_eq!((status.failed, reviews.serial.as_str()), (1, ""));
    mesh.step_after(0.0);
    assert_eq!(mesh.status().failed, 1, "not at once");
    std::fs::remove_file(&place).expect("removed");
    mesh.step_after(2.0);
    assert!(mesh.has("reviews").is_some());
    assert_eq!(mesh.status().certificates[1].error, None);
}

#[test]
fn what_belonged_to_a_proxy_goes_with_it() {
    let mut mesh = Mesh::new(&["reviews", "ratings"]);
    mesh.step_after(0.0);
    mesh.keeper.take(Input::Members(members(&["ratings"])));
    mesh.step_after(1.0);
    assert!(!directory(mesh.run_dir.path(), "sidecar~reviews.default").exists());
    assert!(mesh.has("ratings").is_some());
}

#[test]
fn another_account_is_another_certificate() {
    let mut mesh = Mesh::new(&["reviews"]);
    mesh.step_after(0.0);
    let changed: BTreeMap<String, Member> =
        [("sidecar~reviews.default".to_owned(), member("reviews-2"))].into();
    mesh.keeper.take(Input::Members(Members {
        trust_domain: "other.example".into(),
        proxies: changed,
        ..Members::default()
    }));
    mesh.step_after(1.0);
    let id = mesh.has("reviews").expect("an identity").id().to_string();
    assert_eq!(id, "spiffe://other.example/ns/default/sa/reviews-2");
}

#[test]
fn a_root_is_changed_in_three_steps_each_waiting_for_every_proxy() {
    let accounts = ["reviews", "ratings"];
    let mut mesh = Mesh::new(&accounts);
    mesh.step_after(0.0);
    let old = mesh.status().roots;
    assert_eq!(mesh.rotate(), Ok(()));
    assert!(mesh.rotate().expect_err("one at a time").contains("under way"));
    let before = mesh.in_use(&accounts);
    let mut seen = Vec::new();
    for _ in 0..400 {
        mesh.step_after(0.1);
        let Some(rotation) = mesh.status().rotation else { break };
        assert_eq!(mesh.asked.borrow().len(), 2);
        if seen.last() != Some(&rotation.step) {
            // Not before each proxy has it.
            mesh.keeper.take(Input::InUse(vec![before[0].clone(), mesh.in_use(&accounts)[1].clone()]));
            mesh.step_after(0.1);
            let waits = mesh.status().rotation.expect("under way");
            assert_eq!((waits.step, waits.waits_for), (rotation.step, vec![before[0].proxy.clone()]));
            seen.push(rotation.step);
            // A controller that ends in the middle of it goes on where it was.
            mesh = mesh.restarted(&accounts);
            mesh.step_after(0.1);
        }
        let in_use = mesh.in_use(&accounts);
        mesh.keeper.take(Input::InUse(in_use));
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(seen, [1, 2, 3]);
    let new = mesh.status().roots;
    assert!(new.len() == 1 && new != old);
    for account in accounts {
        let identity = mesh.has(account).expect("an identity");
        assert_eq!(identity.check(rustls_pki_types::UnixTime::now()), Ok(()));
        assert_eq!(
            identity.roots().fingerprints().iter().collect::<Vec<_>>(),
            new.iter().collect::<Vec<_>>()
        );
    }
    assert!(mesh.asked.borrow().is_empty());
    assert!(!mesh.ca_file("next").exists() && !mesh.ca_file("rotation.json").exists());
    let mut mesh = mesh.restarted(&accounts);
    mesh.step_after(1.0);
    assert_eq!(mesh.status().roots, new, "the new root is the one that is kept");
}

#[test]
fn a_reader_never_sees_a_chain_with_anothers_key() {
    let mut mesh = Mesh::new(&["reviews"]);
    mesh.step_after(0.0);
    let place = directory(mesh.run_dir.path(), "sidecar~reviews.default");
    let controller = directory(mesh.run_dir.path(), CONTROLLER);
    let texts = |from: &Path| {
        ["cert-chain.pem", "key.pem", "root-cert.pem"]
            .map(|file| std::fs::read_to_string(from.join(file)).expect("is there"))
    };
    let sets = [texts(&place), texts(&controller)];
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for turn in 0..200 {
                let [chain, key, roots] = &sets[turn % 2];
                deliver(&place, &Files { chain, key, roots }).expect("delivered");
            }
            done.store(true, std::sync::atomic::Ordering::SeqCst);
        });
        let mut whole = 0;
        while !done.load(std::sync::atomic::Ordering::SeqCst) {
            let set = place.join(std::fs::read_link(place.join("..data")).expect("always there"));
            let read = |file: &str| std::fs::read(set.join(file));
            // A set may be swept while it is read; then there is a newer one.
            let (Ok(chain), Ok(key), Ok(roots)) =
                (read("cert-chain.pem"), read("key.pem"), read("root-cert.pem"))
            else {
                continue;
            };
            Identity::from_pem(&chain, &key, &roots).expect("they belong together");
            whole += 1;
        }
        assert!(whole > 0);
    });
    let left: Vec<String> = std::fs::read_dir(&place)
        .expect("readable")
        .filter_map(|entry| entry.expect("readable").file_name().into_string().ok())
        .filter(|name| name.starts_with("..") && name != "..data")
        .collect();
    assert_eq!(left.len(), 1, "{left:?}");
}

#[test]
fn lives_are_read_with_their_unit() {
    let seconds = |text: &str| life(text).map(|life| life.as_secs());
    assert_eq!(["24h", "90m", "30s", "90d"].map(seconds), [86_400, 5_400, 30, 7_776_000].map(Ok));
    for text in ["", "24", "h", "-1h", "1w", "3s", "91d", "99999999999999999999d", "ä"] {
        assert!(life(text).is_err(), "{text:?}");
    }
    let settings = Settings { cert_ttl: Duration::from_secs(30), cert_key: KeyType::Rsa, ca_dir: None };
    assert_eq!(settings.options(), ["--cert-ttl", "30s", "--cert-key", "rsa"]);
}

#[test]
fn a_proxy_gets_its_own_view_only() {
    let mut members = members(&["reviews", "ratings"]);
    members.aliases = vec!["old.example".into()];
    let admit = |proxy: &str, id: &str| members.admit(proxy, &id.parse().expect("an id"));
    let reviews = "sidecar~reviews.default";
    assert_eq!(admit(reviews, "spiffe://cluster.local/ns/default/sa/reviews"), Ok(()));
    assert_eq!(admit(reviews, "spiffe://old.example/ns/default/sa/reviews"), Ok(()));
    assert_eq!(
        admit(reviews, "spiffe://cluster.local/ns/default/sa/ratings"),
        Err("spiffe://cluster.local/ns/default/sa/ratings asks as sidecar~reviews.default, which is \
             spiffe://cluster.local/ns/default/sa/reviews"
            .to_owned())
    );
    for (proxy, id) in [
        (reviews, "spiffe://cluster.local/ns/other/sa/reviews"),
        (reviews, "spiffe://evil.example/ns/default/sa/reviews"),
        ("sidecar~nobody.default", "spiffe://cluster.local/ns/default/sa/reviews"),
    ] {
        assert!(admit(proxy, id).is_err(), "{proxy} {id}");
    }
}
