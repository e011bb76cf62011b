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

/// The number under which a record comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Number {
    /// The case's own, which nothing else has.
    Own,
    /// One of a register: given twice, shared by twins with their mother.
    Register,
}

/// Whether a record that comes under the number of a case is of its patient, by what it `says` of who that is.
/// What has been put right in the case since was said of this patient, too. One thing only may be otherwise: a
/// day of birth or a sex where the whole name stands, a name where it is the same parts and the day of birth stands.
/// Under a case's own number a name may be otherwise spelt as well.
pub fn identity(case: &CaseView, says: &[(&str, &str)], number: Number) -> Identity {
    let words = |name: &str| -> Vec<&str> {
        let said = case.findings.get(name).map(|state| &state.said);
        let text = said.into_iter().flatten();
        text.filter_map(|(_, value)| word(value)).collect()
    };
    let said = |name: &str| -> Vec<&str> {
        let named = says.iter().filter(|(of, _)| *of == name);
        named.map(|(_, value)| *value).collect()
    };
    let alike = |name: &str, alike: fn(&str, &str) -> bool| {
        let (here, new) = (words(name), said(name));
        !here.is_empty() && new.iter().all(|new| here.iter().any(|old| alike(old, new)))
    };
    let agrees = |name: &str| !said(name).is_empty() && alike(name, one_word);
    let differs =
        |name: &&&str| !words(name).is_empty() && !said(name).is_empty() && !alike(name, one_word);
    let differing: Vec<_> = WHO.iter().filter(differs).copied().collect();
    protocol::always!(differing.len() <= WHO.len());
    let own = number == Number::Own;
    let whole = said("patient.name")
        .iter()
        .all(|name| is_whole(name, agrees("patient.family_name")));
    let named = agrees("patient.name") && (own || whole);
    let born = agrees("patient.born");
    match differing.as_slice() {
        [] => Identity::Same,
        [name @ ("patient.name" | "patient.family_name")]
            if born && (own || (whole && alike(name, one_name_in_parts))) =>
        {
            Identity::Corrected(name)
        }
        [name @ ("patient.name" | "patient.family_name")]
            if own && (alike(name, one_letter_apart) || alike(name, one_name_in_parts)) =>
        {
            Identity::Corrected(name)
        }
        [name @ "patient.born"] if named => Identity::Corrected(name),
        [name @ "patient.sex"] if named && (own || born) => Identity::Corrected(name),
        [name, ..] => Identity::Another(name),
    }
}

/// Whether a name is one of one person alone: of several parts, none of which counts children or stands for a name
/// that is not given yet ("Baby A Otieno", "twin 2", "mtoto wa Zawadi").
fn is_whole(name: &str, has_family: bool) -> bool {
    const STANDS_FOR: [&str; 24] = [
        "baby", "babe", "newborn", "infant", "twin", "twins", "child", "boy", "girl", "unknown",
        "mtoto", "pacha", "kichanga", "bébé", "bebe", "nouveau", "né", "jumeau", "jumelle",
        "enfant", "recém", "nascido", "gémeo", "menino",
    ];
    let parts = name.split(|c: char| !c.is_alphanumeric());
    let parts: Vec<_> = parts
        .filter(|part| !part.is_empty())
        .map(str::to_lowercase)
        .collect();
    let counts = |part: &str| {
        let roman = part.chars().all(|c| matches!(c, 'i' | 'v' | 'x'));
        part.chars().count() < 2 || roman || part.chars().any(char::is_numeric)
    };
    let stands_for = parts
        .iter()
        .any(|part| counts(part) || STANDS_FOR.contains(&part.as_str()));
    !stands_for && parts.len() + usize::from(has_family) > 1
}

fn one_word(x: &str, y: &str) -> bool {
    lower(x) == lower(y)
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

    const HERE: [(&str, &str); 4] = [
        ("patient.name", "Amina Juma"),
        ("patient.family_name", "Kazungu"),
        ("patient.born", "2024-05-01"),
        ("patient.sex", "female"),
    ];

    /// The same but for one thing.
    fn said(n: usize, value: &'static str) -> [(&'static str, &'static str); 4] {
        let mut said = HERE;
        said[n].1 = value;
        said
    }

    #[test]
    fn what_was_put_right_under_a_number_is_told_from_somebody_else() {
        let whole = case(&HERE);
        let number = Number::Register;
        for (n, value) in [
            (0, "Juma Amina"),
            (2, "2024-05-11"),
            (2, "2023-01-01"),
            (2, "2024"),
            (3, "male"),
        ] {
            let identity = identity(&whole, &said(n, value), number);
            assert_eq!(identity, Identity::Corrected(HERE[n].0), "{value}");
        }
        for (n, value) in [(0, "AMINA  juma"), (1, "kazungu"), (2, "2024-05-01")] {
            assert_eq!(
                identity(&whole, &said(n, value), number),
                Identity::Same,
                "{value}"
            );
        }
        // Twins, and somebody to whom the number was given again.
        for (n, value) in [
            (0, "Aminah Juma"),
            (0, "Amani Juma"),
            (0, "Halima Said"),
            (1, "Kazungo"),
        ] {
            let identity = identity(&whole, &said(n, value), number);
            assert_eq!(identity, Identity::Another(HERE[n].0), "{value}");
        }
        let mut two = said(0, "Juma Amina");
        two[3].1 = "male";
        assert_eq!(
            identity(&whole, &two, number),
            Identity::Another("patient.name")
        );
        // Put right here: what an older file says is this patient's too.
        let put_right = case(&[("patient.name", "Halima"), ("patient.name", "Amina")]);
        assert_eq!(
            identity(&put_right, &[("patient.name", "Halima")], number),
            Identity::Same
        );
    }

    /// Names that count children, or stand for one not given yet, are several people's under one number.
    #[test]
    fn twins_under_their_mother_s_number_are_two() {
        let pairs = [
            ("Baby A Otieno", "Baby B Otieno"),
            ("Baby 1 Kamau", "Baby 2 Kamau"),
            ("Twin 1", "Twin 2"),
            ("Baby of Zawadi I", "Baby of Zawadi II"),
            ("Amina", "Baby of Amina"),
            ("Jane Achieng", "Janet Achieng"),
            ("Asha Ali", "Aisha Ali"),
            ("Hassan Said", "Hussein Said"),
        ];
        let born = ("patient.born", "2025-10-16");
        for (x, y) in pairs {
            let (x, y) = (
                case(&[("patient.name", x), born]),
                [("patient.name", y), born],
            );
            assert_eq!(
                identity(&x, &y, Number::Register),
                Identity::Another("patient.name"),
                "{y:?}"
            );
        }
        for name in ["Baby of Amina", "Baby Ali", "Mtoto wa Zawadi", "Amina"] {
            let name = ("patient.name", name);
            for other in [("patient.born", "2023-10-16"), ("patient.sex", "male")] {
                let here = case(&[name, born, ("patient.sex", "female")]);
                let says = [name, other];
                assert_eq!(
                    identity(&here, &says, Number::Register),
                    Identity::Another(other.0),
                    "{says:?}"
                );
                assert_eq!(
                    identity(&here, &says, Number::Own),
                    Identity::Corrected(other.0),
                    "{says:?}"
                );
            }
        }
        let order = [("patient.name", "Hassan Ali")];
        let father = case(&[("patient.name", "Ali Hassan")]);
        assert_eq!(
            identity(&father, &order, Number::Register),
            Identity::Another("patient.name")
        );
    }

    /// A case's own number is nobody else's; a wholly other name is somebody else's all the same where nothing
    /// stands beside it, and a card's number always.
    #[test]
    fn under_its_own_number_a_name_may_be_spelt_otherwise() {
        let (name, id) = ("patient.name", "patient.national_id");
        let alone = case(&[(name, "Amina")]);
        for (value, same) in [
            ("Aminah", true),
            ("Aimna", true),
            ("Amina Juma", true),
            ("Halima", false),
        ] {
            let identity = identity(&alone, &[(name, value)], Number::Own);
            assert_eq!(
                identity == Identity::Corrected(name),
                same,
                "{value}: {identity:?}"
            );
        }
        assert_eq!(
            identity(&case(&HERE), &said(0, "Halima Said"), Number::Own),
            Identity::Corrected(name)
        );
        let card = case(&[(name, "Amina Juma"), (id, "1234")]);
        let other = identity(&card, &[(name, "Amina Juma"), (id, "1243")], Number::Own);
        assert_eq!(other, Identity::Another(id));
    }
}
