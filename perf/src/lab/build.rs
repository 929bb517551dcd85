//! Builds the `dromon-proxy` that the lab measures: fat LTO, one codegen unit, the C library inside as in images.
//!
//! A guided build is made twice. The first counts its branches while the lab's own short scenarios run through it; the second
//! is laid out by these counts (<https://doc.rust-lang.org/rustc/profile-guided-optimization.html>). What was counted is kept
//! for as long as the first build stays the same, so only a change of the sources costs the two builds again.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::UNIX_EPOCH;

use anyhow::{Context, Result, bail};

/// The programs are of this target; naming it keeps the flags away from what runs while building.
const TARGET: &str = "x86_64-unknown-linux-gnu";
/// As images have it: with the C library inside, a proxy keeps only those of its pages that it uses.
const STATIC: &str = "-Ctarget-feature=+crt-static";
/// What is run while branches are counted: every protocol, small and large, with TLS and without.
const TRAINING: [&str; 10] = [
    "small",
    "100k",
    "connect",
    "table",
    "mtls-down",
    "mtls-up",
    "mtls-connect",
    "h2-10x10",
    "h2-64x1",
    "grpc-pair",
];

/// A `dromon-proxy` to measure.
#[derive(Clone, Debug)]
pub struct Built {
    /// Where it is.
    pub path: PathBuf,
    /// What it is built like, for reports.
    pub how: String,
}

/// How to build it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guide {
    /// By counted branches, where the toolchain has what that takes; plainly elsewhere, which is said.
    Counts,
    /// Plainly.
    Nothing,
}

/// Builds `dromon-proxy` in this workspace.
///
/// # Errors
/// It does not build, or does not run.
pub fn build(guide: Guide) -> Result<Built> {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("the workspace's folder")?;
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| workspace.join("target"), PathBuf::from);
    // Every crate's compiler has a working directory of its own.
    let target = std::path::absolute(target).context("the folder of builds")?;
    let profdata = match guide {
        Guide::Counts => profdata(workspace),
        Guide::Nothing => Err("not asked for".to_owned()),
    };
    match profdata {
        Ok(profdata) => Guided { workspace, folder: target.join("guided"), profdata }.build(),
        Err(reason) => {
            eprintln!(
                "building dromon-proxy (profile lab: fat LTO, one codegen unit), not guided by a profile: {reason}"
            );
            let path = cargo(workspace, &target, &[STATIC.into()])?;
            Ok(Built { path, how: "not profile-guided".into() })
        }
    }
}

/// Runs cargo with flags for the compiler; the program that it made.
fn cargo(workspace: &Path, target: &Path, flags: &[OsString]) -> Result<PathBuf> {
    let status = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["build", "--quiet", "--profile", "lab", "--package", "dromon-proxy", "--bin", "dromon-proxy"])
        .args(["--target", TARGET])
        .arg("--target-dir")
        .arg(target)
        .env("CARGO_ENCODED_RUSTFLAGS", flags.join(&OsString::from("\u{1f}")))
        .current_dir(workspace)
        .status()
        .context("running cargo")?;
    if !status.success() {
        bail!("dromon-proxy does not build; see cargo's output above");
    }
    Ok(target.join(TARGET).join("lab/dromon-proxy"))
}

/// The compiler's own `llvm-profdata`: another version's may not read what its programs write.
fn profdata(workspace: &Path) -> Result<PathBuf, String> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(rustc).args(["--print", "target-libdir"]).current_dir(workspace).output();
    let output = output.map_err(|error| format!("asking rustc for its folder: {error}"))?;
    let library = PathBuf::from(String::from_utf8_lossy(&output.stdout).trim());
    let path = library.parent().map(|folder| folder.join("bin/llvm-profdata")).unwrap_or_default();
    match path.is_file() {
        true => Ok(path),
        false => Err("the toolchain has no llvm-profdata (rustup component add llvm-tools)".into()),
    }
}

/// A guided build under way.
struct Guided<'a> {
    workspace: &'a Path,
    /// Its own, apart from ordinary builds: the flags concern every crate.
    folder: PathBuf,
    profdata: PathBuf,
}

impl Guided<'_> {
    fn build(&self) -> Result<Built> {
        let raw = self.folder.join("counts");
        eprintln!(
            "building dromon-proxy (profile lab: fat LTO, one codegen unit), 1 of 2: the one that counts"
        );
        // Not static: what counts keeps functions that nobody calls, and the static C library lacks some of what they name.
        let counting = cargo(self.workspace, &self.folder, &[joined("-Cprofile-generate=", &raw)])?;
        let counts = self.folder.join(format!("{}.profdata", stamp(&counting)?));
        if !counts.is_file() {
            self.train(&counting, &raw)?;
            self.merge(&raw, &counts)?;
        }
        eprintln!("building dromon-proxy, 2 of 2: guided by what was counted");
        let path = cargo(self.workspace, &self.folder, &[STATIC.into(), joined("-Cprofile-use=", &counts)])?;
        Ok(Built { path, how: "profile-guided".into() })
    }

    /// Runs short scenarios through the counting proxy, in a process of its own.
    fn train(&self, proxy: &Path, raw: &Path) -> Result<()> {
        let _ = std::fs::remove_dir_all(raw);
        eprintln!("running short scenarios through it");
        let output = Command::new(std::env::current_exe().context("this program")?)
            .args(["lab", "--quick", "--rounds", "1", "--subject", "dromon,dromon-epoll", "--only"])
            .arg(TRAINING.join(","))
            .arg("--proxy")
            .arg(proxy)
            .arg("--out")
            .arg(self.folder.join("training"))
            .env("LLVM_PROFILE_FILE", raw.join("%m-%p.profraw"))
            .output()
            .context("running the scenarios")?;
        if !output.status.success() {
            bail!(
                "the scenarios that a profile is made of failed:\n{}",
                String::from_utf8_lossy(&output.stderr)
            );
        }
        Ok(())
    }

    fn merge(&self, raw: &Path, into: &Path) -> Result<()> {
        let files =
            std::fs::read_dir(raw).with_context(|| format!("what was counted, in {}", raw.display()))?;
        let files: Vec<PathBuf> = files.flatten().map(|entry| entry.path()).collect();
        let part = into.with_extension("part");
        let status = Command::new(&self.profdata).arg("merge").arg("-o").arg(&part).args(&files).status();
        if !status.context("running llvm-profdata")?.success() {
            bail!("llvm-profdata cannot merge what is in {}; see its output above", raw.display());
        }
        std::fs::rename(&part, into).with_context(|| format!("making {}", into.display()))
    }
}

fn joined(flag: &str, path: &Path) -> OsString {
    let mut flag = OsString::from(flag);
    flag.push(path);
    flag
}

/// Tells one build from the next: when it was made, in nanoseconds. The compiler does not notice counts that change under
/// an old name.
fn stamp(program: &Path) -> Result<u128> {
    let made = std::fs::metadata(program).and_then(|meta| meta.modified());
    let made = made.with_context(|| format!("no program at {}", program.display()))?;
    Ok(made.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos())
}
