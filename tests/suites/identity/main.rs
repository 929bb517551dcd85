//! Identity end to end: hostile peers, and certificates and roots that change under load.

mod feed;
mod forge;
mod hostile;
mod openssl;
mod rotation;
mod versions;

use dromon_tests::proxy::DRIVERS;

fn on_both_drivers(test: impl Fn(&str)) {
    for driver in DRIVERS {
        test(driver);
    }
}

#[test]
fn clients_with_wrong_certificates_are_refused_with_the_reason() {
    on_both_drivers(hostile::clients);
}

#[test]
fn servers_with_wrong_certificates_are_refused_with_the_reason() {
    on_both_drivers(hostile::servers);
}

#[test]
fn whatever_is_spoken_strangers_reach_no_application() {
    on_both_drivers(hostile::protocols::strict);
}

#[test]
fn a_stranger_who_claims_to_be_of_the_mesh_is_refused_where_plaintext_is_not() {
    on_both_drivers(hostile::protocols::permissive);
}

#[test]
fn whatever_is_spoken_impostors_are_told_nothing() {
    on_both_drivers(hostile::servers_of_every_protocol);
}

#[test]
fn servers_that_break_a_handshake_are_given_up_for_the_reason() {
    std::thread::scope(|scope| {
        for driver in DRIVERS {
            scope.spawn(move || hostile::broken_servers::each_way(driver));
        }
    });
    on_both_drivers(hostile::broken_servers::older);
}

#[test]
fn older_versions_are_refused() {
    on_both_drivers(hostile::downgrades);
}

#[test]
fn older_versions_are_spoken_where_the_mesh_allows_them() {
    on_both_drivers(versions::clients);
    on_both_drivers(versions::servers);
}

#[test]
fn handshakes_that_are_broken_off_or_slow_harm_nobody() {
    on_both_drivers(hostile::broken_off);
}

#[test]
fn certificates_and_the_root_change_under_load_without_an_error() {
    rotation::leaf_and_root();
}

#[test]
fn an_intermediate_makes_way_for_another_without_an_error() {
    rotation::intermediate();
}

#[test]
fn while_the_controller_and_its_ca_are_away_nothing_happens() {
    rotation::controller_away();
}

#[test]
fn a_killed_controller_and_a_ca_that_is_away_are_not_noticed() {
    rotation::controller_killed_and_ca_gone();
}

#[test]
fn the_feed_over_tcp_knows_its_proxies() {
    feed::over_tcp();
}
