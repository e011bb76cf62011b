//! Entries as Automerge maps, readable by any Automerge (scalars and lists of text only).

use automerge::transaction::Transactable;
use automerge::{AutoCommit, AutomergeError};

use super::*;

pub(super) fn write(doc: &mut AutoCommit, at: &ObjId, stamp: &Stamp, entry: &Entry) -> Result<(), AutomergeError> {
    doc.put(at, "order", ScalarValue::Uint(stamp.order))?;
    doc.put(at, "by", ScalarValue::Bytes(stamp.by.0.to_vec()))?;
    doc.put(at, "at", ScalarValue::Timestamp(i64::try_from(stamp.at_s).unwrap_or(i64::MAX)))?;
    match entry {
        Entry::Finding { name, value } => {
            doc.put(at, "kind", "finding")?;
            doc.put(at, "name", clip(name))?;
            match value {
                FindingValue::Yes => doc.put(at, "value", true),
                FindingValue::No => doc.put(at, "value", false),
                FindingValue::Unknown => doc.put(at, "value", ScalarValue::Null),
                FindingValue::Number(number) => doc.put(at, "value", *number),
                FindingValue::Text(text) => doc.put(at, "value", clip(text)),
            }
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
            doc.put(at, "model", clip(&d.model))
        }
    }
}

fn write_list(doc: &mut AutoCommit, at: &ObjId, key: &str, items: &[String]) -> Result<(), AutomergeError> {
    let list = doc.put_object(at, key, ObjType::List)?;
    items.iter().enumerate().try_for_each(|(i, item)| doc.insert(&list, i, clip(item)))
}

/// The entry in a map, `None` for one of a kind that this version does not know: it stays in the document untouched.
pub(super) fn read(doc: &AutoCommit, at: &ObjId) -> Option<(Stamp, Entry)> {
    let by = match scalar(doc, at, "by")? {
        ScalarValue::Bytes(bytes) => DeviceId::from_slice(&bytes)?,
        _ => return None,
    };
    let order = scalar(doc, at, "order")?.as_u64()?;
    let at_s = match scalar(doc, at, "at")? {
        ScalarValue::Timestamp(s) => u64::try_from(s).ok()?,
        _ => return None,
    };
    let stamp = Stamp { order, by, at_s };
    let entry = match text(doc, at, "kind")?.as_str() {
        "finding" => Entry::Finding { name: text(doc, at, "name")?, value: value(doc, at)? },
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
        }),
        _ => return None,
    };
    Some((stamp, entry))
}

fn value(doc: &AutoCommit, at: &ObjId) -> Option<FindingValue> {
    Some(match scalar(doc, at, "value")? {
        ScalarValue::Boolean(true) => FindingValue::Yes,
        ScalarValue::Boolean(false) => FindingValue::No,
        ScalarValue::Null => FindingValue::Unknown,
        ScalarValue::F64(number) => FindingValue::Number(number),
        ScalarValue::Int(number) => FindingValue::Number(number as f64),
        ScalarValue::Uint(number) => FindingValue::Number(number as f64),
        ScalarValue::Str(text) => FindingValue::Text(text.to_string()),
        _ => return None,
    })
}

fn scalar(doc: &AutoCommit, at: &ObjId, key: &str) -> Option<ScalarValue> {
    match doc.get(at, key).ok()?? {
        (Value::Scalar(scalar), _) => Some(scalar.into_owned()),
        (Value::Object(_), _) => None,
    }
}

fn text(doc: &AutoCommit, at: &ObjId, key: &str) -> Option<String> {
    match scalar(doc, at, key)? {
        ScalarValue::Str(text) => Some(text.to_string()),
        _ => None,
    }
}

fn list(doc: &AutoCommit, at: &ObjId, key: &str) -> Vec<String> {
    let Ok(Some((Value::Object(ObjType::List), object))) = doc.get(at, key) else { return Vec::new() };
    let item = |i| match doc.get(&object, i).ok()?? {
        (Value::Scalar(scalar), _) => match scalar.into_owned() {
            ScalarValue::Str(text) => Some(text.to_string()),
            _ => None,
        },
        (Value::Object(_), _) => None,
    };
    (0..doc.length(&object)).filter_map(item).collect()
}
