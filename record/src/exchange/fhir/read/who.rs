//! Who a patient is: the numbers by which systems know one, names, birth, who cares for the patient.

use std::collections::BTreeSet;

use serde_json::Value;

use super::super::super::RegisterNumber;
use super::super::{CASE_SYSTEM, ESTIMATED, NATIONAL_SYSTEM};
use super::Reading;
use super::bundle::Bundle;
use super::values::{codes_of, field_of, items, text_at};

/// Patients' numbers that are read of one record.
const NUMBERS_MAX: usize = 16;

/// What a patient is known by from file to file: the identifiers that name a system, except those that a family
/// shares (an insurance's number); else the name of the record, where that is nobody else's. What somebody else may
/// have too (an identifier without a system, an id of one server's) only together with name and day of birth.
pub(super) fn numbers_of(patient: &Value, index: &Bundle<'_>) -> Vec<RegisterNumber> {
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
    protocol::always!(numbers.iter().all(|number| !number.system.is_empty()));
    numbers
}

/// Where a patient lives, in words.
fn village_of(patient: &Value) -> Option<String> {
    let address = items(patient, "address").iter().find(|address| {
        !matches!(text_at(address, &["use"]), Some("old" | "billing"))
            && text_at(address, &["period", "end"]).is_none()
    });
    address.and_then(|address| {
        let lines = items(address, "line").iter().filter_map(Value::as_str);
        let more = ["city", "district", "state"];
        let more = more.into_iter().filter_map(|key| text_at(address, &[key]));
        let parts: Vec<_> = lines.chain(more).collect();
        let whole = text_at(address, &["text"]).map(str::to_owned);
        whole.or_else(|| (!parts.is_empty()).then(|| parts.join(", ")))
    })
}

/// The name by which a patient goes: none that is over, and no nickname.
pub(super) fn usable_name(patient: &Value) -> Option<&Value> {
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
pub(super) fn given_names(name: &Value) -> Option<String> {
    let given = items(name, "given").iter().filter_map(Value::as_str);
    let given = given.collect::<Vec<_>>().join(" ");
    (!given.is_empty()).then_some(given)
}

/// A whole name as it is called.
pub(super) fn called_in_full(name: &Value) -> Option<String> {
    let family = text_at(name, &["family"]).map(str::to_owned);
    let parts = || {
        let parts: Vec<_> = given_names(name).into_iter().chain(family).collect();
        (!parts.is_empty()).then(|| parts.join(" "))
    };
    text_at(name, &["text"]).map(str::to_owned).or_else(parts)
}

pub(super) fn name_of_patient(patient: &Value) -> Option<String> {
    called_in_full(usable_name(patient)?)
}

impl Reading {
    pub(super) fn read_patient(&mut self, patient: &Value) {
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
        let village = village_of(patient);
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
        self.read_death(patient);
        let mut contacts = items(patient, "contact").iter();
        if let Some(contact) = contacts.next() {
            self.read_caregiver(patient, contact);
        }
        self.tell_of_more(patient, contacts.count());
    }

    /// Whether the patient is dead.
    fn read_death(&mut self, patient: &Value) {
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
    }

    /// Who cares for the patient: a resource of its own, or a contact of the patient's.
    pub(super) fn read_caregiver(&mut self, resource: &Value, who: &Value) {
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
    pub(super) fn tell_of_more(&mut self, patient: &Value, contacts: usize) {
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
}

/// How somebody stands to the patient: as it is called, or by the codes of HL7's that are usual.
pub(super) fn relation_of(concept: &Value) -> Option<String> {
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
