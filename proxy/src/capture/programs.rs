//! The programs that carry rules to the kernel.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use dromon_core::capture::Family;
use thiserror::Error;

use super::args::Backend;

/// Where these programs usually are, should the PATH of a container not say so.
const PLACES: [&str; 3] = ["/usr/sbin", "/sbin", "/usr/local/sbin"];
/// How long iptables waits for somebody else who changes rules.
const WAIT_SECONDS: &str = "10";
/// The lock of iptables' legacy back-end, and what stands for it where the file system is read-only: the rules of a network
/// namespace are changed by nobody else.
const LEGACY_LOCK: &str = "/run/xtables.lock";
const NO_LOCK: &str = "/dev/null";
/// Tables of the legacy back-end in this namespace, one a line.
const LEGACY_TABLES: [(Family, &str); 2] =
    [(Family::V4, "/proc/net/ip_tables_names"), (Family::V6, "/proc/net/ip6_tables_names")];

/// A program failed.
#[derive(Debug, Error)]
pub enum ProgramError {
    /// It is not there.
    #[error("{0} is not installed")]
    Missing(String),
    /// It could not be run.
    #[error("{program}: {error}")]
    Run {
        /// Its path.
        program: String,
        /// The system's word.
        error: io::Error,
    },
    /// It refused.
    #[error("{program} failed: {said}")]
    Failed {
        /// Its path.
        program: String,
        /// What it said.
        said: String,
    },
}

/// iptables of one back-end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Iptables {
    /// What the names of its programs have in common, for IPv4: `iptables`, `iptables-nft`, `iptables-legacy`.
    stem: &'static str,
    /// It is the legacy back-end.
    legacy: bool,
}

impl Iptables {
    /// Those that are installed and fit, the preferred one first; each back-end once.
    pub fn installed(wanted: Backend) -> Vec<Iptables> {
        let mut found: Vec<Iptables> = Vec::new();
        for (stem, known) in
            [("iptables", None), ("iptables-nft", Some(false)), ("iptables-legacy", Some(true))]
        {
            let Some(path) = find(&format!("{stem}-restore")) else { continue };
            let legacy = known.unwrap_or_else(|| is_legacy(&path));
            let fits = match wanted {
                Backend::Auto => true,
                Backend::Nft => !legacy,
                Backend::Legacy => legacy,
            };
            if fits && !found.iter().any(|other| other.legacy == legacy) {
                found.push(Iptables { stem, legacy });
            }
        }
        found
    }

    /// The back-end's name, as `iptables --version` has it.
    pub fn backend(&self) -> &'static str {
        if self.legacy { "legacy" } else { "nf_tables" }
    }

    /// What `iptables-save` says of the table `nat`.
    pub fn saved(&self, family: Family) -> Result<String, ProgramError> {
        let names = LEGACY_TABLES.iter().find(|(of, _)| *of == family).map_or("", |(_, path)| path);
        // To ask for a table of the legacy back-end is to make it.
        let is_made =
            || std::fs::read_to_string(names).is_ok_and(|tables| tables.lines().any(|it| it == "nat"));
        if self.legacy && !is_made() {
            return Ok(String::new());
        }
        self.run(family, "save", &["-t", "nat"], "")
    }

    /// Has `iptables-restore` carry out a script.
    pub fn restore(&self, family: Family, script: &str) -> Result<(), ProgramError> {
        self.run(family, "restore", &["--noflush", "--wait", WAIT_SECONDS], script).map(drop)
    }

    fn program(&self, family: Family, does: &str) -> String {
        let stem = match family {
            Family::V4 => self.stem.to_owned(),
            Family::V6 => self.stem.replacen("iptables", "ip6tables", 1),
        };
        format!("{stem}-{does}")
    }

    fn run(
        &self,
        family: Family,
        does: &str,
        arguments: &[&str],
        input: &str,
    ) -> Result<String, ProgramError> {
        let name = self.program(family, does);
        let path = find(&name).ok_or(ProgramError::Missing(name))?;
        let mut command = Command::new(&path);
        command.args(arguments);
        if self.legacy && File::options().create(true).append(true).open(LEGACY_LOCK).is_err() {
            command.env("XTABLES_LOCKFILE", NO_LOCK);
        }
        run(&mut command, &path, input)
    }
}

/// `nft`.
#[derive(Clone, Debug)]
pub struct Nft(PathBuf);

impl Nft {
    /// None: it is not installed.
    pub fn installed() -> Option<Nft> {
        find("nft").map(Nft)
    }

    /// Runs a command such as `list tables` and gives what it says, numbers as numbers.
    pub fn ask(&self, arguments: &[&str]) -> Result<String, ProgramError> {
        run(Command::new(&self.0).arg("-n").args(arguments), &self.0, "")
    }

    /// Carries out a script as one transaction.
    pub fn carry_out(&self, script: &str) -> Result<(), ProgramError> {
        run(Command::new(&self.0).args(["-f", "-"]), &self.0, script).map(drop)
    }
}

fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let places = std::env::split_paths(&path).chain(PLACES.iter().map(PathBuf::from));
    places.map(|place| place.join(name)).find(|program| program.is_file())
}

/// What a bare `iptables-restore` is; releases before 1.8 have one back-end and do not say so.
fn is_legacy(path: &Path) -> bool {
    let version = run(Command::new(path).arg("--version"), path, "");
    !version.is_ok_and(|version| version.contains("nf_tables"))
}

fn run(command: &mut Command, path: &Path, input: &str) -> Result<String, ProgramError> {
    let program = path.file_name().unwrap_or(OsStr::new("program")).to_string_lossy().into_owned();
    let failed = |error| ProgramError::Run { program: program.clone(), error };
    let pipes = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = pipes.spawn().map_err(failed)?;
    if let Some(mut stdin) = child.stdin.take() {
        // One that has ended already says why below.
        let _ = stdin.write_all(input.as_bytes());
    }
    let output = child.wait_with_output().map_err(failed)?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let said: Vec<&str> = said.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let said = if said.is_empty() { output.status.to_string() } else { said.join("; ") };
    Err(ProgramError::Failed { program, said })
}
