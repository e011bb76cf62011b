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

/// Whether a record that comes under the number of a case is of its patient.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Identity {
    /// Nothing says otherwise.
    Same,
    /// One thing is said otherwise, and the rest shows that it was put right: which.
    Corrected(&'static str),
    /// It is somebody else: by what.
    Another(&'static str),
}

/// What says who a patient is.
const WHO: [&str; 5] = [
    "patient.name",
    "patient.family_name",
    "patient.sex",
    "patient.born",
    "patient.national_id",
];

/// Whether a record that comes under the number of a case is of its patient, by what it `says` of who that is.
/// What has been put right in the case since was said of this patient, too. Numbers are given twice, and twins
/// have one between them: a name is a correction only where it is the same but for a letter and the day of
/// birth stands, or for the order of its parts; a day or a sex only where the whole name stands.
pub fn identity(case: &CaseView, says: &[(&str, &str)]) -> Identity {
    let words = |name: &str| -> Vec<&str> {
        let said = case.findings.get(name).map(|state| &state.said);
        let text = said
            .into_iter()
            .flatten()
            .filter_map(|(_, value)| word(value));
        text.collect()
    };
    let said = |name: &str| -> Vec<&str> {
        let named = says.iter().filter(|(of, _)| *of == name);
        named.map(|(_, value)| *value).collect()
    };
    let one = |x: &str, y: &str| lower(x) == lower(y);
    let differs = |name: &&&str| {
        let here = words(name);
        !here.is_empty()
            && said(name)
                .iter()
                .any(|new| !here.iter().any(|old| one(old, new)))
    };
    let agrees = |name: &str| {
        said(name)
            .iter()
            .any(|new| words(name).iter().any(|old| one(old, new)))
    };
    let differing: Vec<_> = WHO.iter().filter(differs).copied().collect();
    let named = agrees("patient.name")
        && (agrees("patient.family_name")
            || said("patient.name")
                .iter()
                .any(|name| name.split_whitespace().count() > 1));
    let any = |name: &str, alike: fn(&str, &str) -> bool| {
        let here = words(name);
        said(name)
            .iter()
            .all(|new| here.iter().any(|old| alike(old, new)))
    };
    match differing.as_slice() {
        [] => Identity::Same,
        [name @ ("patient.name" | "patient.family_name")]
            if any(name, one_name_in_parts)
                || (agrees("patient.born") && any(name, one_letter_apart)) =>
        {
            Identity::Corrected(name)
        }
        [name @ "patient.born"] if named && any(name, one_day_miswritten) => {
            Identity::Corrected(name)
        }
        [name @ "patient.sex"] if named && agrees("patient.born") => Identity::Corrected(name),
        [name, ..] => Identity::Another(name),
    }
}

fn word(value: &FindingValue) -> Option<&str> {
    match value {
        FindingValue::Text(text) => Some(text),
        FindingValue::Yes | FindingValue::No | FindingValue::Unknown | FindingValue::Number(_) => {
            None
        }
    }
}

/// A word, however its letters and gaps are written.
fn lower(word: &str) -> String {
    let parts: Vec<_> = word.split_whitespace().collect();
    parts.join(" ").to_lowercase()
}

/// The same parts in another order, or more of them than before ("Amina", "Juma Amina").
fn one_name_in_parts(x: &str, y: &str) -> bool {
    let parts = |name: &str| -> BTreeSet<String> {
        let parts = name.split(|c: char| !c.is_alphanumeric());
        parts
            .filter(|part| !part.is_empty())
            .map(str::to_lowercase)
            .collect()
    };
    let (x, y) = (parts(x), parts(y));
    !x.is_empty() && !y.is_empty() && (x.is_subset(&y) || y.is_subset(&x))
}

/// Two names of four letters or more, between which one letter is more, another, or in its neighbour's place.
fn one_letter_apart(x: &str, y: &str) -> bool {
    let letters = |name: &str| plain(name).chars().collect::<Vec<_>>();
    let (x, y) = (letters(x), letters(y));
    let (short, long) = if x.len() <= y.len() {
        (&x, &y)
    } else {
        (&y, &x)
    };
    let same = short
        .iter()
        .zip(long.iter())
        .take_while(|(a, b)| a == b)
        .count();
    let rest = |name: &[char], from: usize| name.get(from..).unwrap_or_default().to_vec();
    let (left, right) = (rest(short, same), rest(long, same));
    let swapped = match (left.as_slice(), right.as_slice()) {
        ([a, b, rest @ ..], [c, d, other @ ..]) => (a, b) == (d, c) && rest == other,
        _ => false,
    };
    let another = left.len() == right.len() && rest(&left, 1) == rest(&right, 1);
    let more = right.len() == left.len() + 1 && left == rest(&right, 1);
    short.len() >= 4 && (swapped || another || more)
}

/// Two days of which one is the other, said less exactly, with one part wrong, or with day and month in each
/// other's place.
fn one_day_miswritten(x: &str, y: &str) -> bool {
    let (x, y): (Vec<_>, Vec<_>) = (x.split('-').collect(), y.split('-').collect());
    match (x.as_slice(), y.as_slice()) {
        ([a, b, c], [d, e, f]) => {
            let wrong = [a != d, b != e, c != f]
                .into_iter()
                .filter(|wrong| *wrong)
                .count();
            wrong <= 1 || (a == d && (b, c) == (f, e))
        }
        (x, y) => x.iter().zip(y).all(|(a, b)| a == b),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Case, Entry};

    /// A case in which this was said, one after the other.
    fn case(said: &[(&str, &str)]) -> CaseView {
        let keys = protocol::DeviceKeys::from_seed([1; 32]);
        let mut case = Case::new(protocol::CaseId([7; 16]));
        for (name, value) in said {
            let (name, value) = ((*name).into(), FindingValue::Text((*value).into()));
            case.add(&[Entry::Finding { name, value }], &keys, &[1; 16], 1)
                .unwrap();
        }
        case.view()
    }

    #[test]
    fn what_was_put_right_is_told_from_somebody_else() {
        let (name, family, born, sex, id) = (WHO[0], WHO[1], WHO[3], WHO[2], WHO[4]);
        let here = [
            (name, "Amina"),
            (family, "Juma"),
            (born, "2024-05-01"),
            (sex, "female"),
        ];
        let whole = case(&here);
        let said = |n: usize, value| {
            let mut said = here;
            said[n].1 = value;
            said
        };
        let all = [
            (0, "Aminah", name),
            (0, "Aimna", name),
            (1, "Jumaa", family),
            (0, "Amina Zawadi", name),
            (2, "2024-05-11", born),
            (2, "2024-01-05", born),
            (2, "2023-05-01", born),
            (2, "2024", born),
            (3, "male", sex),
        ];
        for (n, value, by) in all {
            assert_eq!(
                identity(&whole, &said(n, value)),
                Identity::Corrected(by),
                "{value}"
            );
        }
        for (n, value) in [(0, "AMINA"), (1, " juma "), (2, "2024-05-01")] {
            assert_eq!(identity(&whole, &said(n, value)), Identity::Same, "{value}");
        }
        // A brother's, a twin's, somebody's to whom the number was given again.
        for (n, value, by) in [
            (0, "Amani", name),
            (0, "Halima", name),
            (2, "2021-11-23", born),
        ] {
            assert_eq!(
                identity(&whole, &said(n, value)),
                Identity::Another(by),
                "{value}"
            );
        }
        let two = [
            (name, "Aminah"),
            (family, "Juma"),
            (born, "2024-05-01"),
            (sex, "male"),
        ];
        assert_eq!(
            identity(&whole, &two),
            Identity::Another(name),
            "two things are otherwise"
        );
        let card = case(&[(name, "Amina Juma"), (id, "1234")]);
        assert_eq!(
            identity(&card, &[(name, "Amina Juma"), (id, "1243")]),
            Identity::Another(id)
        );
    }

    /// With nothing beside it a letter or a day is somebody else's.
    #[test]
    fn alone_nothing_is_taken_for_a_correction() {
        let (name, born) = (WHO[0], WHO[3]);
        for (here, says) in [
            ((name, "Asha"), (name, "Aisha")),
            ((born, "2024-05-01"), (born, "2024-05-11")),
        ] {
            assert_eq!(identity(&case(&[here]), &[says]), Identity::Another(says.0));
        }
        let alone = case(&[(name, "Amina"), (born, "2024-05-01")]);
        let other = identity(&alone, &[(name, "Amina"), (born, "2024-05-11")]);
        assert_eq!(
            other,
            Identity::Another(born),
            "one part of a name is many people's"
        );
        // What was put right here is this patient's too.
        let put_right = case(&[(name, "Halima"), (name, "Amina")]);
        assert_eq!(identity(&put_right, &[(name, "Halima")]), Identity::Same);
    }
}
