//! The format operators: parsing one, and finding its value.

use std::io::Write as _;
use std::net::SocketAddr;

use thiserror::Error;

use super::time::{self, TimePart};
use super::{Entry, RESPONSE_VIA_UPSTREAM, ResponseView};
use crate::exchange::{Flags, RequestView};
use crate::limits::LOG_VALUE_BYTES_MAX;
use crate::telemetry::Protocol;

/// Why a format was refused.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum FormatError {
    /// Not among the operators that exist here.
    #[error("access-log operator `%{0}%` is not supported; use one of those in Istio's default format")]
    Unknown(String),
    /// A `%` without its partner.
    #[error("access-log format has a `%` that no other closes, at byte {0}; write `%%` for a percent sign")]
    Unclosed(usize),
    /// An operator's argument is missing or wrong.
    #[error("access-log operator `%{0}%` has a bad argument: {1}")]
    Argument(String, String),
}

/// A message's field by name, with its stand-in and longest length.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FieldRef {
    name: Box<str>,
    or: Option<Box<str>>,
    bytes_max: usize,
}

/// One operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Operator {
    StartTime(Vec<TimePart>),
    Request(FieldRef),
    /// As `Request`, cut before the `?`.
    RequestWithoutQuery(FieldRef),
    Response(FieldRef),
    /// Trailers are not kept for logs: always absent.
    Trailer,
    Protocol,
    ResponseCode,
    ResponseFlags,
    ResponseCodeDetails,
    ConnectionTermination,
    UpstreamFailure,
    BytesReceived,
    BytesSent,
    Duration,
    RequestDuration,
    ResponseDuration,
    ResponseTxDuration,
    GrpcStatus,
    Attempts,
    UpstreamHost,
    UpstreamCluster,
    UpstreamLocal(Part),
    DownstreamLocal(Part),
    DownstreamRemote(Part),
    ServerName,
    RouteName,
}

/// Which part of an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Whole,
    Ip,
    Port,
}

/// An operator's value.
pub(super) enum Value<'a> {
    /// There is none.
    Absent,
    /// Our own words, safe as they are.
    Plain(&'a str),
    /// What a peer sent.
    Foreign(&'a [u8]),
    Number(u64),
    Address(SocketAddr, Part),
    Time(&'a [TimePart], u64),
    Flags(Flags),
    /// Code details with the rule broken.
    Broken(&'a str, &'static str),
}

impl Operator {
    /// Parses what stands between two percent signs.
    pub(super) fn parse(text: &str) -> Result<Operator, FormatError> {
        let bad = |why: &str| FormatError::Argument(text.to_owned(), why.to_owned());
        let (name, argument) = match text.split_once('(') {
            Some((name, rest)) => (name, Some(rest)),
            None => (text, None),
        };
        let field = || FieldRef::parse(argument.ok_or_else(|| bad("a header's name is missing"))?, text);
        Ok(match name {
            "REQ" => Operator::Request(field()?),
            "REQ_WITHOUT_QUERY" => Operator::RequestWithoutQuery(field()?),
            "RESP" => Operator::Response(field()?),
            "TRAILER" => field().map(|_| Operator::Trailer)?,
            "START_TIME" => {
                Operator::StartTime(match argument.map(|it| it.strip_suffix(')').unwrap_or(it)) {
                    None | Some("") => time::default_format(),
                    Some(format) => {
                        time::compile(format).map_err(|letter| bad(&format!("{letter} is not known")))?
                    }
                })
            }
            _ if argument.is_some() => return Err(FormatError::Unknown(text.to_owned())),
            _ => Operator::plain(name).ok_or_else(|| FormatError::Unknown(text.to_owned()))?,
        })
    }

    fn plain(name: &str) -> Option<Operator> {
        Some(match name {
            "PROTOCOL" => Operator::Protocol,
            "RESPONSE_CODE" => Operator::ResponseCode,
            "RESPONSE_FLAGS" => Operator::ResponseFlags,
            "RESPONSE_CODE_DETAILS" => Operator::ResponseCodeDetails,
            "CONNECTION_TERMINATION_DETAILS" => Operator::ConnectionTermination,
            "UPSTREAM_TRANSPORT_FAILURE_REASON" => Operator::UpstreamFailure,
            "BYTES_RECEIVED" => Operator::BytesReceived,
            "BYTES_SENT" => Operator::BytesSent,
            "DURATION" => Operator::Duration,
            "REQUEST_DURATION" => Operator::RequestDuration,
            "RESPONSE_DURATION" => Operator::ResponseDuration,
            "RESPONSE_TX_DURATION" => Operator::ResponseTxDuration,
            "GRPC_STATUS_NUMBER" | "GRPC_STATUS" => Operator::GrpcStatus,
            "UPSTREAM_REQUEST_ATTEMPT_COUNT" => Operator::Attempts,
            "UPSTREAM_HOST" => Operator::UpstreamHost,
            "UPSTREAM_CLUSTER" | "UPSTREAM_CLUSTER_RAW" => Operator::UpstreamCluster,
            "UPSTREAM_LOCAL_ADDRESS" => Operator::UpstreamLocal(Part::Whole),
            "DOWNSTREAM_LOCAL_ADDRESS" => Operator::DownstreamLocal(Part::Whole),
            "DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT" => Operator::DownstreamLocal(Part::Ip),
            "DOWNSTREAM_LOCAL_PORT" => Operator::DownstreamLocal(Part::Port),
            "DOWNSTREAM_REMOTE_ADDRESS" | "DOWNSTREAM_DIRECT_REMOTE_ADDRESS" => {
                Operator::DownstreamRemote(Part::Whole)
            }
            "DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT" | "DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT" => {
                Operator::DownstreamRemote(Part::Ip)
            }
            "DOWNSTREAM_REMOTE_PORT" => Operator::DownstreamRemote(Part::Port),
            "REQUESTED_SERVER_NAME" => Operator::ServerName,
            "ROUTE_NAME" => Operator::RouteName,
            _ => return None,
        })
    }

    /// The operator's value for one exchange.
    pub(super) fn value<'a, Q: RequestView, P: ResponseView>(&'a self, entry: &Entry<'a, Q, P>) -> Value<'a> {
        let Entry { record, details, .. } = *entry;
        match self {
            Operator::StartTime(parts) => Value::Time(parts, details.start_unix_ns),
            Operator::Request(field) => field.find(|name| request_field(name, entry)),
            Operator::RequestWithoutQuery(field) => field.find(|name| {
                let value = request_field(name, entry)?;
                value.split(|byte| *byte == b'?').next()
            }),
            Operator::Response(field) => match field.find(|name| entry.response.header(name)) {
                Value::Absent if &*field.name == "x-envoy-upstream-service-time" => {
                    millis(details.upstream_service_ns)
                }
                value => value,
            },
            Operator::Trailer => Value::Absent,
            Operator::Protocol => plain(details.protocol),
            Operator::ResponseCode => Value::Number(record.response_code.into()),
            Operator::ResponseFlags => Value::Flags(record.flags.with(record.reason)),
            // What ends a TCP connection is told by CONNECTION_TERMINATION_DETAILS.
            Operator::ResponseCodeDetails if record.protocol == Protocol::Tcp => Value::Absent,
            Operator::ResponseCodeDetails => match (record.reason, details.rule) {
                (Some(reason), Some(rule)) => Value::Broken(reason.facts().label, rule.name()),
                (Some(reason), None) => Value::Plain(reason.facts().label),
                (None, _) if details.protocol.is_empty() => Value::Absent,
                (None, _) => Value::Plain(RESPONSE_VIA_UPSTREAM),
            },
            Operator::ConnectionTermination => plain(details.connection_termination),
            Operator::UpstreamFailure => plain(details.upstream_failure),
            Operator::BytesReceived => Value::Number(details.bytes_received),
            Operator::BytesSent => Value::Number(details.bytes_sent),
            Operator::Duration => millis(Some(record.duration_ns)),
            Operator::RequestDuration => millis(details.request_duration_ns),
            Operator::ResponseDuration => millis(details.response_duration_ns),
            Operator::ResponseTxDuration => {
                millis(details.response_duration_ns.map(|head| record.duration_ns.saturating_sub(head)))
            }
            Operator::GrpcStatus => {
                record.grpc_status.map_or(Value::Absent, |status| Value::Number(status.into()))
            }
            Operator::Attempts => Value::Number(details.attempts.into()),
            Operator::UpstreamHost => address(details.upstream_host, Part::Whole),
            Operator::UpstreamCluster => plain(details.upstream_cluster),
            Operator::UpstreamLocal(part) => address(details.upstream_local, *part),
            Operator::DownstreamLocal(part) => address(details.downstream_local, *part),
            Operator::DownstreamRemote(part) => address(details.downstream_remote, *part),
            Operator::ServerName => foreign(details.server_name.as_bytes()),
            Operator::RouteName => foreign(details.route_name.as_bytes()),
        }
    }
}

impl FieldRef {
    /// `NAME?OTHER):LENGTH`, after the opening parenthesis.
    fn parse(argument: &str, operator: &str) -> Result<FieldRef, FormatError> {
        let bad = |why: &str| FormatError::Argument(operator.to_owned(), why.to_owned());
        let (names, length) = argument.split_once(')').ok_or_else(|| bad("`)` is missing"))?;
        let bytes_max = match length.strip_prefix(':') {
            None if length.is_empty() => LOG_VALUE_BYTES_MAX,
            Some(digits) if !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) => {
                digits.parse().unwrap_or(LOG_VALUE_BYTES_MAX).min(LOG_VALUE_BYTES_MAX)
            }
            _ => return Err(bad("the length is no number")),
        };
        let (name, or) = match names.split_once('?') {
            Some((name, or)) => (name, Some(or.to_ascii_lowercase().into())),
            None => (names, None),
        };
        match name {
            "" => Err(bad("a header's name is missing")),
            _ => Ok(FieldRef { name: name.to_ascii_lowercase().into(), or, bytes_max }),
        }
    }

    fn find<'a>(&'a self, field: impl Fn(&'a str) -> Option<&'a [u8]>) -> Value<'a> {
        let found = field(&self.name).or_else(|| self.or.as_deref().and_then(field));
        found.map_or(Value::Absent, |value| Value::Foreign(value.get(..self.bytes_max).unwrap_or(value)))
    }
}

fn request_field<'a, Q: RequestView, P>(name: &'a str, entry: &Entry<'a, Q, P>) -> Option<&'a [u8]> {
    let pseudo = match name {
        ":method" => entry.request.method(),
        ":path" => entry.request.path_and_query(),
        ":authority" | "host" => entry.request.authority(),
        ":scheme" => entry.request.scheme(),
        _ => {
            let own = entry.details.request_fields.iter().find(|(own, _)| *own == name);
            return own.map(|(_, value)| *value).or_else(|| entry.request.header(name));
        }
    };
    Some(pseudo).filter(|value| !value.is_empty())
}

impl Value<'_> {
    /// Renders as text, `-` for nothing.
    pub(super) fn text(&self, out: &mut Vec<u8>) {
        match self {
            Value::Absent => out.push(b'-'),
            Value::Foreign(bytes) => super::escape::text(bytes, out),
            _ => self.safe(out),
        }
    }

    /// Renders as the inside of a JSON string, `-` for nothing.
    pub(super) fn json_part(&self, out: &mut Vec<u8>) {
        match self {
            Value::Absent => out.push(b'-'),
            Value::Plain(text) => super::escape::json(text.as_bytes(), out),
            Value::Foreign(bytes) => super::escape::json(bytes, out),
            _ => self.safe(out),
        }
    }

    /// Renders as a JSON value of its own: numbers as such, nothing as null (as Envoy does).
    pub(super) fn json(&self, out: &mut Vec<u8>) {
        match self {
            Value::Absent => out.extend_from_slice(b"null"),
            Value::Number(_) => self.safe(out),
            _ => {
                out.push(b'"');
                self.json_part(out);
                out.push(b'"');
            }
        }
    }

    /// What needs no escaping. Writing to a vector cannot fail.
    fn safe(&self, out: &mut Vec<u8>) {
        let _ = match self {
            Value::Absent | Value::Foreign(_) => Ok(()),
            Value::Plain(text) => out.write_all(text.as_bytes()),
            Value::Number(number) => write!(out, "{number}"),
            Value::Address(address, Part::Whole) => write!(out, "{address}"),
            Value::Address(address, Part::Ip) => write!(out, "{}", address.ip()),
            Value::Address(address, Part::Port) => write!(out, "{}", address.port()),
            Value::Time(parts, unix_ns) => {
                time::render(parts, *unix_ns, out);
                Ok(())
            }
            Value::Flags(flags) => write!(out, "{flags}"),
            Value::Broken(label, rule) => write!(out, "{label}{{{rule}}}"),
        };
    }
}

fn plain(text: &str) -> Value<'_> {
    if text.is_empty() { Value::Absent } else { Value::Plain(text) }
}

fn foreign(bytes: &[u8]) -> Value<'_> {
    if bytes.is_empty() { Value::Absent } else { Value::Foreign(bytes) }
}

fn millis<'a>(nanos: Option<u64>) -> Value<'a> {
    nanos.map_or(Value::Absent, |nanos| Value::Number(nanos / 1_000_000))
}

fn address<'a>(address: Option<SocketAddr>, part: Part) -> Value<'a> {
    address.map_or(Value::Absent, |address| Value::Address(address, part))
}
