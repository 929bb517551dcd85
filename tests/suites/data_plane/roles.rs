//! What rules do to requests, and the proxy's other roles: TCP gateway, sidecar.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use dromon_core::config::model::{
    HeaderChange, HeaderOps, Host, HostPort, HttpAction, HttpMatch, HttpRule, ListenerKind, Protocol,
    Redirect, Resource, Rewrite, Role, ServiceRef, StringMatch, TcpRule, VirtualHost,
};
use dromon_tests::http::{Connection, get};
use dromon_tests::origin::Origin;
use dromon_tests::proxy::{Proxy, destination, listener, proxy, to};
use dromon_tests::scripted::{Answer, Scripted};

use crate::{free_address, start};

fn on_prefix(prefix: &str) -> Vec<HttpMatch> {
    vec![HttpMatch { uri: Some(StringMatch::Prefix(prefix.into())), ..HttpMatch::default() }]
}

/// Redirect, direct response, rewrite, header changes, in the order of the rules.
pub fn actions(driver: &str) {
    let upstream = Scripted::start();
    upstream.answer(|_| Answer::keep("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX-Old: 1\r\n\r\n"));
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let headers = HeaderOps {
        request: HeaderChange { set: vec![pair("x-set", "s")], add: vec![], remove: vec!["x-gone".into()] },
        response: HeaderChange { set: vec![], add: vec![pair("x-new", "2")], remove: vec!["x-old".into()] },
    };
    let redirect = Redirect {
        uri: Some("/new".into()),
        authority: Some("b.example".into()),
        code: 308,
        ..Redirect::default()
    };
    let answer = HttpAction::DirectResponse { status: 418, body: Some("short and stout".into()) };
    let set = HeaderChange {
        set: vec![pair("content-type", "application/tea"), pair("retry-after", "300")],
        add: vec![pair("x-pot", "1"), pair("x-pot", "2")],
        remove: vec![],
    };
    let of_answer = HeaderOps { response: set, ..HeaderOps::default() };
    let rewrite =
        Rewrite { uri: Some("/inner/".into()), authority: Some("inner.example".into()), uri_regex: None };
    let rules = [
        HttpRule {
            matches: on_prefix("/old"),
            action: HttpAction::Redirect(redirect),
            headers: of_answer.clone(),
            ..HttpRule::default()
        },
        HttpRule { matches: on_prefix("/tea"), action: answer, headers: of_answer, ..HttpRule::default() },
    ];
    let last =
        HttpRule { matches: on_prefix("/outer/"), rewrite: Some(rewrite), headers, ..HttpRule::default() };
    let change = |resources: &mut Vec<Resource>| {
        for resource in resources {
            if let Resource::VirtualHost(host) = resource {
                host.http.splice(0..0, rules.clone());
            }
        }
    };
    let (_proxy, front) = start(driver, &[upstream.address], last, change);
    let moved = get(front, "/old/x?q=1", &[]).expect("an answer");
    assert_eq!((moved.status, moved.header("location")), (308, Some("http://b.example/new?q=1")));
    assert_eq!((moved.header("retry-after"), moved.header("x-pot")), (Some("300"), Some("1")));
    let tea = get(front, "/tea", &[]).expect("an answer");
    assert_eq!((tea.status, tea.text().as_str()), (418, "short and stout"));
    let of = |name: &str| -> Vec<&str> {
        tea.headers
            .iter()
            .filter(|(it, _)| it.eq_ignore_ascii_case(name))
            .map(|(_, it)| it.as_str())
            .collect()
    };
    assert_eq!((of("content-type"), of("retry-after")), (vec!["application/tea"], vec!["300"]));
    assert_eq!(of("x-pot"), ["1", "2"]);
    assert_eq!(get(front, "/none", &[]).expect("an answer").status, 404);
    let answer = get(front, "/outer/a?b=c", &[("X-Gone", "1"), ("X-Set", "old")]).expect("an answer");
    assert_eq!((answer.header("x-old"), answer.header("x-new")), (None, Some("2")));
    let seen = &upstream.seen()[0];
    assert!(seen.head.starts_with("GET /inner/a?b=c HTTP/1.1\r\n"), "{}", seen.head);
    assert_eq!(seen.header("host"), Some("inner.example"));
    assert_eq!((seen.header("x-set"), seen.header("x-gone")), (Some("s"), None));
}

/// An echo that says its name first and goodbye after the client's end.
fn greeter() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a loopback port");
    let address = listener.local_addr().expect("a bound socket has an address");
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            std::thread::spawn(move || {
                let _ = stream.write_all(b"hello ");
                let mut all = Vec::new();
                let _ = stream.read_to_end(&mut all);
                let _ = stream.write_all(&all);
                let _ = stream.write_all(b" bye");
            });
        }
    });
    address
}

fn assert_greets(front: SocketAddr) {
    let mut stream = TcpStream::connect(front).expect("the proxy listens");
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a socket option");
    let mut first = [0; 6];
    stream.read_exact(&mut first).expect("the server speaks first");
    assert_eq!(&first, b"hello ");
    let sent = vec![b'x'; 300_000];
    stream.write_all(&sent).expect("open");
    stream.shutdown(Shutdown::Write).expect("open");
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).expect("a clean end");
    assert_eq!(rest.len(), sent.len() + 4, "what was sent comes back after the half-close");
    assert!(rest.ends_with(b" bye"));
}

/// A gateway's TCP port.
pub fn tcp_gateway(driver: &str) {
    let front = free_address();
    let mut resources = destination("greeter.local", &[greeter()]);
    resources.push(proxy(Role::Gateway, vec![listener("gateway/tcp", front, ListenerKind::GatewayTcp)]));
    resources.push(Resource::VirtualHost(VirtualHost {
        name: "gateway/tcp/*".into(),
        listener: Some("gateway/tcp".into()),
        domains: vec!["*".into()],
        tcp: vec![TcpRule { destinations: vec![to("greeter.local")], ..TcpRule::default() }],
        ..VirtualHost::default()
    }));
    let _proxy = Proxy::start("gateway~ingress.default", driver, &resources, &["--shards", "1"]);
    assert_greets(front);
}

/// A TCP client never gets a connection that HTTP requests have used before, nor does HTTP get one of its.
pub fn tcp_beside_http(driver: &str) {
    let upstream = Scripted::start();
    upstream.answer(|_| Answer::keep("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"));
    let [outbound, raw, undeclared] = [(); 3].map(|()| free_address());
    let host = "web.default.svc.cluster.local";
    let service = |protocol| ListenerKind::Service { host: host.into(), port: 80, protocol };
    let listeners = vec![
        listener("outbound", outbound, ListenerKind::Outbound),
        listener("service/tcp", raw, service(Protocol::Tcp)),
        listener("service/auto", undeclared, service(Protocol::Auto)),
    ];
    let mut resources = vec![proxy(Role::Sidecar, listeners)];
    resources.extend(destination(host, &[upstream.address]));
    resources.push(Resource::Host(Host {
        name: host.into(),
        domains: vec![host.into()],
        ports: vec![HostPort { number: 80, protocol: Protocol::Http }],
        ..Host::default()
    }));
    let _proxy = Proxy::start("sidecar~app.default", driver, &resources, &["--shards", "1"]);
    let http = || assert_eq!(get(outbound, "/", &[("Host", host)]).expect("an answer").status, 200);
    http();
    http();
    assert_eq!(upstream.connections(), 1, "HTTP requests share a connection");
    assert_eq!(get(raw, "/", &[("Host", host)]).expect("an answer").status, 200);
    assert_eq!(upstream.connections(), 2, "a TCP client has its own");
    http();
    assert_eq!(upstream.connections(), 2, "and HTTP goes on with the first");
    drop(TcpStream::connect(undeclared).expect("the proxy listens"));
    let third = || (upstream.connections() == 3).then_some(());
    dromon_tests::eventually("a connection for a client that may speak anything", third);
}

/// Inbound to the application, absolute-form and per-client listeners towards services.
pub fn sidecar(driver: &str) {
    let (application, service) = (Origin::start("application"), Origin::start("service"));
    let [inbound, outbound, client, undeclared] = [(); 4].map(|()| free_address());
    let inbound_kind = ListenerKind::Inbound {
        protocol: Protocol::Http,
        target: application.address,
        service: Some(ServiceRef { host: "app.default.svc.cluster.local".into(), ..ServiceRef::default() }),
        pool: Default::default(),
        mtls: Default::default(),
    };
    let host = "greeter.default.svc.cluster.local";
    let listeners = vec![
        listener("inbound/80", inbound, inbound_kind),
        listener("outbound", outbound, ListenerKind::Outbound),
        listener(
            "service/tcp",
            client,
            ListenerKind::Service { host: host.into(), port: 80, protocol: Protocol::Tcp },
        ),
        listener(
            "service/auto",
            undeclared,
            ListenerKind::Service { host: host.into(), port: 80, protocol: Protocol::Auto },
        ),
    ];
    let index = |name: &str, protocol| {
        let short = name.split('.').next().unwrap_or_default().to_owned();
        Resource::Host(Host {
            name: name.into(),
            domains: vec![short, name.into()],
            ports: vec![HostPort { number: 80, protocol }],
            ..Host::default()
        })
    };
    let mut resources = vec![proxy(Role::Sidecar, listeners)];
    resources.extend(destination(host, &[greeter()]));
    resources.extend(destination("web.default.svc.cluster.local", &[service.address]));
    resources.push(index(host, Protocol::Auto));
    resources.push(index("web.default.svc.cluster.local", Protocol::Http));
    let _proxy = Proxy::start("sidecar~app.default", driver, &resources, &["--shards", "1"]);

    assert_eq!(get(inbound, "/", &[]).expect("an answer").text(), "application");
    let through = get(outbound, "http://web/x", &[("Host", "web")]).expect("an answer");
    assert_eq!((through.status, through.text().as_str()), (200, "service"));
    let by_host = get(outbound, "/x", &[("Host", "web.default.svc.cluster.local:80")]).expect("an answer");
    assert_eq!(by_host.text(), "service");
    let mut connection = Connection::open(outbound).expect("the proxy listens");
    assert_eq!(
        connection.send("CONNECT", "web:80", &[("Host", "web:80")], b"").expect("an answer").status,
        405
    );
    assert_greets(client);
    assert_greets(undeclared);
}

/// A port whose protocol is not declared, where neither side says anything: the idle timeout ends it.
pub fn silence(driver: &str) {
    let host = "mute.default.svc.cluster.local";
    let mute = std::net::TcpListener::bind("127.0.0.1:0").expect("a loopback port");
    let mut resources = destination(host, &[mute.local_addr().expect("bound")]);
    for resource in &mut resources {
        if let Resource::Destination(destination) = resource {
            destination.pool.idle_timeout_ms = Some(500);
        }
    }
    let front = free_address();
    let kind = ListenerKind::Service { host: host.into(), port: 80, protocol: Protocol::Auto };
    resources.push(proxy(Role::Sidecar, vec![listener("service/auto", front, kind)]));
    resources.push(Resource::Host(Host {
        name: host.into(),
        domains: vec!["mute".into(), host.into()],
        ports: vec![HostPort { number: 80, protocol: Protocol::Auto }],
        ..Host::default()
    }));
    let _proxy = Proxy::start("sidecar~app.default", driver, &resources, &["--shards", "1"]);
    let mut client = std::net::TcpStream::connect(front).expect("the sidecar listens");
    client.set_read_timeout(Some(Duration::from_secs(10))).expect("a socket option");
    let (_upstream, _) = mute.accept().expect("the upstream is connected before anybody speaks");
    let ended = client.read(&mut [0; 8]);
    assert!(matches!(ended, Ok(0)), "the idle timeout ends it: {ended:?}");
}
