//! A real API server of a run's own: etcd and kube-apiserver on loopback, found by envtest's convention.

use std::fs::{self, File};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, bail};
use dromon_auth::authority::{KeyKind, Wanted};
use dromon_auth::{Authority, SpiffeId, TrustDomain};
use dromon_k8s::install::rbac;
use rustls::pki_types::UnixTime;
use serde_json::{Value, json};

/// The controller's namespace.
pub const SYSTEM: &str = "dromon-system";
/// The controller's account.
const CONTROLLER: &str = "dromon-controller";
/// Longest wait for the API server.
const DEADLINE: Duration = Duration::from_secs(120);
/// Life of the key pair's certificate; no run takes as long.
const LIFE: Duration = Duration::from_secs(24 * 3600);
/// Who writes the objects.
const ADMIN_TOKEN: &str = "of-the-simulation";
/// The programs that a run needs.
const PROGRAMS: [&str; 3] = ["etcd", "kube-apiserver", "kubectl"];

/// Where Kubernetes' programs are: `KUBEBUILDER_ASSETS`, else where `make kube-tools` puts them.
pub fn assets() -> PathBuf {
    std::env::var_os("KUBEBUILDER_ASSETS").map_or_else(|| PathBuf::from("target/kube/bin"), PathBuf::from)
}

/// Why no API server can be started, if none can.
pub fn missing() -> Option<String> {
    let assets = assets();
    let missing: Vec<&str> = PROGRAMS.into_iter().filter(|name| !assets.join(name).exists()).collect();
    (!missing.is_empty())
        .then(|| format!("{} missing in {}: run `make kube-tools`", missing.join(", "), assets.display()))
}

/// A running API server, which ends when dropped.
pub struct ApiServer {
    // In the order in which they are ended.
    _server: Program,
    _etcd: Program,
    folder: PathBuf,
    url: String,
}

impl ApiServer {
    /// Starts one with the mesh's kinds and the controller's account and rights.
    ///
    /// # Errors
    /// A program is missing, or does not get ready.
    pub fn start(folder: &Path) -> Result<ApiServer> {
        if let Some(missing) = missing() {
            bail!(missing);
        }
        fs::create_dir_all(folder)?;
        let key = account_key(folder)?;
        let (port, etcd_port, peer_port) = (free_port()?, free_port()?, free_port()?);
        let client = format!("http://127.0.0.1:{etcd_port}");
        let peer = format!("http://127.0.0.1:{peer_port}");
        let etcd = [
            format!("--data-dir={}", folder.join("etcd").display()),
            "--unsafe-no-fsync".into(),
            "--log-level=error".into(),
            format!("--listen-client-urls={client}"),
            format!("--advertise-client-urls={client}"),
            format!("--listen-peer-urls={peer}"),
            format!("--initial-advertise-peer-urls={peer}"),
            format!("--initial-cluster=default={peer}"),
        ];
        let etcd = Program::start(&assets().join("etcd"), &etcd, &folder.join("etcd.log"))?;
        let tokens = folder.join("tokens.csv");
        fs::write(&tokens, format!("{ADMIN_TOKEN},admin,1,\"system:masters\"\n"))?;
        let server = [
            format!("--etcd-servers={client}"),
            "--bind-address=127.0.0.1".into(),
            "--advertise-address=127.0.0.1".into(),
            format!("--secure-port={port}"),
            format!("--cert-dir={}", folder.join("tls").display()),
            "--service-cluster-ip-range=10.96.0.0/16".into(),
            "--authorization-mode=RBAC".into(),
            // Nothing issues tokens for the pods of a simulation, which never run.
            "--disable-admission-plugins=ServiceAccount".into(),
            format!("--token-auth-file={}", tokens.display()),
            "--service-account-issuer=https://kubernetes.default.svc.cluster.local".into(),
            format!("--service-account-key-file={}", key.with_extension("crt").display()),
            format!("--service-account-signing-key-file={}", key.display()),
        ];
        let program = assets().join("kube-apiserver");
        let mut program = Program::start(&program, &server, &folder.join("kube-apiserver.log"))?;
        let url = format!("https://127.0.0.1:{port}");
        write_kubeconfig(folder, "admin", &url, ADMIN_TOKEN)?;
        let admin = Kubectl(folder.join("admin.kubeconfig"));
        program
            .until("the API server to be ready", || admin.run(&["get", "--raw", "/readyz"], None).is_ok())?;
        let server = ApiServer { _server: program, _etcd: etcd, folder: folder.to_owned(), url };
        server.furnish(&admin)?;
        Ok(server)
    }

    /// The administrator's kubeconfig.
    pub fn admin(&self) -> PathBuf {
        self.folder.join("admin.kubeconfig")
    }

    /// A kubeconfig of the controller's account, with the rights of an installation.
    pub fn controller(&self) -> PathBuf {
        self.folder.join("controller.kubeconfig")
    }

    fn furnish(&self, admin: &Kubectl) -> Result<()> {
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SYSTEM}});
        let account = json!({
            "apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": CONTROLLER, "namespace": SYSTEM},
        });
        let mut items: Vec<Value> = vec![namespace, account];
        items.extend(rbac::objects(SYSTEM));
        admin.apply(&json!({"apiVersion": "v1", "kind": "List", "items": items}))?;
        for file in ["istio.yaml", "gateway-api.yaml"] {
            let path = assets().join("../crds").join(file);
            admin.run(&["apply", "--server-side", "-f", &path.display().to_string()], None)?;
        }
        let kinds = ["virtualservices.networking.istio.io", "httproutes.gateway.networking.k8s.io"];
        for kind in kinds {
            let of = format!("crd/{kind}");
            admin.run(&["wait", "--for", "condition=established", "--timeout", "60s", &of], None)?;
        }
        let token = admin.run(&["create", "token", CONTROLLER, "-n", SYSTEM, "--duration", "1h"], None)?;
        write_kubeconfig(&self.folder, "controller", &self.url, token.trim())
    }
}

/// `kubectl` with a kubeconfig.
struct Kubectl(PathBuf);

impl Kubectl {
    fn run(&self, arguments: &[&str], input: Option<&Path>) -> Result<String> {
        let mut command = Command::new(assets().join("kubectl"));
        command.arg("--kubeconfig").arg(&self.0).args(arguments);
        command.stdin(match input {
            Some(path) => Stdio::from(File::open(path)?),
            None => Stdio::null(),
        });
        let output = command.output()?;
        if !output.status.success() {
            bail!("kubectl {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr));
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    fn apply(&self, objects: &Value) -> Result<()> {
        let path = self.0.with_extension("json");
        fs::write(&path, objects.to_string())?;
        self.run(&["apply", "--server-side", "-f", "-"], Some(&path)).map(drop)
    }
}

/// The key by which the API server signs its accounts' tokens.
fn account_key(folder: &Path) -> Result<PathBuf> {
    let now = UnixTime::since_unix_epoch(SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?);
    let domain = TrustDomain::new("cluster.local")?;
    let id = SpiffeId::new(&domain, "default", "tokens")?;
    let issued =
        Authority::new_root(&domain, now)?.issue(&Wanted { id, key: KeyKind::EcdsaP256, life: LIFE }, now)?;
    fs::write(folder.join("accounts.crt"), issued.chain)?;
    let path = folder.join("accounts.key");
    fs::write(&path, issued.key.as_bytes())?;
    Ok(path)
}

fn write_kubeconfig(folder: &Path, name: &str, url: &str, token: &str) -> Result<()> {
    let config = json!({
        "apiVersion": "v1",
        "kind": "Config",
        // The server makes its certificate itself, on loopback, for this run.
        "clusters": [{"name": "feed", "cluster": {"server": url, "insecure-skip-tls-verify": true}}],
        "users": [{"name": "feed", "user": {"token": token}}],
        "contexts": [{"name": "feed", "context": {"cluster": "feed", "user": "feed"}}],
        "current-context": "feed",
    });
    Ok(fs::write(folder.join(format!("{name}.kubeconfig")), config.to_string())?)
}

/// A port that nobody has at the moment.
///
/// # Errors
/// There is none.
pub fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// A program of the run, which ends with it; what it says goes to a file.
pub struct Program {
    child: Child,
    log: PathBuf,
}

impl Program {
    /// Starts it.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start(program: &Path, arguments: &[String], log: &Path) -> Result<Program> {
        let file = File::create(log)?;
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
        let child = command.spawn().with_context(|| program.display().to_string())?;
        Ok(Program { child, log: log.to_owned() })
    }

    /// Waits for something of it.
    ///
    /// # Errors
    /// It ended, or it takes too long; with the last that it said.
    pub fn until(&mut self, what: &str, mut holds: impl FnMut() -> bool) -> Result<()> {
        let deadline = Instant::now() + DEADLINE;
        while !holds() {
            let ended = self.child.try_wait()?;
            if ended.is_some() || Instant::now() > deadline {
                let said = fs::read_to_string(&self.log).unwrap_or_default();
                let last: Vec<&str> = said.lines().rev().take(20).collect();
                let state = ended.map_or("in time".to_owned(), |status| format!("before its end ({status})"));
                bail!("{what}: not {state}\n{}", last.into_iter().rev().collect::<Vec<_>>().join("\n"));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// A size in `/proc/PID/status`, in MiB.
    ///
    /// # Errors
    /// It does not run.
    pub fn memory_mib(&self, field: &str) -> Result<f64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line =
            status.lines().find_map(|it| it.strip_prefix(field)).context("a line of /proc/PID/status")?;
        let kib: f64 = line.trim().trim_end_matches(" kB").parse()?;
        Ok(kib / 1024.0)
    }

    /// The processor time that it has taken, in seconds.
    ///
    /// # Errors
    /// It does not run.
    pub fn processor_s(&self) -> Result<f64> {
        let mut total = 0.0;
        for task in fs::read_dir(format!("/proc/{}/task", self.child.id()))? {
            let text = fs::read_to_string(task?.path().join("schedstat")).unwrap_or_default();
            let nanoseconds: f64 = text.split(' ').next().and_then(|it| it.parse().ok()).unwrap_or_default();
            total += nanoseconds / 1e9;
        }
        Ok(total)
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // Nothing of it is kept, so nothing has to be finished.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
