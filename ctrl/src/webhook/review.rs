//! AdmissionReview v1, as it comes and goes.

use k8s_openapi::ByteString;
use serde::Deserialize;
use serde_json::{Value, json};

/// An AdmissionReview with a request.
#[derive(Clone, Debug, Deserialize)]
pub struct Review {
    /// What is asked.
    pub request: Request,
}

/// `request`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Request {
    /// To be repeated in the answer.
    pub uid: String,
    /// Where the object is to be.
    pub namespace: String,
    /// The object; null for a deletion.
    pub object: Value,
    /// Nothing will come of it.
    pub dry_run: bool,
}

/// `response`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Answer {
    /// Why it must not be; none if it may.
    pub refusal: Option<String>,
    /// JSON Patch; none if it stays as it is.
    pub patch: Vec<Value>,
    /// For whoever asked.
    pub warnings: Vec<String>,
}

/// Bytes of one warning that the API server passes on; longer ones may be cut or left out.
const WARNING_BYTES_MAX: usize = 256;

impl Answer {
    /// It must not be.
    pub fn refused(why: impl Into<String>) -> Answer {
        Answer { refusal: Some(why.into()), ..Answer::default() }
    }

    /// As the API server reads it.
    pub fn json(self, uid: &str) -> Value {
        let mut response = json!({"uid": uid, "allowed": self.refusal.is_none()});
        if let Some(message) = self.refusal {
            response["status"] = json!({"message": message, "reason": "Invalid", "code": 422});
        }
        if !self.patch.is_empty() {
            response["patchType"] = json!("JSONPatch");
            response["patch"] = json!(ByteString(Value::Array(self.patch).to_string().into_bytes()));
        }
        if !self.warnings.is_empty() {
            let warnings = self.warnings.into_iter().map(|text| shortened(text, WARNING_BYTES_MAX));
            response["warnings"] = warnings.collect();
        }
        json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response})
    }
}

fn shortened(mut text: String, most: usize) -> String {
    if text.len() > most {
        let mut end = most - "…".len();
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text.truncate(end);
        text.push('…');
    }
    text
}
