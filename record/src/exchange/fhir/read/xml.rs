//! FHIR's XML (hl7.org/fhir/R4/xml.html) as the JSON that the same resource is: an element's `value` is what
//! it says, elements of one name stand in a list, and one that stands alone may be a list of one.

use quick_xml::events::{BytesStart, Event};
use quick_xml::name::{Namespace, ResolveResult};
use quick_xml::{NsReader, XmlVersion};
use serde_json::{Map, Number, Value};

use super::super::super::ExchangeError;

const FHIR: &[u8] = b"http://hl7.org/fhir";
const XHTML: &[u8] = b"http://www.w3.org/1999/xhtml";
/// How deeply elements may nest.
const DEPTH_MAX: usize = 64;
/// What says yes or no.
const FLAGS: [&str; 6] = [
    "valueBoolean",
    "deceasedBoolean",
    "active",
    "requestor",
    "doNotPerform",
    "isSubpotent",
];
/// What is a number wherever it stands, and where a `value` is one.
const NUMBERS: [&str; 3] = ["valueInteger", "valueDecimal", "probabilityDecimal"];
const QUANTITIES: [&str; 7] = [
    "valueQuantity",
    "dose",
    "doseQuantity",
    "quantity",
    "low",
    "high",
    "rateQuantity",
];
/// Elements that hold a resource.
const HOLDS: [&str; 3] = ["resource", "contained", "outcome"];
/// What stands once where it stands: of two nobody can tell which is meant.
const ONCE: [&str; 15] = [
    "fullUrl",
    "status",
    "birthDate",
    "gender",
    "deceasedBoolean",
    "deceasedDateTime",
    "effectiveDateTime",
    "subject",
    "patient",
    "valueQuantity",
    "valueBoolean",
    "valueString",
    "valueCodeableConcept",
    "resource",
    "use",
];

/// An element that is open.
struct Open {
    name: String,
    said: Option<String>,
    fields: Map<String, Value>,
}

/// A resource, or a bundle of them.
pub(super) fn read(text: &str) -> Result<Value, ExchangeError> {
    parse(text).map_err(ExchangeError::Malformed)
}

fn parse(text: &str) -> Result<Value, String> {
    let mut reader = NsReader::from_str(text);
    let mut open: Vec<Open> = Vec::new();
    let mut root = None;
    loop {
        let (namespace, event) = reader
            .read_resolved_event()
            .map_err(|e| format!("not XML, or cut short: {e}"))?;
        protocol::always!(open.len() <= DEPTH_MAX);
        let ours = namespace == ResolveResult::Bound(Namespace(FHIR));
        let is_narrative = namespace == ResolveResult::Bound(Namespace(XHTML));
        match event {
            Event::Start(_) | Event::Empty(_) if root.is_some() => {
                return Err("something stands behind the end of the first resource".into());
            }
            Event::Start(_) | Event::Empty(_) if !ours && open.is_empty() => {
                return Err("this XML is no FHIR: its root is not of http://hl7.org/fhir".into());
            }
            Event::Start(_) | Event::Empty(_) if !ours && !is_narrative => {
                return Err(
                    "an element is neither of http://hl7.org/fhir nor of a narrative".into(),
                );
            }
            Event::Start(start) if !ours => {
                let end = start.to_end().into_owned();
                let skipped = reader.read_to_end(end.name());
                skipped.map_err(|e| format!("not XML, or cut short: {e}"))?;
            }
            Event::Start(start) if open.len() < DEPTH_MAX => open.push(opened(&start)?),
            Event::Start(_) => return Err(format!("elements lie more than {DEPTH_MAX} deep")),
            Event::Empty(_) if !ours => {}
            Event::Empty(start) => {
                let closed = opened(&start)?;
                match open.last_mut() {
                    Some(parent) => close(closed, parent)?,
                    None => root = Some(resource(closed)),
                }
            }
            Event::End(_) => {
                let closed = open.pop().ok_or("an element ends that did not begin")?;
                match open.last_mut() {
                    Some(parent) => close(closed, parent)?,
                    None => root = Some(resource(closed)),
                }
            }
            Event::Text(text) if text.iter().all(u8::is_ascii_whitespace) => {}
            Event::Text(_) | Event::CData(_) | Event::GeneralRef(_) => {
                return Err("words stand between elements, where FHIR has none".into());
            }
            Event::DocType(_) => return Err("a document type has no place in FHIR".into()),
            Event::Eof => return root.ok_or_else(|| "the XML is cut short".into()),
            Event::Comment(_) | Event::Decl(_) | Event::PI(_) => {}
        }
    }
}

fn opened(start: &BytesStart<'_>) -> Result<Open, String> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (mut said, mut fields) = (None, Map::new());
    for attribute in start.attributes() {
        let attribute = attribute.map_err(|e| format!("not XML: {e}"))?;
        let value = attribute
            .normalized_value(XmlVersion::Implicit1_0)
            .map_err(|e| format!("not XML: {e}"))?;
        match attribute.key.as_ref() {
            b"value" => said = Some(value.into_owned()),
            key @ (b"id" | b"url") => drop(fields.insert(text(key), value.into())),
            _ => {} // of namespaces and schemas
        }
    }
    let name = text(start.local_name().as_ref());
    protocol::always!(!name.is_empty(), "an element has a name");
    Ok(Open { name, said, fields })
}

fn is_resource(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_uppercase())
}

fn resource(open: Open) -> Value {
    let mut fields = open.fields;
    fields.insert("resourceType".into(), open.name.into());
    Value::Object(fields)
}

/// Puts what an element says into the one it lies in.
fn close(closed: Open, parent: &mut Open) -> Result<(), String> {
    if is_resource(&closed.name) {
        // `<resource><Patient>…`: the outer one is the resource.
        if !HOLDS.contains(&parent.name.as_str()) {
            return Err(format!(
                "a {} lies in {:?}, where FHIR has none",
                closed.name, parent.name
            ));
        }
        if parent.fields.contains_key("resourceType") {
            return Err(format!("two resources lie in one {:?}", parent.name));
        }
        let Value::Object(fields) = resource(closed) else {
            return Ok(());
        };
        parent.fields.extend(fields);
        return Ok(());
    }
    let Open { name, said, fields } = closed;
    let Some(said) = said else {
        return put(&mut parent.fields, name, Value::Object(fields));
    };
    let number = NUMBERS.contains(&name.as_str())
        || (name == "value" && QUANTITIES.contains(&parent.name.as_str()));
    let value = if FLAGS.contains(&name.as_str()) {
        let flag = said.parse::<bool>();
        flag.map_err(|_| format!("{name} is {said:?}: true or false is wanted"))?
            .into()
    } else {
        // What is no number is left as words, which a number's reader refuses.
        let number = number.then(|| serde_json::from_str::<Number>(&said).ok());
        number.flatten().map_or_else(|| said.into(), Value::Number)
    };
    if !fields.is_empty() {
        put(
            &mut parent.fields,
            format!("_{name}"),
            Value::Object(fields),
        )?;
    }
    put(&mut parent.fields, name, value)
}

fn put(fields: &mut Map<String, Value>, name: String, value: Value) -> Result<(), String> {
    match fields.get_mut(&name) {
        None => drop(fields.insert(name, value)),
        Some(_) if ONCE.contains(&name.as_str()) => {
            return Err(format!("{name:?} stands twice in one place"));
        }
        Some(Value::Array(list)) => list.push(value),
        Some(first) => {
            let one = std::mem::take(first);
            *first = Value::Array(vec![one, value]);
        }
    }
    Ok(())
}
