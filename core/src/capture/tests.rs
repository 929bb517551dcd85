//! The plan, walked with simulated packets, and its printed forms.

mod printed;
mod simulator;
mod texts;

use std::net::IpAddr;

use super::*;
use crate::rng::Rng;
use simulator::{Fate, Packet, Pod};

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// Everything that is asked below holds for both families.
fn pods() -> [Pod; 2] {
    [
        Pod {
            family: Family::V4,
            address: address("10.1.0.5"),
            peer: address("10.1.0.9"),
            service: address("10.96.0.7"),
        },
        Pod {
            family: Family::V6,
            address: address("fd00:1::5"),
            peer: address("fd00:1::9"),
            service: address("fd00:96::7"),
        },
    ]
}

const APPLICATION: u32 = 1_000;

#[test]
fn what_comes_from_outside_goes_to_the_inbound_port() {
    for pod in pods() {
        let plan = pod.plan(&Settings::default());
        assert_eq!(simulator::walk(&plan, &pod.arriving(8080)), Fate::Redirected(INBOUND_PORT));
        for own in OWN_PORTS {
            assert_eq!(simulator::walk(&plan, &pod.arriving(own)), Fate::Untouched, "{own}");
        }
    }
}

#[test]
fn what_the_application_sends_goes_to_the_outbound_port() {
    for pod in pods() {
        let plan = pod.plan(&Settings::default());
        for to in [pod.peer, pod.service] {
            let packet = pod.sent(APPLICATION, to, 80);
            assert_eq!(simulator::walk(&plan, &packet), Fate::Redirected(OUTBOUND_PORT));
        }
    }
}

#[test]
fn the_proxy_by_user_or_by_group_goes_where_it_wants() {
    for pod in pods() {
        let plan = pod.plan(&Settings::default());
        let proxy = pod.sent(PROXY_USER, pod.peer, 80);
        let group = Packet { gid: Some(PROXY_USER), ..pod.sent(APPLICATION, pod.peer, 80) };
        let nobody = Packet { uid: None, gid: None, ..pod.sent(APPLICATION, pod.peer, 80) };
        assert_eq!(simulator::walk(&plan, &proxy), Fate::Untouched);
        assert_eq!(simulator::walk(&plan, &group), Fate::Untouched);
        assert_eq!(simulator::walk(&plan, &nobody), Fate::Redirected(OUTBOUND_PORT));
        let other = Settings { proxy_uid: 7, proxy_gid: 8, ..Settings::default() };
        let plan = pod.plan(&other);
        assert_eq!(simulator::walk(&plan, &proxy), Fate::Redirected(OUTBOUND_PORT));
        assert_eq!(simulator::walk(&plan, &pod.sent(7, pod.peer, 80)), Fate::Untouched);
    }
}

#[test]
fn a_pod_reaches_itself_without_its_sidecar() {
    for pod in pods() {
        let plan = pod.plan(&Settings::default());
        for to in [pod.address, Cidr::loopback(pod.family).address(), pod.loopback()] {
            assert_eq!(simulator::walk(&plan, &pod.sent(APPLICATION, to, 8080)), Fate::Untouched, "{to}");
        }
    }
}

#[test]
fn a_call_to_the_pods_own_service_passes_both_sides_of_its_sidecar() {
    for pod in pods() {
        let plan = pod.plan(&Settings::default());
        let called = pod.sent(APPLICATION, pod.service, 80);
        assert_eq!(simulator::walk(&plan, &called), Fate::Redirected(OUTBOUND_PORT));
        // The sidecar has picked this very pod.
        let picked = pod.sent(PROXY_USER, pod.address, 8080);
        assert_eq!(simulator::walk(&plan, &picked), Fate::Redirected(INBOUND_PORT));
        let handed = Packet { from: to_application(pod.family), ..picked.clone() };
        assert_eq!(simulator::walk(&plan, &handed), Fate::Untouched);
        // A port that inbound capture leaves alone, it leaves alone for the sidecar too.
        let excluded = Settings { excluded_inbound_ports: vec![8080], ..Settings::default() };
        assert_eq!(simulator::walk(&pod.plan(&excluded), &picked), Fate::Untouched);
    }
}

#[test]
fn the_proxy_reaches_its_application_over_loopback() {
    for pod in pods() {
        let plan = pod.plan(&Settings::default());
        assert_eq!(simulator::walk(&plan, &pod.sent(PROXY_USER, pod.loopback(), 8080)), Fate::Untouched);
    }
}

#[test]
fn dns_over_tcp_is_left_alone() {
    for pod in pods() {
        let everything = Settings { included_outbound_ports: vec![DNS_PORT], ..Settings::default() };
        let packet = pod.sent(APPLICATION, pod.service, DNS_PORT);
        assert_eq!(simulator::walk(&pod.plan(&everything), &packet), Fate::Untouched);
    }
}

#[test]
fn ports_are_captured_as_listed() {
    for pod in pods() {
        let settings = Settings {
            inbound_ports: Ports::Only(vec![8080, 9090]),
            excluded_inbound_ports: vec![9090],
            excluded_outbound_ports: vec![3306],
            included_outbound_ports: vec![3306, 443],
            outbound_ranges: Ranges::Only(Vec::new()),
            ..Settings::default()
        };
        let plan = pod.plan(&settings);
        let fate = |packet| simulator::walk(&plan, &packet);
        assert_eq!(fate(pod.arriving(8080)), Fate::Redirected(INBOUND_PORT));
        assert_eq!(fate(pod.arriving(9090)), Fate::Untouched);
        assert_eq!(fate(pod.arriving(7070)), Fate::Untouched);
        assert_eq!(fate(pod.sent(APPLICATION, pod.peer, 3306)), Fate::Untouched);
        assert_eq!(fate(pod.sent(APPLICATION, pod.peer, 443)), Fate::Redirected(OUTBOUND_PORT));
        assert_eq!(fate(pod.sent(APPLICATION, pod.peer, 80)), Fate::Untouched);
        let nothing = Settings { inbound_ports: Ports::Only(Vec::new()), ..Settings::default() };
        assert_eq!(simulator::walk(&pod.plan(&nothing), &pod.arriving(8080)), Fate::Untouched);
    }
}

#[test]
fn ranges_are_captured_as_listed() {
    for pod in pods() {
        let range = |text| Cidr::parse(text).unwrap();
        let settings = Settings {
            outbound_ranges: Ranges::Only(vec![range("10.0.0.0/8"), range("fd00::/8")]),
            excluded_outbound_ranges: vec![range("10.96.0.0/16"), range("fd00:96::/32")],
            ..Settings::default()
        };
        let plan = pod.plan(&settings);
        let to = |to| simulator::walk(&plan, &pod.sent(APPLICATION, to, 80));
        assert_eq!(to(pod.peer), Fate::Redirected(OUTBOUND_PORT));
        assert_eq!(to(pod.service), Fate::Untouched);
        let outside = if pod.family == Family::V4 { "192.0.2.1" } else { "2001:db8::1" };
        assert_eq!(to(address(outside)), Fate::Untouched);
    }
}

#[test]
fn excluded_interfaces_are_left_alone_both_ways() {
    for pod in pods() {
        let settings = Settings { excluded_interfaces: vec!["net1".to_owned()], ..Settings::default() };
        let plan = pod.plan(&settings);
        let arriving = Packet { through: "net1".to_owned(), ..pod.arriving(8080) };
        let sent = Packet { through: "net1".to_owned(), ..pod.sent(APPLICATION, pod.peer, 80) };
        assert_eq!(simulator::walk(&plan, &arriving), Fate::Untouched);
        assert_eq!(simulator::walk(&plan, &sent), Fate::Untouched);
        assert_eq!(simulator::walk(&plan, &pod.arriving(8080)), Fate::Redirected(INBOUND_PORT));
    }
}

/// What the plan must come to, said without chains.
fn expected(settings: &Settings, pod: &Pod, packet: &Packet) -> Fate {
    let port = packet.port;
    let is_excluded = settings.excluded_interfaces.contains(&packet.through);
    let inbound = || {
        let exempt = OWN_PORTS.contains(&port) || settings.excluded_inbound_ports.contains(&port);
        match !exempt && settings.inbound_ports.contains(port) {
            true => Fate::Redirected(INBOUND_PORT),
            false => Fate::Untouched,
        }
    };
    if packet.hook == Hook::Prerouting {
        return if is_excluded { Fate::Untouched } else { inbound() };
    }
    let is_proxy = packet.uid == Some(settings.proxy_uid) || packet.gid == Some(settings.proxy_gid);
    if packet.through == "lo" {
        let to_itself = is_proxy && packet.to == pod.address && packet.from != to_application(pod.family);
        return if to_itself { inbound() } else { Fate::Untouched };
    }
    let within = |ranges: &[Cidr]| ranges.iter().any(|range| range.contains(packet.to));
    let is_wanted = match &settings.outbound_ranges {
        Ranges::All => true,
        Ranges::Only(ranges) => within(ranges) || settings.included_outbound_ports.contains(&port),
    };
    let is_free = is_proxy
        || is_excluded
        || port == DNS_PORT
        || settings.excluded_outbound_ports.contains(&port)
        || within(&settings.excluded_outbound_ranges);
    if is_wanted && !is_free { Fate::Redirected(OUTBOUND_PORT) } else { Fate::Untouched }
}

#[test]
fn random_packets_fare_as_the_settings_say() {
    for seed in 0..400 {
        let mut rng = Rng::new(seed);
        let settings = simulator::random_settings(&mut rng);
        for pod in pods() {
            let plan = pod.plan(&settings);
            for _ in 0..100 {
                let packet = pod.random(&mut rng, &settings);
                let (found, wanted) = (simulator::walk(&plan, &packet), expected(&settings, &pod, &packet));
                assert_eq!(found, wanted, "seed {seed}: {packet:?} under {settings:?}");
            }
        }
    }
}

#[test]
fn what_was_redirected_is_never_redirected_again() {
    for seed in 0..400 {
        let mut rng = Rng::new(seed);
        let settings = simulator::random_settings(&mut rng);
        for pod in pods() {
            let plan = pod.plan(&settings);
            // The sidecar hands what it has taken to its application, wherever the port.
            for _ in 0..50 {
                let port = pod.random(&mut rng, &settings).port;
                let handed = Packet {
                    from: to_application(pod.family),
                    ..pod.sent(settings.proxy_uid, pod.address, port)
                };
                assert_eq!(simulator::walk(&plan, &handed), Fate::Untouched, "seed {seed}: port {port}");
                let onward = pod.sent(settings.proxy_uid, pod.peer, port);
                assert_eq!(simulator::walk(&plan, &onward), Fate::Untouched, "seed {seed}: port {port}");
            }
        }
    }
}
