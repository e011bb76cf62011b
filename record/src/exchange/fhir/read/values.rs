//! What a value of FHIR's says: codes, units, what is absent and why, and what turns a meaning
//! round.

use serde_json::Value;

use super::super::super::{SYSTEM, field_name, units};
use super::super::{HL7, LOINC};
use clinical::catalogue::{self, FIELDS};
use clinical::{FindingValue, Kind};

/// How deeply a resource may nest, where it is searched for what changes its meaning.
const DEPTH_MAX: usize = 64;
/// Letters that are kept of what could not be read.
const WORDS_MAX: usize = 80;

pub(super) fn at<'a>(value: &'a Value, path: &[&str]) -> Option<&'a Value> {
    path.iter()
        .try_fold(value, |value, step| match step.parse::<usize>() {
            Ok(0) if !value.is_array() => Some(value), // a list of one, as XML has it
            Ok(index) => value.get(index),
            Err(_) => value.get(step),
        })
}

pub(in super::super) fn text_at<'a>(value: &'a Value, path: &[&str]) -> Option<&'a str> {
    at(value, path)?.as_str()
}

/// A list under a key; what stands there alone is a list of one, as XML has it.
pub(in super::super) fn items<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    match value.get(key) {
        None | Some(Value::Null) => &[],
        Some(Value::Array(list)) => list,
        Some(one) => std::slice::from_ref(one),
    }
}

pub(super) fn kind_of(resource: &Value) -> &str {
    text_at(resource, &["resourceType"]).unwrap_or_default()
}

/// A system of codes as it is named here: others write its OID, or its address another way.
fn system_of(system: &str) -> &str {
    let bare = system.trim().trim_end_matches('/');
    match bare
        .strip_prefix("https://")
        .or_else(|| bare.strip_prefix("http://"))
    {
        Some("loinc.org") => LOINC,
        Some("snomed.info/sct") => SNOMED,
        _ => match bare {
            "urn:oid:2.16.840.1.113883.6.1" => LOINC,
            "urn:oid:2.16.840.1.113883.6.96" => SNOMED,
            _ => system,
        },
    }
}

pub(super) const SNOMED: &str = "http://snomed.info/sct";

/// The codes of one system in a CodeableConcept.
pub(super) fn codes_of<'a>(concept: &'a Value, system: &'a str) -> impl Iterator<Item = &'a str> {
    let ours = move |coding: &&Value| text_at(coding, &["system"]).map(system_of) == Some(system);
    items(concept, "coding")
        .iter()
        .filter(ours)
        .filter_map(|coding| text_at(coding, &["code"]))
}

pub(super) fn code_of<'a>(concept: &'a Value, system: &'a str) -> Option<&'a str> {
    let mut codes = codes_of(concept, system);
    let first = codes.next()?;
    codes.all(|other| other == first).then_some(first)
}

/// Codes of other systems for our fields: the vital signs profiles, and other codings of the same
/// measurement.
const ALSO: [(&str, &str); 12] = [
    ("8310-5", "temperature"),
    ("8332-5", "temperature_rectal"),
    ("20509-6", "haemoglobin"),
    ("30313-1", "haemoglobin"),
    ("29463-7", "weight"),
    ("8302-2", "height"),
    ("9279-1", "respiratory_rate"),
    ("2708-6", "spo2"),
    ("20564-1", "spo2"),
    ("8867-4", "pulse"),
    ("8480-6", "bp_systolic"),
    ("8462-4", "bp_diastolic"),
];

const _: () = {
    let mut also: &[(&str, &str)] = &ALSO;
    while let [(_, name), rest @ ..] = also {
        assert!(catalogue::is_field(name));
        also = rest;
    }
};

/// The field that a concept names: by our own name, or by any LOINC code of it. `None`, too, where
/// its codes name several.
pub(super) fn field_of(concept: &Value) -> Option<String> {
    // A LOINC code may be of several fields: an age, in days or in months.
    let of_loinc = |code: &str| -> Vec<&str> {
        let ours = FIELDS.iter().filter(|f| f.code == code).map(|f| f.name);
        ours.chain(
            ALSO.iter()
                .filter(|(other, _)| *other == code)
                .map(|(_, name)| *name),
        )
        .collect()
    };
    let known = codes_of(concept, LOINC)
        .map(of_loinc)
        .filter(|names| !names.is_empty());
    let own = codes_of(concept, SYSTEM)
        .map(field_name)
        .collect::<Option<Vec<_>>>()?;
    let all: Vec<Vec<&str>> = own
        .iter()
        .map(|name| vec![name.as_str()])
        .chain(known)
        .collect();
    let (first, others) = all.split_first()?;
    let meant = first
        .iter()
        .find(|name| others.iter().all(|names| names.contains(name)))?;
    Some((*meant).to_owned())
}

pub(super) fn items_of_status<'a>(resource: &'a Value, key: &str) -> impl Iterator<Item = &'a str> {
    let codings = resource
        .get(key)
        .map(|status| items(status, "coding"))
        .unwrap_or_default();
    codings
        .iter()
        .filter_map(|coding| text_at(coding, &["code"]))
}

/// Whether anything in a resource may turn its meaning round in a way that is not known here (FHIR
/// R4, 2.4.0.4 and `implicitRules`).
pub(super) fn changes_meaning(value: &Value, depth: usize) -> bool {
    if depth > DEPTH_MAX {
        return true;
    }
    match value {
        Value::Object(fields) => fields.iter().any(|(key, inner)| {
            let empty = inner.is_null() || inner.as_array().is_some_and(Vec::is_empty);
            (!empty && (key == "modifierExtension" || key == "implicitRules"))
                || changes_meaning(inner, depth + 1)
        }),
        Value::Array(list) => list.iter().any(|inner| changes_meaning(inner, depth + 1)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

/// The field of a temperature by where it was measured: ours are those under the arm and in the
/// rectum.
pub(super) fn at_site(name: &str, observation: &Value) -> Result<String, &'static str> {
    let Some(site) = observation
        .get("bodySite")
        .filter(|_| name == "temperature")
    else {
        return Ok(name.to_owned());
    };
    let codes = items(site, "coding")
        .iter()
        .filter_map(|coding| text_at(coding, &["code"]));
    let words = text_at(site, &["text"]).map(|text| text.trim().to_lowercase());
    let said: Vec<&str> = codes.chain(words.as_deref()).collect();
    // SNOMED CT: rectum structure, axillary region structure.
    let all = |of: &[&str]| !said.is_empty() && said.iter().all(|site| of.contains(site));
    match () {
        () if all(&["34402009", "rectum", "rectal"]) => Ok("temperature_rectal".to_owned()),
        () if all(&["91470000", "axilla", "axillary", "armpit"]) => Ok(name.to_owned()),
        () => Err("it was measured neither under the arm nor in the rectum, or where is not clear"),
    }
}

/// What an observation or a component says, as it stands there.
pub(super) fn words_of(part: &Value) -> String {
    let value = part.as_object().and_then(|part| {
        part.iter()
            .find(|(key, _)| key.starts_with("value"))
            .map(|(_, v)| v)
    });
    let words = match value {
        None => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(value) if value.get("value").is_some() => {
            let number = value.get("value").map(Value::to_string).unwrap_or_default();
            let [comparator, unit, code] =
                ["comparator", "unit", "code"].map(|key| text_at(value, &[key]));
            let unit = unit
                .or(code)
                .map(|unit| format!(" {unit}"))
                .unwrap_or_default();
            format!("{}{number}{unit}", comparator.unwrap_or_default())
        }
        Some(value) => text_at(value, &["text"]).map_or_else(|| value.to_string(), str::to_owned),
    };
    words.chars().take(WORDS_MAX).collect()
}

/// The value of an observation or of a component; `None` where it has none. An error says why it is
/// not taken.
/// Answers by the codes that others write: system, code, the words that they may be here.
const ANSWERS: [(&str, &str, [&str; 2]); 17] = [
    ("http://snomed.info/sct", "10828004", ["positive", "yes"]),
    ("http://snomed.info/sct", "260385009", ["negative", "no"]),
    ("http://snomed.info/sct", "52101004", ["yes", "positive"]),
    ("http://snomed.info/sct", "2667000", ["no", "negative"]),
    ("http://snomed.info/sct", "260373001", ["positive", "yes"]),
    ("http://snomed.info/sct", "260415000", ["negative", "no"]),
    ("http://snomed.info/sct", "373066001", ["yes", "positive"]),
    ("http://snomed.info/sct", "373067005", ["no", "negative"]),
    ("http://loinc.org", "LA6576-8", ["positive", "yes"]),
    ("http://loinc.org", "LA6577-6", ["negative", "no"]),
    ("http://loinc.org", "LA9633-4", ["yes", "positive"]),
    ("http://loinc.org", "LA9634-2", ["no", "negative"]),
    ("http://loinc.org", "LA33-6", ["yes", "positive"]),
    ("http://loinc.org", "LA32-8", ["no", "negative"]),
    (
        "http://terminology.hl7.org/CodeSystem/v3-ObservationInterpretation",
        "POS",
        ["positive", "yes"],
    ),
    (
        "http://terminology.hl7.org/CodeSystem/v3-ObservationInterpretation",
        "NEG",
        ["negative", "no"],
    ),
    ("http://loinc.org", "LA19710-5", ["invalid", "unknown"]),
];

/// What an answer in others' codes is of a field here: each code that is known must say the same. Without
/// one, a text that is a word of ours.
fn answer_of(name: &str, concept: &Value) -> Option<FindingValue> {
    let read = |word: &&str| catalogue::read_value(name, word).ok();
    let known = items(concept, "coding").iter().filter_map(|coding| {
        let (system, code) = (text_at(coding, &["system"])?, text_at(coding, &["code"])?);
        ANSWERS
            .iter()
            .find(|(of, known, _)| (*of, *known) == (system, code))
    });
    let mut answers = known.map(|(_, _, words)| words.iter().find_map(read));
    match answers.next() {
        Some(first) => first.filter(|first| answers.all(|other| other.as_ref() == Some(first))),
        None if items(concept, "coding").is_empty() => {
            let text = text_at(concept, &["text"])?.trim().to_lowercase();
            read(&text.as_str())
        }
        None => None,
    }
}

pub(super) fn value_of(name: &str, part: &Value) -> Result<Option<FindingValue>, String> {
    let field = catalogue::field(name);
    let values = part.as_object().map_or(0, |o| {
        o.keys().filter(|key| key.starts_with("value")).count()
    });
    if values > 1 {
        return Err("it has several values".into());
    }
    if let Some(reason) = part.get("dataAbsentReason") {
        let not_done =
            code_of(reason, &format!("{HL7}/data-absent-reason")) == Some("not-performed");
        return Ok(Some(
            match not_done && catalogue::read_value(name, "not_done").is_ok() {
                true => FindingValue::Text("not_done".into()),
                false => FindingValue::Unknown,
            },
        ));
    }
    if let Some(flag) = part.get("valueBoolean").and_then(Value::as_bool) {
        return match field.map(|f| f.kind) {
            Some(Kind::Flag) | None => Ok(Some(if flag {
                FindingValue::Yes
            } else {
                FindingValue::No
            })),
            Some(_) => Err(format!("yes or no is no value of {name}")),
        };
    }
    if let Some(quantity) = part.get("valueQuantity") {
        return quantity_of(name, field.map(|f| f.kind), quantity).map(Some);
    }
    if let Some(number) = part.get("valueInteger").and_then(Value::as_f64) {
        return quantity_of(
            name,
            field.map(|f| f.kind),
            &serde_json::json!({ "value": number }),
        )
        .map(Some);
    }
    if let Some(concept) = part.get("valueCodeableConcept") {
        let unknown = || format!("its value is no word of ours for {name}");
        return match code_of(concept, SYSTEM) {
            Some(code) => catalogue::read_value(name, code).map_err(|e| e.to_string()),
            None => answer_of(name, concept).ok_or_else(unknown),
        }
        .map(Some);
    }
    match text_at(part, &["valueString"]).or_else(|| text_at(part, &["valueDateTime"])) {
        None if part
            .as_object()
            .is_some_and(|o| o.keys().any(|key| key.starts_with("value"))) =>
        {
            Err(format!("a value of this kind is not read for {name}"))
        }
        None => Ok(None),
        Some(text) => match field.map(|f| f.kind) {
            Some(Kind::Number(..)) => Err(format!(
                "words where a number with a unit is wanted for {name}"
            )),
            Some(_) => catalogue::read_value(name, text)
                .or_else(|e| {
                    catalogue::read_value(name, &text.trim().to_lowercase()).map_err(|_| e)
                })
                .map(Some)
                .map_err(|e| e.to_string()),
            None => Ok(Some(FindingValue::Text(crate::clip(text)))),
        },
    }
}

fn quantity_of(name: &str, kind: Option<Kind>, quantity: &Value) -> Result<FindingValue, String> {
    if let Some(comparator) = text_at(quantity, &["comparator"]) {
        return Err(format!(
            "its value is a bound ({comparator}), not a measurement"
        ));
    }
    let number = quantity
        .get("value")
        .and_then(Value::as_f64)
        .ok_or("its value has no number")?;
    let unit = text_at(quantity, &["code"]).or_else(|| text_at(quantity, &["unit"]));
    if let (Some(code), Some(words), Some(Kind::Number(_, _, ours))) = (
        text_at(quantity, &["code"]),
        text_at(quantity, &["unit"]),
        kind,
    ) && let (Some(by_code), Some(by_words)) = (
        units::convert(number, code, ours),
        units::convert(number, words, ours),
    ) && (by_code - by_words).abs() > 1e-6 * by_code.abs().max(1.0)
    {
        return Err(format!("its unit says {words:?} and its code {code:?}"));
    }
    // A code of UCUM is what counts; its words alone are not gone by where it is none that is known.
    let ucum = text_at(quantity, &["system"]) == Some("http://unitsofmeasure.org");
    if let (true, Some(code), Some(Kind::Number(_, _, ours))) =
        (ucum, text_at(quantity, &["code"]), kind)
        && code != "1"
        && units::convert(number, code, ours).is_none()
    {
        return Err(format!(
            "its unit {code:?} is not known for {name} ({ours})"
        ));
    }
    let Some(kind) = kind else {
        return Ok(FindingValue::Number(number)); // a newer rule pack's field
    };
    let Kind::Number(min, max, ours) = kind else {
        return Err(format!("a number is no value of {name}"));
    };
    let number = match unit {
        None if ours == "1" => number,
        None => return Err(format!("a number of {name} without a unit: not guessed at")),
        Some(unit) => units::convert(number, unit, ours)
            .or_else(|| units::convert(number, text_at(quantity, &["unit"])?, ours))
            .ok_or_else(|| format!("its unit {unit:?} is not known for {name} ({ours})"))?,
    };
    match number >= min && number <= max {
        true => Ok(FindingValue::Number(number)),
        false => Err(format!("{name} of {number} {ours} cannot be")),
    }
}
