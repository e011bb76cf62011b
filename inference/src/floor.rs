//! The floor: what no pack, model or setting can lower. It looks at every case, of any age or none, whatever pack runs.
//!
//! Sources: IMCI chart booklet 2014, general danger signs (p.5) and oxygen below 90 % (p.6); WHO smart-dak-ccc CL01–16; the young
//! infant's signs of possible serious bacterial infection (2019, p.1). `sign` says what counts as found, for signs that no rule of a
//! pack has read: green is not offered then, and the sign is named.

use std::collections::BTreeMap;

use crate::findings::{AgeGroup, Value};
use crate::rules::{Outcome, Urgency};

/// The floor's edition, kept with every assessment.
pub const EDITION: &str = "floor 1";

const ACTION: &str = "Refer urgently";

/// Signs that are pink at any age.
const ALWAYS: [&str; 10] = [
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

/// Flags that describe the situation and are no sign of illness by themselves.
const CONTEXT: [&str; 11] = [
    "fever",
    "hot_to_touch",
    "other_fever_cause",
    "breastfed_within_6_weeks",
    "wheeze",
    "breastfeeding_now",
    "dewormed",
    "no_thermometer",
    "pregnancy_possible",
    "runny_nose",
    "vitamin_a_given",
];

/// Choices and words that describe the situation, and are no sign of illness by themselves.
const CONTEXT_CHOICES: [&str; 11] = [
    "malaria_risk",
    "oral_fluid_test",
    "allergies",
    "birth_plan",
    "bronchodilator_trial",
    "medicines_now",
    "previous_problems",
    "replacement_feed",
    "skin_extent",
    "text",
    "vaccines",
];

/// From where and below where a number is no sign by itself, whoever is measured: wider than what rules for one age say, because it
/// only counts where no rule has read it. IMCI chart booklet 2014; WHO haemoglobin (2011); WHO antenatal care (2016) for pregnancy.
const CALM_NUMBERS: [(&str, f64, f64); 27] = [
    ("temperature", 35.5, 38.0),
    ("temperature_second", 35.5, 38.0),
    ("temperature_rectal", 36.0, 38.5),
    ("respiratory_rate_second", 20.0, 60.0),
    ("spo2", 90.0, f64::INFINITY),
    ("weight", 2.5, f64::INFINITY),
    ("muac", 125.0, f64::INFINITY),
    ("wfh_z", -2.0, f64::INFINITY),
    ("wfl_z", -2.0, f64::INFINITY),
    ("wfa_z", -2.0, f64::INFINITY),
    ("haemoglobin", 110.0, 200.0),
    ("parasite_density", 0.0, 1.0),
    ("convulsion_count", 0.0, 1.0),
    ("cough_days", 0.0, 14.0),
    ("diarrhoea_days", 0.0, 14.0),
    ("fever_days", 0.0, 7.0),
    ("ear_discharge_days", 0.0, 1.0),
    ("feeds_in_24h", 8.0, f64::INFINITY),
    ("pulse", 60.0, 180.0),
    ("pulse_second", 60.0, 180.0),
    ("bp_systolic", 70.0, 140.0),
    ("bp_systolic_second", 70.0, 140.0),
    ("bp_diastolic", 40.0, 90.0),
    ("bp_diastolic_second", 40.0, 90.0),
    ("fetal_heart", 110.0, 160.0),
    ("fetal_heart_second", 110.0, 160.0),
    ("respiratory_rate", 10.0, 60.0),
];

/// Choices that say that nothing was found, or that nothing was looked at.
const CALM: [&str; 12] = [
    "normal",
    "none",
    "no",
    "well",
    "own",
    "negative",
    "passed",
    "not_done",
    "not_available",
    "invalid",
    "low",
    "unknown",
];

/// What the floor says of these findings. `group` is `None` where no age is known.
pub fn evaluate(values: &BTreeMap<String, Value>, group: Option<AgeGroup>) -> Vec<Outcome> {
    let mut found: Vec<(String, Value)> = Vec::new();
    let mut take = |name: &str, is: &dyn Fn(&Value) -> bool| {
        found.extend(values.get(name).filter(|value| is(value)).map(|value| (name.to_owned(), value.clone())));
    };
    let word = |words: &'static [&'static str]| move |value: &Value| matches!(value, Value::Text(text) if words.contains(&text.as_str()));
    let number = |holds: fn(f64) -> bool| move |value: &Value| matches!(value, Value::Number(n) if holds(*n));
    for sign in ALWAYS {
        take(sign, &|value| *value == Value::Yes);
    }
    take("drinking", &word(&["unable", "vomits"]));
    take("spo2", &number(|percent| percent < 90.0));
    take("movement", &word(&["stimulated", "none"]));
    if group != Some(AgeGroup::Child) {
        take("feeding", &word(&["not_well", "not_at_all"]));
        take("severe_chest_indrawing", &|value| *value == Value::Yes);
    }
    if group == Some(AgeGroup::Infant) {
        take("temperature", &number(|degrees| !(35.5..38.0).contains(&degrees)));
        take("temperature_rectal", &number(|degrees| !(36.0..38.5).contains(&degrees)));
        take("temperature_second", &number(|degrees| !(35.5..38.0).contains(&degrees)));
        let second = values.get("temperature_second");
        if matches!(second, Some(Value::Number(degrees)) if (35.5..38.0).contains(degrees)) {
            found.retain(|(name, _)| name != "temperature");
        }
        let fast = |name: &str| matches!(values.get(name), Some(Value::Number(rate)) if *rate >= 60.0);
        let calmed = matches!(values.get("respiratory_rate_second"), Some(Value::Number(rate)) if *rate < 60.0);
        let newborn = matches!(values.get("age_days"), Some(Value::Number(days)) if *days < 7.0);
        if newborn && fast("respiratory_rate") && !calmed {
            found.extend(values.get("respiratory_rate").map(|v| ("respiratory_rate".to_owned(), v.clone())));
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

/// Whether a value says that something was found: a sign that must be read by some rule before anything can be green.
pub(crate) fn sign(name: &str, value: &Value) -> bool {
    match value {
        Value::Yes => !CONTEXT.contains(&name),
        Value::Text(word) if name == "outcome" => word == "died",
        Value::Text(word) => {
            // Of movement "none" is the worst, and of an infant's own nothing but "own" is well.
            let worst = (name == "movement" && word != "own") || (name == "fetal_movement" && word == "none");
            !CONTEXT_CHOICES.contains(&name) && (worst || !CALM.contains(&word.as_str()))
        }
        Value::Number(number) => {
            let calm = CALM_NUMBERS.iter().find(|(other, ..)| *other == name);
            calm.is_some_and(|(_, least, below)| !(*least..*below).contains(number))
        }
        Value::No | Value::Unknown => false,
    }
}
