//! What people type about a case, as entries: findings, consent, doses, decisions. What cannot be
//! is refused with what would do.

use clinical::FindingValue;
use clinical::calendar::{number, read_date};
use clinical::catalogue;
use protocol::always;
use record::exchange::units;
use record::{CaseView, DoseEntry, Entry};

use super::{CaseWords, Refusal};

/// The head of a record: who the patient is, and what was consented to.
pub fn head(
    fields: &[(String, String)],
    consent: &[(String, bool)],
) -> Result<Vec<Entry>, Refusal> {
    let mut entries = Vec::new();
    for (name, value) in fields {
        entries.push(finding(name, value)?);
    }
    for (to, given) in consent {
        entries.push(consented(to, *given)?);
    }
    always!(entries.len() == fields.len() + consent.len());
    Ok(entries)
}

/// Whether an entry gives an age for which there are rules.
pub fn is_young(entry: &Entry) -> bool {
    let Entry::Finding {
        name,
        value: FindingValue::Number(age),
    } = entry
    else {
        return false;
    };
    match name.as_str() {
        "age_years" => *age < 5.0,
        "age_months" => *age < 60.0,
        "age_days" => *age < 1826.0,
        "age_hours" => *age < 1826.0 * 24.0,
        _ => false,
    }
}

/// Consent to a use, or its end.
pub fn consented(to: &str, given: bool) -> Result<Entry, Refusal> {
    match catalogue::field(&format!("consent.{to}")) {
        Some(_) => Ok(Entry::consent(to, given)),
        None => Err(Refusal::NotAConsent(to.to_owned())),
    }
}

/// A value for a field, as it is typed.
pub fn finding(name: &str, typed: &str) -> Result<Entry, Refusal> {
    let value = catalogue::read_value(name, typed).map_err(Refusal::from)?;
    Ok(Entry::Finding {
        name: name.to_owned(),
        value,
    })
}

/// `amoxicillin 250 mg`, and what else was said of it.
pub fn read_dose(text: &str, said: &CaseWords) -> Result<Entry, Refusal> {
    // A day may be of another calendar.
    let given = read_date(&said.given).unwrap_or_else(|| said.given.clone());
    if !given.is_empty() && !clinical::date::is_instant(&given) {
        return Err(Refusal::NotATime(given));
    }
    let route = record::clip(&said.route);
    let words: Vec<_> = text.split_whitespace().collect();
    let parsed = match words.as_slice() {
        [medicine @ .., amount, unit] if !medicine.is_empty() => {
            let medicine = medicine.join(" ");
            let amount = number(amount);
            let unit = amount.and_then(|amount| units::plausible_dose(&medicine, amount, unit));
            let origin = String::new();
            amount.zip(unit).map(|(amount, unit)| DoseEntry {
                medicine,
                amount,
                unit,
                route,
                given,
                origin,
            })
        }
        _ => None,
    };
    parsed
        .map(Entry::Dose)
        .ok_or_else(|| Refusal::NotADose(text.to_owned()))
}

/// That a dose of the case was not given after all. Who says so says why.
pub fn taken_back(view: &CaseView, dose: &str, reason: &str) -> Result<Entry, Refusal> {
    let named: Vec<_> = view
        .doses
        .iter()
        .filter(|given| given.id().starts_with(&dose.to_lowercase()))
        .collect();
    let [given] = named.as_slice() else {
        let several = !named.is_empty();
        return Err(Refusal::NoSuchDose(dose.to_owned(), several));
    };
    if !given.counts() {
        return Err(Refusal::DoseTakenBack);
    }
    if reason.trim().is_empty() {
        return Err(Refusal::DoseReasonMissing);
    }
    Ok(Entry::NotGiven {
        dose: given.key.clone(),
        reason: record::clip(reason),
    })
}
