//! What a resource says, in words.

use serde_json::{Map, Value, json};

/// A resource in words, for whoever reads the file without a program.
pub(super) fn words(kind: &str, resource: &Map<String, Value>) -> String {
    let text = |path: &[&str]| {
        let mut at = resource.get(*path.first()?)?;
        for key in path.get(1..)? {
            at = at.get(key)?;
        }
        match at {
            Value::String(text) => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            Value::Bool(yes) => Some(if *yes { "yes" } else { "no" }.to_owned()),
            Value::Null | Value::Array(_) | Value::Object(_) => None,
        }
    };
    let first = |paths: &[&[&str]]| paths.iter().find_map(|path| text(path));
    let what = first(&[
        &["code", "text"],
        &["medicationCodeableConcept", "text"],
        &["description"],
    ]);
    let value = first(&[
        &["valueQuantity", "value"],
        &["valueBoolean"],
        &["valueCodeableConcept", "text"],
        &["valueString"],
        &["dosage", "dose", "value"],
        &["provision", "type"],
        &["summary"],
        &["birthDate"],
        &["status"],
    ]);
    let unit = first(&[&["valueQuantity", "unit"], &["dosage", "dose", "unit"]]);
    let consent = resource
        .get("identifier")
        .and_then(|ids| ids.as_array()?.first()?.get("value")?.as_str());
    let consent = consent.filter(|_| kind == "Consent").map(str::to_owned);
    let in_error = text(&["status"]).filter(|status| status == "entered-in-error");
    let words = [
        Some(kind.to_owned()),
        what.or(consent),
        value,
        unit,
        in_error,
    ];
    words.into_iter().flatten().collect::<Vec<_>>().join(" ")
}

/// Words as a `Narrative` (FHIR R4 §2.4), a paragraph each.
pub(super) fn narrative(words: &[String]) -> Value {
    let paragraphs = words.iter().map(|words| format!("<p>{}</p>", shown(words)));
    let paragraphs: String = paragraphs.collect();
    let div = format!("<div xmlns=\"http://www.w3.org/1999/xhtml\">{paragraphs}</div>");
    json!({ "status": "generated", "div": div })
}

fn shown(words: &str) -> String {
    let mut shown = String::new();
    for c in words.chars() {
        match c {
            '&' => shown.push_str("&amp;"),
            '<' => shown.push_str("&lt;"),
            '>' => shown.push_str("&gt;"),
            // What XML does not hold.
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => shown.push(' '),
            c => shown.push(c),
        }
    }
    shown
}
