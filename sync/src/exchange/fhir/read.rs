//! Bundles as cases, by meaning: whose a word is, whether it stands, in which unit, and of when. What is not understood is left out
//! and listed with its reason; nothing is guessed.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::super::{ExchangeError, Imported, SYSTEM, units};
use super::{CASE_SYSTEM, COLOUR_SYSTEM, DOSE_SYSTEM, HL7, LOINC};
use crate::case::schema::{self, FIELDS, Kind};
use crate::case::{DecisionEntry, DoseEntry, IMPORTED};
use crate::{Entry, FindingValue, Urgency};

/// Patients in one file.
const PATIENTS_MAX: usize = 10_000;
/// How deeply a resource may nest, where it is searched for what changes its meaning.
const DEPTH_MAX: usize = 64;

fn at<'a>(value: &'a Value, path: &[&str]) -> Option<&'a Value> {
    path.iter().try_fold(value, |value, step| match step.parse::<usize>() {
        Ok(index) => value.get(index),
        Err(_) => value.get(step),
    })
}

fn text_at<'a>(value: &'a Value, path: &[&str]) -> Option<&'a str> {
    at(value, path)?.as_str()
}

fn items<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value.get(key).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

fn kind_of(resource: &Value) -> &str {
    text_at(resource, &["resourceType"]).unwrap_or_default()
}

/// The codes of one system in a CodeableConcept.
fn codes_of<'a>(concept: &'a Value, system: &'a str) -> impl Iterator<Item = &'a str> {
    let ours = move |coding: &&Value| text_at(coding, &["system"]) == Some(system);
    items(concept, "coding").iter().filter(ours).filter_map(|coding| text_at(coding, &["code"]))
}

fn code_of<'a>(concept: &'a Value, system: &'a str) -> Option<&'a str> {
    codes_of(concept, system).next()
}

/// Codes of other systems for our fields: the vital signs profiles, and other codings of the same measurement.
const ALSO: [(&str, &str); 9] = [
    ("8310-5", "temperature"),
    ("29463-7", "weight"),
    ("8302-2", "height"),
    ("9279-1", "respiratory_rate"),
    ("2708-6", "spo2"),
    ("20564-1", "spo2"),
    ("8867-4", "pulse"),
    ("8480-6", "bp_systolic"),
    ("8462-4", "bp_diastolic"),
];

/// The field that a concept names: by our own name, or by any LOINC code of it.
fn field_of(concept: &Value) -> Option<String> {
    if let Some(name) = code_of(concept, SYSTEM) {
        return Some(name.to_owned());
    }
    codes_of(concept, LOINC).find_map(|code| {
        let ours = FIELDS.iter().find(|f| f.code == code).map(|f| f.name);
        let also = || ALSO.iter().find(|(other, _)| *other == code).map(|(_, name)| *name);
        ours.or_else(also).map(str::to_owned)
    })
}

/// What is in a bundle by the names that references use.
struct Bundle<'a> {
    /// By `fullUrl`, and by `Kind/id` where that means one resource only.
    named: BTreeMap<String, &'a Value>,
    /// The `fullUrl` of each resource that has one.
    urls: Vec<(&'a Value, &'a str)>,
    /// Patients by their place in the bundle.
    patients: Vec<&'a Value>,
}

/// Reads a bundle: a case for each patient in it.
pub fn read(text: &str) -> Result<Vec<Imported>, ExchangeError> {
    let malformed = |why: String| ExchangeError::Malformed(why);
    let text = text.trim_start_matches('\u{feff}');
    let bundle: Value = strict(text).map_err(|e| malformed(format!("not JSON, or cut short: {e}")))?;
    match kind_of(&bundle) {
        "Bundle" => match text_at(&bundle, &["type"]).unwrap_or("collection") {
            kind @ ("history" | "transaction" | "batch" | "subscription-notification") => Err(malformed(format!(
                "a bundle of type {kind} says what was done to records, not what they are: export a collection"
            ))),
            _ => read_bundle(&bundle),
        },
        "" => Err(malformed("not a FHIR bundle: resourceType must be Bundle".into())),
        other => {
            Err(malformed(format!("this is a single {other}, not a Bundle: put it into a Bundle of type collection")))
        }
    }
}

/// JSON in which no key stands twice: FHIR forbids that, and which of two values is meant nobody can tell.
fn strict(text: &str) -> Result<Value, String> {
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
                    return Err(serde::de::Error::custom(format!("{key:?} stands twice in one place")));
                }
                let Unique(value) = map.next_value()?;
                fields.insert(key, value);
            }
            Ok(fields.into())
        }
    }
    serde_json::from_str::<Unique>(text).map(|Unique(value)| value).map_err(|e| e.to_string())
}

fn read_bundle(bundle: &Value) -> Result<Vec<Imported>, ExchangeError> {
    let mut resources: Vec<&Value> = Vec::new();
    let mut index = Bundle { named: BTreeMap::new(), urls: Vec::new(), patients: Vec::new() };
    let (mut twice, mut ambiguous) = (Vec::new(), BTreeSet::new());
    for entry in items(bundle, "entry") {
        let Some(resource) = entry.get("resource") else { continue };
        if text_at(entry, &["request", "method"]).is_some_and(|method| method.eq_ignore_ascii_case("DELETE")) {
            twice.push(resource); // it says that this is no more
            continue;
        }
        let url = text_at(entry, &["fullUrl"]);
        let short = text_at(resource, &["id"]).map(|id| format!("{}/{id}", kind_of(resource)));
        let known = url.or(short.as_deref()).and_then(|name| index.named.get(name)).copied();
        match known.filter(|_| url.is_some() || index.url_of(known).is_none()) {
            Some(same) if same == resource => continue, // said once more
            Some(other) => {
                twice.push(resource);
                twice.push(other);
                continue;
            }
            None => {}
        }
        if let Some(url) = url {
            index.named.insert(url.to_owned(), resource);
            index.urls.push((resource, url));
        }
        if let Some(short) = short.filter(|short| !ambiguous.contains(short)) {
            match index.named.remove(&short) {
                Some(_) => drop(ambiguous.insert(short)), // of two servers
                None => drop(index.named.insert(short, resource)),
            }
        }
        resources.push(resource);
        let contained = items(resource, "contained").iter().filter(|inner| kind_of(inner) == "Patient");
        index.patients.extend(std::iter::once(resource).filter(|r| kind_of(r) == "Patient").chain(contained));
    }
    if index.patients.len() > PATIENTS_MAX {
        return Err(ExchangeError::Malformed(format!("more than {PATIENTS_MAX} patients in one bundle: cut the file")));
    }
    let count = index.patients.len().max(1);
    let subjects: BTreeSet<_> = resources.iter().filter_map(|resource| subject_of(resource)).collect();
    if index.patients.is_empty() && subjects.len() > 1 {
        let why = "it speaks of several patients and holds none of them: export it with its Patient resources";
        return Err(ExchangeError::Malformed(why.into()));
    }
    let own = match count {
        1 => at(bundle, &["identifier"]).filter(|id| text_at(id, &["system"]) == Some(CASE_SYSTEM)),
        _ => None, // one name cannot be two patients'
    };
    let mut cases: Vec<Reading> =
        (0..count).map(|n| Reading::of(index.patients.get(n).copied(), bundle, count)).collect();
    if let (Some(case), Some(first)) = (own.and_then(|id| text_at(id, &["value"])?.parse().ok()), cases.first_mut()) {
        first.imported.case = Some(case);
    }
    for resource in &resources {
        if twice.iter().any(|other| std::ptr::eq(*other, *resource)) {
            continue;
        }
        match index.whose(resource, count) {
            Whose::Patient(n) => {
                if let Some(reading) = cases.get_mut(n) {
                    reading.take(resource);
                }
            }
            Whose::Nobody => {}
            Whose::Unclear => {
                if let Some(first) = cases.first_mut() {
                    first.leave_out(resource, "it does not say which of several patients it is about");
                }
            }
        }
    }
    if let Some(first) = cases.first_mut() {
        let why = "it stands twice in this bundle, and not alike, or is said to be no more";
        twice.iter().for_each(|resource| first.leave_out(resource, why));
    }
    if let Some(first) = cases.first_mut().filter(|_| count == 1) {
        index.say_who(&resources, &mut first.imported);
    }
    let read: Vec<Imported> = cases.into_iter().map(Reading::finish).collect();
    match read.iter().all(|imported| imported.entries.is_empty() && imported.left_out.is_empty()) {
        true => Err(ExchangeError::Malformed("nothing in this bundle is known here".into())),
        false => Ok(read),
    }
}

enum Whose {
    Patient(usize),
    /// It is about no patient: a device, a practitioner.
    Nobody,
    /// There are several patients, and it names none of them.
    Unclear,
}

impl Bundle<'_> {
    fn patient(&self, resource: &Value) -> Option<usize> {
        self.patients.iter().position(|patient| std::ptr::eq(*patient, resource))
    }

    /// Whose a resource is, by its subject.
    fn whose(&self, resource: &Value, count: usize) -> Whose {
        if kind_of(resource) == "Patient" {
            return self.patient(resource).map_or(Whose::Nobody, Whose::Patient);
        }
        let named = subject_of(resource);
        // About somebody or something else than the subject, or about a subject whom only words name: not this patient's.
        let other = |key: &str| {
            resource
                .get(key)
                .is_some_and(|value| !value.is_null() && value.as_array().is_none_or(|list| !list.is_empty()))
        };
        if other("focus") || (named.is_none() && ["subject", "patient", "for"].into_iter().any(other)) {
            return Whose::Unclear;
        }
        let Some(reference) = named else {
            let about_nobody =
                ["Device", "Practitioner", "Organization", "Location", "Provenance", "AuditEvent", "Medication"];
            return match (about_nobody.contains(&kind_of(resource)), count) {
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
            // A reference to somebody who is not in the file: with one patient in it, or none, that is whose bundle it is only if
            // there is nobody else it could mean.
            None if self.patients.is_empty() => Whose::Patient(0),
            None => Whose::Unclear,
        }
    }

    /// The `fullUrl` of a resource.
    fn url_of(&self, resource: Option<&Value>) -> Option<&str> {
        let resource = resource?;
        self.urls.iter().find(|(known, _)| std::ptr::eq(*known, resource)).map(|(_, url)| *url)
    }

    /// What a reference means (FHIR R4, 2.36.4.1): as it stands; else beside the one that refers, on the same server; else `Kind/id`
    /// where only one is called so and nothing says that it lies on another server.
    fn resolve(&self, from: &Value, reference: &str) -> Option<&Value> {
        if let Some(found) = self.named.get(reference).filter(|_| reference.contains(':')) {
            return Some(found);
        }
        let tail: Vec<_> = reference.rsplit('/').take(2).collect();
        let [id, kind] = tail.as_slice() else { return None };
        let short = format!("{kind}/{id}");
        let base = |url: &str| url.strip_suffix(&own_name(url)).map(str::to_owned);
        let own_server = self.url_of(Some(from)).filter(|url| url.contains("://")).and_then(base);
        if let (Some(server), false) = (&own_server, reference.contains("://")) {
            let there = self.named.get(&format!("{server}{short}"));
            if there.is_some() {
                return there.copied();
            }
        }
        let found = self.named.get(&short)?;
        let server = self.url_of(Some(found)).filter(|url| url.contains("://")).and_then(base);
        let meant =
            if reference.contains("://") { reference.strip_suffix(&short).map(str::to_owned) } else { own_server };
        let elsewhere = server.is_some() && meant.is_some() && server != meant;
        (!elsewhere).then_some(found)
    }

    /// Who said what, as the Provenance in the bundle has it.
    fn say_who(&self, resources: &[&Value], imported: &mut Imported) {
        for provenance in resources.iter().filter(|r| kind_of(r) == "Provenance") {
            let who = text_at(provenance, &["agent", "0", "who", "reference"]).unwrap_or("somebody");
            let device = self.named.get(who).and_then(|device| text_at(device, &["identifier", "0", "value"]));
            let display = text_at(provenance, &["agent", "0", "who", "display"]);
            let who = match device {
                Some(device) => format!("phone {}", device.get(..8).unwrap_or(device)),
                None => display.unwrap_or(who).to_owned(),
            };
            let who = format!("{who} ({})", text_at(provenance, &["recorded"]).unwrap_or("at no time that is said"));
            for target in items(provenance, "target").iter().filter_map(|target| text_at(target, &["reference"])) {
                let resource = self.named.get(target);
                let field = resource.and_then(|r| field_of(r.get("code")?));
                let kind = resource.map(|r| kind_of(r).to_owned()).filter(|kind| !kind.is_empty());
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

/// Whom a resource is about, as it says.
fn subject_of(resource: &Value) -> Option<&str> {
    ["subject", "patient", "for"].into_iter().find_map(|key| text_at(resource, &[key, "reference"]))
}

/// One patient's case while it is read.
struct Reading {
    imported: Imported,
    /// Values of findings with the time that they are of, as far as it is said.
    findings: Vec<(String, FindingValue, String, String)>,
    /// Kinds of resources of our own that only repeat what the others say.
    ours: bool,
    consents: BTreeSet<String>,
}

impl Reading {
    fn of(patient: Option<&Value>, bundle: &Value, count: usize) -> Self {
        let ours = text_at(bundle, &["identifier", "system"]) == Some(CASE_SYSTEM);
        let identifier = |value: &Value| {
            let (system, value) = (text_at(value, &["system"]).unwrap_or_default(), text_at(value, &["value"])?);
            Some(format!("{system}|{value}"))
        };
        let of_bundle = at(bundle, &["identifier"]).and_then(identifier).filter(|_| count == 1);
        let of_patient = || items(patient?, "identifier").iter().find_map(identifier);
        let imported = Imported { known_as: of_bundle.or_else(of_patient), ..Imported::default() };
        Self { imported, findings: Vec::new(), ours, consents: BTreeSet::new() }
    }

    fn leave_out(&mut self, resource: &Value, why: &str) {
        let id = text_at(resource, &["id"]).unwrap_or("without id");
        let what = resource.get("code").or_else(|| resource.get("medicationCodeableConcept"));
        let said = what.and_then(|code| text_at(code, &["text"]).map(str::to_owned).or_else(|| field_of(code)));
        let said = said.map(|said| format!(" ({said})")).unwrap_or_default();
        self.imported.left_out.push(format!("{} {id}{said}: {why}", kind_of(resource)));
    }

    fn take(&mut self, resource: &Value) {
        if changes_meaning(resource, 0) {
            return self.leave_out(resource, "it carries a modifier that may turn its meaning round");
        }
        match kind_of(resource) {
            "Patient" => self.read_patient(resource),
            "RelatedPerson" => {
                let pairs = [
                    ("patient.caregiver", ["name", "0", "text"]),
                    ("patient.caregiver_relation", ["relationship", "0", "text"]),
                    ("patient.caregiver_phone", ["telecom", "0", "value"]),
                ];
                for (name, path) in pairs {
                    self.read_words(resource, name, text_at(resource, &path));
                }
            }
            "Observation" => self.read_observation(resource),
            "Consent" => self.read_consent(resource),
            "MedicationAdministration" => self.read_dose(resource),
            "ClinicalImpression" => self.read_decision(resource),
            "AllergyIntolerance" => self.read_allergy(resource),
            // What in a bundle of ours only repeats or surrounds what the others say.
            "Encounter"
            | "QuestionnaireResponse"
            | "MedicationRequest"
            | "ServiceRequest"
            | "Task"
            | "CarePlan"
            | "Condition"
            | "RiskAssessment"
                if self.ours => {}
            "Encounter" => {}
            _ => self.leave_out(resource, "this kind is not read here: look it up in the file"),
        }
    }

    fn finding(&mut self, resource: &Value, name: String, value: FindingValue) {
        let paths = [
            &["effectiveDateTime"][..],
            &["effectiveInstant"],
            &["effectivePeriod", "end"],
            &["effectivePeriod", "start"],
            &["issued"],
        ];
        let at = paths.into_iter().find_map(|path| text_at(resource, path)).unwrap_or_default().to_owned();
        let id = text_at(resource, &["id"]).unwrap_or("without id").to_owned();
        self.findings.push((name, value, at, id));
    }

    fn read_words(&mut self, resource: &Value, name: &str, text: Option<&str>) {
        match text.map(|text| schema::read_value(name, text)) {
            None => {}
            Some(Ok(value)) => self.finding(resource, name.to_owned(), value),
            Some(Err(why)) => self.leave_out(resource, &why),
        }
    }

    fn read_patient(&mut self, patient: &Value) {
        let names = items(patient, "name");
        let usable = |name: &&Value| !matches!(text_at(name, &["use"]), Some("old" | "nickname" | "maiden" | "temp"));
        let official = |name: &&Value| text_at(name, &["use"]) == Some("official");
        let name = names.iter().find(official).or_else(|| names.iter().find(usable));
        let given =
            name.map(|name| items(name, "given").iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" "));
        let national = items(patient, "identifier").iter().find(|identifier| {
            let typed = identifier.get("type").is_some_and(|kind| {
                field_of(kind).as_deref() == Some("patient.national_id")
                    || codes_of(kind, "http://terminology.hl7.org/CodeSystem/v2-0203")
                        .any(|code| code == "NI" || code == "NNxxx")
            });
            typed && text_at(identifier, &["system"]) != Some(CASE_SYSTEM)
        });
        let pairs = [
            ("patient.national_id", national.and_then(|identifier| text_at(identifier, &["value"]))),
            (
                "patient.name",
                name.and_then(|name| text_at(name, &["text"])).or(given.as_deref().filter(|g| !g.is_empty())),
            ),
            ("patient.family_name", name.and_then(|name| text_at(name, &["family"]))),
            ("patient.born", text_at(patient, &["birthDate"])),
            ("patient.sex", text_at(patient, &["gender"]).filter(|g| ["female", "male"].contains(g))),
            ("patient.village", text_at(patient, &["address", "0", "text"])),
        ];
        for (name, text) in pairs {
            self.read_words(patient, name, text);
        }
        let dead = patient.get("deceasedBoolean").and_then(Value::as_bool) == Some(true);
        if dead || text_at(patient, &["deceasedDateTime"]).is_some() {
            self.read_words(patient, "outcome", Some("died"));
        }
    }

    fn read_observation(&mut self, observation: &Value) {
        match text_at(observation, &["status"]) {
            Some("final" | "amended" | "corrected" | "preliminary") => {}
            Some(other) => return self.leave_out(observation, &format!("its status is {other}")),
            None => return self.leave_out(observation, "it says no status"),
        }
        let mut read = 0;
        for part in std::iter::once(observation).chain(items(observation, "component")) {
            let Some(name) = part.get("code").and_then(field_of) else { continue };
            let name = match at_site(&name, observation) {
                Ok(name) => name,
                Err(why) => return self.leave_out(observation, why),
            };
            if name == "note" {
                if let Some(note) = text_at(part, &["valueString"]) {
                    self.imported.entries.push(Entry::Note(crate::case::clip(note)));
                    read += 1;
                }
                continue;
            }
            match value_of(&name, part) {
                Ok(Some(value)) => {
                    self.finding(observation, name, value);
                    read += 1;
                }
                Ok(None) => {}
                Err(why) => return self.leave_out(observation, &why),
            }
        }
        if read == 0 {
            self.leave_out(observation, "what it measures is not known here, or it has no value");
        }
    }

    fn read_consent(&mut self, consent: &Value) {
        let name =
            items(consent, "category").iter().find_map(|c| code_of(c, SYSTEM)).and_then(|n| n.strip_prefix("consent."));
        let Some(to) = name.map(str::to_owned) else {
            return self.leave_out(consent, "to what is not said in a way known here");
        };
        let given = match (text_at(consent, &["status"]), text_at(consent, &["provision", "type"])) {
            (Some("active"), Some("permit")) => Some(FindingValue::Yes),
            (Some("active" | "rejected"), Some("deny")) | (Some("rejected"), None) => Some(FindingValue::No),
            (Some("proposed" | "draft"), _) => Some(FindingValue::Unknown),
            _ => None,
        };
        match given {
            Some(value) => {
                self.consents.insert(to.clone());
                self.finding(consent, format!("consent.{to}"), value);
            }
            None => self.leave_out(consent, "whether it was given is not clear"),
        }
    }

    fn read_dose(&mut self, given: &Value) {
        match text_at(given, &["status"]) {
            Some("completed") => {}
            Some("entered-in-error") if self.ours => return, // taken back: it stays in sight where it was given
            Some(other) => {
                return self.leave_out(given, &format!("it was not given to its end: its status is {other}"));
            }
            None => return self.leave_out(given, "it says no status"),
        }
        let medicine = at(given, &["medicationCodeableConcept"]).and_then(|m| {
            text_at(m, &["text"]).or_else(|| items(m, "coding").iter().find_map(|c| text_at(c, &["display"])))
        });
        let dose = at(given, &["dosage", "dose"]);
        if dose.is_some_and(|dose| dose.get("comparator").is_some()) {
            return self.leave_out(given, "its dose is a bound and no amount");
        }
        let amount = dose.and_then(|dose| dose.get("value")).and_then(Value::as_f64);
        let unit = dose.and_then(|d| text_at(d, &["unit"]).or_else(|| text_at(d, &["code"]))).unwrap_or_default();
        let (Some(medicine), Some(amount)) = (medicine, amount) else {
            return self.leave_out(given, "which medicine, or how much, is not said");
        };
        if unit.is_empty() {
            return self.leave_out(given, "its dose has no unit");
        }
        if !units::dose_plausible(amount, unit) {
            return self.leave_out(given, &format!("nobody gives {amount} {unit} at once"));
        }
        let at = text_at(given, &["effectiveDateTime"]).or_else(|| text_at(given, &["effectivePeriod", "start"]));
        let at = at.filter(|at| schema::is_instant(at)).unwrap_or_default();
        let ours = items(given, "identifier").iter().find(|id| text_at(id, &["system"]) == Some(DOSE_SYSTEM));
        let origin = match ours.and_then(|id| text_at(id, &["value"])) {
            Some(key) => key.to_owned(),
            None => self.origin_of(given, &format!("{medicine} {amount} {unit} {at}")),
        };
        self.imported.entries.push(Entry::Dose(DoseEntry {
            medicine: crate::case::clip(medicine),
            amount,
            unit: unit.to_owned(),
            route: crate::case::clip(text_at(given, &["dosage", "route", "text"]).unwrap_or_default()),
            given: at.to_owned(),
            origin,
        }));
    }

    /// What a dose of another system's is known by, so that the same file read twice counts it once.
    fn origin_of(&self, resource: &Value, what: &str) -> String {
        let known_as = self.imported.known_as.as_deref().unwrap_or_default();
        let id = text_at(resource, &["id"]).unwrap_or_default();
        format!("fhir/{}", protocol::Digest::of(format!("{known_as}\n{id}\n{what}").as_bytes()).short())
    }

    fn read_decision(&mut self, impression: &Value) {
        let urgency = impression.get("code").and_then(|code| code_of(code, COLOUR_SYSTEM)).and_then(Urgency::parse);
        let Some(urgency) = urgency else { return self.leave_out(impression, "it names no colour of ours") };
        if text_at(impression, &["status"]) != Some("completed") {
            return self.leave_out(impression, "it is not completed");
        }
        let note = text_at(impression, &["note", "0", "text"]).unwrap_or_default();
        self.imported.entries.push(Entry::Decision(DecisionEntry {
            urgency,
            agrees: note.starts_with("as assessed"),
            reason: note.split_once(": ").map(|(_, reason)| reason).unwrap_or_default().into(),
            plan: text_at(impression, &["description"]).unwrap_or_default().into(),
            rules: IMPORTED.into(),
            model: IMPORTED.into(),
            app: String::new(),
        }));
    }

    fn read_allergy(&mut self, allergy: &Value) {
        let refuted = items_of_status(allergy, "verificationStatus").any(|s| s == "refuted" || s == "entered-in-error");
        let inactive = items_of_status(allergy, "clinicalStatus").any(|s| s == "resolved" || s == "inactive");
        let code = allergy.get("code");
        let what = code.and_then(|c| {
            text_at(c, &["text"]).or_else(|| items(c, "coding").iter().find_map(|c| text_at(c, &["display"])))
        });
        match what {
            Some(what) if !refuted && !inactive => {
                self.finding(allergy, "allergies".into(), FindingValue::Text(crate::case::clip(what)));
            }
            Some(_) => self.leave_out(allergy, "it was refuted, or is over"),
            None => self.leave_out(allergy, "to what is not said"),
        }
    }

    /// Of measurements the newest counts; of signs, degrees, consents and words all do, and the case's own rules bring them
    /// together.
    fn finish(mut self) -> Imported {
        let mut newest: BTreeMap<&str, &str> = BTreeMap::new();
        for (name, value, at, _) in &self.findings {
            if *value != FindingValue::Unknown {
                let held = newest.entry(name).or_default();
                *held = (*held).max(at);
            }
        }
        let newest: BTreeMap<String, String> =
            newest.into_iter().map(|(n, at)| (n.to_owned(), at.to_owned())).collect();
        for (name, value, at, id) in std::mem::take(&mut self.findings) {
            let measured = matches!(schema::field(&name).map(|f| f.merge), Some(schema::Merge::Latest));
            let latest = newest.get(&name).map(String::as_str).unwrap_or_default();
            if measured && instant_order(&at) < instant_order(latest) {
                let when = if at.is_empty() { "no time that is said" } else { &at };
                self.imported.left_out.push(format!("Observation {id} ({name}): of {when}; a newer one counts"));
                continue;
            }
            self.imported.entries.push(Entry::Finding { name, value });
        }
        match self.imported.entries.is_empty() {
            true => self.imported,
            false => self.imported.settled(),
        }
    }
}

/// Something by which instants of FHIR can be ordered, whatever their zone; what is said less exactly counts from its beginning.
fn instant_order(text: &str) -> (i64, String) {
    let number = |range: std::ops::Range<usize>| text.get(range).and_then(|t| t.parse::<i64>().ok());
    let (year, month, day) = (number(0..4).unwrap_or(0), number(5..7).unwrap_or(1), number(8..10).unwrap_or(1));
    let (hour, minute, second) =
        (number(11..13).unwrap_or(0), number(14..16).unwrap_or(0), number(17..19).unwrap_or(0));
    let zone = text.get(19..).unwrap_or_default();
    let zone = zone.rfind(['+', '-']).and_then(|at| {
        let (sign, rest) = zone.get(at..)?.split_at_checked(1)?;
        let (hours, minutes) = rest.split_once(':')?;
        let minutes = hours.parse::<i64>().ok()? * 60 + minutes.parse::<i64>().ok()?;
        Some(if sign == "-" { -minutes } else { minutes })
    });
    // Days since the year nought by the civil calendar; only the order matters.
    let (y, m) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = 365 * y + y.div_euclid(4) - y.div_euclid(100) + y.div_euclid(400) + (153 * m + 2) / 5 + day;
    if text.is_empty() {
        return (i64::MIN, String::new());
    }
    (
        ((days * 24 + hour) * 60 + minute - zone.unwrap_or(0)) * 60 + second,
        text.get(19..).unwrap_or_default().to_owned(),
    )
}

fn items_of_status<'a>(resource: &'a Value, key: &str) -> impl Iterator<Item = &'a str> {
    let codings = resource.get(key).map(|status| items(status, "coding")).unwrap_or_default();
    codings.iter().filter_map(|coding| text_at(coding, &["code"]))
}

/// Whether anything in a resource may turn its meaning round in a way that is not known here (FHIR R4, 2.4.0.4 and `implicitRules`).
fn changes_meaning(value: &Value, depth: usize) -> bool {
    if depth > DEPTH_MAX {
        return true;
    }
    match value {
        Value::Object(fields) => fields.iter().any(|(key, inner)| {
            let empty = inner.is_null() || inner.as_array().is_some_and(Vec::is_empty);
            (!empty && (key == "modifierExtension" || key == "implicitRules")) || changes_meaning(inner, depth + 1)
        }),
        Value::Array(list) => list.iter().any(|inner| changes_meaning(inner, depth + 1)),
        _ => false,
    }
}

/// The field of a temperature by where it was measured: ours are those under the arm and in the rectum.
fn at_site(name: &str, observation: &Value) -> Result<String, &'static str> {
    let Some(site) = observation.get("bodySite").filter(|_| name == "temperature") else { return Ok(name.to_owned()) };
    let words = site.to_string().to_lowercase();
    match () {
        // SNOMED CT: rectum structure, axillary region structure.
        () if words.contains("rect") || words.contains("34402009") => Ok("temperature_rectal".to_owned()),
        () if words.contains("axill") || words.contains("91470000") => Ok(name.to_owned()),
        () => Err("it was measured neither under the arm nor in the rectum"),
    }
}

/// The value of an observation or of a component; `None` where it has none. An error says why it is not taken.
fn value_of(name: &str, part: &Value) -> Result<Option<FindingValue>, String> {
    let field = schema::field(name);
    if let Some(reason) = part.get("dataAbsentReason") {
        let not_done = code_of(reason, &format!("{HL7}/data-absent-reason")) == Some("not-performed");
        return Ok(Some(match not_done && schema::read_value(name, "not_done").is_ok() {
            true => FindingValue::Text("not_done".into()),
            false => FindingValue::Unknown,
        }));
    }
    if let Some(flag) = part.get("valueBoolean").and_then(Value::as_bool) {
        return match field.map(|f| f.kind) {
            Some(Kind::Flag) | None => Ok(Some(if flag { FindingValue::Yes } else { FindingValue::No })),
            Some(_) => Err(format!("yes or no is no value of {name}")),
        };
    }
    if let Some(quantity) = part.get("valueQuantity") {
        return quantity_of(name, field.map(|f| f.kind), quantity).map(Some);
    }
    if let Some(number) = part.get("valueInteger").and_then(Value::as_f64) {
        return quantity_of(name, field.map(|f| f.kind), &serde_json::json!({ "value": number })).map(Some);
    }
    if let Some(concept) = part.get("valueCodeableConcept") {
        let code = code_of(concept, SYSTEM).ok_or_else(|| format!("its value is no word of ours for {name}"))?;
        return schema::read_value(name, code).map(Some);
    }
    match text_at(part, &["valueString"]).or_else(|| text_at(part, &["valueDateTime"])) {
        None if part.as_object().is_some_and(|o| o.keys().any(|key| key.starts_with("value"))) => {
            Err(format!("a value of this kind is not read for {name}"))
        }
        None => Ok(None),
        Some(text) => match field.map(|f| f.kind) {
            Some(Kind::Number(..)) => Err(format!("words where a number with a unit is wanted for {name}")),
            Some(_) => schema::read_value(name, text).map(Some),
            None => Ok(Some(FindingValue::Text(crate::case::clip(text)))),
        },
    }
}

fn quantity_of(name: &str, kind: Option<Kind>, quantity: &Value) -> Result<FindingValue, String> {
    if let Some(comparator) = text_at(quantity, &["comparator"]) {
        return Err(format!("its value is a bound ({comparator}), not a measurement"));
    }
    let number = quantity.get("value").and_then(Value::as_f64).ok_or("its value has no number")?;
    let unit = text_at(quantity, &["code"]).or_else(|| text_at(quantity, &["unit"]));
    if let (Some(code), Some(words), Some(Kind::Number(_, _, ours))) =
        (text_at(quantity, &["code"]), text_at(quantity, &["unit"]), kind)
        && let (Some(by_code), Some(by_words)) =
            (units::convert(number, code, ours), units::convert(number, words, ours))
        && (by_code - by_words).abs() > 1e-6 * by_code.abs().max(1.0)
    {
        return Err(format!("its unit says {words:?} and its code {code:?}"));
    }
    let Some(kind) = kind else {
        return Ok(FindingValue::Number(number)); // a newer rule pack's field
    };
    let Kind::Number(min, max, ours) = kind else { return Err(format!("a number is no value of {name}")) };
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
