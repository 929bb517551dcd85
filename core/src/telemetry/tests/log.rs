//! Access-log lines.

use crate::config::model::{AccessLog, LogEncoding};
use crate::exchange::Flags;
use crate::fault::Reason;
use crate::h1::{PortRules, Progress, RequestHead, RequestRef, ResponseHead, ResponseRef, Rule};
use crate::telemetry::{Details, FormatError, LogFormat, NoMessage, Record};

const REQUEST: &[u8] = b"GET /reviews/0?x=1 HTTP/1.1\r\nHost: reviews:9080\r\nUser-Agent: curl/8.5.0\r\n\
    X-Forwarded-For: 10.0.0.9\r\nX-Evil: a\"b\\c\x80\r\n\r\n";
const RESPONSE: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 379\r\nx-tag: v\r\n\r\n";

fn details() -> Details<'static> {
    Details {
        // 2023-11-14T22:13:20.123456789Z
        start_unix_ns: 1_700_000_000_123_456_789,
        protocol: "HTTP/1.1",
        request_fields: &[("x-request-id", b"f3c1")],
        bytes_sent: 379,
        upstream_service_ns: Some(3_900_000),
        upstream_host: "127.77.0.3:9080".parse().ok(),
        upstream_local: "127.0.0.1:40000".parse().ok(),
        upstream_cluster: "outbound|9080|v2|reviews.default.svc.cluster.local",
        downstream_local: "[::1]:15001".parse().ok(),
        downstream_remote: "127.0.0.1:50000".parse().ok(),
        route_name: "default",
        attempts: 1,
        ..Details::default()
    }
}

fn render(format: &LogFormat, record: &Record<'_>, details: &Details<'_>) -> String {
    let mut head = RequestHead::new();
    assert_eq!(head.parse(REQUEST, PortRules::default()), Ok(Progress::Complete(REQUEST.len())));
    let mut answer = ResponseHead::new();
    assert_eq!(answer.parse(RESPONSE, false), Ok(Progress::Complete(RESPONSE.len())));
    let mut out = Vec::new();
    let request = RequestRef::new(&head, REQUEST, "http");
    format.render(record, details, &request, &ResponseRef { head: &answer, bytes: RESPONSE }, &mut out);
    String::from_utf8(out).unwrap()
}

fn text(format: &str, record: &Record<'_>) -> String {
    render(&LogFormat::text(format).unwrap(), record, &details())
}

#[test]
fn the_default_line_is_istios() {
    let record = Record { response_code: 200, duration_ns: 4_200_000, ..Record::default() };
    let format = LogFormat::new(&AccessLog::default()).unwrap();
    assert_eq!(
        render(&format, &record, &details()),
        "[2023-11-14T22:13:20.123Z] \"GET /reviews/0?x=1 HTTP/1.1\" 200 - via_upstream - \"-\" 0 379 4 3 \"10.0.0.9\" \
         \"curl/8.5.0\" \"f3c1\" \"reviews:9080\" \"127.77.0.3:9080\" \
         outbound|9080|v2|reviews.default.svc.cluster.local 127.0.0.1:40000 [::1]:15001 127.0.0.1:50000 - default\n"
    );
}

#[test]
fn a_refused_head_names_its_rule() {
    let record = Record { response_code: 400, reason: Some(Reason::BadRequest), ..Record::default() };
    let details = Details { rule: Some(Rule::R12), protocol: "HTTP/1.1", ..Details::default() };
    let format =
        LogFormat::text("%REQ(:METHOD)% %RESPONSE_CODE% %RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS%").unwrap();
    let mut out = Vec::new();
    format.render(&record, &details, &NoMessage, &NoMessage, &mut out);
    assert_eq!(out, b"- 400 DPE downstream_protocol_error{R12}\n");
}

#[test]
fn a_client_cannot_forge_a_line_or_a_field() {
    let record = Record::default();
    assert_eq!(text("\"%REQ(X-EVIL)%\"", &record), "\"a\\\"b\\\\c\\x80\"\n");
    let json = LogFormat::json([("evil", "%REQ(X-EVIL)%")].into_iter()).unwrap();
    let line = render(&json, &record, &details());
    assert_eq!(line, "{\"evil\":\"a\\\"b\\\\c\\u0080\"}\n");
    let own = Details { request_fields: &[("x-evil", b"a\r\n[forged]\x1b[2J")], ..details() };
    let text = LogFormat::text("%REQ(X-EVIL)%").unwrap();
    assert_eq!(render(&text, &record, &own), "a\\x0d\\x0a[forged]\\x1b[2J\n");
    let line = render(&json, &record, &own);
    let parsed: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!(parsed["evil"], "a\r\n[forged]\u{1b}[2J");
}

#[test]
fn operators_take_stand_ins_lengths_and_time_formats() {
    let record = Record { duration_ns: 9_000_000, grpc_status: Some(14), ..Record::default() };
    for (format, line) in [
        ("%REQ(X-NONE?USER-AGENT):4%", "curl\n"),
        ("%REQ(X-NONE?X-NEITHER)%", "-\n"),
        ("%REQ_WITHOUT_QUERY(:PATH)%", "/reviews/0\n"),
        ("%RESP(X-TAG)%%%", "v%\n"),
        ("%START_TIME(%Y/%m/%dT%H:%M:%S %s.%6f)%", "2023/11/14T22:13:20 1700000000.123456\n"),
        ("%START_TIME(%F %T %E3S)%!", "2023-11-14 22:13:20 20.123!\n"),
        ("%DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT% %DOWNSTREAM_LOCAL_PORT%", "::1 15001\n"),
        ("%GRPC_STATUS% %UPSTREAM_REQUEST_ATTEMPT_COUNT% %TRAILER(X)%", "14 1 -\n"),
        ("plain\n", "plain\n"),
    ] {
        assert_eq!(text(format, &record), line, "{format}");
    }
}

#[test]
fn a_bad_format_is_refused_by_name() {
    assert_eq!(LogFormat::text("%NO_SUCH%"), Err(FormatError::Unknown("NO_SUCH".into())));
    assert_eq!(LogFormat::text("50 % off"), Err(FormatError::Unclosed(3)));
    for format in ["%REQ()%", "%REQ(X%", "%REQ(X):y%", "%REQ%", "%START_TIME(%Q)%"] {
        assert!(matches!(LogFormat::text(format), Err(FormatError::Argument(..))), "{format}");
    }
}

#[test]
fn json_has_numbers_and_nulls_of_their_own() {
    let settings = AccessLog { encoding: LogEncoding::Json, ..AccessLog::default() };
    let record = Record { response_code: 503, reason: Some(Reason::NoHealthyUpstream), ..Record::default() };
    let line = render(&LogFormat::new(&settings).unwrap(), &record, &details());
    let parsed: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!(parsed["response_code"], 503);
    assert_eq!(parsed["response_flags"], "UH");
    assert_eq!(parsed["requested_server_name"], serde_json::Value::Null);
    assert_eq!(parsed["upstream_service_time"], 3);
    assert_eq!(parsed["path"], "/reviews/0?x=1");
    assert_eq!(parsed.as_object().unwrap().len(), super::super::default_json().len());
}

#[test]
fn days_become_dates() {
    let record = Record::default();
    let format = LogFormat::text("%START_TIME(%F)%").unwrap();
    for (days, date) in
        [(0, "1970-01-01\n"), (59, "1970-03-01\n"), (11_016, "2000-02-29\n"), (20_513, "2026-03-01\n")]
    {
        let details = Details { start_unix_ns: days * 86_400_000_000_000, ..details() };
        assert_eq!(render(&format, &record, &details), date);
    }
}

#[test]
fn flags_tell_of_delays_and_used_up_tries_too() {
    let flags = Flags { delayed: true, exhausted: true, ..Flags::default() };
    let record = Record { reason: Some(Reason::UpstreamReset), flags, ..Record::default() };
    assert_eq!(text("%RESPONSE_FLAGS%", &record), "DI,UC,URX\n");
}

#[test]
fn an_operator_that_has_nothing_to_say_is_null_in_json() {
    let nothing = |operator: &str| {
        let mut line = Vec::new();
        let json = LogFormat::json([("it", operator)].into_iter()).unwrap();
        json.render(&Record::default(), &Details::default(), &NoMessage, &NoMessage, &mut line);
        serde_json::from_slice::<serde_json::Value>(&line).unwrap()["it"].clone()
    };
    for operator in [
        "REQ(X-NONE)",
        "REQ(:PATH)",
        "REQ_WITHOUT_QUERY(:PATH)",
        "RESP(X-NONE)",
        "TRAILER(X-NONE)",
        "PROTOCOL",
        "RESPONSE_CODE_DETAILS",
        "CONNECTION_TERMINATION_DETAILS",
        "UPSTREAM_TRANSPORT_FAILURE_REASON",
        "REQUEST_DURATION",
        "RESPONSE_DURATION",
        "RESPONSE_TX_DURATION",
        "GRPC_STATUS",
        "UPSTREAM_HOST",
        "UPSTREAM_CLUSTER",
        "UPSTREAM_LOCAL_ADDRESS",
        "DOWNSTREAM_LOCAL_ADDRESS",
        "DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT",
        "DOWNSTREAM_LOCAL_PORT",
        "DOWNSTREAM_REMOTE_ADDRESS",
        "DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT",
        "DOWNSTREAM_REMOTE_PORT",
        "REQUESTED_SERVER_NAME",
        "ROUTE_NAME",
    ] {
        assert_eq!(nothing(&format!("%{operator}%")), serde_json::Value::Null, "{operator}");
    }
    // As in Envoy, no flag is a flag of its own, and a number that counts is 0.
    assert_eq!(nothing("%RESPONSE_FLAGS%"), "-");
    assert_eq!(nothing("%BYTES_SENT%"), 0);
    // Beside other text it is the text format's dash.
    assert_eq!(nothing("route %ROUTE_NAME%"), "route -");
}
