//! JSON values → YAML text that kubectl, Helm and people read: block style, keys in the order in which they stand.

use serde_json::Value;

use crate::parse::plain;

/// How a string is written that is not plain text, if it is not to be quoted: what charts put in place of values.
pub type Inline<'a> = &'a dyn Fn(&str) -> Option<String>;

/// A document, with a newline at its end.
pub fn yaml(value: &Value) -> String {
    document(value, &|_| None)
}

/// As [`yaml`]; strings for which `inline` has a text are written as that.
pub fn document(value: &Value, inline: Inline) -> String {
    let mut out = String::new();
    match value {
        Value::Object(map) if !map.is_empty() => block(&mut out, value, 0, inline),
        Value::Array(items) if !items.is_empty() => block(&mut out, value, 0, inline),
        _ => {
            scalar(&mut out, value, 0, inline);
            out.push('\n');
        }
    }
    out
}

/// Documents, each begun by `---`.
pub fn documents<'a>(values: impl IntoIterator<Item = &'a Value>) -> String {
    values.into_iter().map(|value| format!("---\n{}", yaml(value))).collect()
}

/// A map or list with something in it, each entry on a line of its own.
fn block(out: &mut String, value: &Value, depth: usize, inline: Inline) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                indent(out, depth);
                entry(out, key, value, depth, inline);
            }
        }
        Value::Array(items) => {
            for item in items {
                indent(out, depth);
                out.push('-');
                list_item(out, item, depth, inline);
            }
        }
        _ => {}
    }
}

fn list_item(out: &mut String, item: &Value, depth: usize, inline: Inline) {
    match item {
        Value::Object(map) if !map.is_empty() => {
            for (at, (key, value)) in map.iter().enumerate() {
                if at == 0 {
                    out.push(' ');
                } else {
                    indent(out, depth + 1);
                }
                entry(out, key, value, depth + 1, inline);
            }
        }
        Value::Array(items) if !items.is_empty() => {
            out.push('\n');
            block(out, item, depth + 1, inline);
        }
        _ => {
            out.push(' ');
            scalar(out, item, depth + 1, inline);
            out.push('\n');
        }
    }
}

fn entry(out: &mut String, key: &str, value: &Value, depth: usize, inline: Inline) {
    text(out, key);
    out.push(':');
    match value {
        Value::Object(map) if !map.is_empty() => {
            out.push('\n');
            block(out, value, depth + 1, inline);
        }
        // A list stands at its key's own depth, as kubectl writes it.
        Value::Array(items) if !items.is_empty() => {
            out.push('\n');
            block(out, value, depth, inline);
        }
        _ => {
            out.push(' ');
            scalar(out, value, depth + 1, inline);
            out.push('\n');
        }
    }
}

fn scalar(out: &mut String, value: &Value, depth: usize, inline: Inline) {
    match value {
        Value::String(string) => {
            if let Some(instead) = inline(string) {
                out.push_str(&instead);
            } else if fits_literal(string) {
                literal(out, string, depth);
            } else {
                text(out, string);
            }
        }
        Value::Object(_) => out.push_str("{}"),
        Value::Array(_) => out.push_str("[]"),
        other => out.push_str(&other.to_string()),
    }
}

/// Text of several lines that `|` can hold as it is.
fn fits_literal(string: &str) -> bool {
    let holds =
        |line: &str| !line.ends_with([' ', '\t', '\r']) && line.chars().all(|c| c == '\t' || !c.is_control());
    string.contains('\n')
        && !string.contains('\r')
        && !string.starts_with([' ', '\n', '\t'])
        && !string.ends_with("\n\n")
        && string.lines().all(holds)
}

fn literal(out: &mut String, string: &str, depth: usize) {
    out.push_str(if string.ends_with('\n') { "|" } else { "|-" });
    for line in string.lines() {
        out.push('\n');
        if !line.is_empty() {
            indent(out, depth);
            out.push_str(line);
        }
    }
}

/// Plain where no reader takes it for anything but this text, else quoted as JSON quotes it, which is YAML too.
fn text(out: &mut String, string: &str) {
    if is_plain(string) {
        out.push_str(string);
    } else {
        out.push_str(&Value::String(string.to_owned()).to_string());
    }
}

fn is_plain(string: &str) -> bool {
    let inner = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '/' | '-' | ':');
    string.starts_with(|c: char| c.is_ascii_alphabetic() || matches!(c, '_' | '/'))
        && string.chars().all(inner)
        && !string.ends_with(':')
        // YAML 1.1 has one-letter booleans.
        && !matches!(string, "y" | "Y" | "n" | "N")
        && plain(string).is_string()
}

fn indent(out: &mut String, depth: usize) {
    for _ in 0..depth {
        out.push_str("  ");
    }
}

#[cfg(test)]
mod tests;
