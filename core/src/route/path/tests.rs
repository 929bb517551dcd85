use proptest::prelude::*;

use super::*;

/// The same question, answered by looking at every key.
fn slow(keys: &[(Vec<u8>, Fit, u32)], text: &[u8], floor: u32, ceiling: u32) -> Option<u32> {
    let fits = |key: &[u8], fit: Fit| {
        text.starts_with(key)
            && match fit {
                Fit::Prefix => true,
                Fit::Segments => matches!(text.get(key.len()), None | Some(b'/')),
                Fit::Whole => text.len() == key.len(),
                Fit::Longer => text.len() > key.len(),
            }
    };
    let candidates =
        keys.iter().filter(|(key, fit, value)| (floor..ceiling).contains(value) && fits(key, *fit));
    candidates.map(|(_, _, value)| *value).min()
}

fn fit() -> impl Strategy<Value = Fit> {
    prop_oneof![Just(Fit::Prefix), Just(Fit::Segments), Just(Fit::Whole), Just(Fit::Longer)]
}

fn text() -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(prop_oneof![Just(b'/'), Just(b'a'), Just(b'b'), Just(0xffu8), Just(0u8)], 0..8)
}

proptest! {
    #[test]
    fn finds_the_least_value_as_a_scan_does(
        keys in proptest::collection::vec((text(), fit()), 0..40),
        texts in proptest::collection::vec(text(), 1..20),
        floor in 0u32..10,
        ceiling in 0u32..60,
    ) {
        let keys: Vec<_> = keys.into_iter().enumerate().map(|(at, (key, fit))| (key, fit, at as u32)).collect();
        let trie = Trie::build(keys.clone());
        for text in &texts {
            prop_assert_eq!(trie.least(&Forward(text), floor, ceiling), slow(&keys, text, floor, ceiling));
        }
    }

    #[test]
    fn finds_the_longest_key_as_a_scan_does(
        keys in proptest::collection::btree_set(text(), 0..30),
        texts in proptest::collection::vec(text(), 1..20),
    ) {
        let keys: Vec<Vec<u8>> = keys.into_iter().collect();
        let stored = keys.iter().enumerate();
        let trie = Trie::build(stored.map(|(at, key)| (key.clone(), Fit::Prefix, at as u32)).collect());
        for text in &texts {
            let longest = keys.iter().enumerate().filter(|(_, key)| text.starts_with(key)).max_by_key(|(_, key)| key.len());
            prop_assert_eq!(trie.longest(&Forward(text)), longest.map(|(at, _)| at as u32));
        }
    }
}

#[test]
fn views_read_folded_and_backward() {
    let trie = Trie::build(vec![(b"abc".to_vec(), Fit::Prefix, 7)]);
    assert_eq!(trie.least(&Folded(b"ABCd"), 0, u32::MAX), Some(7));
    assert_eq!(trie.least(&Forward(b"ABCd"), 0, u32::MAX), None);
    assert_eq!(trie.longest(&Backward(b"xcba")), Some(7));
    assert_eq!(trie.longest(&Backward(b"xcb")), None);
}

#[test]
fn children_of_every_byte_are_told_apart() {
    let keys = (0..=255u8).map(|byte| (vec![b'/', byte], Fit::Whole, u32::from(byte)));
    let trie = Trie::build(keys.collect());
    for byte in 0..=255u8 {
        assert_eq!(trie.least(&Forward(&[b'/', byte]), 0, u32::MAX), Some(u32::from(byte)));
    }
}
