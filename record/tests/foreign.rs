//! Bundles in the shape of those that other systems export (`rigs/foreign.py`): what has a code that is
//! known here is kept, and nothing goes without a word.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use clinical::FindingValue;
use record::Entry;
use record::exchange::{Imported, fhir};
use serde_json::Value;

/// LOINC codes, and what they are here.
const KNOWN: [(&str, &str); 19] = [
    ("8310-5", "temperature"),
    ("9279-1", "respiratory_rate"),
    ("59408-5", "spo2"),
    ("2708-6", "spo2"),
    ("20564-1", "spo2"),
    ("29463-7", "weight"),
    ("3141-9", "weight"),
    ("8302-2", "height"),
    ("8306-3", "length"),
    ("8867-4", "pulse"),
    ("718-7", "haemoglobin"),
    ("56072-2", "muac"),
    ("8480-6", "bp_systolic"),
    ("8462-4", "bp_diastolic"),
    ("70569-9", "malaria_test"),
    ("8328-7", "temperature"),
    ("9303-9", "respiratory_rate"),
    ("8308-9", "height"),
    ("85354-9", "bp_systolic"),
];

fn files() -> Vec<(String, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/foreign");
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            (name, std::fs::read_to_string(path).unwrap())
        })
        .collect();
    files.sort();
    files
}

fn resources(text: &str) -> Vec<Value> {
    match serde_json::from_str::<Value>(text) {
        Ok(bundle) => bundle["entry"]
            .as_array()
            .unwrap()
            .iter()
            .map(|entry| entry["resource"].clone())
            .collect(),
        Err(_) => text
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect(),
    }
}

fn field_of(resource: &Value) -> Option<&'static str> {
    if resource["resourceType"] != "Observation" {
        return None;
    }
    let codings = resource["code"]["coding"].as_array()?;
    let code = |coding: &Value| {
        KNOWN
            .iter()
            .find(|(code, _)| coding["code"] == *code)
            .map(|(_, field)| *field)
    };
    codings.iter().find_map(code)
}

fn said(cases: &[Imported]) -> BTreeMap<String, Vec<FindingValue>> {
    let mut said: BTreeMap<String, Vec<FindingValue>> = BTreeMap::new();
    for entry in cases.iter().flat_map(|case| &case.entries) {
        if let Entry::Finding { name, value } = entry {
            said.entry(name.clone()).or_default().push(value.clone());
        }
    }
    said
}

/// What a file says, and what was read of it.
struct Read {
    name: String,
    resources: Vec<Value>,
    cases: Vec<Imported>,
    said: BTreeMap<String, Vec<FindingValue>>,
    /// All that was said of what was left out.
    words: String,
}

impl Read {
    fn of((name, text): &(String, String)) -> Self {
        let cases = fhir::read(text).unwrap_or_else(|why| panic!("{name}: {why}"));
        let left_out = cases.iter().flat_map(|case| {
            case.left_out
                .iter()
                .chain(&case.in_words)
                .map(String::as_str)
        });
        Self {
            name: name.clone(),
            resources: resources(text),
            said: said(&cases),
            words: left_out.collect::<Vec<_>>().join("\n"),
            cases,
        }
    }

    /// Of each field, when it was measured last.
    fn newest(&self) -> BTreeMap<&'static str, String> {
        let mut newest = BTreeMap::new();
        for resource in &self.resources {
            if let Some(field) = field_of(resource) {
                let last: &mut String = newest.entry(field).or_default();
                *last = time_of(resource).to_owned().max(std::mem::take(last));
            }
        }
        newest
    }

    /// Observations with a code that is known here: how many there are, and those that neither stand nor
    /// are said to be older than what stands.
    fn gone(&self) -> (usize, BTreeSet<String>) {
        let (newest, mut known, mut gone) = (self.newest(), 0, BTreeSet::new());
        for resource in &self.resources {
            let Some(field) = field_of(resource) else {
                continue;
            };
            known += 1;
            let id = resource["id"].as_str().unwrap();
            let counts = time_of(resource) == newest[field] || self.words.contains(id);
            if !self.said.contains_key(field) || !counts {
                gone.insert(format!("{}: {field} {id}", self.name));
            }
        }
        (known, gone)
    }

    /// Whether anything is said, or kept, of a resource.
    fn is_told(&self, resource: &Value) -> bool {
        let (kind, id) = (
            resource["resourceType"].as_str().unwrap(),
            resource["id"].as_str().unwrap(),
        );
        let dose = |entry: &Entry| matches!(entry, Entry::Dose(_));
        match kind {
            "Patient" => true,
            "MedicationAdministration" => {
                self.cases.iter().flat_map(|case| &case.entries).any(dose)
            }
            "AllergyIntolerance" => self.said.contains_key("allergies"),
            "Organization" | "Practitioner" | "Location" | "Encounter" | "Provenance" => {
                self.words.contains(kind)
            }
            _ => self.words.contains(id),
        }
    }
}

fn time_of(resource: &Value) -> &str {
    resource["effectiveDateTime"].as_str().unwrap_or_default()
}

#[test]
fn what_has_a_known_code_is_kept_and_nothing_goes_without_a_word() {
    let files = files();
    let of_synthea = files
        .iter()
        .filter(|(name, _)| name.starts_with("synthea"))
        .count();
    assert!(of_synthea >= 15 && files.len() - of_synthea >= 5);
    let (mut known, mut gone) = (0, BTreeSet::new());
    for read in files.iter().map(Read::of) {
        let (of_this, gone_of_this) = read.gone();
        known += of_this;
        gone.extend(gone_of_this);
        for resource in read
            .resources
            .iter()
            .filter(|resource| field_of(resource).is_none())
        {
            assert!(
                read.is_told(resource),
                "{}: {resource} went without a word:\n{}",
                read.name,
                read.words
            );
        }
    }
    assert!(
        known > 200 && gone.len() * 20 <= known,
        "of {known}: {gone:?}"
    );
}

/// A bundle of one patient with a history: kind, where its name stands, its name, and what else it says.
fn history_of(resources: &[(&str, &str, &str, &str)]) -> String {
    let resource = |(kind, what, word, rest): &(&str, &str, &str, &str)| {
        let subject = if *kind == "Immunization" {
            "patient"
        } else {
            "subject"
        };
        let codes =
            r#"[{"system":"http://snomed.info/sct","code":"1"},{"system":"urn:x","code":"2"}]"#;
        format!(
            r#"{{"resource":{{"resourceType":"{kind}","id":"{word}","{subject}":{{"reference":"Patient/p"}},"{what}":{{"text":"{word}","coding":{codes}}},{rest}}}}}"#
        )
    };
    let all: Vec<_> = resources.iter().map(resource).collect();
    format!(
        r#"{{"resourceType":"Bundle","type":"collection","entry":[{{"resource":{{"resourceType":"Patient","id":"p"}}}},{}]}}"#,
        all.join(",")
    )
}

/// A history that no field has is kept in words with its codes; what did not happen is listed, and not kept.
#[test]
fn a_patient_s_history_is_kept_in_words_where_it_holds() {
    let medicine = "medicationCodeableConcept";
    let active = r#""clinicalStatus":{"coding":[{"code":"active"}]}"#;
    let sickle = format!(r#"{active},"onsetDateTime":"2024-03""#);
    let refuted = format!(r#"{active},"verificationStatus":{{"coding":[{{"code":"refuted"}}]}}"#);
    let given = r#""status":"completed","occurrenceDateTime":"2025-01-02""#;
    let resources = [
        ("Condition", "code", "Sickle", sickle.as_str()),
        ("Condition", "code", "Epilepsy", &refuted),
        (
            "MedicationStatement",
            medicine,
            "Iron",
            r#""status":"active""#,
        ),
        (
            "MedicationRequest",
            medicine,
            "Zinc",
            r#""status":"cancelled""#,
        ),
        ("Immunization", "vaccineCode", "Measles", given),
        (
            "Immunization",
            "vaccineCode",
            "Polio",
            r#""status":"not-done""#,
        ),
        (
            "Procedure",
            "code",
            "Transfusion",
            r#""status":"completed""#,
        ),
        (
            "Procedure",
            "code",
            "Amputation",
            r#""status":"entered-in-error""#,
        ),
    ];
    let cases = fhir::read(&history_of(&resources)).unwrap();
    let notes = (cases.iter().flat_map(|case| &case.entries)).filter_map(|entry| match entry {
        Entry::Note(note) => Some(note.as_str()),
        _ => None,
    });
    let kept = [
        "problem: Sickle (SNOMED CT 1; urn:x 2), active, 2024-03",
        // It takes back what an earlier file has said; where none has, nothing is kept of it.
        "taken back by its system: problem: Epilepsy (SNOMED CT 1; urn:x 2)",
        "medicine taken: Iron (SNOMED CT 1; urn:x 2), active",
        "taken back by its system: medicine ordered: Zinc (SNOMED CT 1; urn:x 2)",
        "vaccination: Measles (SNOMED CT 1; urn:x 2), completed, 2025-01-02",
        "taken back by its system: vaccination: Polio (SNOMED CT 1; urn:x 2)",
        "procedure: Transfusion (SNOMED CT 1; urn:x 2), completed",
        "taken back by its system: procedure: Amputation (SNOMED CT 1; urn:x 2)",
    ];
    let mut notes: Vec<_> = notes.collect();
    let mut kept = kept.to_vec();
    notes.sort_unstable();
    kept.sort_unstable();
    assert_eq!(notes, kept);
    let words = cases
        .iter()
        .flat_map(|case| [case.left_out.clone(), case.in_words.clone()].concat());
    let words = words.collect::<Vec<_>>().join("\n");
    for (_, _, word, _) in resources {
        assert!(words.contains(word), "{word}: {words}");
    }
}

/// What turns a medicine or a vaccination round is no history of it.
#[test]
fn what_is_not_to_be_done_or_did_not_work_is_no_history() {
    let medicine = "medicationCodeableConcept";
    let resources = [
        (
            "MedicationRequest",
            medicine,
            "Aspirin",
            r#""status":"active","doNotPerform":true"#,
        ),
        (
            "MedicationRequest",
            medicine,
            "Iron",
            r#""status":"active","intent":"proposal""#,
        ),
        (
            "Immunization",
            "vaccineCode",
            "Measles",
            r#""status":"completed","isSubpotent":true"#,
        ),
        (
            "Condition",
            "code",
            "Epilepsy",
            r#""verificationStatus":{"text":"Refuted"}"#,
        ),
    ];
    let cases = fhir::read(&history_of(&resources)).unwrap();
    let notes = cases.iter().flat_map(|case| &case.entries);
    assert_eq!(
        notes
            .filter(|entry| matches!(entry, Entry::Note(_)))
            .count(),
        0
    );
    // The controls.
    let harmless = resources.map(|(kind, what, word, rest)| {
        let rest = rest.replace("true", "false").replace("proposal", "order");
        (
            kind,
            what,
            word,
            rest.replace(r#"{"text":"Refuted"}"#, "null"),
        )
    });
    let harmless = harmless
        .each_ref()
        .map(|(kind, what, word, rest)| (*kind, *what, *word, rest.as_str()));
    let cases = fhir::read(&history_of(&harmless)).unwrap();
    let notes = cases.iter().flat_map(|case| &case.entries);
    assert_eq!(
        notes
            .filter(|entry| matches!(entry, Entry::Note(_)))
            .count(),
        4
    );
}

/// A medicine that lies within what was given, or elsewhere in the bundle, is the one that was given.
#[test]
fn a_medicine_is_found_where_it_is_referred_to() {
    let given = |id: &str, reference: &str, contained: &str| {
        format!(
            r#"{{"resource":{{"resourceType":"MedicationAdministration","id":"{id}","status":"completed","subject":{{"reference":"Patient/p"}}{contained},"medicationReference":{{"reference":"{reference}"}},"effectiveDateTime":"2026-01-0{id}","dosage":{{"dose":{{"value":250,"unit":"mg"}}}}}}}}"#
        )
    };
    let zinc =
        r#","contained":[{"resourceType":"Medication","id":"m","code":{"text":"amoxicillin"}}]"#;
    let medicine = |url: &str, id: &str| {
        format!(
            r#"{{"fullUrl":"{url}","resource":{{"resourceType":"Medication","id":"{id}","code":{{"text":"amoxicillin"}}}}}}"#
        )
    };
    let all = [
        given("1", "#m", zinc),
        given("2", "urn:uuid:0a", ""),
        given("3", "Medication/x", ""),
        given("4", "Medication/nowhere", ""),
        medicine("urn:uuid:0a", "a"),
        medicine("http://a.example/fhir/Medication/x", "x"),
    ];
    let text = format!(
        r#"{{"resourceType":"Bundle","type":"collection","entry":[{{"resource":{{"resourceType":"Patient","id":"p"}}}},{}]}}"#,
        all.join(",")
    );
    let cases = fhir::read(&text).unwrap();
    let doses = cases
        .iter()
        .flat_map(|case| &case.entries)
        .filter_map(|entry| match entry {
            Entry::Dose(dose) => Some((dose.medicine.as_str(), dose.given.as_str())),
            _ => None,
        });
    let days = ["2026-01-01", "2026-01-02", "2026-01-03"].map(|day| ("amoxicillin", day));
    assert_eq!(doses.collect::<Vec<_>>(), days);
}

/// A medicine that stands once in a long file of bulk data is found by every patient who was given it.
#[test]
fn a_medicine_of_bulk_data_is_found_by_all() {
    let mut lines = String::from(
        "{\"resourceType\":\"Medication\",\"id\":\"m\",\"code\":{\"text\":\"amoxicillin\"}}\n",
    );
    for n in 0..150 {
        lines += &format!(
            r#"{{"resourceType":"Patient","id":"p{n}","identifier":[{{"system":"http://x.example","value":"{n}"}}]}}"#
        );
        lines += "\n";
        lines += &format!(
            r#"{{"resourceType":"MedicationAdministration","id":"d{n}","status":"completed","subject":{{"reference":"Patient/p{n}"}},"medicationReference":{{"reference":"Medication/m"}},"effectiveDateTime":"2026-01-02T08:00:00Z","dosage":{{"dose":{{"value":250,"unit":"mg"}}}}}}"#
        );
        lines += "\n";
    }
    let cases = fhir::read(&lines).unwrap();
    let gave = |case: &&Imported| {
        case.entries
            .iter()
            .any(|entry| matches!(entry, Entry::Dose(_)))
    };
    assert_eq!(cases.iter().filter(gave).count(), 150);
    let told = cases.iter().flat_map(|case| &case.left_out);
    assert_eq!(
        told.filter(|what| what.contains("1 Medication")).count(),
        1,
        "once"
    );
}

/// What is of a time that has not been yet, or of one before the patient was born, is left out and said.
#[test]
fn what_was_measured_before_birth_or_is_still_to_come_is_left_out() {
    let at = |id: &str, day: &str| {
        format!(
            r#"{{"resource":{{"resourceType":"Observation","id":"{id}","status":"final","code":{{"coding":[{{"system":"http://loinc.org","code":"59408-5"}}]}},"subject":{{"reference":"Patient/p"}},"effectiveDateTime":"{day}","valueQuantity":{{"value":9{id},"unit":"%"}}}}}}"#
        )
    };
    let all = [
        at("1", "2021-01-01"),
        at("2", "2026-01-02"),
        at("3", "2031-01-01"),
    ];
    let text = format!(
        r#"{{"resourceType":"Bundle","type":"collection","entry":[{{"resource":{{"resourceType":"Patient","id":"p","birthDate":"2024-05-01"}}}},{}]}}"#,
        all.join(",")
    );
    let until = 1_800_000_000; // 2027
    let cases = fhir::read_until(&text, until).unwrap();
    assert_eq!(said(&cases)["spo2"], [FindingValue::Number(92.0)]);
    let words = cases[0].left_out.join("\n");
    assert!(
        words.contains("before the patient was born") && words.contains("still to come"),
        "{words}"
    );
    assert_eq!(
        said(&fhir::read(&text).unwrap())["spo2"],
        [FindingValue::Number(93.0)],
        "the control"
    );
}

/// What only asks another system to do something is no record.
#[test]
fn requests_that_take_away_are_refused() {
    let (_, text) = files()
        .into_iter()
        .find(|(name, _)| name == "hub-batch.json")
        .unwrap();
    assert!(fhir::read(&text).is_ok());
    for method in ["DELETE", "PATCH", "GET"] {
        let said = fhir::read(&text.replacen("PUT", method, 1))
            .unwrap_err()
            .to_string();
        assert!(said.contains("says what was done"), "{method}: {said}");
    }
}

/// Shares, other degrees and others' words for an answer.
#[test]
fn units_and_answers_of_others_are_understood() {
    let read = |name: &str| Read::of(files().iter().find(|(file, _)| file == name).unwrap()).said;
    let number = |of: f64| vec![FindingValue::Number(of)];
    let bulk = read("bulk-ndjson.ndjson");
    assert_eq!(
        (&bulk["spo2"], &bulk["weight"], &bulk["haemoglobin"]),
        (&number(97.0), &number(9.3), &number(64.0))
    );
    assert_eq!(read("openmrs-collection.json")["temperature"], number(36.9));
    assert_eq!(read("ips-document.json")["temperature"], number(36.889));
    assert_eq!(
        read("hub-batch.json")["malaria_test"],
        [FindingValue::Text("positive".into())]
    );
}

/// A file of many patients is read some at a time, and says the same as their files one by one.
#[test]
fn many_patients_a_line_each_are_read_as_one_by_one() {
    let (mut all, mut alone) = (String::new(), Vec::new());
    for n in 0..300 {
        let patient = format!(
            r#"{{"resourceType":"Patient","id":"p{n}","identifier":[{{"system":"http://x.example","value":"{n}"}}],"birthDate":"2025-03-04"}}"#
        );
        let oxygen = format!(
            r#"{{"resourceType":"Observation","id":"o{n}","status":"final","code":{{"coding":[{{"system":"http://loinc.org","code":"59408-5"}}]}},"subject":{{"reference":"Patient/p{n}"}},"effectiveDateTime":"2026-10-04T10:20:00Z","valueQuantity":{{"value":{},"unit":"%"}}}}"#,
            80 + n % 20
        );
        // Not beside each other, as servers write bulk data.
        all = format!("{oxygen}\n{all}{patient}\n");
        alone.extend(fhir::read(&format!("{patient}\n{oxygen}\n")).unwrap());
    }
    let key = |case: &Imported| format!("{:?}", (&case.known_as, said(std::slice::from_ref(case))));
    let of = |cases: &[Imported]| cases.iter().map(key).collect::<BTreeSet<_>>();
    let together = fhir::read(&all).unwrap();
    assert_eq!(together.len(), 300);
    assert_eq!(of(&together), of(&alone));
    // Whose a line is that names nobody of the file, nobody guesses.
    let stray = all.replacen("Patient/p7\"", "Patient/elsewhere\"", 1);
    let cases = fhir::read(&stray).unwrap();
    let told = cases
        .iter()
        .flat_map(|case| &case.left_out)
        .any(|line| line.contains("Observation o7 "));
    assert!(told && cases.len() == 300);
    // Patients of whom nothing is said cost the others nothing.
    let bare = |n: usize| format!(r#"{{"resourceType":"Patient","id":"bare{n}"}}"#) + "\n";
    let bare: String = (0..64).map(bare).collect();
    let cases = fhir::read(&format!("{bare}{all}")).unwrap();
    let full = cases.iter().filter(|case| !case.entries.is_empty()).count();
    assert_eq!(full, 300);
}

fn bundle(kind: &str, entries: &str) -> String {
    format!(
        r#"{{"resourceType":"Bundle","type":"{kind}","identifier":{{"system":"urn:x","value":"NAME"}},"entry":[{entries}]}}"#
    )
}

const PATIENT: &str = r#"{"resource":{"resourceType":"Patient","id":"p","identifier":[{"system":"urn:y","value":"7"}],"name":[{"text":"A"}]MORE}}"#;

/// What says nothing that can be read is told, and a code that says "none" is read.
#[test]
fn nothing_that_lies_at_an_odd_place_goes_without_a_word() {
    let patient = |more: &str| PATIENT.replace("MORE", more);
    let left_out = |entries: &str| {
        let read = fhir::read(&bundle("collection", entries)).unwrap();
        read.iter()
            .flat_map(|one| one.left_out.clone())
            .collect::<Vec<_>>()
            .join("; ")
    };
    assert_eq!(left_out(&patient("")), "", "the control");
    let dead = patient(r#","deceasedBoolean":"yes""#);
    assert!(left_out(&dead).contains("neither true nor false"));
    let bare = format!(
        r#"{},{{"resourceType":"Observation","id":"o"}}"#,
        patient("")
    );
    assert!(left_out(&bare).contains("not as its resource"));
    let allergy = r#"{"resource":{"resourceType":"AllergyIntolerance","patient":{"reference":"Patient/p"},"code":{"coding":[{"system":"http://snomed.info/sct","code":"716186003"}]}}}"#;
    let read = fhir::read(&bundle("collection", &format!("{},{allergy}", patient("")))).unwrap();
    assert_eq!(
        said(&read)["allergies"],
        [FindingValue::Text("none known".into())]
    );
    let task = r#"{"resource":{"resourceType":"Task","for":{"reference":"Patient/p"},"focus":{"reference":"ServiceRequest/s"}}}"#;
    let of_task = left_out(&format!("{},{task}", patient("")));
    assert!(
        of_task.contains("not read here") && !of_task.contains("several patients"),
        "{of_task}"
    );
}

/// A bundle may have a new name whenever it is written, or the name of an export of many: its patient is known by
/// the patient's own.
#[test]
fn a_bundle_written_anew_is_of_the_same_patient() {
    let known = |kind: &str, name: &str| {
        let text = bundle(kind, &PATIENT.replace("MORE", "")).replace("NAME", name);
        fhir::read(&text).unwrap().remove(0).known_as
    };
    for kind in ["document", "collection"] {
        assert_eq!(known(kind, "1"), known(kind, "2"), "{kind}");
    }
    let other = |text: &str| fhir::read(text).unwrap().remove(0).known_as;
    let one = bundle("collection", &PATIENT.replace("MORE", ""));
    assert_ne!(
        other(&one),
        other(&one.replace("\"7\"", "\"8\"")),
        "the control"
    );
}
