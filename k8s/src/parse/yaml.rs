//! YAML and JSON text → JSON values, with the line of every field.
//!
//! Built on the event parser `saphyr-parser` (maintained, no unsafe, YAML 1.2) rather than on a serde front-end such as
//! `serde_yaml_ng` or `serde-saphyr`: only the events carry the line of every field, let a repeated key be refused by its
//! path, and let the nodes that aliases stand for be counted as they are expanded. Plain scalars are read as kubectl
//! reads them (YAML 1.1's `yes`, `on` and so on are booleans), since the same files go to both.

use std::collections::HashMap;

use saphyr_parser::{Event, Parser, ScalarStyle, ScanError, StrInput, Tag};
use serde_json::{Map, Number, Value};

use crate::objects::{FIELDS_MAX, Lines};

/// Nodes of one document, aliases expanded: a bound on "billion laughs".
const NODES_MAX: usize = 1_000_000;
/// Nesting of one document.
const DEPTH_MAX: usize = 64;
/// Bytes of one file.
const FILE_BYTES_MAX: usize = 16 * 1024 * 1024;

/// A document as it was read.
#[derive(Debug)]
pub struct Document {
    /// As JSON.
    pub value: Value,
    /// Lines of its fields.
    pub lines: Lines,
}

/// Why a document cannot be read.
#[derive(Debug)]
pub struct YamlError {
    /// Line of the file, from 1.
    pub line: u32,
    /// What is wrong.
    pub message: String,
}

/// The documents of a text, each on its own.
pub fn documents(text: &str) -> Vec<Result<Document, YamlError>> {
    if text.len() > FILE_BYTES_MAX {
        return vec![Err(too_large(text))];
    }
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    split(text).into_iter().filter_map(|(line, chunk)| document(chunk, line).transpose()).collect()
}

/// A part of a text: what lies between two lines that start a document, without their `---`.
pub struct Chunk<'a> {
    /// As it stands in the text.
    pub text: &'a str,
    /// What it holds; none where it says nothing.
    pub read: Result<Option<Document>, YamlError>,
}

/// The parts of a text with what each holds. The text again is all of them, joined by `---`.
pub fn chunks(text: &str) -> Vec<Chunk<'_>> {
    if text.len() > FILE_BYTES_MAX {
        return vec![Chunk { text, read: Err(too_large(text)) }];
    }
    let read = |(line, text): (u32, &str)| document(text.strip_prefix('\u{feff}').unwrap_or(text), line);
    split(text).into_iter().map(|chunk| Chunk { text: chunk.1, read: read(chunk) }).collect()
}

fn too_large(text: &str) -> YamlError {
    let message = format!("the file has {} bytes; the most is {FILE_BYTES_MAX}", text.len());
    YamlError { line: 1, message }
}

/// Cuts at lines that start a document, which end whatever came before even where that is broken.
fn split(text: &str) -> Vec<(u32, &str)> {
    let mut chunks = Vec::new();
    let (mut start, mut start_line, mut offset) = (0, 0, 0);
    for (line, content) in text.split_inclusive('\n').enumerate() {
        let bare = content.trim_end();
        if bare == "---" || bare.starts_with("--- ") {
            chunks.push((start_line, &text[start..offset]));
            // What follows the marker on its line belongs to the document, as in `--- {a: 1}`.
            start = offset + 3;
            start_line = line as u32;
        }
        offset += content.len();
    }
    chunks.push((start_line, &text[start..]));
    chunks
}

fn document(chunk: &str, line: u32) -> Result<Option<Document>, YamlError> {
    let says_nothing = |line: &str| line.trim_end().is_empty() || line.starts_with(['#', '%']);
    if chunk.lines().all(says_nothing) {
        return Ok(None);
    }
    let mut reader = Reader {
        parser: Parser::new_from_str(chunk),
        line_base: line,
        nodes: 0,
        anchors: HashMap::new(),
        fields: Vec::new(),
        path: String::new(),
    };
    loop {
        let (event, line) = reader.next()?;
        match event {
            Event::StreamEnd => return Ok(None),
            Event::StreamStart | Event::DocumentStart(_) | Event::DocumentEnd | Event::Nothing => {}
            event => {
                let first = line;
                let value = reader.node(event, line, 0)?;
                reader.end()?;
                if value.is_null() {
                    return Ok(None);
                }
                return Ok(Some(Document { value, lines: Lines::new(first, reader.fields) }));
            }
        }
    }
}

struct Reader<'a> {
    parser: Parser<'a, StrInput<'a>>,
    line_base: u32,
    nodes: usize,
    /// Anchored nodes with the number of nodes in each.
    anchors: HashMap<usize, (Value, usize)>,
    fields: Vec<(Box<str>, u32)>,
    path: String,
}

impl<'a> Reader<'a> {
    fn next(&mut self) -> Result<(Event<'a>, u32), YamlError> {
        match self.parser.next_event() {
            Some(Ok((event, span))) => {
                let line = self.line_base + u32::try_from(span.start.line()).unwrap_or(u32::MAX);
                Ok((event, line))
            }
            Some(Err(error)) => Err(self.scan_error(&error)),
            None => Ok((Event::StreamEnd, self.line_base)),
        }
    }

    fn scan_error(&self, error: &ScanError) -> YamlError {
        let line = self.line_base + u32::try_from(error.marker().line()).unwrap_or(u32::MAX);
        let at = if self.path.is_empty() { String::new() } else { format!(" in `{}`", self.path) };
        YamlError { line, message: format!("not YAML{at}: {}", error.info()) }
    }

    fn error(&self, line: u32, message: String) -> YamlError {
        YamlError { line, message }
    }

    /// After the root node there must be nothing but the end.
    fn end(&mut self) -> Result<(), YamlError> {
        loop {
            match self.next()? {
                (Event::StreamEnd, _) => return Ok(()),
                (Event::DocumentEnd | Event::Nothing, _) => {}
                (Event::DocumentStart(_), line) | (_, line) => {
                    return Err(self.error(line, "a second document without `---` before it".to_owned()));
                }
            }
        }
    }

    /// Notes where the field of the current path stands.
    fn field(&mut self, line: u32) {
        if self.fields.len() <= FIELDS_MAX {
            self.fields.push((self.path.as_str().into(), line));
        }
    }

    fn count(&mut self, nodes: usize, line: u32) -> Result<(), YamlError> {
        self.nodes = self.nodes.saturating_add(nodes);
        if self.nodes > NODES_MAX {
            let message = format!("more than {NODES_MAX} values in one document, aliases expanded");
            return Err(self.error(line, message));
        }
        Ok(())
    }

    fn node(&mut self, event: Event<'a>, line: u32, depth: usize) -> Result<Value, YamlError> {
        if depth > DEPTH_MAX {
            return Err(self.error(line, format!("nested more than {DEPTH_MAX} deep")));
        }
        self.count(1, line)?;
        let before = self.nodes;
        let (value, anchor) = match event {
            Event::Scalar(text, style, anchor, tag) => {
                (scalar(&text, style, tag.as_deref()).map_err(|message| self.error(line, message))?, anchor)
            }
            Event::SequenceStart(anchor, _) => (self.sequence(depth)?, anchor),
            Event::MappingStart(anchor, _) => (self.mapping(depth)?, anchor),
            Event::Alias(anchor) => {
                let Some((value, nodes)) = self.anchors.get(&anchor).cloned() else {
                    return Err(self.error(line, "an alias to itself or to nothing".to_owned()));
                };
                self.count(nodes, line)?;
                return Ok(value);
            }
            _ => return Err(self.error(line, "the document ends too early".to_owned())),
        };
        if anchor > 0 {
            self.anchors.insert(anchor, (value.clone(), self.nodes - before + 1));
        }
        Ok(value)
    }

    fn sequence(&mut self, depth: usize) -> Result<Value, YamlError> {
        let mut items = Vec::new();
        loop {
            let (event, line) = self.next()?;
            if matches!(event, Event::SequenceEnd) {
                return Ok(Value::Array(items));
            }
            let outer = self.path.len();
            self.path.push_str(&format!("[{}]", items.len()));
            self.field(line);
            items.push(self.node(event, line, depth + 1)?);
            self.path.truncate(outer);
        }
    }

    fn mapping(&mut self, depth: usize) -> Result<Value, YamlError> {
        let mut map = Map::new();
        let mut merged = Vec::new();
        loop {
            let (event, line) = self.next()?;
            let key = match event {
                Event::MappingEnd => break,
                Event::Scalar(text, ..) => text.into_owned(),
                _ => return Err(self.error(line, "a key that is not a word".to_owned())),
            };
            let outer = self.path.len();
            if outer > 0 {
                self.path.push('.');
            }
            self.path.push_str(&key);
            self.field(line);
            let (event, value_line) = self.next()?;
            let value = self.node(event, value_line, depth + 1)?;
            if key == "<<" {
                merged.push((line, value));
            } else if map.insert(key, value).is_some() {
                return Err(self.error(line, format!("`{}` is given twice", self.path)));
            }
            self.path.truncate(outer);
        }
        for (line, value) in merged {
            self.merge(&mut map, value, line)?;
        }
        Ok(Value::Object(map))
    }

    /// `<<: *anchor`: fields that the map does not have itself.
    fn merge(&self, map: &mut Map<String, Value>, value: Value, line: u32) -> Result<(), YamlError> {
        match value {
            Value::Object(other) => {
                for (key, value) in other {
                    map.entry(key).or_insert(value);
                }
                Ok(())
            }
            Value::Array(items) => items.into_iter().try_for_each(|item| self.merge(map, item, line)),
            _ => Err(self.error(line, "`<<` takes a map or a list of maps".to_owned())),
        }
    }
}

fn scalar(text: &str, style: ScalarStyle, tag: Option<&Tag>) -> Result<Value, String> {
    if let Some(tag) = tag {
        return match tag.suffix.as_str() {
            "str" | "binary" | "!" => Ok(Value::String(text.to_owned())),
            "int" | "float" | "bool" | "null" => Ok(plain(text)),
            other => Err(format!("the tag `{other}` is not known")),
        };
    }
    Ok(if style == ScalarStyle::Plain { plain(text) } else { Value::String(text.to_owned()) })
}

/// A plain scalar as kubectl reads it.
pub fn plain(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        "true" | "True" | "TRUE" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" => {
            return Value::Bool(true);
        }
        "false" | "False" | "FALSE" | "no" | "No" | "NO" | "off" | "Off" | "OFF" => {
            return Value::Bool(false);
        }
        _ => {}
    }
    number(text).map(Value::Number).unwrap_or_else(|| Value::String(text.to_owned()))
}

fn number(text: &str) -> Option<Number> {
    let (negative, digits) = match text.strip_prefix(['+', '-']) {
        Some(rest) => (text.starts_with('-'), rest),
        None => (false, text),
    };
    if !digits.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
        return None;
    }
    let radix = match digits.get(..2) {
        Some("0x" | "0X") => Some(16),
        Some("0o" | "0O") => Some(8),
        Some("0b" | "0B") => Some(2),
        _ => None,
    };
    if let Some(radix) = radix {
        let value = i64::from_str_radix(&digits[2..], radix).ok()?;
        return Some(Number::from(if negative { -value } else { value }));
    }
    if digits.bytes().all(|b| b.is_ascii_digit()) {
        // YAML 1.1: a leading zero is octal, as in file modes.
        if digits.len() > 1 && digits.starts_with('0') {
            let value = i64::from_str_radix(digits, 8).ok()?;
            return Some(Number::from(if negative { -value } else { value }));
        }
        return match negative {
            true => text.parse::<i64>().ok().map(Number::from),
            false => digits.parse::<u64>().ok().map(Number::from),
        };
    }
    if !digits.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'e' | b'E' | b'+' | b'-')) {
        return None;
    }
    text.parse::<f64>().ok().and_then(Number::from_f64)
}
