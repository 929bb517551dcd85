//! HTTP/2 clients of a proxy: every abuse rule with raw frames, real clients, gRPC with its own library at both ends.

mod abuse;
mod clients;
mod endings;
mod grpc;
mod requests;
mod stalls;
mod through;

use std::net::SocketAddr;

use dromon_core::config::model::{HttpAction, HttpRule, Protocol, Resource};
use dromon_tests::free_port;
use dromon_tests::proxy::{DRIVERS, Proxy, gateway, to};

/// A gateway that sends everything to one upstream that speaks `protocol`, by a rule that `change` may edit.
pub fn start(
    driver: &str,
    upstream: SocketAddr,
    protocol: Protocol,
    change: impl FnOnce(&mut HttpRule),
) -> (Proxy, SocketAddr) {
    start_with(driver, upstream, protocol, change, &["--shards", "1"])
}

/// As [`start`], with arguments for the proxy.
pub fn start_with(
    driver: &str,
    upstream: SocketAddr,
    protocol: Protocol,
    change: impl FnOnce(&mut HttpRule),
    arguments: &[&str],
) -> (Proxy, SocketAddr) {
    start_over(driver, &[upstream], protocol, change, arguments)
}

/// As [`start_with`], with any number of endpoints.
pub fn start_over(
    driver: &str,
    upstreams: &[SocketAddr],
    protocol: Protocol,
    change: impl FnOnce(&mut HttpRule),
    arguments: &[&str],
) -> (Proxy, SocketAddr) {
    let front = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let action = HttpAction::Route { destinations: vec![to("origin.local")] };
    let mut rule = HttpRule { action, ..HttpRule::default() };
    change(&mut rule);
    let mut resources = gateway(front, upstreams, rule);
    for resource in &mut resources {
        if let Resource::Destination(destination) = resource {
            destination.protocol = protocol;
        }
    }
    (Proxy::start("gateway~ingress.default", driver, &resources, arguments), front)
}

fn on_both_drivers(test: impl Fn(&str)) {
    for driver in DRIVERS {
        test(driver);
    }
}

/// For tests that wait for most of their time.
fn on_both_drivers_at_once(test: impl Fn(&str) + Sync) {
    std::thread::scope(|scope| {
        for driver in DRIVERS {
            let test = &test;
            scope.spawn(move || test(driver));
        }
    });
}

#[test]
fn a_slow_reader_gets_all_of_its_answer_after_goaway() {
    on_both_drivers_at_once(endings::slow_tail);
}

#[test]
fn a_drain_waits_for_what_has_not_left() {
    on_both_drivers_at_once(endings::drained_tail);
}

#[test]
fn a_preface_that_trickles_in_has_the_time_of_a_head() {
    on_both_drivers_at_once(endings::dripped_preface);
}

#[test]
fn a_client_that_gives_no_window_has_its_time() {
    on_both_drivers_at_once(abuse::stalled_window);
}

#[test]
fn an_upstream_that_takes_no_more_of_a_body_has_its_time() {
    on_both_drivers_at_once(stalls::uploads);
}

macro_rules! tests {
    ($($(#[$meta:meta])* $name:ident = $run:path;)+) => {
        $($(#[$meta])* #[test] fn $name() { on_both_drivers($run); })+
    };
}

tests! {
    floods_within_the_protocol_are_answered_enhance_your_calm = abuse::floods;
    floods_inside_mutual_tls_end_as_well = abuse::floods_in_tls;
    streams_beyond_the_allowed_are_refused = abuse::too_many_streams;
    an_encoder_may_not_want_a_larger_table = abuse::large_table;
    resets_of_what_was_answered_are_no_abuse = abuse::proper_resets;
    a_header_block_must_end_in_time = abuse::slow_headers;
    large_heads_and_many_fields_are_refused = abuse::large_heads;
    a_client_that_reads_nothing_costs_bounded_memory = abuse::zero_window;
    malformed_requests_are_stream_errors_and_go_nowhere = requests::malformed;
    too_many_malformed_requests_end_the_connection = abuse::made_you_reset;
    requests_go_on_as_http1_says_them = requests::as_http1;
    trailers_and_interim_answers_pass = requests::trailers_and_interim;
    a_reset_cancels_upstream_at_once = requests::cancelled;
    an_upstream_that_breaks_off_is_never_a_clean_end = requests::truncated;
    websockets_pass_as_extended_connect = requests::websocket;
    few_connections_are_spread_over_all_shards = requests::spread;
    a_connection_is_told_to_go_after_its_requests = requests::requests_max;
    what_has_left_is_under_way_no_longer = endings::under_way_to_the_end;
    a_drain_says_goaway_and_finishes_what_is_under_way = requests::drain;
    curl_nghttp_and_h2load_are_served = clients::real_clients;
    large_bodies_pass_both_ways = clients::large_bodies;
    calls_of_all_kinds_pass = grpc::all_kinds;
    errors_made_here_are_statuses_of_grpc = grpc::local_errors;
    calls_are_tried_again_by_their_status = grpc::retries;
    calls_of_one_channel_are_balanced_one_by_one = grpc::balanced;
}
