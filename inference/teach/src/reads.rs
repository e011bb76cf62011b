//! Which features a model of the built-in pack reads: every flag and choice by its words, numbers in
//! soft bins, each summed into the slot of its body system.

use clinical::Kind;
use clinical::catalogue;
use inference::encode::{Feature, Reads};
use inference::pictures::{PREFIX, SUBJECTS};
use inference::rules::RulePack;

/// Slots: context with danger signs, n-grams, word pieces, breathing and gut, fever with nutrition and
/// blood, skin and senses with the young infant. Fewer than there are body systems, since each costs a
/// pass through the network; what is never seen together shares one.
pub const SLOTS: usize = 6;
/// The slots of n-grams and of word pieces.
pub const TEXT_SLOTS: [usize; 2] = [1, 2];

/// Fields of a slot, by the beginnings of their names. What is in none is context.
#[rustfmt::skip]
const SYSTEMS: [(usize, &[&str]); 3] = [
    (3, &["cough", "chest_", "stridor", "wheeze", "respiratory", "spo2", "tb_contact", "bronch", "breath",
        "diarrhoea", "blood_in_stool", "sunken", "skin_pinch"]),
    (4, &["fever", "malaria_test", "stiff", "refuses", "joint", "painful", "measles", "other_fever", "muac", "wf", "oedema", "palmar",
        "haemoglobin", "appetite", "mother_hiv", "child_", "breastf"]),
    (5, &["ear_", "swelling_behind", "eye_", "corneal", "mouth", "skin_", "rash", "red_eyes", "thrush",
        "feeding", "movement", "severe_chest", "umbilicus", "skin_pustules", "yellow", "feeds_"]),
];

/// Where the soft bins of a number have their middles.
const MIDDLES: [(&str, &[f64]); 14] = [
    ("age_days", &[0.0, 1.0, 3.0, 7.0, 14.0, 28.0, 45.0, 59.0]),
    (
        "age_months",
        &[2.0, 4.0, 6.0, 9.0, 12.0, 18.0, 24.0, 36.0, 48.0, 59.0],
    ),
    (
        "temperature",
        &[34.0, 35.2, 36.0, 36.7, 37.3, 37.8, 38.3, 39.0, 40.0, 41.0],
    ),
    (
        "respiratory_rate",
        &[
            16.0, 22.0, 28.0, 34.0, 40.0, 46.0, 52.0, 58.0, 64.0, 72.0, 84.0, 100.0,
        ],
    ),
    (
        "spo2",
        &[65.0, 76.0, 84.0, 88.0, 90.0, 92.0, 94.0, 96.0, 98.0, 100.0],
    ),
    (
        "muac",
        &[
            85.0, 98.0, 108.0, 114.0, 118.0, 124.0, 130.0, 140.0, 155.0, 175.0,
        ],
    ),
    ("wfh_z", &[-5.0, -3.7, -3.0, -2.5, -2.0, -1.0, 0.0, 1.5]),
    ("wfa_z", &[-5.0, -3.0, -2.0, -1.0, 0.0, 1.5]),
    (
        "weight",
        &[1.2, 1.8, 2.1, 2.5, 3.0, 3.6, 4.5, 7.0, 10.0, 14.0, 20.0],
    ),
    ("cough_days", &[1.0, 4.0, 8.0, 13.0, 16.0, 24.0, 40.0]),
    ("diarrhoea_days", &[1.0, 4.0, 8.0, 13.0, 16.0, 24.0, 40.0]),
    ("fever_days", &[0.0, 1.0, 2.0, 4.0, 6.5, 8.0, 12.0, 20.0]),
    (
        "ear_discharge_days",
        &[0.0, 1.0, 4.0, 9.0, 13.0, 16.0, 30.0],
    ),
    (
        "respiratory_rate_second",
        &[30.0, 45.0, 55.0, 60.0, 70.0, 90.0],
    ),
];

/// The slot of a field, by the body system that its name begins with.
pub(crate) fn slot_of(field: &str) -> usize {
    // The longest beginning names it best: `skin_pustules` are an infant's.
    let named = SYSTEMS.iter().flat_map(|(slot, starts)| {
        let long = starts
            .iter()
            .filter(|start| field.starts_with(**start))
            .map(|s| s.len())
            .max();
        long.map(|long| (long, *slot))
    });
    named
        .max_by_key(|(long, _)| *long)
        .map_or(0, |(_, slot)| slot)
}

/// The features of a pack.
pub fn features(pack: &RulePack) -> Vec<Feature> {
    let mut features = Vec::new();
    let beside = ["age_days", "age_months", "season"];
    let fields = pack.findings().iter().map(|finding| finding.id.as_str());
    let fields = fields.filter(|field| !beside.contains(field));
    for name in beside.into_iter().chain(fields) {
        let Some(field) = catalogue::field(name) else {
            continue;
        };
        let slot = slot_of(name);
        let word = |word: &str| Feature {
            slot,
            reads: Reads::Word(name.to_owned(), word.to_owned()),
        };
        match field.kind {
            Kind::Flag => features.extend(["yes", "no"].map(word)),
            Kind::Choice(words) => features.extend(words.iter().copied().map(word)),
            Kind::Number(..) => {
                let own = MIDDLES.iter().find(|(field, _)| *field == name);
                let middles = own.map(|(_, middles)| *middles).unwrap_or_default();
                let at = |i: usize| middles.get(i).copied();
                features.extend(middles.iter().enumerate().map(|(i, middle)| {
                    let left = i.checked_sub(1).and_then(at).unwrap_or(f64::NEG_INFINITY);
                    let right = at(i + 1).unwrap_or(f64::INFINITY);
                    let about = [left, *middle, right];
                    Feature {
                        slot,
                        reads: Reads::About(name.to_owned(), about),
                    }
                }));
            }
            Kind::Text | Kind::Date => {}
        }
    }
    for subject in &SUBJECTS {
        let slot = match subject.name {
            "rapid_test" | "slide" | "muac_tape" => 4,
            _ => 5,
        };
        features.extend(subject.readings.iter().map(|reading| Feature {
            slot,
            reads: Reads::Word(format!("{PREFIX}{}", subject.name), (*reading).to_owned()),
        }));
    }
    features
}
