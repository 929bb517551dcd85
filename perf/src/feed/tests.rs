use super::figures::Spread;
use super::{decode, world};

#[test]
fn base64_of_every_length() {
    let cases = [
        ("", ""),
        ("Zg==", "f"),
        ("Zm8=", "fo"),
        ("Zm9v", "foo"),
        ("Zm9vYg==", "foob"),
        ("+/8=", "\u{fb}\u{ff}"),
    ];
    for (text, bytes) in cases {
        let expected: Vec<u8> = bytes.chars().map(|it| it as u8).collect();
        assert_eq!(decode(text).expect("base64"), expected, "{text}");
    }
    assert!(decode("a b").is_err());
}

#[test]
fn percentiles_are_of_the_samples() {
    let spread = Spread::of((1..=200).map(f64::from).collect());
    assert_eq!((spread.count, spread.p50_ms, spread.p99_ms, spread.max_ms), (200, 100.0, 198.0, 200.0));
}

#[test]
fn addresses_are_of_one_endpoint_each() {
    let mut all: Vec<String> = (0..1000)
        .flat_map(|service| (0..10).map(move |endpoint| world::address(service, endpoint)))
        .collect();
    all.sort();
    all.dedup();
    assert_eq!(all.len(), 10_000);
}
