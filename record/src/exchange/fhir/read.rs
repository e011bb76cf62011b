//! Bundles as cases, by meaning: whose a word is, whether it stands, in which unit, and of when.
//! What is not understood is left out and listed with its reason; nothing is guessed.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::super::time::moment;
use super::super::{ExchangeError, Imported, RegisterNumber, SYSTEM, TAKEN_BACK};
use super::CASE_SYSTEM;
use clinical::{FindingValue, catalogue};

use crate::Entry;

mod bundle;
mod care;
mod history;
mod lines;
mod listed;
mod newest;
mod values;
mod who;
mod xml;

use bundle::{Bundle, Whose, strict, subject_of};
use listed::{Listed, is_own_name, is_read, only_writes, spoilt};
use values::{at, at_site, changes_meaning, code_of, field_of, kind_of, value_of, words_of};
pub(super) use values::{items, text_at};
use who::numbers_of;

/// What is said of resources that are of nobody.
const STAYS: &str = "they say who, where and when, and stay in the file";

/// Patients in one file.
const PATIENTS_MAX: usize = 10_000;

/// Reads a file, JSON or XML: a bundle, one bundle or resource a line (bulk data), or a single resource; a case for each
/// patient in it. A line that is of no use costs the others nothing, and is said.
pub fn read(text: &str) -> Result<Vec<Imported>, ExchangeError> {
    read_all(text, None)
}

/// The same, without what says that it is of a time after `until_s`, in seconds since 1970: that was not seen yet.
pub fn read_until(text: &str, until_s: u64) -> Result<Vec<Imported>, ExchangeError> {
    let until = moment(&clinical::date::instant(until_s));
    read_all(text, until.map(|until| until.to_ms))
}

/// `until`: as [`moment`] counts.
fn read_all(text: &str, until: Option<i64>) -> Result<Vec<Imported>, ExchangeError> {
    let text = text.trim_start_matches('\u{feff}');
    let read = if text.trim_start().starts_with('<') {
        read_value(xml::read(text)?, until)
    } else {
        match strict(text) {
            Ok(value) => read_value(value, until),
            Err(e) => {
                let whole = ExchangeError::Malformed(format!("not JSON, or cut short: {e}"));
                lines::read(text, whole, until)
            }
        }
    };
    let mut read = read?;
    tell_apart(&mut read);
    protocol::always!(read.len() <= text.len(), "nobody comes of nothing");
    tell_of_nobody(&mut read);
    Ok(read)
}

/// Resources as a bundle of them, which know each other by their kind and id.
fn collection(resources: Vec<Value>) -> Value {
    let entry = |resource: Value| {
        let resource = [("resource".to_owned(), resource)];
        Value::Object(resource.into_iter().collect())
    };
    let entries = resources.into_iter().map(entry).collect();
    let bundle = [
        ("resourceType".to_owned(), Value::from("Bundle")),
        ("type".to_owned(), "collection".into()),
        ("entry".to_owned(), Value::Array(entries)),
    ];
    Value::Object(bundle.into_iter().collect())
}

fn read_value(bundle: Value, until: Option<i64>) -> Result<Vec<Imported>, ExchangeError> {
    let malformed = |why: String| ExchangeError::Malformed(why);
    match kind_of(&bundle) {
        "Bundle" => match text_at(&bundle, &["type"]).unwrap_or("collection") {
            "collection" | "document" | "message" | "searchset" => read_bundle(&bundle, until),
            "transaction" | "batch" if only_writes(&bundle) => read_bundle(&bundle, until),
            kind => Err(malformed(format!(
                "a bundle of type {kind} says what was done to records, not what they are: export a collection"
            ))),
        },
        "" => Err(malformed(
            "not a FHIR bundle: resourceType must be Bundle".into(),
        )),
        "Patient" => read_bundle(&collection(vec![bundle]), until),
        other => Err(malformed(format!(
            "this is a single {other}, and whose it is is not with it: put both into a Bundle of type collection"
        ))),
    }
}

fn read_bundle(bundle: &Value, until: Option<i64>) -> Result<Vec<Imported>, ExchangeError> {
    if let Some(why) = spoilt(bundle) {
        return Err(ExchangeError::Malformed(why.into()));
    }
    let Listed {
        resources,
        index,
        twice,
        not_taken,
    } = Listed::of(bundle);
    if index.patients.len() > PATIENTS_MAX {
        return Err(ExchangeError::Malformed(format!(
            "more than {PATIENTS_MAX} patients in one bundle: cut the file"
        )));
    }
    let count = index.patients.len().max(1);
    let subjects: BTreeSet<_> = resources
        .iter()
        .filter_map(|resource| subject_of(resource))
        .collect();
    if index.patients.is_empty() && subjects.len() > 1 {
        let why = "it speaks of several patients and holds none of them: export it with its Patient resources";
        return Err(ExchangeError::Malformed(why.into()));
    }
    let own = match count {
        1 => identifier_of(bundle).filter(|id| text_at(id, &["system"]) == Some(CASE_SYSTEM)),
        _ => None, // one name cannot be two patients'
    };
    let subject = subjects.first().copied();
    let mut cases: Vec<Reading> = (0..count)
        .map(|n| Reading {
            until,
            ..Reading::of(
                (index.patients.get(n).copied(), subject),
                &index,
                bundle,
                count,
            )
        })
        .collect();
    if let (Some(case), Some(first)) = (
        own.and_then(|id| text_at(id, &["value"])?.parse().ok()),
        cases.first_mut(),
    ) {
        first.imported.case = Some(case);
    }
    let mut beside: BTreeMap<String, usize> = BTreeMap::new();
    for resource in &resources {
        if twice.iter().any(|other| std::ptr::eq(*other, *resource)) {
            continue;
        }
        match index.whose(resource, count) {
            // What in a bundle of ours surrounds what the others say.
            Whose::Patient(_) | Whose::Nobody
                if is_own_name(resource)
                    && cases.first().is_some_and(|first| first.ours)
                    && !is_read(kind_of(resource)) => {}
            Whose::Patient(_) if kind_of(resource) == "Encounter" => {
                *beside.entry("Encounter".to_owned()).or_default() += 1;
            }
            Whose::Patient(n) => {
                if let Some(reading) = cases.get_mut(n) {
                    match index.part_of_a_dose(resource) {
                        Some(why) => reading.leave_out(resource, why),
                        None => reading.take(&index.with_medicine(resource)),
                    }
                }
            }
            Whose::Nobody => *beside.entry(kind_of(resource).to_owned()).or_default() += 1,
            Whose::Unclear(why) => {
                if let Some(first) = cases.first_mut() {
                    first.leave_out(resource, why);
                }
            }
        }
    }
    if let Some(first) = cases.first_mut() {
        let why = "it stands twice in this bundle, and not alike";
        twice
            .iter()
            .for_each(|resource| first.leave_out(resource, why));
        not_taken
            .iter()
            .for_each(|(resource, why)| first.leave_out(resource, why));
    }
    if let Some(first) = cases.first_mut() {
        first.imported.of_nobody = beside;
    }
    if let Some(first) = cases.first_mut().filter(|_| count == 1) {
        index.say_who(&resources, &mut first.imported);
    }
    let mut read: Vec<Imported> = cases.into_iter().map(Reading::finish).collect();
    // Patients without a name of their own are told apart by their place: two that are alike are
    // two.
    let nameless = read
        .iter_mut()
        .enumerate()
        .filter(|(_, imported)| count > 1 && imported.known_as.is_none());
    let whole = protocol::Digest::of(bundle.to_string().as_bytes());
    nameless.for_each(|(n, imported)| imported.known_as = Some(format!("{whole}|{n}")));
    let beside = (count > 1).then_some(whole);
    read.iter_mut().for_each(|one| one.beside = beside);
    match read.iter().all(|imported| {
        imported.entries.is_empty() && imported.left_out.is_empty() && imported.of_nobody.is_empty()
    }) {
        true => Err(ExchangeError::Malformed(
            "nothing in this bundle is known here".into(),
        )),
        false => Ok(read),
    }
}

/// Says what is of nobody and stays in the file, once for each kind.
fn tell_of_nobody(read: &mut [Imported]) {
    let mut kinds: BTreeMap<String, usize> = BTreeMap::new();
    for (kind, count) in read
        .iter_mut()
        .flat_map(|one| std::mem::take(&mut one.of_nobody))
    {
        *kinds.entry(kind).or_default() += count;
    }
    let kinds: Vec<_> = kinds
        .iter()
        .map(|(kind, count)| format!("{count} {kind}"))
        .collect();
    if let (Some(first), false) = (read.first_mut(), kinds.is_empty()) {
        first
            .left_out
            .push(format!("{}: {STAYS}", kinds.join(", ")));
    }
}

/// Patients of one bundle who are alike in all that says who they are (twins who have no names yet) are known by
/// their place in their own system, too: the second time each is found again.
fn tell_apart(read: &mut [Imported]) {
    let mut times: BTreeMap<String, usize> = BTreeMap::new();
    for known_as in read.iter().filter_map(|one| one.known_as.clone()) {
        *times.entry(known_as).or_default() += 1;
    }
    for (n, one) in read.iter_mut().enumerate() {
        let alike = |known_as: &String| times.get(known_as).is_some_and(|times| *times > 1);
        let Some(known_as) = one.known_as.clone().filter(alike) else {
            continue;
        };
        let place = one.own_id.clone().unwrap_or_else(|| n.to_string());
        one.known_as = Some(format!("{known_as}|{place}"));
        one.numbers.push(RegisterNumber {
            system: known_as,
            value: place,
        });
    }
}

/// What a bundle is known by: of a document of ours, the case that its Composition names.
fn identifier_of(bundle: &Value) -> Option<&Value> {
    let mut resources = items(bundle, "entry")
        .iter()
        .filter_map(|entry| entry.get("resource"));
    let composition = resources.find(|resource| kind_of(resource) == "Composition");
    let case = composition.and_then(|composition| at(composition, &["identifier"]));
    let case = case.filter(|id| text_at(id, &["system"]) == Some(CASE_SYSTEM));
    let document = text_at(bundle, &["type"]) == Some("document");
    case.filter(|_| document)
        .or_else(|| at(bundle, &["identifier"]))
}

/// One patient's case while it is read.
struct Reading {
    imported: Imported,
    /// Values of findings with the time that they are of, as far as it is said.
    findings: Vec<(String, FindingValue, String, String)>,
    /// What is said of fields here and cannot be read: the field, the time, and the words.
    unread: Vec<(String, String, String)>,
    /// What is of the patient's history: of when, and the line.
    history: Vec<(String, String)>,
    /// Kinds of resources of our own that only repeat what the others say.
    ours: bool,
    consents: BTreeSet<String>,
    /// Lines of the patient's history so far.
    lines: usize,
    /// What is of after it has not been yet, as [`moment`] counts.
    until: Option<i64>,
}

/// Of when an observation is, as far as it says; of several times, the last.
fn time_of(resource: &Value) -> &str {
    let paths = [
        &["effectiveDateTime"][..],
        &["effectiveInstant"],
        &["effectivePeriod", "end"],
        &["effectivePeriod", "start"],
    ];
    let timing = resource.get("effectiveTiming").unwrap_or(&Value::Null);
    let events = items(timing, "event").iter().filter_map(Value::as_str);
    let last = events.max_by_key(|at| moment(at).map(|at| at.from_ms));
    let said = paths.into_iter().find_map(|path| text_at(resource, path));
    said.or(last)
        .or_else(|| text_at(resource, &["issued"]))
        .unwrap_or_default()
}

/// What is said of a resource: its kind, its name, what it is of, and that.
fn said_of(resource: &Value, that: &str) -> String {
    let id = text_at(resource, &["id"]).unwrap_or("without id");
    let what = resource
        .get("code")
        .or_else(|| resource.get("medicationCodeableConcept"))
        .or_else(|| resource.get("vaccineCode"));
    let said = what.and_then(|code| {
        text_at(code, &["text"])
            .map(str::to_owned)
            .or_else(|| field_of(code))
    });
    let said = said.map(|said| format!(" ({})", clipped(&said)));
    let said = said.unwrap_or_default();
    format!("{} {}{said}: {that}", kind_of(resource), clipped(id))
}

/// The first letters of a word that a file says.
fn clipped(word: &str) -> String {
    const LETTERS: usize = 80;
    match word.chars().count() > LETTERS {
        true => word.chars().take(LETTERS).chain(['…']).collect(),
        false => word.to_owned(),
    }
}

impl Reading {
    /// `subject`: whom a bundle without patients is about.
    fn of(
        (patient, subject): (Option<&Value>, Option<&str>),
        index: &Bundle<'_>,
        bundle: &Value,
        count: usize,
    ) -> Self {
        protocol::always!(patient.is_some() || count == 1);
        let named = identifier_of(bundle);
        let system = named
            .and_then(|id| text_at(id, &["system"]))
            .unwrap_or_default();
        let own_bundle = system == CASE_SYSTEM;
        let value = named
            .and_then(|id| text_at(id, &["value"]))
            .filter(|_| count == 1);
        let numbers = patient.map(|patient| numbers_of(patient, index));
        let numbers = numbers.unwrap_or_default();
        let own_id = match patient {
            Some(patient) => text_at(patient, &["id"]),
            None => subject,
        };
        let own_id = own_id.map(str::to_owned);
        let by_patient = || {
            let RegisterNumber { system, value } = numbers.first()?;
            let who = ["birthDate", "gender"].map(|key| text_at(patient?, &[key]));
            let [born, sex] = who.map(Option::unwrap_or_default);
            Some(format!("{system}|{value}\n{born}\n{sex}"))
        };
        // The name of a bundle may be that of an export of many: who it is about is said by the patient.
        let whose = own_id.as_deref().filter(|_| !own_bundle);
        let by_file = value.map(|value| match whose {
            Some(whose) => format!("{system}|{value}|{whose}"),
            None => format!("{system}|{value}"),
        });
        let known_as = match own_bundle {
            true => by_file.or_else(by_patient),
            false => by_patient().or(by_file),
        };
        let ours = |id: &&Value| text_at(id, &["system"]) == Some(CASE_SYSTEM);
        let case = patient.and_then(|patient| items(patient, "identifier").iter().find(ours));
        let case = case.and_then(|id| text_at(id, &["value"])?.parse().ok());
        let imported = Imported {
            case,
            known_as,
            numbers,
            own_id,
            ..Imported::default()
        };
        Self {
            ours: own_bundle || case.is_some(),
            imported,
            findings: Vec::new(),
            unread: Vec::new(),
            history: Vec::new(),
            consents: BTreeSet::new(),
            lines: 0,
            until: None,
        }
    }

    fn leave_out(&mut self, resource: &Value, why: &str) {
        self.imported.left_out.push(said_of(resource, why));
    }

    /// Whether a time is still to come.
    fn is_to_come(&self, at: &str) -> bool {
        let at = moment(at).zip(self.until);
        at.is_some_and(|(at, until)| at.from_ms > until)
    }

    fn take(&mut self, resource: &Value) {
        if changes_meaning(resource, 0) {
            return self.leave_out(
                resource,
                "it carries a modifier that may turn its meaning round",
            );
        }
        if self.is_to_come(time_of(resource)) {
            return self.leave_out(resource, "its time is still to come");
        }
        let harmless = [
            "Patient",
            "Practitioner",
            "PractitionerRole",
            "Organization",
            "Device",
            "Location",
            "Medication",
        ];
        for inner in items(resource, "contained")
            .iter()
            .filter(|inner| !harmless.contains(&kind_of(inner)))
        {
            self.leave_out(inner, "it lies within another resource");
        }
        match kind_of(resource) {
            "Patient" => self.read_patient(resource),
            "RelatedPerson" => self.read_caregiver(resource, resource),
            "Observation" => self.read_observation(resource),
            "Consent" => self.read_consent(resource),
            "MedicationAdministration" => self.read_dose(resource),
            "ClinicalImpression" => self.read_decision(resource),
            "AllergyIntolerance" => self.read_allergy(resource),
            _ if self.read_history(resource) => {}
            _ => self.leave_out(
                resource,
                "this kind is not read here: look it up in the file",
            ),
        }
    }

    fn finding(&mut self, resource: &Value, name: String, value: FindingValue) {
        let at = time_of(resource).to_owned();
        let id = text_at(resource, &["id"])
            .unwrap_or("without id")
            .to_owned();
        self.findings.push((name, value, at, id));
    }

    fn read_short_ids(&mut self, resource: &Value, name: &str, text: Option<&str>) {
        protocol::always!(catalogue::field(name).is_some());
        match text.map(|text| catalogue::read_value(name, text)) {
            None => {}
            Some(Ok(value)) => self.finding(resource, name.to_owned(), value),
            Some(Err(why)) => self.leave_out(resource, &why.to_string()),
        }
    }

    fn read_observation(&mut self, observation: &Value) {
        match text_at(observation, &["status"]) {
            Some("final" | "amended" | "corrected" | "preliminary") => {}
            Some("entered-in-error" | "cancelled") => {
                self.take_back_observation(observation);
                return self.leave_out(observation, "its system has taken it back");
            }
            Some(other) => return self.leave_out(observation, &format!("its status is {other}")),
            None => return self.leave_out(observation, "it says no status"),
        }
        let mut read = 0;
        let mut left_out: Vec<String> = Vec::new();
        for part in std::iter::once(observation).chain(items(observation, "component")) {
            let Some(name) = part.get("code").and_then(field_of) else {
                continue;
            };
            let unread = |name: &str| {
                (
                    name.to_owned(),
                    time_of(observation).to_owned(),
                    words_of(part),
                )
            };
            let name = match at_site(&name, observation) {
                Ok(name) => name,
                Err(why) => {
                    self.unread.push(unread(&name));
                    left_out.push(why.to_owned());
                    continue;
                }
            };
            if name == "note" {
                if let Some(note) = text_at(part, &["valueString"]) {
                    self.imported.entries.push(Entry::Note(crate::clip(note)));
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
                Err(why) => {
                    self.unread.push(unread(&name));
                    left_out.push(why);
                }
            }
        }
        if read == 0 && left_out.is_empty() {
            let why = "what it measures is not known here, or it has no value";
            left_out.push(why.to_owned());
        }
        // One part that says nothing takes no other with it.
        left_out
            .iter()
            .for_each(|why| self.leave_out(observation, why));
    }

    /// Notes what an observation that was taken back had said: where an earlier file has said it, it stands, and a
    /// person is to hear of it.
    fn take_back_observation(&mut self, observation: &Value) {
        for part in std::iter::once(observation).chain(items(observation, "component")) {
            let name = part.get("code").and_then(field_of);
            let name = name.and_then(|name| at_site(&name, observation).ok());
            let value = name.as_ref().map(|name| value_of(name, part));
            if let (Some(name), Some(Ok(Some(value)))) = (name, value) {
                let note = format!("{TAKEN_BACK}{name} = {}", value.words());
                self.imported.entries.push(Entry::Note(crate::clip(&note)));
            }
        }
    }

    fn read_consent(&mut self, consent: &Value) {
        // An earlier version wrote its name for it among the categories.
        let among = items(consent, "category").iter();
        let ours = |id: &&Value| text_at(id, &["system"]) == Some(SYSTEM);
        let name = items(consent, "identifier").iter().find(ours);
        let name = name
            .and_then(|id| text_at(id, &["value"]))
            .or_else(|| among.into_iter().find_map(|c| code_of(c, SYSTEM)))
            .and_then(|n| n.strip_prefix("consent."));
        let Some(to) = name.map(str::to_owned) else {
            return self.leave_out(consent, "to what is not said in a way known here");
        };
        let limited = [
            "period",
            "provision",
            "actor",
            "action",
            "purpose",
            "data",
            "dataPeriod",
            "class",
            "code",
        ];
        if limited
            .iter()
            .any(|key| at(consent, &["provision", key]).is_some())
        {
            return self.leave_out(consent, "it holds for a time or a part only");
        }
        let given = match (
            text_at(consent, &["status"]),
            text_at(consent, &["provision", "type"]),
        ) {
            (Some("active"), Some("permit")) => Some(FindingValue::Yes),
            (Some("active" | "rejected"), Some("deny")) | (Some("rejected"), None) => {
                Some(FindingValue::No)
            }
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
}
