//! A mesh's CA in the wrong hands: certificates that the real one would never make.

use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, SanType};
use tempfile::TempDir;
use time::{Duration, OffsetDateTime};

/// A CA that certifies anything.
pub struct Forge {
    issuer: Issuer<'static, KeyPair>,
    root: String,
}

/// A folder with `cert-chain.pem`, `key.pem` and `root-cert.pem`.
pub struct Papers(TempDir);

impl Papers {
    /// The folder.
    pub fn folder(&self) -> &Path {
        self.0.path()
    }

    /// One of the files, for a command line.
    pub fn file(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }
}

/// A workload's name in namespace `default` of the mesh.
pub fn id(account: &str) -> String {
    format!("spiffe://cluster.local/ns/default/sa/{account}")
}

/// A name of kind URI.
pub fn uri(text: &str) -> SanType {
    SanType::URI(text.try_into().expect("a URI"))
}

/// A name of kind DNS.
pub fn dns(text: &str) -> SanType {
    SanType::DnsName(text.try_into().expect("a name"))
}

impl Forge {
    /// A new CA. All of them have the same name, as one that wants to deceive would.
    pub fn new() -> Forge {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let root = params.self_signed(&key).expect("a root").pem();
        Forge { issuer: Issuer::new(params, key), root }
    }

    /// A workload's papers, good but for what `change` does to them.
    pub fn papers(&self, account: &str, change: impl FnOnce(&mut CertificateParams)) -> Papers {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.subject_alt_names = vec![uri(&id(account))];
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.not_before = OffsetDateTime::now_utc() - Duration::hours(1);
        params.not_after = OffsetDateTime::now_utc() + Duration::hours(1);
        change(&mut params);
        let leaf = params.signed_by(&key, &self.issuer).expect("a leaf");
        let papers = Papers(tempfile::tempdir().expect("a temporary folder"));
        for (name, text) in [
            ("cert-chain.pem", leaf.pem()),
            ("key.pem", key.serialize_pem()),
            ("root-cert.pem", self.root.clone()),
        ] {
            std::fs::write(papers.path(name), text).expect("the folder is writable");
        }
        papers
    }

    /// Papers that are wrong in one way each: what is wrong, the papers, the reason by which they are refused.
    pub fn wrong(&self) -> Vec<(&'static str, Papers, &'static str)> {
        let now = OffsetDateTime::now_utc();
        let made = |change: &dyn Fn(&mut CertificateParams)| self.papers("forged", change);
        vec![
            ("another CA of the same name", Forge::new().papers("forged", |_| {}), "unknown_ca"),
            ("expired", made(&|it| it.not_after = now - Duration::minutes(1)), "expired"),
            ("not yet valid", made(&|it| it.not_before = now + Duration::minutes(10)), "not_yet_valid"),
            ("no name", made(&|it| it.subject_alt_names.clear()), "no_san"),
            ("a host's name only", made(&|it| it.subject_alt_names = vec![dns("web.example")]), "no_san"),
            ("two identities", made(&|it| it.subject_alt_names.push(uri(&id("other")))), "wrong_identity"),
            (
                "another trust domain",
                made(&|it| it.subject_alt_names = vec![uri("spiffe://evil.example/ns/default/sa/forged")]),
                "wrong_identity",
            ),
            (
                "not for TLS",
                made(&|it| it.extended_key_usages = vec![ExtendedKeyUsagePurpose::EmailProtection]),
                "wrong_usage",
            ),
        ]
    }
}
