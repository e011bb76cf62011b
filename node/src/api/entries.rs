//! What people type about a case, as entries: findings, consent, doses, decisions. What cannot be
//! is refused with what would do.

use clinical::FindingValue;
use clinical::calendar::{number, read_date};
use clinical::catalogue;
use clinical::date::instant;
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

/// Years that the oldest has lived, with some to spare.
const LIFE_YEARS: u32 = 125;
/// Before it (2026) no phone's clock is right, and nothing is held against it.
pub const CLOCK_FROM_S: u64 = 1_767_225_600;
/// Seconds of a day.
pub const DAY_S: u64 = 86_400;

/// A day that is still to come, by this phone's clock and a day more: dates of this form sort as text, of a
/// month or a year as far as they go.
pub fn is_to_come(now_s: u64, date: &str) -> bool {
    let tomorrow = instant(now_s.saturating_add(DAY_S));
    let limit = tomorrow.get(..date.len().min(10));
    now_s >= CLOCK_FROM_S && limit.is_some_and(|limit| date.get(..limit.len()) > Some(limit))
}

/// What was typed of a day, if it can have been: a year of another calendar without its mark is noticed.
pub fn in_its_time(now_s: u64, entries: &[Entry]) -> Result<(), Refusal> {
    let year = |date: &str| date.get(..4).and_then(|year| year.parse::<u32>().ok());
    let oldest = year(&instant(now_s)).map(|year| year.saturating_sub(LIFE_YEARS));
    for entry in entries {
        let born = entry.word().filter(|(name, _)| *name == "patient.born");
        let (date, birth) = match (entry, born) {
            (Entry::Dose(dose), _) => (dose.given.clone(), false),
            (_, Some((_, value))) => (value.words(), true),
            (_, None) => continue,
        };
        let is_date = date.starts_with(|c: char| c.is_ascii_digit());
        if is_date && is_to_come(now_s, &date) {
            return Err(Refusal::StillToCome(date));
        }
        let long_ago = now_s >= CLOCK_FROM_S
            && year(&date)
                .zip(oldest)
                .is_some_and(|(year, oldest)| year < oldest);
        if birth && is_date && long_ago {
            return Err(Refusal::TooLongAgo(date));
        }
    }
    Ok(())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_to_come_is_told_unless_the_clock_is_of_before_all_phones() {
        let now = CLOCK_FROM_S + 200 * DAY_S; // 20 July 2026
        for (date, later) in [
            ("2026-07-21", false),
            ("2026-07-22", true),
            ("2026-07", false),
            ("2026-08", true),
            ("2027", true),
            ("2026-07-22T09:00:00Z", true),
            ("1931", false),
        ] {
            assert_eq!(is_to_come(now, date), later, "{date}");
            assert!(!is_to_come(0, date), "a clock at 1970 tells nothing");
        }
        let born = |date: &str| finding("patient.born", date).unwrap();
        assert!(in_its_time(now, &[born("1901-01-01")]).is_ok());
        let long_ago = in_its_time(now, &[born("1900")]);
        assert_eq!(long_ago, Err(Refusal::TooLongAgo("1900".into())));
        assert!(in_its_time(0, &[born("1900")]).is_ok(), "a clock at 1970");
    }
}
