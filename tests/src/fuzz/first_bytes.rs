//! What a connection begins with: the PROXY protocol, TLS, or neither.

use std::fmt::Debug;

use dromon_core::client_hello;
use dromon_core::proxy_protocol::{self, Addresses, Header, Version};
use dromon_core::speech::{SPEECH_BYTES, Speech};

/// A judgement on the first bytes stands, whatever follows them; of refusals, not the words.
fn stands<T: PartialEq + Debug>(bytes: &[u8], judge: impl Fn(&[u8]) -> Option<T>) {
    let whole = judge(bytes);
    let mut before = None;
    for end in (0..bytes.len().min(64)).chain((64..bytes.len()).step_by(17)) {
        let judged = judge(&bytes[..end]);
        assert!(before.is_none() || judged == before, "{before:?}, then {judged:?} with {end} bytes");
        assert!(judged.is_none() || judged == whole, "{judged:?} with {end} bytes, then {whole:?}");
        before = judged;
    }
}

/// A PROXY header is found once it is whole and never before, and one that is written is read.
pub fn proxy_protocol(bytes: &[u8]) {
    stands(bytes, |bytes| proxy_protocol::parse(bytes).map_err(drop).transpose());
    let Ok(Some(Header { bytes: length, addresses })) = proxy_protocol::parse(bytes) else { return };
    assert!(length <= bytes.len());
    let Some(addresses) = addresses else { return };
    let Addresses { source, destination } = addresses;
    assert_eq!(source.is_ipv4(), destination.is_ipv4());
    for version in [Version::V1, Version::V2] {
        let written = proxy_protocol::encode(version, Some(addresses));
        let read = proxy_protocol::parse(&written);
        assert_eq!(read, Ok(Some(Header { bytes: written.len(), addresses: Some(addresses) })));
    }
}

/// What is told of a client by its first bytes stays so, and a server name is one.
pub fn sniffing(bytes: &[u8]) {
    stands(bytes, client_hello::is_tls);
    stands(bytes, Speech::of);
    assert!(bytes.len() < SPEECH_BYTES || Speech::of(bytes).is_some(), "so many bytes tell");
    stands(bytes, |bytes| client_hello::parse(bytes).map_err(drop).transpose());
    if let Ok(Some(hello)) = client_hello::parse(bytes) {
        assert_eq!(client_hello::is_tls(bytes), Some(true));
        let upper = |name: &str| name.bytes().any(|byte| byte.is_ascii_uppercase());
        assert!(!hello.server_name.as_deref().is_some_and(upper), "{hello:?}");
    }
}
