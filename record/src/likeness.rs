//! Record linkage: how alike two cases' patients are. A person decides; this only finds what to ask
//! about.

use std::collections::BTreeSet;

use clinical::FindingValue;
use clinical::age::MONTH_DAYS;

use crate::view::CaseView;

/// Pairs of letters of a name, whatever the order of its parts.
fn letter_pairs(name: &str) -> BTreeSet<(char, char)> {
    let lower = name.to_lowercase();
    let parts = lower
        .split(|c: char| !c.is_alphanumeric())
        .filter(|part| !part.is_empty());
    let pairs = |part: &str| {
        let letters: Vec<char> = std::iter::once(' ')
            .chain(part.chars())
            .chain([' '])
            .collect();
        letters
            .windows(2)
            .filter_map(|w| Some((*w.first()?, *w.last()?)))
            .collect::<Vec<_>>()
    };
    parts.flat_map(pairs).collect()
}

/// How alike two cases' patients are, of 100; `None` if something says that they are different
/// people. A person decides; this only finds what to ask about.
///
/// One word that differs (a sex typed wrongly, a village written otherwise) does not make two people of one
/// where a birth date or a telephone speaks for it; and those two together do where a newborn has got its
/// name since.
pub fn likeness(a: &CaseView, b: &CaseView) -> Option<u32> {
    let both = |name: &str| Some((text(a, name)?, text(b, name)?));
    let same = |name: &str| both(name).is_some_and(|(x, y)| plain(x) == plain(y));
    let differ = |name: &str| both(name).is_some_and(|(x, y)| plain(x) != plain(y));
    if same("patient.national_id") {
        return Some(100);
    }
    if differ("patient.national_id") {
        return None;
    }
    let (born, phone) = (same("patient.born"), same("patient.caregiver_phone"));
    // A child grows between visits; what was said of its age is often a guess.
    if let (Some(x), Some(y)) = (months(a), months(b))
        && (x - y).abs() > 4.0 + 0.25 * x.max(y)
        && !born
    {
        return None;
    }
    let elsewhere = both("patient.village").is_some_and(|(x, y)| !one_place(x, y));
    let wrong = u32::from(differ("patient.sex")) + u32::from(elsewhere);
    let (x, y) = both("patient.name")?;
    let alike = pairs_alike(x, y);
    protocol::always!(alike <= 100);
    match wrong {
        0 if alike >= 60 => Some(alike),
        0 if born && phone => Some(60),
        1 if alike >= 60 && (born || phone) => Some(alike - 20),
        _ => None,
    }
}

/// A word without what is written this way or that.
fn plain(word: &str) -> String {
    let letters = word.chars().filter(|c| c.is_alphanumeric());
    letters.flat_map(char::to_lowercase).collect()
}

/// How many pairs of letters two names share, of 100.
fn pairs_alike(x: &str, y: &str) -> u32 {
    let (x, y) = (letter_pairs(x), letter_pairs(y));
    let common = x.intersection(&y).count();
    (200 * common / (x.len() + y.len()).max(1)) as u32
}

/// Whether two words mean one place: one may only say more of it ("Mtwapa village").
fn one_place(x: &str, y: &str) -> bool {
    let (x_pairs, y_pairs) = (letter_pairs(x), letter_pairs(y));
    let within = x_pairs.is_subset(&y_pairs) || y_pairs.is_subset(&x_pairs);
    within || pairs_alike(x, y) >= 60
}

fn text<'a>(view: &'a CaseView, name: &str) -> Option<&'a str> {
    match &view.findings.get(name)?.value {
        FindingValue::Text(text) if !text.is_empty() => Some(text),
        FindingValue::Yes
        | FindingValue::No
        | FindingValue::Unknown
        | FindingValue::Number(_)
        | FindingValue::Text(_) => None,
    }
}

fn months(view: &CaseView) -> Option<f64> {
    let number = |name: &str| match view.findings.get(name).map(|f| &f.value) {
        Some(FindingValue::Number(n)) => Some(*n),
        _ => None,
    };
    let years = || Some(number("age_years")? * 12.0);
    number("age_months")
        .or_else(|| Some(number("age_days")? / MONTH_DAYS))
        .or_else(years)
}
