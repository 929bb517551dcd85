use std::os::unix::fs::PermissionsExt;

use dromon_core::config::model::{Host, Kind, Proxy, Resource};

use super::*;

fn copy() -> Copy {
    let host = Host { name: "reviews.default".into(), routed: true, ..Host::default() };
    let proxy = Proxy { name: "sidecar~a.b".into(), ..Proxy::default() };
    Copy {
        id: "sidecar~a.b".into(),
        build: "1".into(),
        in_use: InUse::from([(Kind::VirtualHost, "reviews.default".into())]),
        objects: vec![
            Update { version: "7".into(), resource: Resource::Host(host) },
            Update { version: "8".into(), resource: Resource::Proxy(proxy) },
        ],
    }
}

#[test]
fn what_is_saved_is_loaded() {
    let dir = tempfile::tempdir().expect("a directory");
    let state = dir.path().join("state");
    assert!(load(&state, "sidecar~a.b").expect("no copy is no error").is_none());
    save(&state, &copy()).expect("saved");
    save(&state, &copy()).expect("saved again over the first");
    assert_eq!(load(&state, "sidecar~a.b").expect("readable"), Some(copy()));
    let mode = fs::metadata(state.join(FILE_NAME)).expect("there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(fs::read_dir(&state).expect("listed").count(), 1, "nothing is left beside");
}

#[test]
fn any_damage_is_noticed() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join(FILE_NAME);
    let text = encode(&copy()).expect("encoded");
    let mut damaged: Vec<Vec<u8>> = (0..text.len()).step_by(13).map(|len| text[..len].to_vec()).collect();
    damaged.extend((0..text.len()).step_by(13).map(|at| {
        let mut text = text.clone();
        text[at] ^= 1;
        text
    }));
    for text in damaged {
        fs::write(&path, &text).expect("written");
        let error = load(dir.path(), "sidecar~a.b").expect_err("damaged");
        assert!(matches!(error, LoadError::Damaged { .. }), "{error}");
    }
}

#[test]
fn another_proxys_copy_is_not_used() {
    let dir = tempfile::tempdir().expect("a directory");
    save(dir.path(), &copy()).expect("saved");
    let error = load(dir.path(), "sidecar~c.d").expect_err("foreign");
    assert!(error.to_string().contains("belongs to sidecar~a.b"), "{error}");
}
