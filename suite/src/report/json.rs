//! The certificate as JSON: `migcert/certify/1`.

use crate::certificate::Certificate;
use serde_json::{Value as Json, json};

/// A certificate as JSON, with its members in alphabetical order. [`Certificate::from_json`] reads it.
pub fn json(certificate: &Certificate) -> Json {
    json!(certificate)
}
