//! Requests to upstreams that speak HTTP/2, without a controller: rules put in as the model, both drivers.

mod abuse;
mod exchanges;
mod failures;
mod introduced;
mod resets;
mod sharing;
mod upgrade;
mod upstream;
mod web;
mod websockets;

use std::net::SocketAddr;

use dromon_core::config::model::{Destination, HttpRule, Protocol, Resource};
use dromon_tests::free_port;
use dromon_tests::proxy::{DRIVERS, Proxy, gateway};

/// A gateway with one rule to upstreams of HTTP/2; `change` may edit rule and destination first.
pub fn start(
    driver: &str,
    upstreams: &[SocketAddr],
    shards: u32,
    change: impl Fn(&mut HttpRule, &mut Destination),
) -> (Proxy, SocketAddr) {
    let front = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let (mut rule, mut resources) = (HttpRule::default(), gateway(front, upstreams, HttpRule::default()));
    let destination = resources.iter_mut().find_map(|resource| match resource {
        Resource::Destination(destination) => Some(destination),
        _ => None,
    });
    let destination = destination.expect("a gateway has a destination");
    destination.protocol = Protocol::Http2;
    change(&mut rule, destination);
    for resource in &mut resources {
        if let Resource::VirtualHost(host) = resource
            && let Some(first) = host.http.first_mut()
        {
            *first = HttpRule { action: first.action.clone(), ..rule.clone() };
        }
    }
    let shards = shards.to_string();
    (Proxy::start("gateway~ingress.default", driver, &resources, &["--shards", &shards]), front)
}

fn on_both_drivers(test: impl Fn(&str)) {
    for driver in DRIVERS {
        test(driver);
    }
}

#[test]
fn a_request_arrives_as_it_was_sent() {
    on_both_drivers(exchanges::arrives_as_sent);
}

#[test]
fn chunks_and_trailers_pass_both_ways() {
    on_both_drivers(exchanges::trailers);
}

#[test]
fn interim_answers_pass() {
    on_both_drivers(exchanges::interim);
}

#[test]
fn answers_without_a_body_keep_their_framing() {
    on_both_drivers(exchanges::bodiless);
}

#[test]
fn large_bodies_pass_at_the_pace_of_the_slower_side() {
    on_both_drivers(exchanges::large_bodies);
}

#[test]
fn a_client_that_leaves_resets_its_stream_only() {
    on_both_drivers(exchanges::client_leaves);
}

#[test]
fn a_real_server_serves_files() {
    on_both_drivers(exchanges::nghttpd);
}

#[test]
fn requests_share_one_connection() {
    on_both_drivers(sharing::one_connection);
}

#[test]
fn another_connection_is_made_when_streams_run_out() {
    on_both_drivers(sharing::streams_run_out);
}

#[test]
fn caps_hold_over_all_shards() {
    on_both_drivers(sharing::caps);
}

#[test]
fn a_connection_serves_as_many_requests_as_it_may() {
    on_both_drivers(sharing::requests_per_connection);
}

#[test]
fn a_connection_ends_at_its_age() {
    on_both_drivers(sharing::age);
}

#[test]
fn a_server_that_floods_loses_its_connection() {
    on_both_drivers(abuse::floods);
}

#[test]
fn a_server_that_is_told_of_clients_has_a_connection_for_each() {
    on_both_drivers(introduced::each_client);
}

#[test]
fn idle_connections_are_closed() {
    on_both_drivers(sharing::idle);
}

#[test]
fn requests_are_balanced_one_by_one() {
    on_both_drivers(sharing::balanced);
}

#[test]
fn what_was_not_processed_is_tried_again() {
    on_both_drivers(failures::not_processed);
}

#[test]
fn what_may_have_been_processed_is_not() {
    on_both_drivers(failures::maybe_processed);
}

#[test]
fn a_connection_that_goes_away_finishes_its_streams() {
    on_both_drivers(failures::goes_away_in_order);
}

#[test]
fn a_cut_answer_never_looks_whole() {
    on_both_drivers(failures::cut_answers);
}

#[test]
fn a_dead_connection_is_found_by_a_ping() {
    on_both_drivers(failures::dead_connection);
}

#[test]
fn connections_are_pinged_where_a_rule_asks_for_it() {
    on_both_drivers(failures::kept_alive);
}

#[test]
fn an_upstream_that_never_answers_times_out() {
    on_both_drivers(failures::never_answers);
}

#[test]
fn browsers_call_services_of_grpc() {
    on_both_drivers(web::calls);
}

#[test]
fn http1_is_carried_as_http2_between_sidecars() {
    on_both_drivers(upgrade::carried);
}

#[test]
fn a_peer_of_http1_gets_http1() {
    on_both_drivers(upgrade::falls_back);
}

#[test]
fn grpc_goes_between_sidecars_as_it_is() {
    on_both_drivers(upgrade::grpc);
}

#[test]
fn an_early_answer_arrives_whole() {
    on_both_drivers(failures::early_answer);
}

#[test]
fn clients_of_http2_are_retried_for_alike() {
    on_both_drivers(failures::http2_clients);
}

#[test]
fn resets_pass_from_end_to_end() {
    on_both_drivers(resets::both_ways);
}

#[test]
fn a_window_holds_whoever_sends() {
    on_both_drivers(resets::window);
}

#[test]
fn a_websocket_of_http1_goes_by_a_stream() {
    on_both_drivers(websockets::by_stream);
}

#[test]
fn a_websocket_that_is_refused_is_an_answer() {
    on_both_drivers(websockets::refused);
}

#[test]
fn a_server_without_extended_connect_gets_an_upgrade() {
    on_both_drivers(websockets::by_upgrade);
}
