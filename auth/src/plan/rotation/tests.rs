use super::*;
use dromon_core::rng::Rng;

fn proxy(name: &str, roots: &[&str], vouched_by: &str) -> InUse {
    InUse {
        proxy: name.to_owned(),
        roots: roots.iter().map(|root| (*root).to_owned()).collect(),
        vouched_by: Some(vouched_by.to_owned()),
    }
}

#[test]
fn each_step_waits_for_every_proxy() {
    let rotation = Rotation::begin("old".to_owned(), "new".to_owned());
    assert_eq!((rotation.bundle(), rotation.issuer()), (vec!["old", "new"], "old"));
    let mixed = [proxy("a", &["old", "new"], "old"), proxy("b", &["old"], "old")];
    assert_eq!(rotation.waits_for(&mixed), ["b"]);
    assert_eq!(rotation.clone().advance(&mixed).step, Step::Distribute);
    let both = [proxy("a", &["old", "new"], "old"), proxy("b", &["old", "new"], "old")];
    let rotation = rotation.advance(&both);
    assert_eq!(
        (rotation.step, rotation.bundle(), rotation.issuer()),
        (Step::Issue, vec!["old", "new"], "new")
    );
    assert_eq!(rotation.clone().advance(&both).step, Step::Issue);
    let rotation = rotation.advance(&[proxy("a", &["old", "new"], "new")]);
    assert_eq!((rotation.step, rotation.bundle(), rotation.issuer()), (Step::Remove, vec!["new"], "new"));
    assert_eq!(rotation.clone().advance(&[proxy("a", &["old", "new"], "new")]).step, Step::Remove);
    assert_eq!(rotation.advance(&[proxy("a", &["new"], "new")]).step, Step::Done);
}

#[test]
fn below_the_same_root_there_is_nothing_to_wait_for() {
    let rotation = Rotation::begin("root".to_owned(), "root".to_owned());
    assert_eq!((rotation.step, rotation.bundle(), rotation.issuer()), (Step::Done, vec!["root"], "root"));
}

#[test]
fn a_rotation_is_kept_and_resumed() {
    let rotation = Rotation { old: "a".to_owned(), new: "b".to_owned(), step: Step::Issue };
    let kept = serde_json::to_string(&rotation).expect("writes");
    assert_eq!(kept, r#"{"old":"a","new":"b","step":"issue"}"#);
    assert_eq!(serde_json::from_str::<Rotation>(&kept).expect("reads"), rotation);
}

/// Proxies take up their files one by one, in any order and with any delay: none ever shows a leaf that another one does
/// not believe.
#[test]
fn nobody_ever_shows_what_another_does_not_believe() {
    for seed in 0..500 {
        let mut rng = Rng::new(seed);
        let mut rotation = Rotation::begin("old".to_owned(), "new".to_owned());
        let mut proxies: Vec<InUse> = (0..5).map(|n| proxy(&n.to_string(), &["old"], "old")).collect();
        for _ in 0..10_000 {
            if rotation.step == Step::Done {
                break;
            }
            let taking = rng.below(5) as usize;
            proxies[taking].roots = rotation.bundle().iter().map(|root| (*root).to_owned()).collect();
            proxies[taking].vouched_by = Some(rotation.issuer().to_owned());
            for shows in &proxies {
                let leaf = shows.vouched_by.as_ref().expect("a leaf");
                assert!(proxies.iter().all(|sees| sees.roots.contains(leaf)), "seed {seed}: {proxies:?}");
            }
            rotation = rotation.advance(&proxies);
        }
        assert_eq!(rotation.step, Step::Done, "seed {seed}");
    }
}
