//! First bytes of several protocols.

use super::*;

#[test]
fn first_bytes_tell_http_from_the_rest() {
    for http in [
        "GET / HTTP/1.1\r\n",
        "POST /x",
        "OPTIONS * HTTP/1.1",
        "GET http://a/ HTTP/1.1",
        "M-SEARCH *",
        "PRI * HTTP/2.0\r\n",
    ] {
        assert_eq!(starts_http(http.as_bytes()), Some(true), "{http}");
    }
    for other in ["PING\r\n", "\x16\x03\x01", " /", "get key", "EHLO mail", "*1\r\n"] {
        assert_eq!(starts_http(other.as_bytes()), Some(false), "{other}");
    }
    for open in ["", "G", "GET", "GET ", "GET ht"] {
        assert_eq!(starts_http(open.as_bytes()), None, "{open}");
    }
    assert_eq!(starts_http(&[b'A'; 33]), Some(false));
}
