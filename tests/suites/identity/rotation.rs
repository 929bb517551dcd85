//! Certificates and the root change while requests go through every sidecar of Bookinfo, mutual TLS everywhere.

use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use dromon_tests::load::Load;
use dromon_tests::mesh::{Mesh, Setup};
use dromon_tests::{bin, eventually};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};
use serde_json::Value;

const STRICT: &str = "apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: default, namespace: istio-system}
spec: {mtls: {mode: STRICT}}
---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: default, namespace: default}
spec: {mtls: {mode: STRICT}}
";
/// Each request on a connection of its own, so that there is always a handshake under way.
const ONE_REQUEST_EACH: [&str; 4] = ["productpage", "details", "reviews", "ratings"];
/// Life of certificates: renewed every eight seconds or so.
const LIFE: Duration = Duration::from_secs(16);
/// The same where more is done before the end of that life.
const LONG_LIFE: Duration = Duration::from_secs(90);
/// How long a renewal is overdue before the controller goes on, in seconds.
const OVERDUE_S: u64 = 2;
const REVIEWS: &str = "sidecar~reviews-v1.default";

fn strict_bookinfo(more: &[&str]) -> Mesh {
    living(LIFE, more)
}

/// Bookinfo under STRICT, with certificates of this life.
fn living(life: Duration, more: &[&str]) -> Mesh {
    let life = format!("{}s", life.as_secs());
    let rule = |host: &&str| {
        format!(
            "---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{name: {host}, namespace: default}}
spec:
  host: {host}
  trafficPolicy: {{connectionPool: {{http: {{maxRequestsPerConnection: 1}}}}}}
"
        )
    };
    let rules: String = ONE_REQUEST_EACH.iter().map(rule).collect();
    Setup::bookinfo()
        .file("strict.yaml", STRICT)
        .file("destination-rules.yaml", &rules)
        .arguments(&["--cert-ttl", &life])
        .arguments(more)
        .start()
}

fn dromonctl(mesh: &Mesh, arguments: &[&str]) -> Output {
    let mut command = Command::new(bin("dromonctl"));
    command.args(arguments).args(["--run-dir", mesh.ready["runDir"].as_str().expect("a directory")]);
    command.output().expect("dromonctl runs")
}

fn certs(mesh: &Mesh) -> Value {
    let output = dromonctl(mesh, &["certs", "-o", "json"]);
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

fn of<'a>(certs: &'a Value, proxy: &str) -> &'a Value {
    let all = certs["certificates"].as_array().expect("a list");
    all.iter().find(|it| it["proxy"] == proxy).unwrap_or_else(|| panic!("no {proxy}: {certs}"))
}

/// Pages that went through every service, from connections that are kept and from new ones.
fn load(mesh: &Mesh) -> Load {
    Load::start(mesh.ingress, 4, "/productpage", Duration::from_millis(5), |answer| {
        let text = answer.text();
        let whole = answer.status == 200 && !text.contains("unavailable");
        if whole { Ok(()) } else { Err(format!("{} {text}", answer.status)) }
    })
}

fn without_an_error(load: Load, at_least: u64) {
    let outcome = load.stop();
    assert_eq!(outcome.failures, Vec::<String>::new());
    assert!(outcome.good >= at_least, "{outcome:?}");
    assert_eq!(outcome.drained, 0, "no connection is closed for a certificate");
}

/// The serial number that a sidecar shows, as it says itself.
fn shown(mesh: &Mesh, process: &str) -> String {
    let page = dromon_tests::http::get(mesh.admin(process), "/certs", &[]).expect("a page").text();
    let report: Value = serde_json::from_str(&page).unwrap_or_else(|error| panic!("{error}: {page}"));
    report["identity"]["serial"].as_str().unwrap_or_else(|| panic!("no serial: {page}")).to_owned()
}

/// Leaves are renewed twice and the root is changed, all under load.
pub fn leaf_and_root() {
    let mesh = strict_bookinfo(&[]);
    let load = load(&mesh);
    let before = certs(&mesh);
    assert_eq!(of(&before, REVIEWS)["id"], "spiffe://cluster.local/ns/default/sa/bookinfo-reviews");
    for _ in 0..2 {
        let serial = shown(&mesh, "reviews-v1.default");
        eventually("a new certificate in use", || {
            (shown(&mesh, "reviews-v1.default") != serial).then_some(())
        });
    }
    let good = load.good();
    assert!(good > 0);
    let rotated = dromonctl(&mesh, &["certs", "rotate-root"]);
    let said = String::from_utf8_lossy(&rotated.stdout).into_owned();
    assert!(rotated.status.success(), "{rotated:?}");
    for step in ["step 1 of 3", "step 2 of 3", "step 3 of 3", "done: the root is"] {
        assert!(said.contains(step), "{said}");
    }
    let after = certs(&mesh);
    assert_ne!(after["roots"], before["roots"]);
    assert_eq!(after["roots"].as_array().map(Vec::len), Some(1), "{after}");
    let served = load.good();
    eventually("requests under the new root alone", || (load.good() > served + 20).then_some(()));
    without_an_error(load, good + 20);
    let table = dromonctl(&mesh, &["certs"]);
    let table = String::from_utf8_lossy(&table.stdout).into_owned();
    assert!(table.contains(REVIEWS) && table.contains("NOT AFTER"), "{table}");
}

/// An intermediate makes way for another one below the same root: the change is over as it begins, and certificates follow.
pub fn intermediate() {
    let (own, place) = (Own::new(), tempfile::tempdir().expect("a directory"));
    let directory = place.path().display().to_string();
    own.intermediate("First", place.path());
    let mesh = strict_bookinfo(&["--ca-dir", &directory]);
    let load = load(&mesh);
    let issuer = || of(&certs(&mesh), REVIEWS)["issuer"].as_str().expect("a name").to_owned();
    assert!(issuer().contains("First"), "{}", issuer());
    let alone = dromonctl(&mesh, &["certs", "rotate-root"]);
    assert!(!alone.status.success(), "an intermediate has no successor of its own making: {alone:?}");
    own.intermediate("Second", &place.path().join("next"));
    let before = certs(&mesh);
    let rotated = dromonctl(&mesh, &["certs", "rotate-root"]);
    let said = String::from_utf8_lossy(&rotated.stdout).into_owned();
    assert!(rotated.status.success() && said.contains("done: the root is"), "{rotated:?}");
    eventually("certificates of the second", || issuer().contains("Second").then_some(()));
    assert_eq!(certs(&mesh)["roots"], before["roots"]);
    let served = load.good();
    eventually("requests under the second", || (load.good() > served + 20).then_some(()));
    without_an_error(load, 20);
    let again = dromonctl(&mesh, &["certs", "rotate-root"]);
    assert!(!again.status.success(), "there is no third: {again:?}");
}

/// A root whose key stays elsewhere.
struct Own {
    issuer: Issuer<'static, KeyPair>,
    root: String,
}

impl Own {
    fn new() -> Own {
        let key = KeyPair::generate().expect("a key");
        let params = ca("Example root");
        let root = params.self_signed(&key).expect("a root").pem();
        Own { issuer: Issuer::new(params, key), root }
    }

    /// Writes an intermediate's files.
    fn intermediate(&self, name: &str, to: &Path) {
        std::fs::create_dir_all(to).expect("writable");
        let key = KeyPair::generate().expect("a key");
        let certificate = ca(name).signed_by(&key, &self.issuer).expect("a certificate").pem();
        let files = [
            ("root-cert.pem", &self.root),
            ("ca-cert.pem", &certificate),
            ("cert-chain.pem", &certificate),
            ("ca-key.pem", &key.serialize_pem()),
        ];
        for (file, text) in files {
            std::fs::write(to.join(file), text).expect("writable");
        }
    }
}

fn ca(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

/// The controller, and with it the CA, stands still until after a renewal is due; then it goes on.
pub fn controller_away() {
    let mesh = strict_bookinfo(&[]);
    let load = load(&mesh);
    let controller = running(&mesh, "dromon-controller", "");
    // What a sidecar uses for the first time it asks the controller for.
    eventually("every way to have been used", || (load.good() > 100).then_some(()));
    let before = certs(&mesh);
    signal(controller, "STOP");
    let first = Due::first(&before);
    // Certificates hold for nearly half of their life after their renewal is due.
    eventually("a renewal to be overdue", || (now() >= first.at_s + OVERDUE_S).then_some(()));
    assert_eq!(shown(&mesh, &first.process), first.serial, "nobody renews");
    signal(controller, "CONT");
    first.is_renewed(&mesh);
    without_an_error(load, 20);
}

/// The certificate that is to be renewed before all others.
struct Due {
    process: String,
    serial: String,
    at_s: u64,
}

impl Due {
    fn first(certs: &Value) -> Due {
        let all = certs["certificates"].as_array().expect("a list");
        let sidecars =
            all.iter().filter_map(|it| Some((it["proxy"].as_str()?.strip_prefix("sidecar~")?, it)));
        let (process, first) = sidecars.min_by_key(|(_, it)| it["renewAt"].as_u64()).expect("sidecars");
        Due {
            process: process.to_owned(),
            serial: first["serial"].as_str().expect("a number").to_owned(),
            at_s: first["renewAt"].as_u64().expect("a time"),
        }
    }

    fn is_renewed(&self, mesh: &Mesh) {
        eventually("the renewal that was due", || (shown(mesh, &self.process) != self.serial).then_some(()));
    }
}

/// The controller is killed, and the next one has no CA, whose key is not to be read; renewals fall due, a sidecar is killed and
/// begins again, and all of it goes on. With the key back the certificates are renewed.
pub fn controller_killed_and_ca_gone() {
    let place = tempfile::tempdir().expect("a directory");
    let mesh = living(LONG_LIFE, &["--ca-dir", &place.path().display().to_string()]);
    let load = load(&mesh);
    eventually("every way to have been used", || (load.good() > 100).then_some(()));
    let first = Due::first(&certs(&mesh));
    let file = place.path().join("ca-key.pem");
    let key = std::fs::read(&file).expect("the CA's key");
    std::fs::write(&file, "no key").expect("writable");
    signal(running(&mesh, "dromon-controller", ""), "KILL");
    mesh.process.expect_stderr_after(0, &["no certificates can be issued", "CA key"]);
    eventually("a renewal to be overdue", || (now() >= first.at_s + OVERDUE_S).then_some(()));
    assert_eq!(shown(&mesh, &first.process), first.serial, "nobody renews");
    without_an_error(load, 20);
    // Who kills a sidecar ends what it carries.
    let old = running(&mesh, "dromon-proxy", "sidecar~details-v1.default");
    signal(old, "KILL");
    eventually("the sidecar to be there again", || {
        let page = dromon_tests::http::get(mesh.ingress, "/productpage", &[]).ok()?;
        let whole = page.status == 200 && !page.text().contains("unavailable");
        (whole && running(&mesh, "dromon-proxy", "sidecar~details-v1.default") != old).then_some(())
    });
    let load = self::load(&mesh);
    std::fs::write(&file, key).expect("writable");
    first.is_renewed(&mesh);
    eventually("requests under the new certificates", || (load.good() > 20).then_some(()));
    without_an_error(load, 20);
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs()
}

/// The number of the process of the mesh that runs this program, with this among its arguments where it is not empty.
fn running(mesh: &Mesh, program: &str, argument: &str) -> u32 {
    let run_dir = mesh.ready["runDir"].as_str().expect("a directory");
    let is_it = |pid: &u32| {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).into_owned();
        let mut words = line.split('\0');
        words.next().is_some_and(|word| word.ends_with(program))
            && line.contains(run_dir)
            && (argument.is_empty() || words.any(|word| word == argument))
    };
    let find = || {
        let processes = std::fs::read_dir("/proc").expect("/proc is there").flatten();
        let mut numbers = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        numbers.find(is_it)
    };
    eventually(&format!("{program} {argument} to run"), find)
}

fn signal(pid: u32, name: &str) {
    let status = Command::new("kill").args(["-s", name, &pid.to_string()]).status();
    assert!(status.is_ok_and(|it| it.success()), "cannot signal {pid}");
}
