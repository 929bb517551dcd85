//! What passes through which sidecar, and what through none.

use std::io::Read;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use dromon_core::capture::{Family, PROXY_USER};
use dromon_core::config::model::OutboundPolicy;
use dromon_tests::{python, root, skip};

use crate::Means;
use crate::apps::{self, GREETING, at, connect, converse, get, is_refused};
use crate::world::{ECHO, EXCLUDED, GREETER, GRPC, HTTP, Sidecar, UNDECLARED, WEB, World, capture, output};

/// Where the node's HTTP server listens, for two tests of outbound exclusion.
const OUTSIDE: u16 = 80;
const OUTSIDE_EXCLUDED: u16 = 81;

/// Everything that one world shows.
pub fn all(means: Means, family: Family) {
    let world = World::new(means, family);
    let (web, shop) = (world.address(&world.web), world.address(&world.shop));
    let inside = &world.web.namespace;
    apps::http(inside, at(any(family), HTTP.1), "web");
    apps::http(inside, at(any(family), UNDECLARED), "undeclared");
    apps::http(inside, at(any(family), EXCLUDED), "excluded");
    apps::greeter(inside, at(web, GREETER.1));
    apps::echo(inside, at(web, ECHO.1));
    for port in [OUTSIDE, OUTSIDE_EXCLUDED] {
        apps::http(&world.node.namespace, at(world.node_address(), port), "outside");
    }
    world.capture(&world.web, &["--exclude-inbound-ports", &EXCLUDED.to_string()]);
    world.capture(&world.shop, &["--exclude-outbound-ports", &OUTSIDE_EXCLUDED.to_string()]);
    let web_sidecar = world.sidecar(&world.web, "web", OutboundPolicy::AllowAny);
    let shop_sidecar = world.sidecar(&world.shop, "shop", OutboundPolicy::AllowAny);

    calls_between_pods(&world, &shop_sidecar, &web_sidecar);
    streams_between_pods(&world);
    grpc_between_pods(&world);
    calls_from_outside(&world, web);
    calls_to_itself(&world, web, &web_sidecar);
    calls_to_outside(&world, &shop_sidecar);
    the_proxys_user_and_group_are_free(&world, &shop_sidecar);
    own_ports_are_no_way_round(&world, web);
    drop(shop_sidecar);
    only_what_is_known(&world);
    without_rules(&world, shop, web);
}

fn any(family: Family) -> IpAddr {
    match family {
        Family::V4 => Ipv4Addr::UNSPECIFIED.into(),
        Family::V6 => Ipv6Addr::UNSPECIFIED.into(),
    }
}

/// A call to the service's address arrives over mutual TLS, though neither application knows of it. The pod's own address and
/// an undeclared port lead to the pod as well.
fn calls_between_pods(world: &World, shop: &Sidecar, web: &Sidecar) {
    let answer = get(&world.shop.namespace, world.service(HTTP), WEB).expect("the service answers");
    let text = answer.text();
    assert_eq!(answer.status, 200, "{text}");
    assert!(text.contains("name web\n"), "{text}");
    let client = format!("URI={}", world.ca.id("shop"));
    assert!(text.contains(&client), "no mutual TLS: {text}");
    let from = dromon_core::capture::to_application(world.family);
    assert!(text.contains(&format!("from {from}\n")), "{text}");
    shop.logged(&["GET / HTTP/1.1", "outbound|80||web.default", &world.service(HTTP).to_string()]);
    web.logged(&["GET / HTTP/1.1", "inbound|8080||", &at(world.address(&world.web), HTTP.1).to_string()]);
    let pod = at(world.address(&world.web), UNDECLARED);
    let text = get(&world.shop.namespace, pod, "whatever").expect("the pod answers").text();
    assert!(text.contains("name undeclared\n") && text.contains(&format!("from {from}\n")), "{text}");
}

/// TCP of any kind, whoever speaks first.
fn streams_between_pods(world: &World) {
    let inside = &world.shop.namespace;
    let said = "x".repeat(3000);
    assert_eq!(converse(inside, world.service(ECHO), "", &said).expect("an echo"), said);
    assert_eq!(converse(inside, world.service(GREETER), GREETING, &said).expect("an echo"), said);
}

fn grpc_between_pods(world: &World) {
    let Some(python) = python("grpc") else { return skip("grpc_between_pods", "grpcio is missing") };
    let script = |name: &str| root().join("tests/suites/http2").join(name);
    let address = at(world.address(&world.web), GRPC.1);
    let mut service = world.web.namespace.command(&python);
    let mut service = dromon_tests::process::Process::start(
        service.arg(script("grpc_service.py")).arg(address.to_string()),
    );
    dromon_tests::eventually("the gRPC service to listen", || {
        assert!(service.ended().is_none(), "{:?}", service.stderr());
        // Over the pod's own address, which its sidecar has no part in.
        connect(&world.web.namespace, address).ok()
    });
    let front = world.service(GRPC).to_string();
    let mut calls = world.shop.namespace.command(&python);
    let calls = output(calls.arg(script("grpc_calls.py")).args([front.as_str(), "kinds"]));
    assert!(calls.status.success(), "{}", String::from_utf8_lossy(&calls.stderr));
}

/// A port of STRICT takes nothing of what has no sidecar; what is undeclared is PERMISSIVE here, what is excluded knows no
/// sidecar.
fn calls_from_outside(world: &World, web: IpAddr) {
    let outside = &world.node.namespace;
    assert!(is_refused(outside, at(web, HTTP.1)), "plaintext on a port of STRICT");
    let from_sidecar = dromon_core::capture::to_application(world.family);
    let text = get(outside, at(web, UNDECLARED), "pod").expect("the pod answers").text();
    assert!(text.contains(&format!("from {from_sidecar}\n")), "{text}");
    let text = get(outside, at(web, EXCLUDED), "pod").expect("the pod answers").text();
    assert!(text.contains(&format!("from {}\n", world.node_address())), "{text}");
}

/// A pod reaches itself directly, and its own service through both sides of its sidecar.
fn calls_to_itself(world: &World, web: IpAddr, sidecar: &Sidecar) {
    let inside = &world.web.namespace;
    let loopback = dromon_core::capture::Cidr::loopback(world.family).address();
    let loopback = if world.family == Family::V4 { Ipv4Addr::LOCALHOST.into() } else { loopback };
    for to in [web, loopback] {
        let text = get(inside, at(to, HTTP.1), "direct.org").expect("the pod answers itself").text();
        assert!(text.contains(&format!("from {to}\n")), "{text}");
    }
    let answer = get(inside, world.service(HTTP), "web").expect("the service answers");
    let text = answer.text();
    assert!(answer.status == 200 && text.contains("name web\n"), "{text}");
    assert!(text.contains(&format!("URI={}", world.ca.id("web"))), "no mutual TLS with itself: {text}");
    sidecar.logged(&["outbound|80||web.default"]);
    sidecar.logged(&["inbound|8080||", "outbound_.80_._.web.default"]);
    sidecar.never_logged("direct.org");
}

/// ALLOW_ANY: what nobody knows goes where it was going; an excluded port goes there by itself.
fn calls_to_outside(world: &World, shop: &Sidecar) {
    let inside = &world.shop.namespace;
    let text = get(inside, at(world.node_address(), OUTSIDE), "example.org").expect("an answer").text();
    assert!(text.contains("name outside\n"), "{text}");
    shop.logged(&["example.org", &at(world.node_address(), OUTSIDE).to_string()]);
    let text =
        get(inside, at(world.node_address(), OUTSIDE_EXCLUDED), "excluded.org").expect("an answer").text();
    assert!(text.contains(&format!("from {}\n", world.address(&world.shop))), "{text}");
    // What comes after it is logged, it is not.
    get(inside, at(world.node_address(), OUTSIDE), "later.org").expect("an answer");
    shop.logged(&["later.org"]);
    shop.never_logged("excluded.org");
}

/// What has the proxy's user or group is not captured; what has neither is.
fn the_proxys_user_and_group_are_free(world: &World, shop: &Sidecar) {
    let url = match world.node_address() {
        IpAddr::V4(it) => format!("http://{it}:{OUTSIDE}/"),
        IpAddr::V6(it) => format!("http://[{it}]:{OUTSIDE}/"),
    };
    let call = |user: u32, group: u32, host: &str| {
        let mut curl = world.shop.namespace.command_as(user, group, "curl");
        let fetched = output(curl.args(["-sS", "--max-time", "30", "-H", &format!("Host: {host}"), &url]));
        let text = String::from_utf8_lossy(&fetched.stdout).into_owned();
        assert!(
            text.contains("name outside\n"),
            "{host}: {text}{}",
            String::from_utf8_lossy(&fetched.stderr)
        );
    };
    call(PROXY_USER, 4711, "by-user.org");
    call(4711, PROXY_USER, "by-group.org");
    call(4711, 4711, "by-neither.org");
    shop.logged(&["by-neither.org"]);
    shop.never_logged("by-user.org");
    shop.never_logged("by-group.org");
}

/// A connection to the ports that capture leads to is refused and comes back to nobody.
fn own_ports_are_no_way_round(world: &World, web: IpAddr) {
    for port in [15_001, 15_006] {
        assert!(is_refused(&world.node.namespace, at(web, port)), "{port}");
        let answer = get(&world.shop.namespace, at(web, port), "web").expect("the caller's sidecar answers");
        assert_eq!(answer.status, 503, "{port}");
    }
    // The proxy still serves.
    let answer = get(&world.shop.namespace, world.service(HTTP), WEB).expect("the service answers");
    assert_eq!(answer.status, 200);
}

/// REGISTRY_ONLY: what nobody knows is answered 502, or reset.
fn only_what_is_known(world: &World) {
    let _sidecar = world.sidecar(&world.shop, "shop", OutboundPolicy::RegistryOnly);
    let inside = &world.shop.namespace;
    let answer = get(inside, at(world.node_address(), OUTSIDE), "example.org").expect("an answer");
    assert_eq!(answer.status, 502);
    let mut stream = connect(inside, at(world.node_address(), 9)).expect("the sidecar takes it");
    assert!(!matches!(stream.read(&mut [0; 1]), Ok(1..)));
    let answer = get(inside, world.service(HTTP), WEB).expect("the service answers");
    assert_eq!(answer.status, 200);
}

/// With the rules gone everything is as without a mesh.
fn without_rules(world: &World, shop: IpAddr, web: IpAddr) {
    for pod in [&world.shop, &world.web] {
        let removed = capture(&pod.namespace, &[world.means.arguments, &["--remove"]].concat());
        assert!(removed.status.success(), "{}", String::from_utf8_lossy(&removed.stderr));
    }
    let text = get(&world.shop.namespace, at(web, HTTP.1), "pod").expect("the pod answers").text();
    assert!(text.contains(&format!("from {shop}\n")), "{text}");
}
