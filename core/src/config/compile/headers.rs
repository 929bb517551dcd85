//! Header changes of rules: names and values checked once, so that carrying them out cannot break a message's framing.

use http::{HeaderName, HeaderValue};

use crate::config::model;
use crate::route::rule::{Changes, HeaderChange, HeaderOps};

/// Fields that say where a message ends or belong to one connection only (RFC 9110 section 7.6.1, RFC 9112 section 6):
/// a rule that changed them could split one request into two.
const FRAMING: [&str; 9] = [
    "connection",
    "content-length",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "http2-settings",
];

/// Compiles header changes.
///
/// # Errors
/// The reason for the operator, with the field's name.
pub(crate) fn compile(from: &model::HeaderOps) -> Result<HeaderOps, String> {
    Ok(HeaderOps {
        request: change(&from.request, true).map_err(|why| format!("headers.request.{why}"))?,
        response: change(&from.response, false).map_err(|why| format!("headers.response.{why}"))?,
    })
}

fn change(from: &model::HeaderChange, request: bool) -> Result<HeaderChange, String> {
    if from.set.is_empty() && from.add.is_empty() && from.remove.is_empty() {
        return Ok(HeaderChange(None));
    }
    let mut changes = Changes::default();
    for (name, text) in &from.set {
        let value = value(name, text).map_err(|why| format!("set: {why}"))?;
        if request && (name.eq_ignore_ascii_case("host") || name.eq_ignore_ascii_case(":authority")) {
            changes.authority = Some(value);
        } else {
            changes.set.push((header_name(name).map_err(|why| format!("set: {why}"))?, value));
        }
    }
    for (name, text) in &from.add {
        let name = header_name(name).map_err(|why| format!("add: {why}"))?;
        let value = value(name.as_str(), text).map_err(|why| format!("add: {why}"))?;
        changes.add.push((name, value));
    }
    for name in &from.remove {
        changes.remove.push(header_name(name).map_err(|why| format!("remove: {why}"))?);
    }
    Ok(HeaderChange(Some(Box::new(changes))))
}

/// Whether a header, by its name in any case, frames the message or belongs to the connection: no rule may change it (RFC
/// 9110, 7.6.1).
pub fn frames_message(name: &str) -> bool {
    FRAMING.iter().any(|framing| name.eq_ignore_ascii_case(framing))
}

/// A header's name that a rule may change.
pub(crate) fn header_name(text: &str) -> Result<HeaderName, String> {
    let name =
        HeaderName::from_bytes(text.as_bytes()).map_err(|_| format!("{text:?} is not a header name"))?;
    if name == http::header::HOST {
        return Err("\"host\" can only be set, and only on requests".into());
    }
    if frames_message(name.as_str()) {
        return Err(format!(
            "{text:?} frames the message or belongs to the connection; a rule may not change it"
        ));
    }
    Ok(name)
}

fn value(name: &str, text: &str) -> Result<HeaderValue, String> {
    HeaderValue::from_bytes(text.as_bytes())
        .map_err(|_| format!("the value of {name:?} has a control character (CR, LF, NUL …): {text:?}"))
}
