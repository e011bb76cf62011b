//! FHIR's XML says what its JSON says; what is no FHIR, damaged or made to hurt is refused with a reason.

use record::exchange::{Imported, fhir};
use serde_json::{Map, Value};

fn escaped(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '"' => out.push_str("&quot;"),
            '\n' => out.push_str("&#10;"),
            '\t' => out.push_str("&#9;"),
            c => out.push(c),
        }
    }
    out
}

/// An element of FHIR's XML, as hl7.org/fhir/R4/xml.html makes it of JSON.
fn element(name: &str, value: &Value, beside: Option<&Value>, out: &mut String) {
    let inner = match value {
        Value::Object(fields) if fields.contains_key("resourceType") => {
            let mut inner = String::new();
            resource(fields, &mut inner);
            *out += &format!("<{name}>{inner}</{name}>");
            return;
        }
        Value::Object(fields) => {
            let attributes: String = ["id", "url"]
                .iter()
                .filter(|key| name == "extension" && fields.contains_key(**key))
                .map(|key| format!(" {key}=\"{}\"", escaped(fields[*key].as_str().unwrap())))
                .collect();
            let mut inner = String::new();
            if name == "text" && fields.contains_key("div") {
                inner = format!(
                    "<status value=\"generated\"/>{}",
                    fields["div"].as_str().unwrap()
                );
            } else {
                let kept = fields
                    .iter()
                    .filter(|(key, _)| !(name == "extension" && *key == "url"));
                children(kept, fields, &mut inner);
            }
            *out += &format!("<{name}{attributes}>{inner}</{name}>");
            return;
        }
        Value::String(text) => escaped(text),
        other => other.to_string(),
    };
    let mut extensions = String::new();
    if let Some(Value::Object(fields)) = beside {
        children(fields.iter(), fields, &mut extensions);
    }
    *out += &format!("<{name} value=\"{inner}\">{extensions}</{name}>");
}

fn children<'a>(
    kept: impl Iterator<Item = (&'a String, &'a Value)>,
    all: &Map<String, Value>,
    out: &mut String,
) {
    for (key, value) in kept {
        if let Some(bare) = key.strip_prefix('_') {
            if !all.contains_key(bare) {
                let mut inner = String::new();
                let fields = value.as_object().unwrap();
                children(fields.iter(), fields, &mut inner);
                *out += &format!("<{bare}>{inner}</{bare}>");
            }
            continue;
        }
        let beside = all.get(&format!("_{key}"));
        match value {
            Value::Array(list) => list.iter().for_each(|one| element(key, one, None, out)),
            one => element(key, one, beside, out),
        }
    }
}

fn resource(fields: &Map<String, Value>, out: &mut String) {
    let kind = fields["resourceType"].as_str().unwrap();
    let mut inner = String::new();
    let kept = fields.iter().filter(|(key, _)| *key != "resourceType");
    children(kept, fields, &mut inner);
    *out += &format!("<{kind} xmlns=\"http://hl7.org/fhir\">{inner}</{kind}>");
}

fn as_xml(json: &str) -> String {
    let value: Value = serde_json::from_str(json).unwrap();
    let mut out = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<!-- a bundle -->\n".to_owned();
    resource(value.as_object().unwrap(), &mut out);
    out
}

/// What is known of a patient by the bundle's own bytes is another name; all else is the same.
fn same(read: Vec<Imported>) -> Vec<Imported> {
    let nameless = |mut one: Imported| {
        let by_bytes = one
            .known_as
            .as_deref()
            .is_some_and(|name| name.contains("|") && !name.contains("http"));
        one.known_as = one.known_as.filter(|_| !by_bytes);
        one
    };
    read.into_iter().map(nameless).collect()
}

#[test]
fn bundles_of_other_systems_say_in_xml_what_they_say_in_json() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/foreign");
    let mut compared = 0;
    for file in std::fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        if path.extension().is_none_or(|e| e != "json") {
            continue;
        }
        let json = std::fs::read_to_string(&path).unwrap();
        let by_json = fhir::read(&json).unwrap();
        let by_xml = fhir::read(&as_xml(&json)).unwrap();
        assert!(by_json.iter().any(|one| !one.entries.is_empty()));
        assert_eq!(same(by_xml), same(by_json), "{}", path.display());
        compared += 1;
    }
    assert!(compared >= 15);
}

fn patient_of(fields: &str) -> String {
    format!("<Patient xmlns=\"http://hl7.org/fhir\">{fields}</Patient>")
}

#[test]
fn what_is_no_fhir_is_damaged_or_made_to_hurt_is_refused_with_a_reason() {
    let deep = format!("{}{}", "<a>".repeat(200), "</a>".repeat(200));
    let born = "<birthDate value=\"2024-02-03\"/>";
    let refused = [
        (
            patient_of(born).replace("hl7.org", "example.org"),
            "is no FHIR",
        ),
        (
            "<ClinicalDocument xmlns=\"urn:hl7-org:v3\"/>".to_owned(),
            "is no FHIR",
        ),
        (patient_of(born).replace("</Patient>", ""), "cut short"),
        (patient_of("<name><text value=\"A\"/></nme>"), "cut short"),
        (patient_of(&deep), "deep"),
        (patient_of(&format!("{born}{born}")), "stands twice"),
        (
            patient_of("<birthDate value=\"2024-02-03\" value=\"2023-02-03\"/>"),
            "not XML",
        ),
        (patient_of("Amina"), "words stand"),
        (
            format!(
                "<!DOCTYPE Patient [<!ENTITY a \"aaaa\">]>{}",
                patient_of("<name><text value=\"&a;\"/></name>")
            ),
            "document type",
        ),
        (patient_of("<name><text value=\"&a;\"/></name>"), "not XML"),
        (
            "<Observation xmlns=\"http://hl7.org/fhir\"/>".to_owned(),
            "single Observation",
        ),
        ("<".to_owned(), "cut short"),
        (patient_of(born) + &patient_of(born), "behind the end"),
        (
            patient_of("<deceasedBoolean value=\"TRUE\"/>"),
            "true or false",
        ),
        (patient_of("<name xmlns=\"urn:other\"/>"), "neither of"),
        (
            format!(
                "<Bundle xmlns=\"http://hl7.org/fhir\"><type value=\"collection\"/><entry>{}</entry></Bundle>",
                patient_of(born)
            ),
            "where FHIR has none",
        ),
    ];
    for (xml, why) in refused {
        let said = fhir::read(&xml).unwrap_err().to_string();
        assert!(said.contains(why), "{xml:.80}: {said}");
    }
}

#[test]
fn xml_with_a_prefix_and_a_single_patient_is_read() {
    let plain = patient_of(
        "<name><given value=\"Amina\"/><family value=\"Juma &amp; Co\"/></name><birthDate value=\"2024-02-03\"/>",
    );
    let prefixed = plain
        .replace("</", "</f:")
        .replace("xmlns", "xmlns:f")
        .replace('<', "<f:")
        .replace("<f:/f:", "</f:");
    let [plain, prefixed] = [plain, prefixed].map(|xml| fhir::read(&xml).unwrap());
    assert_eq!(plain.len(), 1);
    assert_eq!(plain[0].entries.len(), 3, "{plain:?}");
    assert_eq!(plain, prefixed);
}
