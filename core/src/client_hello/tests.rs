use super::{ClientHello, HelloError, is_tls, parse};

fn vector16(bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as u16).to_be_bytes()[..], bytes].concat()
}

fn extension(kind: u16, data: &[u8]) -> Vec<u8> {
    [&kind.to_be_bytes()[..], &vector16(data)].concat()
}

/// The handshake message of a hello with these extensions.
fn message(extensions: &[u8]) -> Vec<u8> {
    let mut body = vec![3, 3];
    body.extend([7; 32]);
    body.push(0);
    body.extend(vector16(&[0x13, 0x01]));
    body.extend([1, 0]);
    body.extend(vector16(extensions));
    let length = (body.len() as u32).to_be_bytes();
    [&[1], &length[1..], &body].concat()
}

/// The message in records of so many bytes.
fn records(message: &[u8], size: usize) -> Vec<u8> {
    message.chunks(size).flat_map(|chunk| [&[22, 3, 1][..], &vector16(chunk)].concat()).collect()
}

fn shop() -> Vec<u8> {
    let name = vector16(&[&[0][..], &vector16(b"Shop.Example.")].concat());
    let alpn = vector16(b"\x02h2\x08http/1.1");
    message(&[extension(0, &name), extension(43, &[2, 3, 4]), extension(16, &alpn)].concat())
}

#[test]
fn name_and_protocols() {
    let hello = parse(&records(&shop(), 4096)).unwrap().unwrap();
    assert_eq!(hello.server_name.as_deref(), Some("shop.example"));
    assert!(hello.offers(b"h2") && hello.offers(b"http/1.1") && !hello.offers(b"h3"));
}

#[test]
fn in_pieces_and_over_several_records() {
    let whole = records(&shop(), 7);
    for length in 0..whole.len() {
        assert_eq!(parse(&whole[..length]), Ok(None), "{length}");
    }
    assert_eq!(parse(&whole), parse(&records(&shop(), 4096)));
}

#[test]
fn without_extensions() {
    let mut bare = message(&[]);
    assert_eq!(parse(&records(&bare, 4096)), Ok(Some(ClientHello::default())));
    bare.truncate(bare.len() - 2);
    bare[3] -= 2;
    assert_eq!(parse(&records(&bare, 4096)), Ok(Some(ClientHello::default())));
}

#[test]
fn what_is_not_tls() {
    assert_eq!(is_tls(b""), None);
    assert_eq!(is_tls(b"\x16"), None);
    assert_eq!(is_tls(b"\x16\x03\x01"), Some(true));
    assert_eq!(is_tls(b"GET / HTTP/1.1\r\n"), Some(false));
    assert_eq!(parse(b"GET / HTTP/1.1\r\n"), Err(HelloError::NotTls));
    assert_eq!(parse(b"\x16\x02"), Err(HelloError::NotTls));
}

#[test]
fn what_breaks_the_rules() {
    assert_eq!(parse(&[22, 3, 1, 0, 0]), Err(HelloError::Malformed));
    assert_eq!(parse(&[22, 3, 1, 0x50, 0]), Err(HelloError::Malformed));
    assert_eq!(parse(&records(&[2, 0, 0, 1, 0], 100)), Err(HelloError::Malformed));
    assert_eq!(parse(&records(&[1, 0xff, 0, 0], 100)), Err(HelloError::TooLong));
    let mut wrong = shop();
    let protocol_length = wrong.len() - 9;
    wrong[protocol_length] = 0xff;
    assert_eq!(parse(&records(&wrong, 4096)), Err(HelloError::Malformed));
}

#[test]
fn any_bytes_are_taken_or_refused() {
    let good = records(&shop(), 50);
    let mut random = crate::rng::Rng::new(7);
    for _ in 0..20_000 {
        let mut bytes = good.clone();
        for _ in 0..=random.below(4) {
            let at = random.below(bytes.len() as u32) as usize;
            bytes[at] = random.below(256) as u8;
        }
        bytes.truncate(random.below(bytes.len() as u32 + 1) as usize);
        let _ = parse(&bytes);
    }
}
