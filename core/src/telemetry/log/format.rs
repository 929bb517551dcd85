//! A format as a whole: text, or JSON with a format for each field.

use super::operator::{FormatError, Operator};
use super::{Details, Entry, ResponseView, escape};
use crate::config::model::{AccessLog, LogEncoding};
use crate::exchange::RequestView;
use crate::telemetry::Record;

/// Istio's default text format (`EnvoyTextLogFormat` in istio's `pilot/pkg/model/telemetry_logging.go`).
pub const fn default_text() -> &'static str {
    "[%START_TIME%] \"%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%\" %RESPONSE_CODE% \
     %RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS% %CONNECTION_TERMINATION_DETAILS% \
     \"%UPSTREAM_TRANSPORT_FAILURE_REASON%\" %BYTES_RECEIVED% %BYTES_SENT% %DURATION% \
     %RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% \"%REQ(X-FORWARDED-FOR)%\" \"%REQ(USER-AGENT)%\" \
     \"%REQ(X-REQUEST-ID)%\" \"%REQ(:AUTHORITY)%\" \"%UPSTREAM_HOST%\" %UPSTREAM_CLUSTER_RAW% \
     %UPSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_REMOTE_ADDRESS% \
     %REQUESTED_SERVER_NAME% %ROUTE_NAME%\n"
}

/// Istio's default JSON fields (`EnvoyJSONLogFormatIstio`, same place), in order of name.
pub const fn default_json() -> &'static [(&'static str, &'static str)] {
    &[
        ("authority", "%REQ(:AUTHORITY)%"),
        ("bytes_received", "%BYTES_RECEIVED%"),
        ("bytes_sent", "%BYTES_SENT%"),
        ("connection_termination_details", "%CONNECTION_TERMINATION_DETAILS%"),
        ("downstream_local_address", "%DOWNSTREAM_LOCAL_ADDRESS%"),
        ("downstream_remote_address", "%DOWNSTREAM_REMOTE_ADDRESS%"),
        ("duration", "%DURATION%"),
        ("method", "%REQ(:METHOD)%"),
        ("path", "%REQ(X-ENVOY-ORIGINAL-PATH?:PATH)%"),
        ("protocol", "%PROTOCOL%"),
        ("request_id", "%REQ(X-REQUEST-ID)%"),
        ("requested_server_name", "%REQUESTED_SERVER_NAME%"),
        ("response_code", "%RESPONSE_CODE%"),
        ("response_code_details", "%RESPONSE_CODE_DETAILS%"),
        ("response_flags", "%RESPONSE_FLAGS%"),
        ("route_name", "%ROUTE_NAME%"),
        ("start_time", "%START_TIME%"),
        ("upstream_cluster", "%UPSTREAM_CLUSTER_RAW%"),
        ("upstream_host", "%UPSTREAM_HOST%"),
        ("upstream_local_address", "%UPSTREAM_LOCAL_ADDRESS%"),
        ("upstream_service_time", "%RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)%"),
        ("upstream_transport_failure_reason", "%UPSTREAM_TRANSPORT_FAILURE_REASON%"),
        ("user_agent", "%REQ(USER-AGENT)%"),
        ("x_forwarded_for", "%REQ(X-FORWARDED-FOR)%"),
    ]
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(Box<str>),
    Operator(Operator),
}

/// A compiled format.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogFormat(Shape);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Shape {
    Text(Vec<Part>),
    /// Each field's `"name":` with what comes before it, and its format.
    Json(Vec<(Box<[u8]>, Vec<Part>)>),
}

impl LogFormat {
    /// Compiles what the access-log settings say, Istio's defaults where they are empty.
    ///
    /// # Errors
    /// An operator that does not exist or is used wrongly, by name.
    pub fn new(settings: &AccessLog) -> Result<LogFormat, FormatError> {
        match settings.encoding {
            LogEncoding::Text if settings.format.is_empty() => LogFormat::text(default_text()),
            LogEncoding::Text => LogFormat::text(&settings.format),
            LogEncoding::Json if settings.json.is_empty() => LogFormat::json(default_json().iter().copied()),
            LogEncoding::Json => {
                LogFormat::json(settings.json.iter().map(|(name, format)| (name.as_str(), format.as_str())))
            }
        }
    }

    /// Compiles a text format. A line break is added where it ends without.
    ///
    /// # Errors
    /// As [`LogFormat::new`].
    pub fn text(format: &str) -> Result<LogFormat, FormatError> {
        let mut parts = compile(format)?;
        if !format.ends_with('\n') {
            parts.push(Part::Text("\n".into()));
        }
        Ok(LogFormat(Shape::Text(parts)))
    }

    /// Compiles a JSON format: one object a line, fields in the order given.
    ///
    /// # Errors
    /// As [`LogFormat::new`].
    pub fn json<'a>(fields: impl Iterator<Item = (&'a str, &'a str)>) -> Result<LogFormat, FormatError> {
        let mut compiled = Vec::new();
        for (index, (name, format)) in fields.enumerate() {
            let mut key = if index == 0 { b"{\"".to_vec() } else { b",\"".to_vec() };
            escape::json(name.as_bytes(), &mut key);
            key.extend_from_slice(b"\":");
            compiled.push((key.into(), compile(format)?));
        }
        Ok(LogFormat(Shape::Json(compiled)))
    }

    /// Appends one line. Allocates nothing but what `out` needs to grow.
    pub fn render<Q: RequestView, P: ResponseView>(
        &self,
        record: &Record<'_>,
        details: &Details<'_>,
        request: &Q,
        response: &P,
        out: &mut Vec<u8>,
    ) {
        let entry = Entry { record, details, request, response };
        match &self.0 {
            Shape::Text(parts) => {
                for part in parts {
                    match part {
                        Part::Text(text) => out.extend_from_slice(text.as_bytes()),
                        Part::Operator(operator) => operator.value(&entry).text(out),
                    }
                }
            }
            Shape::Json(fields) => render_json(fields, &entry, out),
        }
    }
}

fn render_json<Q: RequestView, P: ResponseView>(
    fields: &[(Box<[u8]>, Vec<Part>)],
    entry: &Entry<'_, Q, P>,
    out: &mut Vec<u8>,
) {
    for (key, parts) in fields {
        out.extend_from_slice(key);
        if let [Part::Operator(only)] = parts.as_slice() {
            only.value(entry).json(out);
            continue;
        }
        out.push(b'"');
        for part in parts {
            match part {
                Part::Text(text) => escape::json(text.as_bytes(), out),
                Part::Operator(operator) => operator.value(entry).json_part(out),
            }
        }
        out.push(b'"');
    }
    out.extend_from_slice(if fields.is_empty() { b"{}\n" } else { b"}\n" });
}

fn compile(format: &str) -> Result<Vec<Part>, FormatError> {
    let mut parts = Vec::new();
    let mut text = String::new();
    let mut rest = format;
    while let Some((before, after)) = rest.split_once('%') {
        text.push_str(before);
        if let Some(after) = after.strip_prefix('%') {
            text.push('%');
            rest = after;
            continue;
        }
        // A time format has percent signs of its own, up to its parenthesis.
        let inner = match after.starts_with("START_TIME(") {
            true => after.find(')').unwrap_or(after.len()),
            false => 0,
        };
        let end = after.get(inner..).and_then(|tail| tail.find('%')).map(|at| inner + at);
        let operator = end.and_then(|end| after.get(..end).zip(after.get(end + 1..)));
        let Some((operator, after)) = operator else {
            return Err(FormatError::Unclosed(format.len() - after.len() - 1));
        };
        if !text.is_empty() {
            parts.push(Part::Text(std::mem::take(&mut text).into()));
        }
        parts.push(Part::Operator(Operator::parse(operator)?));
        rest = after;
    }
    text.push_str(rest);
    if !text.is_empty() {
        parts.push(Part::Text(text.into()));
    }
    Ok(parts)
}
