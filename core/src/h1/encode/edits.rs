//! A rule's header changes, compiled: checked once, written without formatting.

use thiserror::Error;

use super::Extra;
use crate::config::model::HeaderChange;
use crate::h1::field::{Known, is_token_byte, is_value_byte, same_name};
use crate::h1::target;

/// Header changes of one direction, compiled from [`HeaderChange`]; carried out in the order set, add, remove.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeaderEdits {
    set: Vec<Line>,
    add: Vec<Line>,
    remove: Vec<Box<[u8]>>,
    authority: Option<Box<[u8]>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Line {
    /// `name: value` with its CRLF.
    text: Box<[u8]>,
    /// Length of the lower-case name at its start.
    name: usize,
}

impl Line {
    fn name(&self) -> &[u8] {
        self.text.get(..self.name).unwrap_or_default()
    }
}

/// Why a header change cannot be carried out.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum EditError {
    /// The name is empty or holds a byte that a field name must not (RFC 9110, 5.1).
    #[error("`{0}` is not a header name")]
    Name(String),
    /// The value holds a control byte, which would forge further headers.
    #[error("the value of header `{0}` holds a control byte")]
    Value(String),
    /// The field frames messages or belongs to one connection; a rule must not touch it.
    #[error("header `{0}` belongs to the connection and cannot be changed by a rule")]
    Framing(String),
    /// `Host` with a value that is no host.
    #[error("`{0}` is not a host, nor a host with a port")]
    Host(String),
}

impl HeaderEdits {
    /// Compiles a rule's changes. `Host` and `:authority` may be set; it replaces the authority sent upstream.
    ///
    /// # Errors
    /// Names, values and fields that must not be written.
    pub fn new(change: &HeaderChange) -> Result<HeaderEdits, EditError> {
        let mut edits = HeaderEdits::default();
        for (name, value) in &change.set {
            if matches!(name.to_ascii_lowercase().as_str(), "host" | ":authority") {
                target::authority(value.as_bytes()).map_err(|_| EditError::Host(value.clone()))?;
                edits.authority = Some(value.as_bytes().into());
            } else {
                edits.set.push(compile(name, value)?);
            }
        }
        for (name, value) in &change.add {
            edits.add.push(compile(name, value)?);
        }
        for name in &change.remove {
            edits.remove.push(checked_name(name)?.into_bytes().into());
        }
        Ok(edits)
    }

    /// Nothing is changed.
    pub fn is_empty(&self) -> bool {
        self.set.is_empty() && self.add.is_empty() && self.remove.is_empty() && self.authority.is_none()
    }

    /// The authority set, if any.
    pub fn authority(&self) -> Option<&[u8]> {
        self.authority.as_deref()
    }

    /// Whether a field of that name gives way: set anew or removed.
    pub(super) fn displaces(&self, name: &[u8]) -> bool {
        self.set.iter().any(|line| same_name(name, line.name())) || self.removes(name)
    }

    fn removes(&self, name: &[u8]) -> bool {
        self.remove.iter().any(|removed| same_name(name, removed))
    }

    /// Appends the lines set and added that neither this edit removes nor a later one displaces.
    pub(super) fn write(&self, later: &[&HeaderEdits], extra: Extra<'_>, out: &mut Vec<u8>) {
        for line in self.set.iter().chain(&self.add) {
            let gone = self.removes(line.name()) || super::is_replaced(line.name(), later, extra);
            if !gone {
                out.extend_from_slice(&line.text);
            }
        }
    }
}

fn compile(name: &str, value: &str) -> Result<Line, EditError> {
    let lower = checked_name(name)?;
    if !value.bytes().all(is_value_byte) {
        return Err(EditError::Value(name.to_owned()));
    }
    let text = format!("{lower}: {}\r\n", value.trim_matches([' ', '\t']));
    Ok(Line { text: text.into_bytes().into(), name: lower.len() })
}

fn checked_name(name: &str) -> Result<String, EditError> {
    if name.is_empty() || !name.bytes().all(is_token_byte) {
        return Err(EditError::Name(name.to_owned()));
    }
    match Known::of(name.as_bytes()) {
        Known::Host
        | Known::Connection
        | Known::KeepAlive
        | Known::ProxyConnection
        | Known::Te
        | Known::Trailer
        | Known::TransferEncoding
        | Known::ContentLength
        | Known::Upgrade
        | Known::Http2Settings
        | Known::Expect => Err(EditError::Framing(name.to_owned())),
        _ => Ok(name.to_ascii_lowercase()),
    }
}
