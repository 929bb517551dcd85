//! What is gRPC, its times and its statuses.

use super::*;

#[test]
fn content_types() {
    for yes in ["application/grpc", "application/grpc+proto", "application/grpc;x=y", "Application/gRPC"] {
        assert!(is_grpc(Some(yes.as_bytes())), "{yes}");
    }
    for no in ["application/grpc-web", "application/grpcx", "text/plain", ""] {
        assert!(!is_grpc(Some(no.as_bytes())), "{no}");
    }
    assert!(!is_grpc(None));
}

#[test]
fn timeouts_are_read() {
    for (text, ms) in
        [("1H", 3_600_000), ("2M", 120_000), ("3S", 3_000), ("99999999m", 99_999_999), ("5000u", 5)]
    {
        assert_eq!(timeout(text.as_bytes()), Some(Duration::from_millis(ms)), "{text}");
    }
    for text in ["", "S", "5", "+5S", "123456789S", "5s", "5 S", "-1m"] {
        assert_eq!(timeout(text.as_bytes()), None, "{text}");
    }
}

#[test]
fn timeouts_are_written_in_the_finest_unit_that_has_room() {
    for (left, text) in [
        (Duration::from_millis(5), "5000000n"),
        (Duration::from_millis(500), "500000u"),
        (Duration::from_secs(1000), "1000000m"),
        (Duration::from_secs(200_000), "200000S"),
    ] {
        assert_eq!(timeout_value(left), text);
        assert_eq!(timeout(text.as_bytes()), Some(left));
    }
}

#[test]
fn local_answers_have_a_status() {
    for (reason, http, status) in [
        (Reason::RequestTimeout, 504, 4),
        (Reason::PerTryTimeout, 504, 14),
        (Reason::NoHealthyUpstream, 503, 14),
        (Reason::NoRoute, 404, 12),
        (Reason::RateLimited, 429, 14),
        (Reason::FaultAbort, 403, 7),
        (Reason::FaultAbort, 401, 16),
        (Reason::BadRequest, 400, 13),
        (Reason::DirectResponse, 200, 2),
    ] {
        assert_eq!(status_of(reason, http), status, "{reason:?} {http}");
    }
    assert_eq!(message("a % ü\n"), "a %25 %C3%BC%0A");
}

#[test]
fn statuses_of_answers_are_read() {
    for (text, expected) in [("0", Some(0)), ("16", Some(16)), ("17", None), ("007", None), ("", None)] {
        let mut fields = HeaderMap::new();
        fields.insert(STATUS, text.parse().unwrap());
        assert_eq!(status(&fields), expected, "{text}");
    }
}
