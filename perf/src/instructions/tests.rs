use std::collections::BTreeMap;

use super::{Baseline, parse_total, verdict};

fn counts(hosts: [f64; 2], parse: f64) -> Baseline {
    let instructions = BTreeMap::from([
        ("parse-request".to_owned(), parse),
        ("whole/hosts-10".to_owned(), hosts[0]),
        ("whole/hosts-10000".to_owned(), hosts[1]),
    ]);
    Baseline {
        toolchain: "rustc 1".into(),
        valgrind: "valgrind-3".into(),
        features: vec!["avx2".into()],
        instructions,
    }
}

#[test]
fn two_per_cent_more_than_the_baseline_is_a_fault() {
    let known = counts([4_000.0, 4_100.0], 1_000.0);
    assert!(verdict(&counts([4_000.0, 4_100.0], 1_019.0), Some(&known)).1.is_empty());
    let (_, faults) = verdict(&counts([4_000.0, 4_100.0], 1_021.0), Some(&known));
    assert_eq!(faults.len(), 1);
    assert!(faults[0].starts_with("parse-request"), "{faults:?}");
}

#[test]
fn a_large_table_may_not_cost_more_than_five_per_cent() {
    let (_, faults) = verdict(&counts([4_000.0, 4_201.0], 1_000.0), None);
    assert_eq!(faults.len(), 1, "{faults:?}");
    assert!(verdict(&counts([4_000.0, 4_199.0], 1_000.0), None).1.is_empty());
}

#[test]
fn another_toolchain_leaves_only_the_ratios_to_check() {
    let known = Baseline { toolchain: "rustc 2".into(), ..counts([4_000.0, 4_000.0], 10.0) };
    let (text, faults) = verdict(&counts([4_000.0, 4_000.0], 1_000.0), Some(&known));
    assert!(faults.is_empty(), "{faults:?}");
    assert!(text.contains("only the ratios"), "{text}");
}

#[test]
fn callgrinds_total_is_read() {
    assert_eq!(parse_total("version: 1\nevents: Ir\nfn=x\n1 2\ntotals: 12345\n"), Some(12_345));
    assert_eq!(parse_total("nothing"), None);
}

#[test]
fn every_case_reaches_its_last_rule() {
    for (name, ..) in super::hot::CASES.iter().filter(|case| !case.0.ends_with("0000")) {
        super::run_case(name, 1).unwrap();
    }
}
