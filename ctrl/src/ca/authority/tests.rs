use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use dromon_auth::TrustDomain;
use rustls_pki_types::UnixTime;

use super::{Authorities, CERTIFICATE, CHAIN, KEY, LoadError, MADE, MAKING, NEXT, ROOT, ROTATION};

fn domain() -> TrustDomain {
    TrustDomain::new("mesh.test").expect("a trust domain")
}

fn open(directory: &Path) -> Result<Authorities, LoadError> {
    Authorities::open(directory, &domain(), UnixTime::now())
}

fn root_of(directory: &Path) -> String {
    open(directory).expect("an authority").issuer().root_fingerprint()
}

/// Takes files of a whole CA back to where an interrupted creation has them.
fn take_back(directory: &Path, to: &str, files: &[&str]) {
    std::fs::create_dir_all(directory.join(to)).expect("made");
    for file in files {
        std::fs::rename(directory.join(file), directory.join(to).join(file)).expect("moved");
    }
}

#[test]
fn a_root_that_was_not_whole_is_made_anew() {
    for files in 0..4 {
        let place = tempfile::tempdir().expect("a directory");
        let directory = place.path();
        let before = root_of(directory);
        // In the order in which they are written, the rest not being there yet.
        let all = [KEY, ROOT, CHAIN, CERTIFICATE];
        take_back(directory, MAKING, &all);
        all[files..]
            .iter()
            .for_each(|file| std::fs::remove_file(directory.join(MAKING).join(file)).expect("there"));
        assert_ne!(root_of(directory), before, "{files}: nobody has seen the one before");
        assert!(!directory.join(MAKING).exists());
        assert_eq!(root_of(directory), root_of(directory), "it stays");
    }
}

#[test]
fn a_root_that_was_whole_moves_in() {
    for moved in 0..=4 {
        let place = tempfile::tempdir().expect("a directory");
        let directory = place.path();
        let before = root_of(directory);
        take_back(directory, MADE, &[KEY, ROOT, CHAIN, CERTIFICATE][moved..]);
        assert_eq!(root_of(directory), before, "{moved} were in their place");
        assert!(!directory.join(MADE).exists());
    }
}

#[test]
fn what_a_user_puts_there_is_not_overwritten() {
    let place = tempfile::tempdir().expect("a directory");
    let directory = place.path();
    root_of(directory);
    take_back(directory, MADE, &[ROOT]);
    std::fs::write(directory.join(ROOT), "a user's").expect("written");
    assert!(matches!(open(directory), Err(LoadError::Both { file: ROOT, .. })));
    assert_eq!(std::fs::read_to_string(directory.join(ROOT)).expect("there"), "a user's");
}

#[test]
fn everything_is_closed_to_others() {
    let place = tempfile::tempdir().expect("a directory");
    let directory = place.path().join("ca");
    let mut authorities = open(&directory).expect("an authority");
    authorities.begin(&domain(), UnixTime::now()).expect("a change");
    let mode = |path: &Path| std::fs::metadata(path).expect("there").permissions().mode() & 0o777;
    for file in [KEY, ROOT, CHAIN, CERTIFICATE, ROTATION] {
        assert_eq!(mode(&directory.join(file)), 0o600, "{file}");
    }
    for directory in [directory.clone(), directory.join(NEXT)] {
        assert_eq!(mode(&directory), 0o700, "{}", directory.display());
        let rest = std::fs::read_dir(directory).expect("there").flatten().map(|it| it.file_name());
        let hidden: Vec<_> = rest.filter(|name| name.to_string_lossy().starts_with('.')).collect();
        assert!(hidden.is_empty(), "{hidden:?}");
    }
}
