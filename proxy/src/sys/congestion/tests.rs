use std::io::ErrorKind;

use monoio::net::TcpListener;

use super::super::listen;
use super::*;

fn run(test: impl Future<Output = ()>) {
    let mut runtime = monoio::RuntimeBuilder::<monoio::LegacyDriver>::new().build().expect("runtime");
    runtime.block_on(test);
}

#[test]
fn both_ends_of_a_local_connection_are_unpaced_only_where_the_default_paces() {
    run(async {
        let default = default_algorithm().expect("the kernel names its default");
        for paced in [true, false] {
            let hops = LocalHops { paced };
            let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("bind");
            let address = listener.local_addr().expect("address");
            hops.listen(&listener, address);
            listener.set_nonblocking(true).expect("nonblocking");
            let listener = TcpListener::from_std(listener).expect("adopt");
            let near = hops.connect(address, None, true).await.expect("connect");
            let (far, _) = listener.accept().await.expect("accept");
            let wanted = if paced { UNPACED } else { &default };
            assert_eq!(algorithm(&near).as_deref(), Some(wanted));
            assert_eq!(algorithm(&far).as_deref(), Some(wanted));
        }
    });
}

#[test]
fn a_closed_port_refuses_and_the_rest_of_the_world_keeps_its_algorithm() {
    run(async {
        let hops = LocalHops { paced: true };
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("bind");
        let address = listener.local_addr().expect("address");
        drop(listener);
        let refused = hops.connect(address, None, true).await.map(drop).expect_err("nobody listens");
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
        for (address, local) in [
            ("127.0.0.7:80", true),
            ("[::1]:80", true),
            ("[::ffff:127.0.0.1]:80", true),
            ("0.0.0.0:80", false),
            ("10.1.2.3:80", false),
        ] {
            assert_eq!(hops.concerns(address.parse().expect("address")), local, "{address}");
        }
        let public = listen::listen("0.0.0.0:0".parse().expect("address"), false).expect("listen");
        assert_eq!(algorithm(&public), default_algorithm());
    });
}
