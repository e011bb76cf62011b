//! What is hardly possible at an age, whatever pack runs. It judges nobody; it is named, and clears nothing.

use clinical::FindingValue;
use clinical::age::AgeGroup;

use crate::findings::Findings;

fn number(findings: &Findings, name: &str) -> Option<f64> {
    match findings.value(name) {
        FindingValue::Number(number) => Some(*number),
        FindingValue::Yes | FindingValue::No | FindingValue::Unknown | FindingValue::Text(_) => {
            None
        }
    }
}

/// The slowest breath in a hundred children, below so many months of age (Fleming et al., Lancet 2011; 377: 1011–18,
/// first centile).
const SLOWEST: [(f64, f64); 8] = [
    (3.0, 25.0),
    (6.0, 24.0),
    (9.0, 23.0),
    (12.0, 22.0),
    (18.0, 21.0),
    (24.0, 19.0),
    (36.0, 18.0),
    (60.0, 17.0),
];

/// Whether a child is said to breathe more slowly than a child of its age does.
pub(crate) fn is_too_slow(findings: &Findings, name: &str, breaths: f64) -> bool {
    let child = matches!(findings.group(), AgeGroup::Child | AgeGroup::Infant);
    let months = number(findings, "age_months");
    let least = months.and_then(|months| SLOWEST.iter().find(|(below, _)| months < *below));
    let of_breath = ["respiratory_rate", "respiratory_rate_second"].contains(&name);
    of_breath && child && least.is_some_and(|(_, least)| breaths < *least)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn findings(days: f64) -> Findings {
        let age = BTreeMap::from([("age_days".to_owned(), days)]);
        Findings::new(BTreeMap::new(), String::new(), &age).unwrap()
    }

    #[test]
    fn a_breath_too_slow_for_the_age_is_noticed() {
        for (days, breaths, slow) in [
            (8.0, 18.0, true),
            (8.0, 25.0, false),
            (100.0, 16.0, true),
            (100.0, 30.0, false),
            (1_700.0, 16.0, true),
            (1_700.0, 17.0, false),
        ] {
            let of = findings(days);
            assert_eq!(
                is_too_slow(&of, "respiratory_rate", breaths),
                slow,
                "{days} {breaths}"
            );
            assert!(!is_too_slow(&of, "pulse", breaths));
        }
    }
}
