//! What is in a bundle, by the names that references use, and whose each resource is.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde_json::Value;

use super::super::super::Imported;
use super::values::{changes_meaning, field_of, items, kind_of, text_at};

/// What is in a bundle by the names that references use.
pub(super) struct Bundle<'a> {
    /// By `fullUrl`, and by `Kind/id` where that means one resource only.
    pub(super) named: BTreeMap<String, &'a Value>,
    /// The `fullUrl` of each resource that has one.
    pub(super) urls: Vec<(&'a Value, &'a str)>,
    /// Patients by their place in the bundle.
    pub(super) patients: Vec<&'a Value>,
}

/// JSON in which no key stands twice: FHIR forbids that, and which of two values is meant nobody
/// can tell.
pub(super) fn strict(text: &str) -> Result<Value, String> {
    struct Unique(Value);
    impl<'de> serde::Deserialize<'de> for Unique {
        fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            deserializer.deserialize_any(Visitor).map(Unique)
        }
    }
    struct Visitor;
    impl<'de> serde::de::Visitor<'de> for Visitor {
        type Value = Value;
        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("JSON")
        }
        fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
            Ok(value.into())
        }
        fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
            Ok(value.into())
        }
        fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
            Ok(value.into())
        }
        fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
            Ok(value.into())
        }
        fn visit_str<E>(self, value: &str) -> Result<Value, E> {
            Ok(value.into())
        }
        fn visit_unit<E>(self) -> Result<Value, E> {
            Ok(Value::Null)
        }
        fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
            let mut items = Vec::new();
            while let Some(Unique(item)) = list.next_element()? {
                items.push(item);
            }
            Ok(items.into())
        }
        fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
            let mut fields = serde_json::Map::new();
            while let Some(key) = map.next_key::<String>()? {
                if fields.contains_key(&key) {
                    return Err(serde::de::Error::custom(format!(
                        "{key:?} stands twice in one place"
                    )));
                }
                let Unique(value) = map.next_value()?;
                fields.insert(key, value);
            }
            Ok(fields.into())
        }
    }
    serde_json::from_str::<Unique>(text)
        .map(|Unique(value)| value)
        .map_err(|e| e.to_string())
}

pub(super) enum Whose {
    Patient(usize),
    /// It is about no patient: a device, a practitioner.
    Nobody,
    /// There are several patients, and it names none of them.
    Unclear,
}

impl Bundle<'_> {
    fn patient(&self, resource: &Value) -> Option<usize> {
        self.patients
            .iter()
            .position(|patient| std::ptr::eq(*patient, resource))
    }

    /// Whose a resource is, by its subject.
    pub(super) fn whose(&self, resource: &Value, count: usize) -> Whose {
        protocol::always!(count == self.patients.len().max(1));
        if kind_of(resource) == "Patient" {
            return self.patient(resource).map_or(Whose::Nobody, Whose::Patient);
        }
        let named = subject_of(resource);
        // About somebody or something else than the subject, or about a subject whom only words
        // name: not this patient's.
        let other = |key: &str| {
            resource.get(key).is_some_and(|value| {
                !value.is_null() && value.as_array().is_none_or(|list| !list.is_empty())
            })
        };
        // What a task is about is no patient.
        if (other("focus") && kind_of(resource) != "Task")
            || (named.is_none() && ["subject", "patient", "for"].into_iter().any(other))
        {
            return Whose::Unclear;
        }
        let Some(reference) = named else {
            return match (ABOUT_NOBODY.contains(&kind_of(resource)), count) {
                (true, _) => Whose::Nobody,
                (false, 1) => Whose::Patient(0),
                (false, _) => Whose::Unclear,
            };
        };
        let inner = reference.strip_prefix('#').and_then(|id| {
            items(resource, "contained")
                .iter()
                .find(|inner| text_at(inner, &["id"]) == Some(id))
                .and_then(|p| self.patient(p))
        });
        match inner.or_else(|| self.patient(self.resolve(resource, reference)?)) {
            Some(n) => Whose::Patient(n),
            // A reference to somebody who is not in the file: with one patient in it, or none, that
            // is whose bundle it is only if there is nobody else it could mean.
            None if self.patients.is_empty() => Whose::Patient(0),
            None => Whose::Unclear,
        }
    }

    /// The `fullUrl` of a resource.
    pub(super) fn url_of(&self, resource: Option<&Value>) -> Option<&str> {
        let resource = resource?;
        self.urls
            .iter()
            .find(|(known, _)| std::ptr::eq(*known, resource))
            .map(|(_, url)| *url)
    }

    /// What a reference means (FHIR R4, 2.36.4.1): as it stands; else beside the one that refers,
    /// on the same server; else `Kind/id` where only one is called so and nothing says that it lies
    /// on another server.
    fn resolve(&self, from: &Value, reference: &str) -> Option<&Value> {
        if let Some(found) = self
            .named
            .get(reference)
            .filter(|_| reference.contains(':'))
        {
            return Some(found);
        }
        let tail: Vec<_> = reference.rsplit('/').take(2).collect();
        let [id, kind] = tail.as_slice() else {
            return None;
        };
        let short = format!("{kind}/{id}");
        let base = |url: &str| url.strip_suffix(&own_name(url)).map(str::to_owned);
        let own_server = self
            .url_of(Some(from))
            .filter(|url| url.contains("://"))
            .and_then(base);
        if let (Some(server), false) = (&own_server, reference.contains("://")) {
            let there = self.named.get(&format!("{server}{short}"));
            if there.is_some() {
                return there.copied();
            }
        }
        let found = self.named.get(&short)?;
        let server = self
            .url_of(Some(found))
            .filter(|url| url.contains("://"))
            .and_then(base);
        let meant = if reference.contains("://") {
            reference.strip_suffix(&short).map(str::to_owned)
        } else {
            own_server
        };
        let elsewhere = server.is_some() && meant.is_some() && server != meant;
        (!elsewhere).then_some(found)
    }

    /// A resource with the medicine that it refers to, in it or in the bundle, as it would say it itself.
    pub(super) fn with_medicine<'r>(&self, resource: &'r Value) -> Cow<'r, Value> {
        const HERE: &str = "medicationCodeableConcept";
        let reference = text_at(resource, &["medicationReference", "reference"]);
        let (Some(reference), None) = (reference, resource.get(HERE)) else {
            return Cow::Borrowed(resource);
        };
        let within = reference.strip_prefix('#').and_then(|id| {
            let mut contained = items(resource, "contained").iter();
            contained.find(|inner| text_at(inner, &["id"]) == Some(id))
        });
        let found = within.or_else(|| self.resolve(resource, reference));
        let medicine = found.filter(|m| kind_of(m) == "Medication" && !changes_meaning(m, 0));
        let mut resource = resource.clone();
        if let (Some(code), Some(fields)) = (
            medicine.and_then(|m| m.get("code")),
            resource.as_object_mut(),
        ) {
            fields.insert(HERE.to_owned(), code.clone());
        }
        Cow::Owned(resource)
    }

    /// Who said what, as the Provenance in the bundle has it.
    pub(super) fn say_who(&self, resources: &[&Value], imported: &mut Imported) {
        for provenance in resources.iter().filter(|r| kind_of(r) == "Provenance") {
            let who =
                text_at(provenance, &["agent", "0", "who", "reference"]).unwrap_or("somebody");
            let device = self
                .named
                .get(who)
                .and_then(|device| text_at(device, &["identifier", "0", "value"]));
            let display = text_at(provenance, &["agent", "0", "who", "display"]);
            let who = match device {
                Some(device) => format!("phone {}", device.get(..8).unwrap_or(device)),
                None => display.unwrap_or(who).to_owned(),
            };
            let who = format!(
                "{who} ({})",
                text_at(provenance, &["recorded"]).unwrap_or("at no time that is said")
            );
            for target in items(provenance, "target")
                .iter()
                .filter_map(|target| text_at(target, &["reference"]))
            {
                let resource = self.named.get(target);
                let field = resource.and_then(|r| field_of(r.get("code")?));
                let kind = resource
                    .map(|r| kind_of(r).to_owned())
                    .filter(|kind| !kind.is_empty());
                if let Some(what) = field.or(kind) {
                    imported.say(who.clone(), &what);
                }
            }
        }
    }
}

/// The last two parts of an address: `Patient/7`.
fn own_name(url: &str) -> String {
    let mut parts: Vec<_> = url.rsplit('/').take(2).collect();
    parts.reverse();
    parts.join("/")
}

/// Kinds that are about nobody, where they name nobody.
pub(super) const ABOUT_NOBODY: [&str; 7] = [
    "Device",
    "Practitioner",
    "Organization",
    "Location",
    "Provenance",
    "AuditEvent",
    "Medication",
];

/// Whom a resource is about, as it says.
pub(super) fn subject_of(resource: &Value) -> Option<&str> {
    ["subject", "patient", "for"]
        .into_iter()
        .find_map(|key| text_at(resource, &[key, "reference"]))
}
