use super::*;

#[test]
fn a_key_is_read_as_it_was_written() {
    let der: Vec<u8> = (0..=255).collect();
    for length in [1, 2, 3, 47, 48, 49, 255] {
        let text = text("PRIVATE KEY", &der[..length]);
        assert!(text.lines().all(|line| line.len() <= 64));
        let read = read_key(text.as_bytes()).expect("a key");
        assert_eq!(read.secret_der(), &der[..length]);
    }
}

#[test]
fn the_three_forms_of_keys_are_told_apart() {
    let kind = |label: &str| match &*read_key(text(label, b"secret").as_bytes()).expect("a key") {
        PrivateKeyDer::Pkcs1(_) => 1,
        PrivateKeyDer::Sec1(_) => 2,
        PrivateKeyDer::Pkcs8(_) => 8,
        _ => 0,
    };
    assert_eq!((kind("RSA PRIVATE KEY"), kind("EC PRIVATE KEY"), kind("PRIVATE KEY")), (1, 2, 8));
}

#[test]
fn other_sections_and_windows_line_ends_do_not_matter() {
    let parameters = text("EC PARAMETERS", b"curve");
    let both =
        format!("a remark\r\n{}{}", *parameters, *text("EC PRIVATE KEY", b"secret")).replace('\n', "\r\n");
    assert_eq!(read_key(both.as_bytes()).expect("a key").secret_der(), b"secret");
}

#[test]
fn what_is_no_key_is_refused_with_the_reason() {
    let good = text("PRIVATE KEY", b"secret bytes");
    let cases: Vec<(String, KeyError)> = vec![
        (String::new(), KeyError::None),
        ("certificate".to_owned(), KeyError::None),
        (good.replace("-----END PRIVATE KEY-----", ""), KeyError::Broken),
        (good.replace("-----END PRIVATE", "-----END RSA PRIVATE"), KeyError::Broken),
        (good.replace("c2Vj", "c2V!"), KeyError::Broken),
        (good.replace("c2Vj", "c2V"), KeyError::Broken),
        (format!("{}{}", *good, *good), KeyError::Several),
        (good.replace(" PRIVATE KEY", " ENCRYPTED PRIVATE KEY"), KeyError::Encrypted),
        (good.replace(" PRIVATE KEY", " DSA PRIVATE KEY"), KeyError::Unsupported),
        (
            "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: x\n\nAAAA\n-----END RSA PRIVATE KEY-----\n"
                .to_owned(),
            KeyError::Encrypted,
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(read_key(text.as_bytes()).err(), Some(expected), "{text}");
    }
}

#[test]
fn no_garbage_panics() {
    let good = text("PRIVATE KEY", b"secret bytes");
    let mut rng = dromon_core::rng::Rng::new(7);
    for _ in 0..5_000 {
        let mut bytes = good.as_bytes().to_vec();
        for _ in 0..=rng.below(3) {
            let place = rng.below(bytes.len() as u32) as usize;
            bytes[place] = rng.below(256) as u8;
        }
        bytes.truncate(rng.below(bytes.len() as u32 + 1) as usize);
        let _ = read_key(&bytes);
    }
}
