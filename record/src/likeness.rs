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
/// people or no name is known. A person decides; this only finds what to ask about.
pub fn likeness(a: &CaseView, b: &CaseView) -> Option<u32> {
    let differ = |name: &str| matches!((text(a, name), text(b, name)), (Some(x), Some(y)) if !x.eq_ignore_ascii_case(y));
    let same = |name: &str| matches!((text(a, name), text(b, name)), (Some(x), Some(y)) if x.eq_ignore_ascii_case(y));
    if same("patient.national_id") {
        return Some(100);
    }
    if differ("patient.national_id") || differ("patient.sex") || differ("patient.village") {
        return None;
    }
    // A child grows between visits; what was said of its age is often a guess.
    if let (Some(x), Some(y)) = (months(a), months(b))
        && (x - y).abs() > 4.0 + 0.25 * x.max(y)
    {
        return None;
    }
    let (x, y) = (
        letter_pairs(text(a, "patient.name")?),
        letter_pairs(text(b, "patient.name")?),
    );
    let common = x.intersection(&y).count();
    let alike = (200 * common / (x.len() + y.len()).max(1)) as u32;
    protocol::always!(alike <= 100);
    (alike >= 60).then_some(alike)
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
