//! Certificates for tests: a mesh's CA with workloads' files, and a public CA's server certificates made by openssl.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use dromon_auth::authority::{Authority, Issued, KeyKind, Wanted};
use dromon_auth::identity::{CHAIN_FILE, KEY_FILE, ROOTS_FILE};
use dromon_auth::{SpiffeId, TrustDomain};
use dromon_core::config::model::{Credential, PrivateKey};
use rustls_pki_types::UnixTime;
use tempfile::TempDir;

/// A mesh's CA.
pub struct MeshCa {
    authority: Authority,
    domain: TrustDomain,
}

impl MeshCa {
    /// A new root of the trust domain `cluster.local`.
    ///
    /// # Panics
    /// If the cryptographic library refuses.
    pub fn new() -> MeshCa {
        let domain = TrustDomain::new("cluster.local").expect("a trust domain");
        let authority = Authority::new_root(&domain, UnixTime::now()).expect("a root");
        MeshCa { authority, domain }
    }

    /// Its root, PEM.
    pub fn root_pem(&self) -> String {
        self.authority.root_pem()
    }

    /// The id of an account of namespace `default`.
    ///
    /// # Panics
    /// If it is no account's name.
    pub fn id(&self, account: &str) -> String {
        SpiffeId::new(&self.domain, "default", account).expect("an id").to_string()
    }

    fn issue(&self, account: &str, now: UnixTime, life: Duration) -> Issued {
        let id = SpiffeId::new(&self.domain, "default", account).expect("an id");
        self.authority.issue(&Wanted { id, key: KeyKind::EcdsaP256, life }, now).expect("a certificate")
    }

    /// A folder with an account's files.
    ///
    /// # Panics
    /// If the folder cannot be written.
    pub fn folder(&self, account: &str) -> TempDir {
        let folder = tempfile::tempdir().expect("a temporary folder");
        self.write(folder.path(), account);
        folder
    }

    /// Writes an account's files anew.
    ///
    /// # Panics
    /// If the folder cannot be written.
    pub fn write(&self, folder: &Path, account: &str) {
        let issued = self.issue(account, UnixTime::now(), Duration::from_secs(3600));
        write(folder, CHAIN_FILE, &issued.chain);
        write(folder, KEY_FILE, &issued.key);
        write(folder, ROOTS_FILE, &self.authority.root_pem());
    }

    /// A folder with an account's files, the key being RSA of 2048 bits.
    ///
    /// # Panics
    /// If the folder cannot be written.
    pub fn rsa_folder(&self, account: &str) -> TempDir {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let id = SpiffeId::new(&self.domain, "default", account).expect("an id");
        let wanted = Wanted { id, key: KeyKind::Rsa2048, life: Duration::from_secs(3600) };
        let issued = self.authority.issue(&wanted, UnixTime::now()).expect("a certificate");
        write(folder.path(), CHAIN_FILE, &issued.chain);
        write(folder.path(), KEY_FILE, &issued.key);
        write(folder.path(), ROOTS_FILE, &self.authority.root_pem());
        folder
    }

    /// Writes files whose certificate has expired.
    ///
    /// # Panics
    /// If the folder cannot be written.
    pub fn write_expired(&self, folder: &Path, account: &str) {
        let then = UnixTime::since_unix_epoch(Duration::from_secs(UnixTime::now().as_secs() - 7200));
        let issued = self.issue(account, then, Duration::from_secs(60));
        write(folder, CHAIN_FILE, &issued.chain);
        write(folder, KEY_FILE, &issued.key);
    }
}

impl Default for MeshCa {
    fn default() -> MeshCa {
        MeshCa::new()
    }
}

fn write(folder: &Path, name: &str, text: &str) {
    std::fs::write(folder.join(name), text).expect("the folder is writable");
}

/// A CA for servers, as the public ones are, made by openssl.
pub struct WebCa {
    folder: TempDir,
}

impl WebCa {
    /// A new CA.
    ///
    /// # Panics
    /// If openssl is not there.
    pub fn new() -> WebCa {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let ca = WebCa { folder };
        ca.openssl(&[
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
            "-days",
            "2",
            "-subj",
            "/CN=Test CA",
            "-keyout",
            "ca.key",
            "-out",
            "ca.crt",
        ]);
        ca
    }

    /// Where a file of this CA is.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Makes `NAME.crt` and `NAME.key` with these alternative names (`DNS:a.example`, `URI:…`).
    ///
    /// # Panics
    /// If openssl refuses.
    pub fn issue(&self, name: &str, names: &str) {
        self.issue_for(name, names, &["ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]);
    }

    /// As [`WebCa::issue`], with a key of RSA.
    ///
    /// # Panics
    /// If openssl refuses.
    pub fn issue_rsa(&self, name: &str, names: &str) {
        self.issue_for(name, names, &["rsa:2048"]);
    }

    fn issue_for(&self, name: &str, names: &str, kind: &[&str]) {
        let (key, request, certificate) =
            (format!("{name}.key"), format!("{name}.csr"), format!("{name}.crt"));
        let rest = ["-nodes", "-subj", "/O=test", "-keyout", &key, "-out", &request];
        self.openssl(&[&["req", "-newkey"], kind, &rest].concat());
        write(self.folder.path(), "ext", &format!("subjectAltName={names}\nbasicConstraints=CA:FALSE\n"));
        self.openssl(&[
            "x509",
            "-req",
            "-in",
            &request,
            "-CA",
            "ca.crt",
            "-CAkey",
            "ca.key",
            "-CAcreateserial",
            "-days",
            "2",
            "-extfile",
            "ext",
            "-out",
            &certificate,
        ]);
    }

    /// The list of what this CA has revoked: these certificates, issued before.
    ///
    /// # Panics
    /// If openssl refuses.
    pub fn revocations(&self, names: &[&str]) -> String {
        // A list has a number and names its issuer's key (RFC 5280, 5.2), which openssl leaves out unless told.
        let settings = "[ca]\ndefault_ca=own\n[own]\ndatabase=index.txt\ncrlnumber=number\n\
            default_md=sha256\ndefault_crl_days=1\ncrl_extensions=more\n\
            [more]\nauthorityKeyIdentifier=keyid:always\n";
        write(self.folder.path(), "ca.cnf", settings);
        write(self.folder.path(), "number", "01\n");
        write(self.folder.path(), "index.txt", "");
        let ca = ["ca", "-config", "ca.cnf", "-keyfile", "ca.key", "-cert", "ca.crt"];
        for name in names {
            self.openssl(&[&ca[..], &["-revoke", &format!("{name}.crt")]].concat());
        }
        self.openssl(&[&ca[..], &["-gencrl", "-out", "ca.crl"]].concat());
        std::fs::read_to_string(self.path("ca.crl")).expect("just written")
    }

    /// A gateway's credential with a certificate that was issued before, and this CA for clients.
    ///
    /// # Panics
    /// If it was not issued.
    pub fn credential(&self, name: &str) -> Credential {
        let read = |file: &str| std::fs::read_to_string(self.path(file)).expect("issued");
        Credential {
            name: format!("default/{name}"),
            cert_chain: read(&format!("{name}.crt")),
            key: PrivateKey::new(read(&format!("{name}.key"))),
            ca: read("ca.crt"),
            ..Credential::default()
        }
    }

    fn openssl(&self, arguments: &[&str]) {
        let output = Command::new("openssl").args(arguments).current_dir(self.folder.path()).output();
        let output = output.expect("openssl is installed");
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

impl Default for WebCa {
    fn default() -> WebCa {
        WebCa::new()
    }
}

/// Runs a client such as curl or openssl to its end, with nothing to read.
///
/// # Panics
/// If it is not installed.
pub fn run(program: &str, arguments: &[&str]) -> Output {
    Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|error| panic!("{program}: {error}"))
}
