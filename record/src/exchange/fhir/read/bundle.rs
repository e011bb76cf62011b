//! What is in a bundle, by the names that references use, and whose each resource is.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde_json::Value;

use super::super::super::Imported;
use super::values::{changes_meaning, field_of, items, kind_of, text_at};

/// What is in a bundle by the names that references use.
#[derive(Default)]
pub(super) struct Bundle<'a> {
    /// By `fullUrl`, and by `Kind/id` where that means one resource only.
    pub(super) named: BTreeMap<String, &'a Value>,
    /// The `fullUrl` of each resource that has one.
    pub(super) urls: Vec<(&'a Value, String)>,
    /// Patients by their place in the bundle.
    pub(super) patients: Vec<&'a Value>,
    /// Patients within resources who are one of those above, and which.
    again: Vec<(&'a Value, usize)>,
}

/// A name without what does not tell resources apart: the version (R4, 3.1.0.1.4), whether it was asked for
/// under TLS, how the letters of a UUID are written.
pub(super) fn plain_name(name: &str) -> String {
    let name = name.split_once("/_history/").map_or(name, |(name, _)| name);
    if name
        .get(..9)
        .is_some_and(|scheme| scheme.eq_ignore_ascii_case("urn:uuid:"))
    {
        return name.to_lowercase();
    }
    match name.strip_prefix("https://") {
        Some(rest) => format!("http://{rest}"),
        None => name.to_owned(),
    }
}

/// Kinds that a subject may be and that are no patient.
const NO_PATIENTS: [&str; 8] = [
    "Group",
    "Device",
    "Location",
    "Organization",
    "Practitioner",
    "Medication",
    "Substance",
    "HealthcareService",
];

/// Why a resource is nobody's in the file.
const OF_OTHERS: &str = "it is about a group, a thing or a place, and no patient";
const OF_SEVERAL: &str = "it does not say which of several patients it is about";
const ELSEWHERE: &str =
    "it is about somebody who is not in the file, or about more than the patient";

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
    /// It cannot be told: why.
    Unclear(&'static str),
}

impl<'a> Bundle<'a> {
    fn patient(&self, resource: &Value) -> Option<usize> {
        let place = self
            .patients
            .iter()
            .position(|patient| std::ptr::eq(*patient, resource));
        let again = || {
            self.again
                .iter()
                .find(|(patient, _)| std::ptr::eq(*patient, resource))
        };
        place.or_else(|| again().map(|(_, place)| *place))
    }

    /// A patient within a resource; `false`: it is one who was there before, with the same number, or name and day of
    /// birth, and nothing that differs.
    pub(super) fn add_contained(&mut self, patient: &'a Value) -> bool {
        let named = !items(patient, "identifier").is_empty()
            || (patient.get("name").is_some() && patient.get("birthDate").is_some());
        let bare = |patient: &Value| {
            let fields = patient.as_object().cloned().unwrap_or_default();
            let passing = ["id", "meta", "text"];
            let fields = fields
                .into_iter()
                .filter(|(key, _)| !passing.contains(&key.as_str()));
            fields.collect::<serde_json::Map<_, _>>()
        };
        let mut before = self.patients.iter();
        match before.position(|before| named && bare(before) == bare(patient)) {
            Some(place) => self.again.push((patient, place)),
            None => self.patients.push(patient),
        }
        self.again
            .last()
            .is_none_or(|(last, _)| !std::ptr::eq(*last, patient))
    }

    /// The only patient who has an identifier, `system|value` or the value alone.
    fn identified(&self, system: Option<&str>, value: &str) -> Option<usize> {
        let has = |patient: &&&Value| {
            items(patient, "identifier").iter().any(|identifier| {
                let of =
                    system.is_none_or(|system| text_at(identifier, &["system"]) == Some(system));
                of && text_at(identifier, &["value"]) == Some(value)
            })
        };
        let mut found = self.patients.iter().filter(has);
        let first = found.next()?;
        found.next().is_none().then(|| self.patient(first))?
    }

    /// Whom a subject means that has no address: an identifier (R4, 2.3.0.1), or a question for one (3.1.0.11).
    fn logical(&self, resource: &Value) -> Option<usize> {
        let subject = ["subject", "patient", "for"]
            .into_iter()
            .find_map(|key| resource.get(key))?;
        let identifier = subject.get("identifier").unwrap_or(&Value::Null);
        if let Some(value) = text_at(identifier, &["value"]) {
            return self.identified(text_at(identifier, &["system"]), value);
        }
        let (_, question) = text_at(subject, &["reference"])?.split_once("Patient?identifier=")?;
        match question.split_once('|') {
            Some((system, value)) => self.identified(Some(system), value),
            None => self.identified(None, question),
        }
    }

    /// Why a dose does not count by itself, if it is part of another one: of an operation it is the whole dose.
    pub(super) fn part_of_a_dose(&self, resource: &Value) -> Option<&'static str> {
        if kind_of(resource) != "MedicationAdministration" {
            return None;
        }
        let kind = |of: &Value| {
            let reference = text_at(of, &["reference"]).unwrap_or_default();
            let there = self
                .resolve(resource, reference)
                .map(|whole| kind_of(whole).to_owned());
            let named = own_name(&plain_name(reference));
            let named = named.split('/').next().unwrap_or_default().to_owned();
            (there.is_some(), there.unwrap_or(named))
        };
        let kinds = items(resource, "partOf").iter().map(kind);
        let of_another: Vec<_> = kinds.filter(|(_, kind)| kind != "Procedure").collect();
        match of_another.as_slice() {
            [] => None,
            [(true, _), ..] => Some("it is part of another, which counts"),
            [(false, _), ..] => {
                Some("it is part of another, which is not in the file: look it up there")
            }
        }
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
        if other("focus") && kind_of(resource) != "Task" {
            return Whose::Unclear(ELSEWHERE);
        }
        if let Some(n) = self.logical(resource) {
            return Whose::Patient(n);
        }
        if named.is_none() && ["subject", "patient", "for"].into_iter().any(other) {
            return Whose::Unclear(ELSEWHERE);
        }
        let Some(reference) = named else {
            return match (ABOUT_NOBODY.contains(&kind_of(resource)), count) {
                (true, _) => Whose::Nobody,
                (false, 1) => Whose::Patient(0),
                (false, _) => Whose::Unclear(OF_SEVERAL),
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
            None if of_another_kind(reference) => Whose::Unclear(OF_OTHERS),
            None if self.patients.is_empty() => Whose::Patient(0),
            None if count == 1 => Whose::Unclear(ELSEWHERE),
            None => Whose::Unclear(OF_SEVERAL),
        }
    }

    /// The `fullUrl` of a resource.
    pub(super) fn url_of(&self, resource: Option<&Value>) -> Option<&str> {
        let resource = resource?;
        self.urls
            .iter()
            .find(|(known, _)| std::ptr::eq(*known, resource))
            .map(|(_, url)| url.as_str())
    }

    /// What a reference means (FHIR R4, 2.36.4.1): as it stands; else beside the one that refers,
    /// on the same server; else `Kind/id` where only one is called so and nothing says that it lies
    /// on another server.
    fn resolve(&self, from: &Value, reference: &str) -> Option<&'a Value> {
        let reference = plain_name(reference);
        let reference = reference.as_str();
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
                .get(&plain_name(who))
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
                let resource = self.named.get(&plain_name(target));
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

/// Whether a reference names something that is no patient.
fn of_another_kind(reference: &str) -> bool {
    let name = own_name(&plain_name(reference));
    let kind = name.split('/').next().unwrap_or_default();
    NO_PATIENTS.contains(&kind)
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
