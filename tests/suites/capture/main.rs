//! Capture in real network namespaces with the kernel's own netfilter: two pods with sidecars and a node without, for each
//! way of installing the rules and both versions of IP. The applications know of nothing.

mod apps;
mod installing;
mod run;
mod services;
mod traffic;
mod world;

use dromon_core::capture::Family;
use dromon_tests::netns;
use dromon_tests::skip;

/// A way of installing the rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Means {
    /// What `dromon-proxy capture` is told.
    pub arguments: &'static [&'static str],
    /// The programs that it needs.
    pub programs: &'static [&'static str],
    /// What drives the sidecars beside it: each of both is had.
    pub driver: &'static str,
}

/// iptables over nf_tables.
pub const IPTABLES_NFT: Means = Means {
    arguments: &["--mode", "iptables", "--iptables-backend", "nft"],
    programs: &["iptables-nft-restore", "ip6tables-nft-restore"],
    driver: "io_uring",
};
/// iptables as it was.
pub const IPTABLES_LEGACY: Means = Means {
    arguments: &["--mode", "iptables", "--iptables-backend", "legacy"],
    programs: &["iptables-legacy-restore", "ip6tables-legacy-restore"],
    driver: "epoll",
};
/// nft.
pub const NFTABLES: Means =
    Means { arguments: &["--mode", "nftables"], programs: &["nft"], driver: "io_uring" };

/// Whether the test can run here; where not, it is noted as skipped.
pub fn possible(test: &str, programs: &[&str]) -> bool {
    match netns::obstacle(programs) {
        None => true,
        Some(why) => {
            skip(test, &why);
            false
        }
    }
}

fn traffic(test: &str, means: Means, family: Family) {
    if possible(test, means.programs) {
        traffic::all(means, family);
    }
}

#[test]
fn traffic_by_iptables_nft_ipv4() {
    traffic("traffic_by_iptables_nft_ipv4", IPTABLES_NFT, Family::V4);
}

#[test]
fn traffic_by_iptables_nft_ipv6() {
    traffic("traffic_by_iptables_nft_ipv6", IPTABLES_NFT, Family::V6);
}

#[test]
fn traffic_by_iptables_legacy_ipv4() {
    traffic("traffic_by_iptables_legacy_ipv4", IPTABLES_LEGACY, Family::V4);
}

#[test]
fn traffic_by_iptables_legacy_ipv6() {
    traffic("traffic_by_iptables_legacy_ipv6", IPTABLES_LEGACY, Family::V6);
}

#[test]
fn traffic_by_nftables_ipv4() {
    traffic("traffic_by_nftables_ipv4", NFTABLES, Family::V4);
}

#[test]
fn traffic_by_nftables_ipv6() {
    traffic("traffic_by_nftables_ipv6", NFTABLES, Family::V6);
}

/// Runs what installing shows where every means is there.
fn installing(test: &str, run: impl FnOnce()) {
    if possible(test, &["iptables-nft-restore", "iptables-legacy-restore", "ip6tables-nft-restore", "nft"]) {
        run();
    }
}

#[test]
fn a_second_run_changes_nothing_and_removal_leaves_nothing() {
    installing("a_second_run_changes_nothing_and_removal_leaves_nothing", || {
        installing::EACH.into_iter().for_each(installing::again_and_away);
    });
}

#[test]
fn one_means_replaces_another() {
    installing("one_means_replaces_another", installing::one_replaces_another);
}

#[test]
fn rules_of_others_stay() {
    installing("rules_of_others_stay", installing::rules_of_others_stay);
}

#[test]
fn a_failure_leaves_no_half_capture() {
    installing("a_failure_leaves_no_half_capture", installing::it_fails_closed);
}

#[test]
fn without_the_right_it_says_so() {
    installing("without_the_right_it_says_so", installing::it_says_what_it_lacks);
}

#[test]
fn without_a_sidecar_nothing_passes() {
    installing("without_a_sidecar_nothing_passes", || {
        installing::EACH.into_iter().for_each(installing::without_a_sidecar_nothing_passes);
    });
}

#[test]
fn ip6tables_may_be_absent_where_nothing_uses_ipv6() {
    let test = "ip6tables_may_be_absent_where_nothing_uses_ipv6";
    installing(test, installing::ip6tables_may_be_absent_where_nothing_uses_ipv6);
}

#[test]
fn a_folders_processes_are_captured() {
    installing("a_folders_processes_are_captured", run::bookinfo_is_captured);
}

#[test]
fn services_are_told_apart_by_address_and_pods_are_there_by_themselves() {
    let test = "services_are_told_apart_by_address_and_pods_are_there_by_themselves";
    installing(test, services::by_address);
}

#[test]
fn nothing_stays_of_a_killed_run() {
    installing("nothing_stays_of_a_killed_run", run::nothing_stays_of_a_killed_run);
}

#[test]
fn a_run_with_capture_needs_root() {
    installing("a_run_with_capture_needs_root", run::it_needs_root);
}
