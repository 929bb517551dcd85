//! Keys and certificates of a cluster under test, and kubeconfigs made of them.

use std::path::{Path, PathBuf};
use std::{fs, iter};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType,
};
use serde_json::{Value, json};

/// The CA of one cluster and the folder that its files are in.
pub struct Pki {
    folder: PathBuf,
    ca_pem: String,
    ca: Issuer<'static, KeyPair>,
}

impl Pki {
    /// A new CA with the API server's certificate for `server_names` (DNS names and addresses) and the key pair of service
    /// account tokens: `ca.crt`, `ca.key`, `apiserver.crt`, `apiserver.key`, `sa.key`, `sa.pub`.
    ///
    /// # Panics
    /// If the folder is not writable.
    pub fn new(folder: &Path, server_names: &[&str]) -> Pki {
        fs::create_dir_all(folder).expect("the folder is writable");
        let key = KeyPair::generate().expect("a key");
        let mut params = named("kubernetes-ca", None);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages =
            vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature];
        let ca_pem = params.self_signed(&key).expect("a certificate").pem();
        let pki = Pki {
            folder: folder.to_owned(),
            ca_pem,
            ca: Issuer::new(params, KeyPair::from_pem(&key.serialize_pem()).expect("its own PEM")),
        };
        pki.put("ca.crt", &pki.ca_pem);
        pki.put("ca.key", &key.serialize_pem());
        let mut server = named("kube-apiserver", None);
        server.subject_alt_names = names(server_names);
        pki.issue("apiserver", server, ExtendedKeyUsagePurpose::ServerAuth);
        let accounts = KeyPair::generate().expect("a key");
        pki.put("sa.key", &accounts.serialize_pem());
        pki.put("sa.pub", &accounts.public_key_pem());
        pki
    }

    /// A file of this folder.
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// The CA's certificate.
    pub fn ca_pem(&self) -> &str {
        &self.ca_pem
    }

    /// A server's certificate beside the API server's: `NAME.crt` and `NAME.key`.
    pub fn server(&self, name: &str, server_names: &[&str]) {
        let mut params = named(name, None);
        params.subject_alt_names = names(server_names);
        self.issue(name, params, ExtendedKeyUsagePurpose::ServerAuth);
    }

    /// A client's certificate, which the API server takes for `user` in `group`: `NAME.crt`, `NAME.key`.
    pub fn client(&self, name: &str, user: &str, group: Option<&str>) {
        self.issue(name, named(user, group), ExtendedKeyUsagePurpose::ClientAuth);
    }

    /// A kubeconfig, `NAME.kubeconfig`, of a user in a group, by a client certificate.
    pub fn kubeconfig(&self, name: &str, server: &str, user: &str, group: Option<&str>) -> PathBuf {
        self.client(name, user, group);
        let user = json!({
            "client-certificate": self.file(&format!("{name}.crt")),
            "client-key": self.file(&format!("{name}.key")),
        });
        self.write_kubeconfig(name, server, &user)
    }

    /// A kubeconfig, `NAME.kubeconfig`, of whoever has a bearer token.
    pub fn token_kubeconfig(&self, name: &str, server: &str, token: &str) -> PathBuf {
        self.write_kubeconfig(name, server, &json!({ "token": token }))
    }

    fn write_kubeconfig(&self, name: &str, server: &str, user: &Value) -> PathBuf {
        let config = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "test", "cluster": {"server": server, "certificate-authority": self.file("ca.crt")}}],
            "users": [{"name": "test", "user": user}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
            "current-context": "test",
        });
        let name = format!("{name}.kubeconfig");
        self.put(&name, &config.to_string());
        self.file(&name)
    }

    fn issue(&self, name: &str, mut params: CertificateParams, usage: ExtendedKeyUsagePurpose) {
        let key = KeyPair::generate().expect("a key");
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![usage];
        let certificate = params.signed_by(&key, &self.ca).expect("a certificate");
        self.put(&format!("{name}.crt"), &certificate.pem());
        self.put(&format!("{name}.key"), &key.serialize_pem());
    }

    fn put(&self, name: &str, text: &str) {
        fs::write(self.file(name), text).expect("the folder is writable");
    }
}

/// Kubernetes reads the user from the common name and groups from organizations.
fn named(common_name: &str, organization: Option<&str>) -> CertificateParams {
    let mut params = CertificateParams::default();
    let entries = iter::once((DnType::CommonName, common_name))
        .chain(organization.map(|it| (DnType::OrganizationName, it)));
    params.distinguished_name = rcgen::DistinguishedName::new();
    for (kind, value) in entries {
        params.distinguished_name.push(kind, value);
    }
    params
}

fn names(of: &[&str]) -> Vec<SanType> {
    of.iter()
        .map(|name| match name.parse() {
            Ok(address) => SanType::IpAddress(address),
            Err(_) => SanType::DnsName((*name).try_into().expect("a DNS name")),
        })
        .collect()
}
