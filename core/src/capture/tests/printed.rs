//! The printed rules against files, and what is read back against the plan.
//!
//! `UPDATE_GOLDEN=1 cargo test -p dromon-core capture` writes the files anew.

use std::path::Path;

use super::*;

/// All settings at once.
fn every_setting() -> Settings {
    let range = |text| Cidr::parse(text).unwrap();
    Settings {
        inbound_ports: Ports::Only(vec![8080, 9090]),
        excluded_inbound_ports: vec![9091],
        included_outbound_ports: vec![443],
        excluded_outbound_ports: vec![3306],
        outbound_ranges: Ranges::Only(vec![range("10.0.0.0/8"), range("fd00::/8")]),
        excluded_outbound_ranges: vec![range("10.9.0.1"), range("fd00:9::/64")],
        excluded_interfaces: vec!["net1".to_owned()],
        ..Settings::default()
    }
}

fn check(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, text).unwrap();
    }
    let golden = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(text, golden, "{name} has changed");
}

#[test]
fn the_printed_rules_are_these() {
    for (settings, name) in [(Settings::default(), "default"), (every_setting(), "every-setting")] {
        for (family, number) in [(Family::V4, 4), (Family::V6, 6)] {
            let plan = Plan::new(&settings, family);
            let iptables = iptables::install(&plan, &Default::default());
            check(&format!("capture-{name}.iptables{number}"), &iptables);
            check(&format!("capture-{name}.nft{number}"), &nftables::install(&plan));
        }
    }
}

/// What `iptables-save` would say after a script of [`iptables::install`].
fn saved(script: &str) -> String {
    let (mut jumps, mut rest) = (Vec::new(), Vec::new());
    for line in script.lines() {
        match line.strip_prefix("-I ") {
            Some(jump) => jumps.push(format!("-A {}", jump.replacen(" 1 ", " ", 1))),
            None if line == "*nat" || line == "COMMIT" => {}
            None => rest.push(line.to_owned()),
        }
    }
    let rest = rest.join("\n");
    format!(
        "# Generated\n*nat\n:PREROUTING ACCEPT [0:0]\n{}\n{rest}\nCOMMIT\n*filter\nCOMMIT\n",
        jumps.join("\n")
    )
}

/// `iptables-save` lists chains before rules.
fn in_force(script: &str) -> iptables::InForce {
    let saved = saved(script);
    let (chains, rules): (Vec<&str>, Vec<&str>) = saved.lines().partition(|line| line.starts_with(':'));
    let rules: Vec<&str> = rules.into_iter().filter(|line| line.starts_with("-A")).collect();
    iptables::InForce::read(&format!("*nat\n{}\n{}\nCOMMIT\n", chains.join("\n"), rules.join("\n")))
}

#[test]
fn what_is_in_force_is_told_from_what_is_not() {
    let plan = Plan::new(&every_setting(), Family::V4);
    let script = iptables::install(&plan, &Default::default());
    let found = in_force(&script);
    assert_eq!(found.difference(&plan), None);
    let other = Plan::new(&Settings::default(), Family::V4);
    assert!(found.difference(&other).is_some());
    assert!(iptables::InForce::default().difference(&plan).is_some());
    for (line, _) in script.lines().zip(0..).filter(|(line, _)| line.starts_with('-')) {
        let cut: String = script.lines().filter(|it| it != &line).map(|it| format!("{it}\n")).collect();
        assert!(in_force(&cut).difference(&plan).is_some(), "{line} is not missed");
    }
    let twice = script.replace("COMMIT", "-I OUTPUT 1 -p tcp -j DROMON_OUTBOUND\nCOMMIT");
    assert!(in_force(&twice).difference(&plan).is_some());
}

#[test]
fn a_jump_behind_others_rules_is_not_in_force() {
    let plan = Plan::new(&Settings::default(), Family::V4);
    let saved = saved(&iptables::install(&plan, &Default::default()));
    let behind = saved.replace("-A OUTPUT", "-A OUTPUT -j ACCEPT\n-A OUTPUT");
    let found = iptables::InForce::read(&behind);
    assert!(found.difference(&plan).unwrap().contains("other rules come before"));
}

#[test]
fn a_second_installation_takes_the_first_away() {
    let plan = Plan::new(&Settings::default(), Family::V4);
    let found = in_force(&iptables::install(&plan, &Default::default()));
    let again = iptables::install(&plan, &found);
    assert!(again.contains("-D OUTPUT -p tcp -j DROMON_OUTBOUND\n"));
    assert_eq!(again.matches("-I OUTPUT 1").count(), 1);
    let removed = iptables::remove(&found);
    for chain in ["INBOUND", "OUTBOUND", "TO_INBOUND", "TO_OUTBOUND"] {
        assert!(removed.contains(&format!(":DROMON_{chain} - [0:0]\n")));
        assert!(removed.contains(&format!("-X DROMON_{chain}\n")));
    }
    assert!(!removed.contains("-A ") && !removed.contains("-I "));
}

#[test]
fn rules_of_others_are_passed_over() {
    let others = "*nat\n:PREROUTING ACCEPT [0:0]\n:KUBE-X - [0:0]\n-A PREROUTING -j KUBE-X\n\
                  -A KUBE-X -p tcp -j DROMONX\nCOMMIT\n*mangle\n:DROMON_OLD - [0:0]\nCOMMIT\n";
    assert!(iptables::InForce::read(others).is_empty());
}

#[test]
fn a_listing_of_nft_is_compared_whatever_its_spaces() {
    let plan = Plan::new(&every_setting(), Family::V6);
    let script = nftables::install(&plan);
    let listed = script.split_once("delete table ip6 dromon\n").unwrap().1;
    assert_eq!(
        nftables::difference(&listed.replace('\t', "  ").replace("l4proto tcp", "l4proto 6"), &plan),
        None
    );
    for (at, line) in listed.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let cut: Vec<&str> = listed.lines().take(at).chain(listed.lines().skip(at + 1)).collect();
        assert!(nftables::difference(&cut.join("\n"), &plan).is_some(), "{line} is not missed");
    }
    assert!(nftables::is_listed("table ip x\ntable ip6 dromon\n", Family::V6));
    assert!(!nftables::is_listed("table ip6 dromon2\n", Family::V6));
}
