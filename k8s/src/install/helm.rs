//! The Helm chart, made of the same objects as everything else.
//!
//! A chart's templates are the manifests of values that are references ([`Values::references`]): where a manifest has a
//! value, the chart has `{{ toJson .Values.path }}`, JSON being YAML; an object that is there only for some values stands in
//! an `if`. That is all the templating there is, so the chart and `dromonctl manifest` cannot differ in substance.

use serde_json::Value;

use super::values::{REFERENCE_BEGIN, REFERENCE_END};
use super::{Values, crds, parts};
use crate::emit;

/// In a reference: the value as YAML text, itself text of the manifest.
const AS_YAML_TEXT: &str = "yaml:";
/// In a reference: all values as JSON text.
const ALL_VALUES: &str = "all";
/// In a reference: what tells all values apart.
const ALL_VALUES_HASH: &str = "hash";

/// A file of the chart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChartFile {
    /// Below the chart's directory.
    pub path: String,
    /// What it holds.
    pub text: String,
}

/// The chart's files with these values as its defaults.
pub fn chart(values: &Values) -> Vec<ChartFile> {
    let mut files = vec![
        ChartFile { path: "Chart.yaml".to_owned(), text: about() },
        ChartFile { path: "values.yaml".to_owned(), text: defaults(values) },
        ChartFile { path: ".helmignore".to_owned(), text: "*.orig\n*~\n".to_owned() },
    ];
    for crd in crds::ALL {
        // Helm installs what is in crds/ where it is missing, and never touches it again.
        files.push(ChartFile { path: format!("crds/{}.yaml", crd.name()), text: emit::yaml(&crd.object()) });
    }
    let (all, hash) = (marker(ALL_VALUES), marker(ALL_VALUES_HASH));
    for (at, part) in parts(&values.references(), &all, &hash).into_iter().enumerate() {
        let kind = part.object["kind"].as_str().unwrap_or_default().to_ascii_lowercase();
        let name = part.object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        let body = emit::document(&part.object, &template);
        let text = match part.when {
            Some(path) => format!("{{{{- if .Values.{path} }}}}\n{body}{{{{- end }}}}\n"),
            None => body,
        };
        // Helm brings the namespace itself, by --create-namespace.
        if kind != "namespace" {
            files.push(ChartFile { path: format!("templates/{at:02}-{kind}-{name}.yaml"), text });
        }
    }
    files
}

/// A reference to a value, as text that holds its YAML.
pub(super) fn as_yaml_text(reference: &str) -> String {
    let path = reference.trim_matches([REFERENCE_BEGIN, REFERENCE_END]);
    marker(&format!("{AS_YAML_TEXT}{path}"))
}

fn marker(text: &str) -> String {
    format!("{REFERENCE_BEGIN}{text}{REFERENCE_END}")
}

/// A string with references in it as a chart has it; none for any other.
fn template(text: &str) -> Option<String> {
    if !text.contains(REFERENCE_BEGIN) {
        return None;
    }
    let whole = text.strip_prefix(REFERENCE_BEGIN).and_then(|rest| rest.strip_suffix(REFERENCE_END));
    if let Some(reference) = whole.filter(|it| !it.contains(REFERENCE_BEGIN)) {
        return Some(match reference {
            ALL_VALUES => "{{ toJson .Values | toJson }}".to_owned(),
            ALL_VALUES_HASH => "{{ toJson .Values | sha256sum | quote }}".to_owned(),
            _ => match reference.strip_prefix(AS_YAML_TEXT) {
                Some(path) => format!("{{{{ toYaml .Values.{path} | toJson }}}}"),
                None => format!("{{{{ toJson .Values.{reference} }}}}"),
            },
        });
    }
    let quoted = Value::String(text.to_owned()).to_string();
    Some(quoted.replace(REFERENCE_BEGIN, "{{ .Values.").replace(REFERENCE_END, " }}"))
}

fn about() -> String {
    let version = env!("CARGO_PKG_VERSION");
    format!(
        "apiVersion: v2\nname: dromon\ndescription: The Dromon service mesh\ntype: application\nversion: {version}\n\
         appVersion: {version}\nkubeVersion: \">=1.26.0-0\"\n"
    )
}

fn defaults(values: &Values) -> String {
    format!(
        "# Made by `dromonctl manifest --helm`; docs/kubernetes.md says what each value does.\n{}",
        emit::yaml(values.tree())
    )
}
