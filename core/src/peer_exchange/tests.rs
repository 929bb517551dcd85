use super::*;

fn header(magic: u32, length: u32) -> [u8; HEADER_BYTES] {
    let mut bytes = [0; HEADER_BYTES];
    bytes[..4].copy_from_slice(&magic.to_be_bytes());
    bytes[4..].copy_from_slice(&length.to_be_bytes());
    bytes
}

#[test]
fn a_header_tells_how_long_its_message_is() {
    assert_eq!(length(header(MAGIC, 0)), Ok(0));
    assert_eq!(length(header(MAGIC, 300)), Ok(300));
    assert_eq!(length(header(MAGIC + 1, 300)), Err(ExchangeError::Missing));
    assert_eq!(length(header(MAGIC, u32::MAX)), Err(ExchangeError::TooLong));
    assert_eq!(length(*b"220 mail"), Err(ExchangeError::Missing));
}

#[test]
fn what_is_said_here_is_read_as_it_was_said() {
    let own = own();
    let header: [u8; HEADER_BYTES] = own[..HEADER_BYTES].try_into().expect("eight bytes");
    assert_eq!(length(header), Ok(own.len() - HEADER_BYTES));
}
