use std::net::TcpListener;

use monoio::net::TcpStream;

use super::*;

#[test]
fn a_local_connection_is_unpaced_only_where_the_default_paces() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
    let peer = listener.local_addr().expect("address");
    let mut runtime = monoio::RuntimeBuilder::<monoio::LegacyDriver>::new().build().expect("runtime");
    runtime.block_on(async {
        let connect = || {
            Socket::new(
                TcpStream::from_std(std::net::TcpStream::connect(peer).expect("connect")).expect("adopt"),
            )
        };
        let before = default_algorithm().expect("the kernel names its default");
        let socket = connect();
        LocalHops { paced: false }.tune(&socket, peer);
        assert_eq!(algorithm(&socket), Some(before));
        LocalHops { paced: true }.tune(&socket, peer);
        assert_eq!(algorithm(&socket).as_deref(), Some(UNPACED));
    });
}

#[test]
fn one_loopback_end_or_equal_ends_are_local() {
    let address = |text: &str| text.parse::<IpAddr>().expect("address");
    for (near, far, local) in [
        ("127.0.0.1", "127.0.0.1", true),
        ("10.1.2.3", "127.0.0.6", true),
        ("127.0.0.1", "10.1.2.3", true),
        ("::ffff:10.1.2.3", "10.1.2.3", true),
        ("::1", "::1", true),
        ("10.1.2.3", "10.1.2.4", false),
        ("fd00::1", "fd00::2", false),
    ] {
        assert_eq!(is_local(address(near), address(far)), local, "{near} to {far}");
    }
}
