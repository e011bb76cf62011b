//! What is said beside a findings file: who the patient is, a day of birth, more of the record.

use clinical::age::{AGES, AgeError, CHILD_DAYS_MAX};
use clinical::{AgeGroup, Assessment, FindingValue, FindingsError, Profile};
use record::Entry;

use super::Refusal;
use super::assess::{Ages, Assessor, PatientFile, Values, age_from_birth};

/// How old somebody is by what is said beside a findings file: an age, else a day of birth.
pub(super) fn age_of_head(head: &[Entry], now_s: u64) -> Ages {
    let (mut said, mut born) = (Ages::new(), None);
    for entry in head {
        let Entry::Finding { name, value } = entry else {
            continue;
        };
        if name == "patient.born" {
            born = age_from_birth(value, now_s);
        }
        if let (true, FindingValue::Number(number)) = (AGES.contains(&name.as_str()), value) {
            match name.as_str() {
                "age_years" => said.insert("age_months".to_owned(), *number * 12.0),
                _ => said.insert(name.clone(), *number),
            };
        }
    }
    match said.is_empty() {
        true => born.into_iter().collect(),
        false => said,
    }
}

/// What a findings file says together with what was said beside it: a sign that is there in either is there.
pub(super) fn with_what_is_beside(
    assessor: &dyn Assessor,
    file: &PatientFile,
    head: &[Entry],
) -> Values {
    let mut said = Values::new();
    for entry in head {
        if let Entry::Finding { name, value } = entry
            && !name.contains('.')
        {
            said.insert(name.clone(), value.clone());
        }
    }
    let mut values = file.values.clone();
    for (name, value) in assessor.recorded(&said) {
        match values.get(&name) {
            Some(FindingValue::Yes) => {}
            _ => drop(values.insert(name, value)),
        }
    }
    values
}

/// What a findings file comes to together with what was said beside it; `None`: nothing of that is a
/// finding.
pub(super) fn assess_with_head(
    assessor: &dyn Assessor,
    file: &PatientFile,
    head: &[Entry],
    profile: Profile,
    now_s: u64,
) -> Option<Assessment> {
    let mut born = None;
    for entry in head {
        if let Entry::Finding { name, value } = entry
            && name == "patient.born"
        {
            born = age_from_birth(value, now_s);
        }
    }
    let mut values = with_what_is_beside(assessor, file, head);
    if !file.text.is_empty() {
        let words = FindingValue::Text(file.text.clone());
        values.insert(clinical::TEXT.into(), words);
    }
    let age = match file.group {
        AgeGroup::Infant => "age_hours",
        AgeGroup::Child | AgeGroup::Mother | AgeGroup::Adult => "age_months",
    };
    let of_file = match values.get(age) {
        Some(FindingValue::Number(number)) => Some((age.to_owned(), *number)),
        _ => None,
    };
    // A mother is judged without an age too.
    let ageless = (file.group == AgeGroup::Mother).then(Ages::new);
    let ages = [of_file, born].into_iter().flatten();
    let ages = ages.map(|age| Ages::from([age])).chain(ageless);
    let judged = ages.filter_map(|ages| {
        assessor
            .judge(values.clone(), &ages, profile)
            .ok()
            .flatten()
    });
    judged.max_by_key(|assessment| assessment.urgency)
}

/// One person does not say two things at once: of what the file and the fields beside it both name,
/// either is taken only where they agree, and a child of the file was not born before its age.
pub(super) fn said_once(file: &PatientFile, head: &[Entry], now_s: u64) -> Result<(), Refusal> {
    for entry in head {
        let Entry::Finding { name, value } = entry else {
            continue;
        };
        let known = |value: &FindingValue| *value != FindingValue::Unknown;
        match file.values.get(name) {
            Some(other) if other != value && known(other) && known(value) => {
                return Err(Refusal::SaidTwice(name.clone()));
            }
            // Where the file names none, it is the file's.
            None if AGES.contains(&name.as_str()) && known(value) && !file.ages.is_empty() => {
                return Err(Refusal::Findings(FindingsError::Age(AgeError::Several)));
            }
            Some(_) | None => {}
        }
        let born = (name == "patient.born")
            .then(|| age_from_birth(value, now_s))
            .flatten();
        let child = matches!(file.group, AgeGroup::Infant | AgeGroup::Child);
        if child && born.is_some_and(|(_, days)| days > CHILD_DAYS_MAX) {
            return Err(Refusal::Findings(FindingsError::Age(AgeError::NotAChild)));
        }
    }
    Ok(())
}
