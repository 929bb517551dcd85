//! The CA's directory: the authority in force, the one that is to follow, and how far the change is.
//!
//! ```text
//! ca-cert.pem ca-key.pem cert-chain.pem root-cert.pem    the authority, as Istio's `cacerts` has it
//! next/…                                                 the one that follows, while the root is changed
//! rotation.json                                          how far the change is
//! .making/ .made/                                        an authority that is being made here, and one that is and moves in
//! ```
//! Files are 0600, directories 0700. What a user put there is read and never overwritten, but for a finished change of
//! root.

use std::io;
use std::path::{Path, PathBuf};

use dromon_auth::TrustDomain;
use dromon_auth::authority::{Authority, AuthorityError};
use dromon_auth::plan::rotation::{Rotation, Step};
use rustls_pki_types::UnixTime;
use zeroize::Zeroizing;

use super::deliver::{closed_directory, closed_file, replace_kept};

const CERTIFICATE: &str = "ca-cert.pem";
const KEY: &str = "ca-key.pem";
const CHAIN: &str = "cert-chain.pem";
const ROOT: &str = "root-cert.pem";
const NEXT: &str = "next";
const ROTATION: &str = "rotation.json";
/// What is being written; of no worth to anybody.
const MAKING: &str = ".making";
/// What is whole on disk and on its way into its place.
const MADE: &str = ".made";

/// Why there is no authority.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// A file cannot be read or written.
    #[error("{path}: {error}")]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's word.
        error: io::Error,
    },
    /// Some of the files are there and others are not.
    #[error("{directory} has {there} but not {missing}: put the whole CA there, or nothing")]
    Partial {
        /// The CA's directory.
        directory: PathBuf,
        /// A file that is there.
        there: &'static str,
        /// A file that is not.
        missing: &'static str,
    },
    /// The files are no authority.
    #[error("the CA in {directory}: {error}")]
    Authority {
        /// The CA's directory.
        directory: PathBuf,
        /// What is wrong.
        error: AuthorityError,
    },
    /// `rotation.json` is broken.
    #[error("{path}: {error}")]
    Rotation {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        error: serde_json::Error,
    },
    /// A change of root is under way, but not with the roots that are there.
    #[error(
        "{directory} holds other roots than the change of root that began there: remove rotation.json and next/ to give it up"
    )]
    OtherRoots {
        /// The CA's directory.
        directory: PathBuf,
    },
    /// Files of another CA came where one had been made and not moved in yet.
    #[error("{directory} has a {file} beside the CA that was made there (.made): remove one of the two")]
    Both {
        /// The CA's directory.
        directory: PathBuf,
        /// The file.
        file: &'static str,
    },
    /// One change at a time.
    #[error("a change of root is under way already")]
    UnderWay,
    /// What is to follow is what is there.
    #[error("the CA in {0} is the one that is in force already: put its successor's files there")]
    Same(PathBuf),
    /// The CA is an intermediate: its successor has to come from where it came from.
    #[error("the CA is an intermediate that was plugged in: put its successor's files into {0} first")]
    PluggedIn(PathBuf),
}

/// The authorities of a mesh.
#[derive(Debug)]
pub struct Authorities {
    directory: PathBuf,
    current: Authority,
    next: Option<(Authority, Rotation)>,
}

impl Authorities {
    /// Loads what is in the directory; makes a root where there is nothing.
    ///
    /// # Errors
    /// What is there cannot be used, or the system refuses.
    pub fn open(directory: &Path, domain: &TrustDomain, now: UnixTime) -> Result<Authorities, LoadError> {
        make(directory)?;
        let rotation = read_rotation(&directory.join(ROTATION))?;
        if rotation.as_ref().is_some_and(|rotation| rotation.step == Step::Done) {
            finish(directory)?;
            return Authorities::open(directory, domain, now);
        }
        let current = match load(directory, now)? {
            Some(authority) => authority,
            None => create(directory, domain, now)?,
        };
        let Some(rotation) = rotation else {
            return Ok(Authorities { directory: directory.to_owned(), current, next: None });
        };
        let next = load(&directory.join(NEXT), now)?;
        let next = next.filter(|next| {
            next.root_fingerprint() == rotation.new && current.root_fingerprint() == rotation.old
        });
        let next = next.ok_or_else(|| LoadError::OtherRoots { directory: directory.to_owned() })?;
        Ok(Authorities { directory: directory.to_owned(), current, next: Some((next, rotation)) })
    }

    /// The authority that signs now.
    pub fn issuer(&self) -> &Authority {
        match &self.next {
            Some((next, rotation)) if rotation.issuer() == rotation.new => next,
            _ => &self.current,
        }
    }

    /// The roots to believe now, PEM.
    pub fn bundle(&self) -> String {
        let Some((next, rotation)) = &self.next else { return self.current.root_pem() };
        let known = [&self.current, next];
        let pem = |root: &str| {
            known.iter().find(|authority| authority.root_fingerprint() == root).map(|known| known.root_pem())
        };
        rotation.bundle().into_iter().filter_map(pem).collect()
    }

    /// The fingerprints of the roots to believe now.
    pub fn bundle_fingerprints(&self) -> Vec<String> {
        match &self.next {
            None => vec![self.current.root_fingerprint()],
            Some((_, rotation)) => rotation.bundle().into_iter().map(str::to_owned).collect(),
        }
    }

    /// The change of root under way.
    pub fn rotation(&self) -> Option<&Rotation> {
        self.next.as_ref().map(|(_, rotation)| rotation)
    }

    /// Begins a change to a new root made here, or to the authority that a user put into `next/` before. One below the same
    /// root is in force at once.
    ///
    /// # Errors
    /// One is under way, the new authority cannot be had, or it is the one in force.
    pub fn begin(&mut self, domain: &TrustDomain, now: UnixTime) -> Result<(), LoadError> {
        if self.next.is_some() {
            return Err(LoadError::UnderWay);
        }
        let place = self.directory.join(NEXT);
        make(&place)?;
        let next = match load(&place, now)? {
            Some(next) => next,
            None if self.current.is_intermediate() => return Err(LoadError::PluggedIn(place)),
            None => create(&place, domain, now)?,
        };
        if next.info().fingerprint == self.current.info().fingerprint {
            return Err(LoadError::Same(place));
        }
        // With a chain of its own, if an empty one, it leaves nothing of the old one's behind when it takes its place.
        let chain = place.join(CHAIN);
        if !chain.exists() {
            closed_file(&chain, b"").map_err(|error| LoadError::Io { path: chain, error })?;
        }
        let rotation = Rotation::begin(self.current.root_fingerprint(), next.root_fingerprint());
        if rotation.step == Step::Done {
            self.next = Some((next, rotation.clone()));
            return self.step_to(rotation);
        }
        write_rotation(&self.directory, &rotation)?;
        self.next = Some((next, rotation));
        Ok(())
    }

    /// Takes a step of the change; the last one makes the new authority the one in force.
    ///
    /// # Errors
    /// The system refuses; the change is where it was.
    pub fn step_to(&mut self, rotation: Rotation) -> Result<(), LoadError> {
        write_rotation(&self.directory, &rotation)?;
        let Some((next, _)) = self.next.take() else { return Ok(()) };
        if rotation.step == Step::Done {
            self.current = next;
            return finish(&self.directory);
        }
        self.next = Some((next, rotation));
        Ok(())
    }
}

/// Puts the new authority in the old one's place. May be done again where it was interrupted: the change is forgotten only
/// afterwards.
fn finish(directory: &Path) -> Result<(), LoadError> {
    let next = directory.join(NEXT);
    for file in [KEY, CERTIFICATE, CHAIN, ROOT] {
        let from = next.join(file);
        if from.exists() {
            rename(&from, &directory.join(file))?;
        }
    }
    kept(directory)?;
    let rotation = directory.join(ROTATION);
    std::fs::remove_file(&rotation).map_err(|error| LoadError::Io { path: rotation, error })?;
    let _ = std::fs::remove_dir_all(next);
    Ok(())
}

fn make(directory: &Path) -> Result<(), LoadError> {
    closed_directory(directory).map_err(|error| LoadError::Io { path: directory.to_owned(), error })
}

fn load(directory: &Path, now: UnixTime) -> Result<Option<Authority>, LoadError> {
    if directory.exists() {
        settle(directory)?;
    }
    let read = |file: &'static str| {
        let path = directory.join(file);
        match std::fs::read(&path) {
            Ok(bytes) => Ok(Some(Zeroizing::new(bytes))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(LoadError::Io { path, error }),
        }
    };
    let files = [(CERTIFICATE, read(CERTIFICATE)?), (KEY, read(KEY)?), (ROOT, read(ROOT)?)];
    let there = files.iter().find(|(_, content)| content.is_some()).map(|(name, _)| *name);
    let missing = files.iter().find(|(_, content)| content.is_none()).map(|(name, _)| *name);
    match (there, missing) {
        (None, _) => return Ok(None),
        (Some(there), Some(missing)) => {
            return Err(LoadError::Partial { directory: directory.to_owned(), there, missing });
        }
        (Some(_), None) => {}
    }
    let [certificate, key, root] = files.map(|(_, content)| content.unwrap_or_default());
    let chain = read(CHAIN)?.unwrap_or_default();
    let loaded = Authority::from_pem(&certificate, &key, &chain, &root, now);
    loaded.map(Some).map_err(|error| LoadError::Authority { directory: directory.to_owned(), error })
}

/// Makes a root. It counts from the one moment on in which a directory with all of its files, safe on disk, gets its name: a
/// crash before leaves nothing that anybody has seen, a crash after is made good by [`settle`].
fn create(directory: &Path, domain: &TrustDomain, now: UnixTime) -> Result<Authority, LoadError> {
    let failed = |error| LoadError::Authority { directory: directory.to_owned(), error };
    let authority = Authority::new_root(domain, now).map_err(failed)?;
    let files = authority.files();
    let contents = [
        (KEY, files.key.as_bytes()),
        (ROOT, files.root.as_bytes()),
        (CHAIN, files.chain.as_bytes()),
        (CERTIFICATE, files.certificate.as_bytes()),
    ];
    let making = directory.join(MAKING);
    make(&making)?;
    for (name, content) in contents {
        let path = making.join(name);
        closed_file(&path, content).map_err(|error| LoadError::Io { path, error })?;
    }
    kept(&making)?;
    rename(&making, &directory.join(MADE))?;
    kept(directory)?;
    settle(directory)?;
    Ok(authority)
}

/// Takes up what [`create`] was interrupted in.
fn settle(directory: &Path) -> Result<(), LoadError> {
    let made = directory.join(MADE);
    for file in [KEY, ROOT, CHAIN, CERTIFICATE] {
        let (from, to) = (made.join(file), directory.join(file));
        match (from.exists(), to.exists()) {
            (true, true) => return Err(LoadError::Both { directory: directory.to_owned(), file }),
            (true, false) => rename(&from, &to)?,
            (false, _) => {}
        }
    }
    kept(directory)?;
    for rest in [made, directory.join(MAKING)] {
        match std::fs::remove_dir_all(&rest) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(LoadError::Io { path: rest, error });
            }
            _ => {}
        }
    }
    Ok(())
}

fn rename(from: &Path, to: &Path) -> Result<(), LoadError> {
    std::fs::rename(from, to).map_err(|error| LoadError::Io { path: to.to_owned(), error })
}

/// Has the system write down the names in a directory.
fn kept(directory: &Path) -> Result<(), LoadError> {
    let synced = std::fs::File::open(directory).and_then(|directory| directory.sync_all());
    synced.map_err(|error| LoadError::Io { path: directory.to_owned(), error })
}

fn read_rotation(path: &Path) -> Result<Option<Rotation>, LoadError> {
    match std::fs::read(path) {
        Ok(bytes) => serde_json::from_slice(&bytes)
            .map(Some)
            .map_err(|error| LoadError::Rotation { path: path.to_owned(), error }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(LoadError::Io { path: path.to_owned(), error }),
    }
}

fn write_rotation(directory: &Path, rotation: &Rotation) -> Result<(), LoadError> {
    let path = directory.join(ROTATION);
    let text =
        serde_json::to_vec(rotation).map_err(|error| LoadError::Rotation { path: path.clone(), error })?;
    replace_kept(&path, &text).map_err(|error| LoadError::Io { path, error })
}

#[cfg(test)]
mod tests;
