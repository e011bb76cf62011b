//! Bundles as cases, by meaning: whose a word is, whether it stands, in which unit, and of when.
//! What is not understood is left out and listed with its reason; nothing is guessed.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::super::time::{DAY_MS, moment};
use super::super::{ExchangeError, Imported, RegisterNumber, SYSTEM, TAKEN_BACK};
use super::{CASE_SYSTEM, ESTIMATED, NATIONAL_SYSTEM};
use clinical::{FindingValue, Merge, catalogue};

use crate::Entry;

mod bundle;
mod care;
mod history;
mod lines;
mod values;
mod xml;

use bundle::{Bundle, Whose, plain_name, strict, subject_of};
use values::{
    at, at_site, changes_meaning, code_of, codes_of, field_of, kind_of, value_of, words_of,
};
pub(super) use values::{items, text_at};

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

/// Why a bundle as a whole is not what its resources look like.
fn spoilt(bundle: &Value) -> Option<&'static str> {
    let set = |key: &str| {
        bundle
            .get(key)
            .is_some_and(|value| !value.is_null() && value.as_array().is_none_or(|v| !v.is_empty()))
    };
    if ["modifierExtension", "implicitRules"].into_iter().any(set) {
        return Some("the bundle carries a modifier that may turn its meaning round");
    }
    let mut resources = items(bundle, "entry")
        .iter()
        .filter_map(|entry| entry.get("resource"));
    let in_error = |r: &Value| {
        kind_of(r) == "Composition" && text_at(r, &["status"]) == Some("entered-in-error")
    };
    resources
        .any(in_error)
        .then_some("the document in this bundle says that it was entered in error")
}

/// Whether a bundle of requests only makes and updates resources, as systems send whole records to each
/// other (Synthea, national hubs): what it says is then what they are.
fn only_writes(bundle: &Value) -> bool {
    let writes = |entry: &Value| {
        let method = text_at(entry, &["request", "method"]).unwrap_or_default();
        let whole = entry.get("resource").is_some_and(Value::is_object);
        whole && (method.eq_ignore_ascii_case("POST") || method.eq_ignore_ascii_case("PUT"))
    };
    let entries = items(bundle, "entry");
    !entries.is_empty() && entries.iter().all(writes)
}

/// Why the resource of an entry is not taken, whatever it says itself.
fn refused(entry: &Value) -> Option<&'static str> {
    let set = |key: &str| {
        entry
            .get(key)
            .is_some_and(|value| !value.is_null() && value.as_array().is_none_or(|v| !v.is_empty()))
    };
    let deleted = text_at(entry, &["request", "method"])
        .is_some_and(|method| method.eq_ignore_ascii_case("DELETE"));
    match text_at(entry, &["response", "status"]) {
        _ if set("modifierExtension") => {
            Some("its entry carries a modifier that may turn its meaning round")
        }
        _ if deleted => Some("its entry says that it is no more"),
        Some(status) if !status.starts_with('2') => {
            Some("its entry says that it was not found, or not taken")
        }
        _ => None,
    }
}

/// The resources of a bundle, and those that are not taken.
struct Listed<'a> {
    /// Each once, and the patients that lie within others.
    resources: Vec<&'a Value>,
    index: Bundle<'a>,
    /// What stands twice and not alike.
    twice: Vec<&'a Value>,
    /// What its entry keeps out, and why.
    not_taken: Vec<(&'a Value, &'static str)>,
}

impl<'a> Listed<'a> {
    fn of(bundle: &'a Value) -> Self {
        let mut resources: Vec<&Value> = Vec::new();
        let mut index = Bundle::default();
        let (mut twice, mut ambiguous, mut not_taken) = (Vec::new(), BTreeSet::new(), Vec::new());
        for entry in items(bundle, "entry") {
            let Some(resource) = entry.get("resource") else {
                if !kind_of(entry).is_empty() {
                    not_taken.push((entry, "it lies in an entry, and not as its resource"));
                }
                continue;
            };
            if let Some(why) = refused(entry) {
                not_taken.push((resource, why));
                continue;
            }
            // A name that names no server is no more than kind and id.
            let url = text_at(entry, &["fullUrl"]).filter(|url| url.contains(':'));
            let url = url.map(plain_name);
            let short = text_at(resource, &["id"]).map(|id| format!("{}/{id}", kind_of(resource)));
            let known = url
                .as_deref()
                .or(short.as_deref())
                .and_then(|name| index.named.get(name))
                .copied();
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
                index.named.insert(url.clone(), resource);
                index.urls.push((resource, url));
            }
            if let Some(short) = short.filter(|short| !ambiguous.contains(short)) {
                match index.named.remove(&short) {
                    Some(_) => drop(ambiguous.insert(short)), // of two servers
                    None => drop(index.named.insert(short, resource)),
                }
            }
            resources.push(resource);
            let contained = items(resource, "contained").iter();
            for inner in contained.filter(|inner| kind_of(inner) == "Patient") {
                if index.add_contained(inner) {
                    resources.push(inner);
                }
            }
            if kind_of(resource) == "Patient" {
                index.patients.push(resource);
            }
        }
        Self {
            resources,
            index,
            twice,
            not_taken,
        }
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

/// Patients' numbers that are read of one record.
const NUMBERS_MAX: usize = 16;

/// What a patient is known by from file to file: the identifiers that name a system, except those that a family
/// shares (an insurance's number); else the name of the record, where that is nobody else's. What somebody else may
/// have too (an identifier without a system, an id of one server's) only together with name and day of birth.
fn numbers_of(patient: &Value, index: &Bundle<'_>) -> Vec<RegisterNumber> {
    let of_family = |identifier: &&Value| {
        let kinds = items(identifier.get("type").unwrap_or(&Value::Null), "coding");
        kinds.iter().any(|coding| {
            matches!(
                text_at(coding, &["code"]),
                Some("SN" | "MB" | "FILL" | "PLAC")
            )
        })
    };
    let text = |value: &Value, key: &str| {
        let text = text_at(value, &[key]).map(str::trim);
        text.filter(|text| !text.is_empty()).map(str::to_owned)
    };
    let (mut numbers, mut alone) = (Vec::new(), Vec::new());
    for identifier in items(patient, "identifier")
        .iter()
        .filter(|i| !of_family(i))
    {
        match (text(identifier, "system"), text(identifier, "value")) {
            (Some(system), Some(value)) if system != CASE_SYSTEM => {
                numbers.push(RegisterNumber { system, value });
            }
            (None, Some(value)) => alone.push(value),
            _ => {}
        }
    }
    numbers.sort();
    numbers.dedup();
    // A name that nobody else has says by itself whose it is, and another one nothing.
    let url = index.url_of(Some(patient)).map(str::to_owned);
    let id = text(patient, "id");
    let uuid = |id: &&String| id.len() == 36 && id.bytes().filter(|b| *b == b'-').count() == 4;
    match (url, &id) {
        (Some(url), _) => numbers.push(RegisterNumber {
            system: url,
            value: String::new(),
        }),
        (None, Some(id)) if uuid(&id) => numbers.push(RegisterNumber {
            system: format!("urn:uuid:{}", id.to_lowercase()),
            value: String::new(),
        }),
        (None, Some(id)) => alone.push(format!("id {id}")),
        (None, None) => {}
    }
    let who = name_of_patient(patient).zip(text(patient, "birthDate"));
    if let Some((name, born)) = who {
        numbers.extend(alone.into_iter().map(|value| RegisterNumber {
            system: format!("{value}\n{}\n{born}", name.to_lowercase()),
            value: String::new(),
        }));
    }
    numbers.truncate(NUMBERS_MAX);
    numbers
}

/// The name by which a patient goes: none that is over, and no nickname.
fn usable_name(patient: &Value) -> Option<&Value> {
    let names = items(patient, "name");
    let usable = |name: &&Value| {
        let other = matches!(
            text_at(name, &["use"]),
            Some("old" | "nickname" | "maiden" | "temp")
        );
        !other && text_at(name, &["period", "end"]).is_none()
    };
    let official = |name: &&Value| usable(name) && text_at(name, &["use"]) == Some("official");
    let mut all = names.iter();
    all.find(official).or_else(|| names.iter().find(usable))
}

/// The given names of a person, in a row.
fn given_names(name: &Value) -> Option<String> {
    let given = items(name, "given").iter().filter_map(Value::as_str);
    let given = given.collect::<Vec<_>>().join(" ");
    (!given.is_empty()).then_some(given)
}

/// A whole name as it is called.
fn called_in_full(name: &Value) -> Option<String> {
    let family = text_at(name, &["family"]).map(str::to_owned);
    let parts = || {
        let parts: Vec<_> = given_names(name).into_iter().chain(family).collect();
        (!parts.is_empty()).then(|| parts.join(" "))
    };
    text_at(name, &["text"]).map(str::to_owned).or_else(parts)
}

fn name_of_patient(patient: &Value) -> Option<String> {
    called_in_full(usable_name(patient)?)
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

    fn read_patient(&mut self, patient: &Value) {
        let name = usable_name(patient);
        let given = name.and_then(given_names);
        let national = items(patient, "identifier").iter().find(|identifier| {
            let typed = identifier.get("type").is_some_and(|kind| {
                field_of(kind).as_deref() == Some("patient.national_id")
                    || codes_of(kind, "http://terminology.hl7.org/CodeSystem/v2-0203")
                        .any(|code| code == "NI" || code == "NNxxx")
            });
            let system = text_at(identifier, &["system"]);
            system == Some(NATIONAL_SYSTEM) || (typed && system != Some(CASE_SYSTEM))
        });
        // A day with a time of day, as some write it, is that day.
        let born = text_at(patient, &["birthDate"]);
        let born = born.map(|born| born.split_once('T').map_or(born, |(day, _)| day));
        let address = items(patient, "address").iter().find(|address| {
            !matches!(text_at(address, &["use"]), Some("old" | "billing"))
                && text_at(address, &["period", "end"]).is_none()
        });
        let village = address.and_then(|address| {
            let lines = items(address, "line").iter().filter_map(Value::as_str);
            let more = ["city", "district", "state"];
            let more = more.into_iter().filter_map(|key| text_at(address, &[key]));
            let parts: Vec<_> = lines.chain(more).collect();
            let whole = text_at(address, &["text"]).map(str::to_owned);
            whole.or_else(|| (!parts.is_empty()).then(|| parts.join(", ")))
        });
        let said = patient
            .get("_birthDate")
            .map(|said| items(said, "extension"));
        let estimated = said.into_iter().flatten().find_map(|extension| {
            let ours = text_at(extension, &["url"]) == Some(ESTIMATED);
            extension.get("valueBoolean").filter(|_| ours)?.as_bool()
        });
        let pairs = [
            (
                "patient.national_id",
                national.and_then(|identifier| text_at(identifier, &["value"])),
            ),
            (
                "patient.name",
                name.and_then(|name| text_at(name, &["text"]))
                    .or(given.as_deref()),
            ),
            (
                "patient.family_name",
                name.and_then(|name| text_at(name, &["family"])),
            ),
            ("patient.born", born),
            (
                "patient.born_estimated",
                estimated.map(|it| if it { "yes" } else { "no" }),
            ),
            (
                "patient.sex",
                match text_at(patient, &["gender"]) {
                    sex @ Some("female" | "male") => sex,
                    // Our own word for it has none in FHIR.
                    Some("other") => Some("not_specified"),
                    _ => None,
                },
            ),
            ("patient.village", village.as_deref()),
        ];
        for (name, text) in pairs {
            self.read_short_ids(patient, name, text);
        }
        if patient
            .get("deceasedBoolean")
            .is_some_and(|dead| !dead.is_boolean())
        {
            self.leave_out(
                patient,
                "whether the patient is dead is neither true nor false",
            );
        }
        let dead = patient.get("deceasedBoolean").and_then(Value::as_bool) == Some(true);
        let died = text_at(patient, &["deceasedDateTime"]);
        let to_come = died.is_some_and(|at| self.is_to_come(at));
        if to_come {
            self.leave_out(
                patient,
                "the day on which the patient died is still to come",
            );
        }
        if dead || (died.is_some() && !to_come) {
            self.read_short_ids(patient, "outcome", Some("died"));
        }
        let mut contacts = items(patient, "contact").iter();
        if let Some(contact) = contacts.next() {
            self.read_caregiver(patient, contact);
        }
        self.tell_of_more(patient, contacts.count());
    }

    /// Who cares for the patient: a resource of its own, or a contact of the patient's.
    fn read_caregiver(&mut self, resource: &Value, who: &Value) {
        let name = items(who, "name").iter().find_map(called_in_full);
        let relation = items(who, "relationship").iter().find_map(relation_of);
        let phone = items(who, "telecom").iter();
        let phone =
            phone.filter(|one| !matches!(text_at(one, &["system"]), Some("email" | "url" | "fax")));
        let phone = phone.filter_map(|one| text_at(one, &["value"])).next();
        for (field, text) in [
            ("patient.caregiver", name.as_deref()),
            ("patient.caregiver_relation", relation.as_deref()),
            ("patient.caregiver_phone", phone),
        ] {
            self.read_short_ids(resource, field, text);
        }
        if name.is_none() && relation.is_none() && phone.is_none() {
            self.leave_out(resource, "who cares for the patient is not said in it");
        }
    }

    /// What a patient's record says besides and no field here has.
    fn tell_of_more(&mut self, patient: &Value, contacts: usize) {
        if contacts > 0 {
            let why = format!("{contacts} more contacts stay in the file");
            self.leave_out(patient, &why);
        }
        if !items(patient, "telecom").is_empty() {
            self.leave_out(
                patient,
                "the patient's own telephone or address of mail stays in the file",
            );
        }
        if patient.get("active").is_some_and(|active| *active == false) {
            self.leave_out(
                patient,
                "its system does not use this record any more: see whether there is another",
            );
        }
        let links = items(patient, "link").iter();
        let kinds: BTreeSet<_> = links.filter_map(|link| text_at(link, &["type"])).collect();
        for kind in kinds {
            let why =
                format!("its system links it to another record ({kind}): look it up in the file");
            self.leave_out(patient, &why);
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

    /// The beginning of the day on which the patient was born, and a day less for clocks of other zones; of a month or
    /// a year, its beginning.
    fn born(&self) -> Option<i64> {
        let mut findings = self.findings.iter();
        let said = findings.find(|(name, ..)| name == "patient.born")?;
        let FindingValue::Text(day) = &said.1 else {
            return None;
        };
        Some(moment(day)?.from_ms.saturating_sub(DAY_MS))
    }

    /// Of measurements the newest counts; of those whose time is not clear, and of signs, degrees,
    /// consents and words, all do, and the case's own rules bring them together.
    fn finish(mut self) -> Imported {
        let born = self.born();
        let before = |at: &str| {
            moment(at)
                .zip(born)
                .is_some_and(|(at, born)| at.to_ms < born)
        };
        let mut findings = std::mem::take(&mut self.findings);
        // What was measured last is said last, and shows.
        findings.sort_by_key(|(_, _, at, _)| moment(at).map(|at| at.from_ms));
        findings.retain(|(name, _, at, id)| {
            let wrong = name != "patient.born" && before(at);
            if wrong {
                let why =
                    format!("Observation {id} ({name}): of {at}, before the patient was born");
                self.imported.left_out.push(why);
            }
            !wrong
        });
        let mut newest: BTreeMap<String, i64> = BTreeMap::new();
        for (name, value, at, _) in &findings {
            if let Some(at) = moment(at).filter(|_| *value != FindingValue::Unknown) {
                let held = newest.entry(name.clone()).or_insert(at.from_ms);
                *held = at.from_ms.max(*held);
            }
        }
        let kept = |read: &Imported| read.entries.len() + read.left_out.len();
        let said = kept(&self.imported) + findings.len();
        for (name, value, at, id) in findings {
            let measured = matches!(
                catalogue::field(&name).map(|f| f.merge),
                Some(Merge::Latest)
            );
            let time = moment(&at);
            let older = time.as_ref().zip(newest.get(&name));
            // A day alone may be later than an hour of it.
            if measured && older.is_some_and(|(time, newest)| time.is_before(*newest)) {
                self.imported.left_out.push(format!(
                    "Observation {id} ({name}): of {at}; a newer one counts"
                ));
                continue;
            }
            if let (true, Some(time)) = (measured, time) {
                let held = self
                    .imported
                    .measured
                    .entry(name.clone())
                    .or_insert(time.to_ms);
                *held = time.to_ms.max(*held);
            }
            self.imported.entries.push(Entry::Finding { name, value });
        }
        protocol::always!(kept(&self.imported) == said, "what is said is kept or told");
        for (at, line) in std::mem::take(&mut self.history) {
            match before(&at) {
                true => self
                    .imported
                    .left_out
                    .push(format!("{line}: of {at}, before the patient was born")),
                false => self.imported.entries.push(Entry::Note(crate::clip(&line))),
            }
        }
        // What could not be read stands beside what could, word for word, unless it is older:
        // nobody is calmed by the other alone.
        for (name, at, words) in self.unread {
            let older = moment(&at)
                .zip(newest.get(&name))
                .is_some_and(|(at, newest)| at.is_before(*newest));
            let beside = |entry: &Entry| matches!(entry, Entry::Finding { name: other, .. } if *other == name);
            if !older && !words.is_empty() && self.imported.entries.iter().any(beside) {
                self.imported.entries.push(Entry::Finding {
                    name,
                    value: FindingValue::Text(words),
                });
            }
        }
        let read = match self.imported.entries.is_empty() {
            true => self.imported,
            false => self.imported.settled(),
        };
        protocol::always!(!read.entries.contains(&Entry::consent("share", true)));
        read
    }
}

/// Whether what a resource of ours says is read; the others only repeat it, or surround it.
fn is_read(kind: &str) -> bool {
    matches!(
        kind,
        "Patient"
            | "RelatedPerson"
            | "Observation"
            | "Consent"
            | "MedicationAdministration"
            | "ClinicalImpression"
            | "AllergyIntolerance"
            | "Media"
            | "Immunization"
            | "Procedure"
    )
}

/// Whether a resource has a name as we give it (RFC 9562, version 8), and is none that somebody put into a bundle of
/// ours.
fn is_own_name(resource: &Value) -> bool {
    let id = text_at(resource, &["id"]).unwrap_or_default();
    let parts: Vec<_> = id.split('-').collect();
    parts.iter().map(|part| part.len()).eq([8, 4, 4, 4, 12])
        && parts.get(2).is_some_and(|part| part.starts_with('8'))
}

/// How somebody stands to the patient: as it is called, or by the codes of HL7's that are usual.
fn relation_of(concept: &Value) -> Option<String> {
    const CODES: [(&str, &str); 6] = [
        ("MTH", "mother"),
        ("FTH", "father"),
        ("GRMTH", "grandmother"),
        ("SIS", "sister"),
        ("AUNT", "aunt"),
        ("GUARD", "guardian"),
    ];
    let words = text_at(concept, &["text"]).map(str::to_owned);
    let mut codings = items(concept, "coding").iter();
    words.or_else(|| {
        codings.find_map(|coding| {
            let code = text_at(coding, &["code"]);
            let usual = CODES.iter().find(|(known, _)| Some(*known) == code);
            let usual = usual.map(|(_, word)| (*word).to_owned());
            usual.or_else(|| text_at(coding, &["display"]).or(code).map(str::to_owned))
        })
    })
}
