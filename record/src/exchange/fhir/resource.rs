//! Resources, and how they name each other within a bundle.

use protocol::CaseId;
use serde_json::{Map, Value, json};

use super::narrative::{narrative, words};

use crate::Stamp;

pub(super) const DEVICE_SYSTEM: &str = "https://kijiti.org/fhir/device";

/// A name for a resource that is the same whenever the same case is written (RFC 9562, version 8).
pub(super) fn uuid(case: &CaseId, what: &str) -> String {
    let hash = blake3::derive_key(
        "kijiti 2026-11 fhir id",
        &[case.as_bytes().as_slice(), what.as_bytes()].concat(),
    );
    let mut bytes: [u8; 16] = hash.first_chunk().copied().unwrap_or_default();
    let [.., version, _, variant, _, _, _, _, _, _, _] = &mut bytes;
    *version = *version & 0x0f | 0x80;
    *variant = *variant & 0x3f | 0x80;
    protocol::always!(*version >> 4 == 8 && *variant >> 6 == 2);
    let hex: Vec<String> = bytes.iter().map(|b| format!("{b:02x}")).collect();
    let part = |from: usize, to: usize| hex.get(from..to).unwrap_or_default().concat();
    [
        part(0, 4),
        part(4, 6),
        part(6, 8),
        part(8, 10),
        part(10, 16),
    ]
    .join("-")
}

pub(super) fn coding(system: &str, code: &str) -> Value {
    json!({ "system": system, "code": code })
}

pub(super) fn concept(system: &str, code: &str) -> Value {
    json!({ "coding": [coding(system, code)] })
}

/// A resource of a bundle, under the name that references use.
pub(super) fn entry(case: &CaseId, what: &str, kind: &str, fields: Value) -> Value {
    let id = uuid(case, what);
    let mut resource = Map::from_iter([
        ("resourceType".into(), json!(kind)),
        ("id".into(), json!(id)),
    ]);
    if let Value::Object(fields) = fields {
        // A field without a value is left out: FHIR has no null.
        resource.extend(fields.into_iter().filter(|(_, value)| !value.is_null()));
    }
    let text = narrative(&[words(kind, &resource)]);
    resource.insert("text".into(), text);
    json!({ "fullUrl": format!("urn:uuid:{id}"), "resource": resource })
}

/// Who has said something, by the phone.
pub(super) fn performer(stamp: &Stamp) -> Value {
    let who = json!({ "system": DEVICE_SYSTEM, "value": stamp.by.to_string() });
    let display = format!("whoever has phone {}", stamp.by.short());
    json!([{ "type": "Practitioner", "identifier": who, "display": display }])
}

/// A reference to a resource of the same bundle.
pub(super) fn reference(case: &CaseId, what: &str) -> Value {
    json!({ "reference": format!("urn:uuid:{}", uuid(case, what)) })
}
