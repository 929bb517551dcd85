//! TLS against real peers, on both drivers: mutual TLS between two sidecars, gateways, origination, protocols that nobody
//! declares.

mod detection;
mod gateway;
mod introduced;
mod mesh;
mod origination;
mod records;
mod sessions;
mod standing;

use dromon_tests::proxy::DRIVERS;

fn on_both_drivers(test: impl Fn(&str)) {
    for driver in DRIVERS {
        test(driver);
    }
}

#[test]
fn http_goes_between_sidecars_under_mutual_identity() {
    on_both_drivers(mesh::http);
}

#[test]
fn an_application_is_told_who_its_client_is() {
    on_both_drivers(mesh::principals);
}

#[test]
fn http2_goes_between_sidecars_spoken_or_upgraded() {
    on_both_drivers(mesh::http2);
}

#[test]
fn handshakes_that_break_the_rules_are_refused_and_others_unharmed() {
    on_both_drivers(mesh::hostile);
}

#[test]
fn a_strict_port_refuses_plaintext_and_a_permissive_one_takes_both() {
    on_both_drivers(mesh::modes);
}

#[test]
fn a_server_with_another_identity_is_refused_with_the_reason_at_both_ends() {
    on_both_drivers(mesh::wrong_identity);
}

#[test]
fn a_client_of_another_ca_is_refused_with_the_reason_at_both_ends() {
    on_both_drivers(mesh::wrong_ca);
}

#[test]
fn a_new_certificate_is_taken_without_an_error_and_a_broken_one_is_not() {
    on_both_drivers(mesh::rotation);
}

#[test]
fn what_stands_goes_on_while_leaves_and_the_root_change() {
    on_both_drivers(standing::rotation);
}

#[test]
fn a_proxy_with_certificates_is_not_ready_before_they_are_in() {
    on_both_drivers(mesh::readiness);
}

#[test]
fn tcp_goes_between_sidecars_whoever_speaks_first() {
    on_both_drivers(detection::server_first);
}

#[test]
fn a_peer_may_begin_with_istios_metadata() {
    on_both_drivers(detection::peer_exchange);
}

#[test]
fn an_applications_own_tls_passes_through_as_it_is() {
    on_both_drivers(detection::application_tls);
}

#[test]
fn the_client_is_who_the_proxy_protocol_says() {
    on_both_drivers(introduced::taken);
}

#[test]
fn a_client_of_tls_is_who_the_proxy_protocol_says() {
    on_both_drivers(introduced::before_tls);
}

#[test]
fn an_upstream_is_told_of_its_client() {
    on_both_drivers(introduced::told);
}

#[test]
fn an_upstream_is_told_of_its_client_before_tls() {
    on_both_drivers(introduced::told_before_tls);
}

#[test]
fn what_was_told_of_a_client_goes_on_as_it_is() {
    on_both_drivers(introduced::passed_on);
}

#[test]
fn a_gateway_shows_each_host_its_certificate() {
    on_both_drivers(gateway::certificates);
}

#[test]
fn a_gateway_asks_for_client_certificates_as_told() {
    on_both_drivers(gateway::client_certificates);
}

#[test]
fn a_gateway_lets_in_no_client_that_is_revoked() {
    on_both_drivers(gateway::revoked);
}

#[test]
fn a_gateway_answers_421_where_a_host_asks_for_more() {
    on_both_drivers(gateway::misdirected);
}

#[test]
fn a_gateway_for_workloads_lets_in_workloads_only() {
    on_both_drivers(gateway::istio_mutual);
}

#[test]
fn a_replaced_certificate_or_root_is_for_new_connections() {
    on_both_drivers(mesh::replaced);
}

#[test]
fn sidecars_meet_with_keys_of_rsa() {
    on_both_drivers(mesh::rsa);
}

#[test]
fn a_gateway_keeps_to_its_versions() {
    on_both_drivers(gateway::versions);
}

#[test]
fn a_host_shows_the_credential_that_its_client_can_check() {
    on_both_drivers(gateway::both_kinds);
}

#[test]
fn a_session_is_not_negotiated_anew() {
    on_both_drivers(gateway::renegotiation);
}

#[test]
fn a_gateway_passes_on_what_sidecars_spell() {
    on_both_drivers(gateway::spelled_passthrough);
}

#[test]
fn each_account_has_a_limit_of_its_own() {
    on_both_drivers(mesh::limits);
}

#[test]
fn a_gateway_passes_tls_on_by_server_name() {
    on_both_drivers(gateway::passthrough);
}

#[test]
fn http_leaves_the_mesh_by_tls() {
    on_both_drivers(origination::simple_and_mutual);
}

#[test]
fn the_access_log_says_why_tls_failed_for_every_version_of_http() {
    on_both_drivers(records::failures);
}

#[test]
fn a_client_that_comes_back_goes_on_with_its_session() {
    on_both_drivers(sessions::resumed);
}

#[test]
fn keys_are_shown_nowhere() {
    on_both_drivers(sessions::kept_secret);
}
