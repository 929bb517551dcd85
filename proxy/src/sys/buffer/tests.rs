//! Filling, consuming and growing.

use super::*;

#[test]
fn consuming_and_compacting_keep_what_is_filled() {
    let mut buffer = Buffer::with_capacity(8);
    buffer.extend(b"abcdef");
    buffer.consume(4);
    assert_eq!((buffer.filled(), buffer.room()), (&b"ef"[..], 2));
    buffer.compact();
    assert_eq!((buffer.filled(), buffer.room()), (&b"ef"[..], 6));
    buffer.grow(32);
    assert_eq!(buffer.filled(), b"ef");
    assert!(buffer.room() >= 30);
    buffer.consume(9);
    assert!(buffer.is_empty());
}

#[test]
fn a_read_appends_behind_what_is_filled() {
    let mut buffer = Buffer::with_capacity(8);
    buffer.extend(b"ab");
    let room = buffer.bytes_total();
    assert_eq!(room, 6);
    // SAFETY: three bytes are written before they are declared initialised.
    unsafe {
        std::ptr::copy_nonoverlapping(b"cde".as_ptr(), buffer.write_ptr(), 3);
        buffer.set_init(3);
    }
    assert_eq!(buffer.filled(), b"abcde");
    assert_eq!(buffer.bytes_init(), 5);
}

#[test]
fn a_head_fits_before_a_body_where_bytes_were_consumed_or_left_free() {
    let mut buffer = Buffer::with_capacity(16);
    buffer.clear_with_headroom(2);
    buffer.extend(b"headbody");
    buffer.consume(4);
    assert!(!buffer.prepend(b"HEADER!"));
    assert!(buffer.prepend(b"HEADER"));
    assert_eq!(buffer.filled(), b"HEADERbody");
}
