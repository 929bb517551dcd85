//! The scenarios of a mesh: mutual TLS, HTTP/2, gRPC, TCP, and pairs of sidecars.

use std::time::Duration;

use dromon_core::config::model::Protocol;

use super::{Action, Budget, Cell, Load, Rate, Scenario};
use crate::lab::setup::{Place, Setup};
use crate::lab::subject::Subject::{self, Direct, Dromon, DromonAgain, DromonEpoll, Envoy, Nghttpx, Relay};
use crate::rig::schedule::Arrivals;

/// The variant under which a proxy keeps no metrics.
pub const NO_METRICS: &str = "metrics off";
/// The variants of a pair's scenarios: both sidecars under mutual TLS, or one alone in plaintext.
pub const PAIR: &str = "pair";
/// See [`PAIR`].
pub const CLIENT_ONLY: &str = "client only";
/// See [`PAIR`].
pub const SERVER_ONLY: &str = "server only";

/// All of them, in the order in which they run.
pub(super) fn all(budget: &Budget) -> Vec<Scenario> {
    vec![
        mutual(budget, "mtls-down", Place::Server),
        mutual(budget, "mtls-up", Place::Client),
        handshakes(budget),
        idle(budget),
        http2(budget, "h2-10x10", (10, 10)),
        http2(budget, "h2-64x1", (64, 1)),
        grpc(budget),
        pair(budget, "pair-1k", Rate::PerSecond(1_000.0, Arrivals::Poisson)),
        pair(budget, "pair-80", Rate::OfEnvoy(0.8)),
        tcp(budget),
    ]
}

fn sidecar(place: Place, protocol: Protocol, mtls: bool) -> Setup {
    Setup { hosts: 1, place, protocol, mtls, ..Setup::default() }
}

fn cells(subjects: &[Subject], variant: &'static str, setup: &Setup, action: &Action) -> Vec<Cell> {
    let cell = |&subject| Cell { subject, variant, setup: setup.clone(), action: action.clone() };
    subjects.iter().map(cell).collect()
}

fn mutual(budget: &Budget, id: &'static str, place: Place) -> Scenario {
    let (title, detail) = match place {
        Place::Server => (
            "CPU per request, mutual TLS on the downstream side",
            "the server's sidecar: HTTP/1.1 keep-alive under TLS 1.3 from 64 connections, plain to the application",
        ),
        _ => (
            "CPU per request, mutual TLS on the upstream side",
            "the client's sidecar: HTTP/1.1 keep-alive from 64 plain connections, under TLS 1.3 to the server",
        ),
    };
    let action = Action::Load(budget.load("100", Rate::Saturate));
    let all = [Direct, Dromon, Envoy, DromonEpoll, DromonAgain];
    Scenario {
        id,
        title,
        detail: format!("{detail}; 100 B answers, TLS_AES_128_GCM_SHA256, X25519, P-256 certificates"),
        cells: cells(
            if budget.quick { &[Dromon, Envoy] } else { &all },
            "",
            &sidecar(place, Protocol::Http, true),
            &action,
        ),
        rounds: budget.goal_rounds(),
    }
}

fn handshakes(budget: &Budget) -> Scenario {
    let load = Load { connection_each: true, ..budget.load("100", Rate::Saturate) };
    let all = [Direct, Dromon, Envoy, DromonEpoll];
    Scenario {
        id: "mtls-connect",
        title: "A full handshake of mutual TLS for each request, 100 B answers",
        detail: "the server's sidecar; 64 new connections at a time, nothing resumed".into(),
        cells: cells(
            if budget.quick { &[Dromon, Envoy] } else { &all },
            "",
            &sidecar(Place::Server, Protocol::Http, true),
            &Action::Load(load),
        ),
        rounds: budget.goal_rounds(),
    }
}

fn idle(budget: &Budget) -> Scenario {
    let count = if budget.quick { 1_000 } else { 10_000 };
    Scenario {
        id: "mtls-idle",
        title: "Memory for each idle connection under mutual TLS",
        detail: format!(
            "the server's sidecar; {count} connections, each after one request; growth of user-space memory"
        ),
        cells: cells(
            &[Dromon, Envoy],
            "",
            &sidecar(Place::Server, Protocol::Http, true),
            &Action::Hold(count),
        ),
        rounds: if budget.quick { 1 } else { 2 },
    }
}

fn http2(budget: &Budget, id: &'static str, shape: (usize, usize)) -> Scenario {
    let action = Action::Http2(budget.http2_load(shape));
    let setup = Setup { protocol: Protocol::Http2, ..Setup::default() };
    let silent = Setup { metrics: false, ..setup.clone() };
    let subjects: &[Subject] =
        if budget.quick { &[Dromon, Envoy, Nghttpx] } else { &[Direct, Dromon, Envoy, Nghttpx, DromonEpoll] };
    let mut all = cells(subjects, "", &setup, &action);
    if !budget.quick {
        all.extend(cells(&[Dromon], NO_METRICS, &silent, &action));
    }
    Scenario {
        id,
        title: match id {
            "h2-10x10" => "CPU per request, HTTP/2 to HTTP/2, 10 connections of 10 streams",
            _ => "CPU per request, HTTP/2 to HTTP/2, 64 connections of 1 stream",
        },
        detail: "h2load to nghttpd, 100 B answers, no TLS, 100 hosts in the table, as fast as it goes".into(),
        cells: all,
        rounds: budget.goal_rounds(),
    }
}

fn grpc(budget: &Budget) -> Scenario {
    let action = Action::Http2(budget.http2_load((10, 10)));
    Scenario {
        id: "grpc-pair",
        title: "CPU per call of gRPC through a pair of sidecars under mutual TLS",
        detail: "unary, 100 B messages, h2load with 10 connections of 10 streams to nghttpd, plain at both ends; CPU of both \
                 proxies, which share one processor"
            .into(),
        cells: cells(
            if budget.quick { &[Dromon, Envoy] } else { &[Direct, Dromon, Envoy] },
            "",
            &sidecar(Place::Pair, Protocol::Grpc, true),
            &action,
        ),
        rounds: budget.goal_rounds(),
    }
}

fn pair(budget: &Budget, id: &'static str, rate: Rate) -> Scenario {
    let action = Action::Load(budget.load("100", rate));
    let http = |place, mtls| sidecar(place, Protocol::Http, mtls);
    let mut all = cells(&[Direct], "", &http(Place::Gateway, false), &action);
    let both = http(Place::Pair, true);
    all.extend(cells(
        if budget.quick { &[Dromon, Envoy] } else { &[Relay, Dromon, Envoy, DromonAgain] },
        PAIR,
        &both,
        &action,
    ));
    if !budget.quick && id == "pair-1k" {
        all.extend(cells(&[Dromon, Envoy], CLIENT_ONLY, &http(Place::Client, false), &action));
        all.extend(cells(&[Dromon, Envoy], SERVER_ONLY, &http(Place::Server, false), &action));
    }
    Scenario {
        id,
        title: match id {
            "pair-1k" => "Latency through a pair of sidecars at 1,000 requests a second",
            _ => "Latency through a pair of sidecars at 80 % of an Envoy pair's highest throughput",
        },
        detail: "client → sidecar → mutual TLS → sidecar → server; HTTP/1.1, Poisson arrivals, 64 connections, 100 B answers, \
                 from the planned send time; a relay's pair parses and encrypts nothing"
            .into(),
        cells: all,
        rounds: budget.goal_rounds(),
    }
}

fn tcp(budget: &Budget) -> Scenario {
    let load = Load {
        connections: 1,
        warm_up: Duration::from_millis(200),
        window: Duration::from_secs(if budget.quick { 2 } else { 4 }),
        ..budget.load("1g", Rate::Saturate)
    };
    Scenario {
        id: "tcp-mtls",
        title: "1 GiB over TCP through a pair of sidecars under mutual TLS",
        detail: "one connection, server to client; CPU of both proxies, which share one processor".into(),
        cells: cells(
            if budget.quick { &[Dromon, Envoy] } else { &[Direct, Relay, Dromon, Envoy, DromonEpoll] },
            "",
            &sidecar(Place::Pair, Protocol::Tcp, true),
            &Action::Load(load),
        ),
        rounds: budget.goal_rounds(),
    }
}
