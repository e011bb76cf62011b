//! Entries as Automerge maps, readable by any Automerge (scalars and lists of text only).

use automerge::transaction::Transactable;
use automerge::{AutoCommit, AutomergeError};

use clinical::catalogue::{TEXT_CHARS_MAX, clip};
use clinical::{FindingValue, Urgency};

use super::*;
use crate::entry::{AssessmentEntry, DecisionEntry, DoseEntry, PhotoEntry};

// The longest words there can be fit an envelope.
const _: () = assert!(4 * TEXT_CHARS_MAX < protocol::limits::ENVELOPE_BYTES_MAX);

/// Set where an entry came by a file; a version that does not know it reads the rest.
const FROM_FILE: &str = "from_file";

pub(super) fn write(
    doc: &mut AutoCommit,
    at: &ObjId,
    stamp: &Stamp,
    entry: &Entry,
    over: &[String],
) -> Result<(), AutomergeError> {
    doc.put(at, "order", ScalarValue::Uint(stamp.order))?;
    doc.put(at, "by", ScalarValue::Bytes(stamp.by.0.to_vec()))?;
    doc.put(
        at,
        "at",
        ScalarValue::Timestamp(i64::try_from(stamp.at_s).unwrap_or(i64::MAX)),
    )?;
    if stamp.from_file {
        doc.put(at, FROM_FILE, true)?;
    }
    if !over.is_empty() {
        write_list(doc, at, "over", over)?;
    }
    match entry {
        Entry::Finding { name, value } => write_finding(doc, at, "finding", name, value),
        Entry::Settled { name, value } => write_finding(doc, at, "settled", name, value),
        Entry::Dose(d) => {
            doc.put(at, "kind", "dose")?;
            doc.put(at, "medicine", clip(&d.medicine))?;
            doc.put(at, "amount", d.amount)?;
            for (key, words) in [
                ("route", &d.route),
                ("given", &d.given),
                ("origin", &d.origin),
            ] {
                if !words.is_empty() {
                    doc.put(at, key, clip(words))?;
                }
            }
            doc.put(at, "unit", clip(&d.unit))
        }
        Entry::NotGiven { dose, reason } => {
            doc.put(at, "kind", "not_given")?;
            doc.put(at, "dose", clip(dose))?;
            doc.put(at, "reason", clip(reason))
        }
        Entry::Note(words) => {
            doc.put(at, "kind", "note")?;
            doc.put(at, "text", clip(words))
        }
        Entry::Handover { to, reason } => {
            doc.put(at, "kind", "handover")?;
            doc.put(at, "to", ScalarValue::Bytes(to.0.to_vec()))?;
            doc.put(at, "reason", clip(reason))
        }
        Entry::Link { other, same } => {
            doc.put(at, "kind", "link")?;
            doc.put(at, "other", ScalarValue::Bytes(other.0.to_vec()))?;
            doc.put(at, "same", *same)
        }
        Entry::Photo(p) => {
            doc.put(at, "kind", "photo")?;
            doc.put(at, "blob", ScalarValue::Bytes(p.blob.0.to_vec()))?;
            doc.put(at, "key", ScalarValue::Bytes(p.key.to_vec()))?;
            doc.put(at, "bytes", ScalarValue::Uint(p.bytes))?;
            doc.put(at, "camera", clip(&p.camera))?;
            doc.put(at, "light", clip(&p.light))?;
            doc.put(at, "shows", clip(&p.shows))
        }
        Entry::Assessment(a) => {
            doc.put(at, "kind", "assessment")?;
            doc.put(at, "urgency", a.urgency.name())?;
            doc.put(at, "rules", clip(&a.rules))?;
            doc.put(at, "model", clip(&a.model))?;
            write_list(doc, at, "rules_fired", &a.rules_fired)?;
            write_list(doc, at, "differential", &a.differential)
        }
        Entry::Decision(d) => {
            doc.put(at, "kind", "decision")?;
            doc.put(at, "urgency", d.urgency.name())?;
            doc.put(at, "agrees", d.agrees)?;
            doc.put(at, "reason", clip(&d.reason))?;
            doc.put(at, "plan", clip(&d.plan))?;
            doc.put(at, "rules", clip(&d.rules))?;
            doc.put(at, "app", clip(&d.app))?;
            doc.put(at, "model", clip(&d.model))
        }
    }
}

fn write_finding(
    doc: &mut AutoCommit,
    at: &ObjId,
    kind: &str,
    name: &str,
    value: &FindingValue,
) -> Result<(), AutomergeError> {
    doc.put(at, "kind", kind)?;
    doc.put(at, "name", clip(name))?;
    match value {
        FindingValue::Yes => doc.put(at, "value", true),
        FindingValue::No => doc.put(at, "value", false),
        FindingValue::Unknown => doc.put(at, "value", ScalarValue::Null),
        FindingValue::Number(number) => doc.put(at, "value", *number),
        FindingValue::Text(text) => doc.put(at, "value", clip(text)),
    }
}

fn write_list(
    doc: &mut AutoCommit,
    at: &ObjId,
    key: &str,
    items: &[String],
) -> Result<(), AutomergeError> {
    let list = doc.put_object(at, key, ObjType::List)?;
    items
        .iter()
        .enumerate()
        .try_for_each(|(i, item)| doc.insert(&list, i, clip(item)))?;
    protocol::always!(doc.length(&list) == items.len());
    Ok(())
}

/// Whether what was written is read as what it was, by whom and after what.
pub(super) fn comes_back(doc: &AutoCommit, at: &ObjId, stamp: &Stamp, entry: &Entry) -> bool {
    let kind = std::mem::discriminant(entry);
    read(doc, at, String::new()).is_some_and(|record| {
        (record.stamp.by, record.stamp.order) == (stamp.by, stamp.order)
            && std::mem::discriminant(&record.entry) == kind
    })
}

/// The entry in a map, `None` for one of a kind that this version does not know: it stays in the
/// document untouched.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "none of the others is meant"
)]
pub(super) fn read(doc: &AutoCommit, at: &ObjId, key: String) -> Option<Record> {
    let by = DeviceId::from_slice(&bytes(doc, at, "by")?)?;
    let order = scalar(doc, at, "order")?.as_u64()?;
    let at_s = match scalar(doc, at, "at")? {
        ScalarValue::Timestamp(s) => u64::try_from(s).ok()?,
        _ => return None,
    };
    let from_file = matches!(scalar(doc, at, FROM_FILE), Some(ScalarValue::Boolean(true)));
    let stamp = Stamp::of(order, by, (at_s, from_file));
    let entry = match text(doc, at, "kind")?.as_str() {
        "finding" => Entry::Finding {
            name: text(doc, at, "name")?,
            value: value(doc, at)?,
        },
        "assessment" => Entry::Assessment(AssessmentEntry {
            urgency: Urgency::parse(&text(doc, at, "urgency")?)?,
            rules_fired: list(doc, at, "rules_fired"),
            differential: list(doc, at, "differential"),
            rules: text(doc, at, "rules")?,
            model: text(doc, at, "model")?,
        }),
        "decision" => Entry::Decision(DecisionEntry {
            urgency: Urgency::parse(&text(doc, at, "urgency")?)?,
            agrees: matches!(scalar(doc, at, "agrees")?, ScalarValue::Boolean(true)),
            reason: text(doc, at, "reason")?,
            plan: text(doc, at, "plan")?,
            rules: text(doc, at, "rules")?,
            model: text(doc, at, "model")?,
            app: text(doc, at, "app").unwrap_or_default(),
        }),
        "settled" => Entry::Settled {
            name: text(doc, at, "name")?,
            value: value(doc, at)?,
        },
        "dose" => Entry::Dose(DoseEntry {
            medicine: text(doc, at, "medicine")?,
            amount: number(&scalar(doc, at, "amount")?)?,
            unit: text(doc, at, "unit")?,
            route: text(doc, at, "route").unwrap_or_default(),
            given: text(doc, at, "given").unwrap_or_default(),
            origin: text(doc, at, "origin").unwrap_or_default(),
        }),
        "not_given" => Entry::NotGiven {
            dose: text(doc, at, "dose")?,
            reason: text(doc, at, "reason")?,
        },
        "note" => Entry::Note(text(doc, at, "text")?),
        "handover" => Entry::Handover {
            to: DeviceId::from_slice(&bytes(doc, at, "to")?)?,
            reason: text(doc, at, "reason")?,
        },
        "link" => Entry::Link {
            other: CaseId::from_slice(&bytes(doc, at, "other")?)?,
            same: matches!(scalar(doc, at, "same")?, ScalarValue::Boolean(true)),
        },
        "photo" => Entry::Photo(PhotoEntry {
            blob: protocol::Digest::from_slice(&bytes(doc, at, "blob")?)?,
            key: bytes(doc, at, "key")?.try_into().ok()?,
            bytes: scalar(doc, at, "bytes")?.as_u64()?,
            shows: text(doc, at, "shows")?,
            camera: text(doc, at, "camera").unwrap_or_default(),
            light: text(doc, at, "light").unwrap_or_default(),
        }),
        _ => return None,
    };
    Some(Record {
        key,
        stamp,
        entry,
        predecessors: list(doc, at, "over"),
    })
}

/// An entry of a kind that this version does not know, as well as it can be told: its kind and what
/// is said in it.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "none of the others is meant"
)]
pub(super) fn in_words(doc: &AutoCommit, at: &ObjId) -> String {
    let said = doc
        .keys(at)
        .filter(|key| !["kind", "order", "by", "at", "over"].contains(&key.as_str()));
    let word = |key: &String| {
        text(doc, at, key).or_else(|| match scalar(doc, at, key)? {
            ScalarValue::Boolean(yes) => Some(if yes { "yes" } else { "no" }.to_owned()),
            ScalarValue::Null => Some(FindingValue::Unknown.words()),
            other => number(&other).map(|number| number.to_string()),
        })
    };
    let said: Vec<_> = said
        .filter_map(|key| Some(format!("{key} {}", word(&key)?)))
        .collect();
    let kind = text(doc, at, "kind").unwrap_or_else(|| "entry".into());
    clip(
        &[kind, said.join(", ")]
            .into_iter()
            .filter(|part| !part.is_empty())
            .collect::<Vec<_>>()
            .join(": "),
    )
}

/// A number, however the writer's language stores it (JavaScript has one kind only).
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "none of the others is meant"
)]
fn number(value: &ScalarValue) -> Option<f64> {
    match value {
        ScalarValue::F64(number) => Some(*number),
        ScalarValue::Int(number) => Some(*number as f64),
        ScalarValue::Uint(number) => Some(*number as f64),
        _ => None,
    }
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "none of the others is meant"
)]
fn bytes(doc: &AutoCommit, at: &ObjId, key: &str) -> Option<Vec<u8>> {
    match scalar(doc, at, key)? {
        ScalarValue::Bytes(bytes) => Some(bytes),
        _ => None,
    }
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "none of the others is meant"
)]
fn value(doc: &AutoCommit, at: &ObjId) -> Option<FindingValue> {
    if let Some(text) = text(doc, at, "value") {
        return Some(FindingValue::Text(text));
    }
    Some(match scalar(doc, at, "value")? {
        ScalarValue::Boolean(true) => FindingValue::Yes,
        ScalarValue::Boolean(false) => FindingValue::No,
        ScalarValue::Null => FindingValue::Unknown,
        other => FindingValue::Number(number(&other)?),
    })
}

fn scalar(doc: &AutoCommit, at: &ObjId, key: &str) -> Option<ScalarValue> {
    match doc.get(at, key).ok()?? {
        (Value::Scalar(scalar), _) => Some(scalar.into_owned()),
        (Value::Object(_), _) => None,
    }
}

fn text(doc: &AutoCommit, at: &ObjId, key: &str) -> Option<String> {
    string(doc, doc.get(at, key).ok()??)
}

/// A string, as a scalar (ours) or as a text object (JavaScript's).
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "none of the others is meant"
)]
fn string(doc: &AutoCommit, (value, object): (Value<'_>, ObjId)) -> Option<String> {
    match value {
        Value::Scalar(scalar) => match scalar.into_owned() {
            ScalarValue::Str(text) => Some(text.to_string()),
            _ => None,
        },
        Value::Object(ObjType::Text) => doc.text(&object).ok(),
        Value::Object(_) => None,
    }
}

fn list(doc: &AutoCommit, at: &ObjId, key: &str) -> Vec<String> {
    let Ok(Some((Value::Object(ObjType::List), object))) = doc.get(at, key) else {
        return Vec::new();
    };
    (0..doc.length(&object))
        .filter_map(|i| string(doc, doc.get(&object, i).ok()??))
        .collect()
}
