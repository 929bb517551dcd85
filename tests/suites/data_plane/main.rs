//! The data plane against real sockets, without a controller: rules put in as the model, both drivers.

mod access_log;
mod accounts;
mod resilience;
mod roles;
mod streams;

use std::net::SocketAddr;

use dromon_core::config::model::{HttpRule, Resource};
use dromon_tests::free_port;
use dromon_tests::proxy::{DRIVERS, Proxy, gateway};

/// A free loopback address.
pub fn free_address() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], free_port()))
}

/// A gateway with one rule to these upstreams; `change` may edit the resources first.
pub fn start(
    driver: &str,
    upstreams: &[SocketAddr],
    rule: HttpRule,
    change: impl Fn(&mut Vec<Resource>),
) -> (Proxy, SocketAddr) {
    start_with(driver, upstreams, rule, change, &["--shards", "1"])
}

/// As [`start`], with arguments for the proxy.
pub fn start_with(
    driver: &str,
    upstreams: &[SocketAddr],
    rule: HttpRule,
    change: impl Fn(&mut Vec<Resource>),
    arguments: &[&str],
) -> (Proxy, SocketAddr) {
    let front = free_address();
    let mut resources = gateway(front, upstreams, rule);
    change(&mut resources);
    (Proxy::start("gateway~ingress.default", driver, &resources, arguments), front)
}

fn on_both_drivers(test: impl Fn(&str)) {
    for driver in DRIVERS {
        test(driver);
    }
}

#[test]
fn a_limit_is_exact_in_total_whatever_the_number_of_shards() {
    on_both_drivers(resilience::limit_with_one_and_four_shards);
}

#[test]
fn the_access_log_is_istios_in_text_and_in_json() {
    on_both_drivers(access_log::json);
    on_both_drivers(access_log::text);
}

#[test]
fn each_client_of_a_keyed_limit_has_its_own_share() {
    on_both_drivers(resilience::keyed_limit);
}

#[test]
fn a_dead_endpoint_costs_no_request() {
    on_both_drivers(resilience::dead_endpoint);
}

#[test]
fn configured_retries_try_again_on_their_conditions_only() {
    on_both_drivers(resilience::configured_retries);
}

#[test]
fn time_limits_of_rules_hold() {
    on_both_drivers(resilience::time_limits);
}

#[test]
fn an_endpoint_that_keeps_failing_is_ejected() {
    on_both_drivers(resilience::ejection);
}

#[test]
fn caps_on_connections_and_pending_requests_answer_503() {
    on_both_drivers(resilience::caps);
}

#[test]
fn a_cap_in_total_starves_no_shard() {
    on_both_drivers(resilience::caps_over_shards);
}

#[test]
fn waiting_in_line_uses_up_the_try_and_not_the_time_to_connect() {
    on_both_drivers(resilience::waiting_in_line);
}

#[test]
fn a_client_that_leaves_gives_back_what_it_held() {
    on_both_drivers(resilience::clients_that_leave);
}

#[test]
fn rules_redirect_rewrite_answer_and_change_headers() {
    on_both_drivers(roles::actions);
}

#[test]
fn tcp_and_http_share_no_connection() {
    on_both_drivers(roles::tcp_beside_http);
}

#[test]
fn tcp_is_relayed_with_half_close() {
    on_both_drivers(roles::tcp_gateway);
}

#[test]
fn a_sidecar_serves_its_application_and_is_its_explicit_proxy() {
    on_both_drivers(roles::sidecar);
}

#[test]
fn large_bodies_stream_both_ways_and_a_slow_reader_holds_the_sender() {
    on_both_drivers(streams::large_bodies);
}

#[test]
fn a_drain_finishes_what_is_under_way() {
    on_both_drivers(streams::drain);
}

#[test]
fn a_thousand_streams_across_a_thousand_swaps_leave_memory_flat() {
    on_both_drivers(streams::swaps);
}

#[test]
fn a_port_on_which_nobody_speaks_is_closed() {
    on_both_drivers(roles::silence);
}

#[test]
fn an_upgraded_exchange_is_accounted_for_when_its_tunnel_ends() {
    on_both_drivers(accounts::upgrade);
}

#[test]
fn what_a_discarded_try_has_told_is_not_told_of_the_answer() {
    on_both_drivers(accounts::discarded_try);
}

#[test]
fn a_receiver_that_takes_nothing_ends_its_relay_and_a_slow_one_does_not() {
    on_both_drivers(streams::stalled_relay);
}

#[test]
fn tcp_connections_are_logged_at_their_end_and_counted_while_open() {
    on_both_drivers(accounts::tcp);
    on_both_drivers(accounts::tcp_failures);
}
