//! The floor: what no pack, model or setting can lower. It looks at every case, of any age or none,
//! whatever pack runs.
//!
//! Sources: IMCI chart booklet 2014, general danger signs (p.5) and oxygen below 90 % (p.6); WHO
//! smart-dak-ccc CL01–16; the young infant's signs of possible serious bacterial infection (2019,
//! p.1). What counts as a sign where no rule of a pack has read it stands in the catalogue
//! ([`clinical::catalogue::is_sign`]): green is not offered then, and the sign is named.

use std::collections::BTreeMap;

use clinical::{AgeGroup, FindingValue, Urgency};

use crate::rules::Outcome;

/// The floor's edition, kept with every assessment.
pub const EDITION: &str = "floor 1";

const ACTION: &str = "Refer urgently";

/// Signs that are pink at any age.
pub(crate) const ALWAYS: [&str; 10] = [
    "convulsing_now",
    "convulsions",
    "lethargic",
    "not_able_to_drink",
    "vomits_everything",
    "airway",
    "stridor_calm",
    "stiff_neck",
    "unconscious",
    "central_cyanosis",
];

/// What the floor says of these findings. `group` is `None` where no age is known.
pub fn evaluate(values: &BTreeMap<String, FindingValue>, group: Option<AgeGroup>) -> Vec<Outcome> {
    let mut found: Vec<(String, FindingValue)> = Vec::new();
    let mut take = |name: &str, is: &dyn Fn(&FindingValue) -> bool| {
        found.extend(
            values
                .get(name)
                .filter(|value| is(value))
                .map(|value| (name.to_owned(), value.clone())),
        );
    };
    let word = |words: &'static [&'static str]| move |value: &FindingValue| matches!(value, FindingValue::Text(text) if words.contains(&text.as_str()));
    let number = |holds: fn(f64) -> bool| move |value: &FindingValue| matches!(value, FindingValue::Number(n) if holds(*n));
    for sign in ALWAYS {
        take(sign, &|value| *value == FindingValue::Yes);
    }
    take("drinking", &word(&["unable", "vomits"]));
    take("spo2", &number(|percent| percent < 90.0));
    take("movement", &word(&["stimulated", "none"]));
    if group != Some(AgeGroup::Child) {
        take("feeding", &word(&["not_well", "not_at_all"]));
        take("severe_chest_indrawing", &|value| {
            *value == FindingValue::Yes
        });
    }
    if group == Some(AgeGroup::Infant) {
        take(
            "temperature",
            &number(|degrees| !(35.5..38.0).contains(&degrees)),
        );
        take(
            "temperature_rectal",
            &number(|degrees| !(36.0..38.5).contains(&degrees)),
        );
        take(
            "temperature_second",
            &number(|degrees| !(35.5..38.0).contains(&degrees)),
        );
        let second = values.get("temperature_second");
        if matches!(second, Some(FindingValue::Number(degrees)) if (35.5..38.0).contains(degrees)) {
            found.retain(|(name, _)| name != "temperature");
        }
        let fast = |name: &str| matches!(values.get(name), Some(FindingValue::Number(rate)) if *rate >= 60.0);
        let calmed = matches!(values.get("respiratory_rate_second"), Some(FindingValue::Number(rate)) if *rate < 60.0);
        let newborn =
            matches!(values.get("age_days"), Some(FindingValue::Number(days)) if *days < 7.0);
        if newborn && fast("respiratory_rate") && !calmed {
            found.extend(
                values
                    .get("respiratory_rate")
                    .map(|v| ("respiratory_rate".to_owned(), v.clone())),
            );
        }
    }
    match found.is_empty() {
        true => Vec::new(),
        false => vec![Outcome {
            rule: "floor".into(),
            class: "Danger sign".into(),
            urgency: Urgency::Pink,
            source: "2014 p.5-6; YI p.1; DAK CL01-16".into(),
            action: ACTION.into(),
            findings: found,
        }],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_danger_sign_is_a_field_of_the_catalogue_and_a_sign() {
        for sign in ALWAYS {
            assert!(clinical::catalogue::field(sign).is_some(), "{sign}");
            assert!(
                clinical::catalogue::is_sign(sign, &FindingValue::Yes),
                "{sign}"
            );
        }
    }
}
