use super::*;

fn parse(text: &str) -> Result<Target, TargetError> {
    Target::parse(text, Some(Path::new("/certs")))
}

#[test]
fn sockets_and_addresses_are_told_apart() {
    assert_eq!(parse("unix:/run/feed.sock"), Ok(Target::Unix("/run/feed.sock".into())));
    let tcp = |host: &str| Ok(Target::Tcp { host: host.into(), port: 15_012, certs: "/certs".into() });
    assert_eq!(parse("controller.example:15012"), tcp("controller.example"));
    assert_eq!(parse("tls://10.0.0.1:15012"), tcp("10.0.0.1"));
    assert_eq!(parse("[::1]:15012"), tcp("[::1]"));
    assert_eq!(tcp("[::1]").map(|target| target.to_string()), Ok("tls://[::1]:15012".to_owned()));
}

#[test]
fn what_is_neither_is_refused() {
    for text in
        ["", "unix:", "controller", "controller:", ":15012", "controller:0", "controller:x", "http://a:1"]
    {
        assert_eq!(parse(text), Err(TargetError::Form), "{text:?}");
    }
    assert_eq!(Target::parse("controller:15012", None), Err(TargetError::Certs));
}

#[tokio::test]
async fn without_certificates_nobody_is_asked() {
    let empty = tempfile::tempdir().expect("a directory");
    let error = tcp("127.0.0.1", 9, empty.path()).await.expect_err("no certificates");
    assert!(error.contains("cert-chain.pem"), "{error}");
}
