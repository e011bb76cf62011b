//! A patient while it is drawn: what shows of each state, what of it is not written down, and how well
//! each state explains the rest.

use std::collections::{BTreeMap, BTreeSet};

use rand::{Rng, RngExt};

use clinical::FindingValue;
use inference::pictures::{Readings, subject_named};

use super::factors::{FACTORS, Factor, Shows};
use super::{STATES_MAX, Who, World, is_of, weighted};

/// A patient while it is drawn.
pub(super) struct Drawn {
    world: World,
    who: Who,
    /// Whether somebody says something at all.
    pub(super) spoken: bool,
    imci: bool,
    pub(super) values: BTreeMap<String, FindingValue>,
    pub(super) said: Vec<&'static str>,
    /// Whether pictures are taken, and read, at all.
    photographed: bool,
    pub(super) pictures: Readings,
}

/// Findings of a field that only a facility can make, or that are seldom made.
const SELDOM: &[(&str, f64, f64)] = &[
    // Field, missing at the community, at a facility.
    ("spo2", 0.9, 0.45),
    ("wfh_z", 0.97, 0.5),
    ("palmar_pallor", 0.5, 0.1),
    ("mother_hiv", 0.85, 0.35),
    ("temperature", 0.45, 0.08),
    ("hot_to_touch", 0.35, 0.8),
    ("corneal_clouding", 0.6, 0.3),
    ("skin_problem", 0.5, 0.2),
    ("weight", 0.6, 0.1),
    ("tb_contact", 0.8, 0.6),
    ("refuses_limb", 0.5, 0.3),
    ("painful_urination", 0.5, 0.3),
    ("mouth_ulcers", 0.5, 0.3),
    ("skin_severe", 0.6, 0.4),
    ("malaria_test", 0.35, 0.2),
    ("restless", 0.3, 0.1),
    ("skin_pinch", 0.45, 0.1),
    ("sunken_eyes", 0.3, 0.1),
    ("drinking", 0.45, 0.1),
    ("wheeze", 0.5, 0.3),
];

/// A question that is hardly asked where the one before it was answered no.
const GATED: &[(&str, &[&str])] = &[
    (
        "cough_or_difficult",
        &[
            "chest_indrawing",
            "stridor_calm",
            "wheeze",
            "cough_days",
            "respiratory_rate",
            "spo2",
        ],
    ),
    (
        "diarrhoea",
        &[
            "diarrhoea_days",
            "blood_in_stool",
            "sunken_eyes",
            "skin_pinch",
            "restless",
            "drinking",
        ],
    ),
    (
        "fever",
        &[
            "fever_days",
            "malaria_test",
            "stiff_neck",
            "refuses_limb",
            "painful_urination",
            "measles",
        ],
    ),
    ("yellow_skin", &["yellow_palms"]),
    ("eye_problem", &["eye_pus", "corneal_clouding"]),
];

const PLACES: [&str; 3] = ["low", "high", "none"];

impl Drawn {
    pub(super) fn new(world: World, who: Who, rng: &mut impl Rng) -> Self {
        Self {
            world,
            who,
            spoken: rng.random_bool(world.spoken),
            imci: rng.random_bool(0.4),
            values: BTreeMap::new(),
            said: Vec::new(),
            photographed: rng.random_bool(world.photographed),
            pictures: Readings::new(),
        }
    }

    /// What shows of a state.
    pub(super) fn show(&mut self, factor: &Factor, state: usize, rng: &mut impl Rng) {
        let text = |word: &str| FindingValue::Text(word.to_owned());
        for shows in factor.shows {
            match shows {
                Shows::Flag(field, yes) => {
                    let yes = rng.random_bool(yes.get(state).copied().unwrap_or_default());
                    let value = if yes {
                        FindingValue::Yes
                    } else {
                        FindingValue::No
                    };
                    self.values.insert((*field).to_owned(), value);
                }
                Shows::Choice(field, words, chances) => {
                    let chances = chances.get(state).copied().unwrap_or_default();
                    let word = words.get(weighted(chances.iter().copied(), rng));
                    self.values
                        .insert((*field).to_owned(), text(word.copied().unwrap_or_default()));
                }
                Shows::Number(field, step, tables) => {
                    let spreads = tables.get(self.who.table).copied().unwrap_or_default();
                    if let Some(spread) = spreads.get(state.min(spreads.len().saturating_sub(1))) {
                        let reading = spread.draw(*step, self.world.blur, rng);
                        self.values
                            .insert((*field).to_owned(), FindingValue::Number(reading));
                    }
                }
                Shows::Picture(subject, chances) => {
                    let chances = chances.get(state).copied().unwrap_or_default();
                    let at = weighted(chances.iter().copied(), rng);
                    let read =
                        subject_named(subject).and_then(|s| Some((s.name, *s.readings.get(at)?)));
                    // Not of everything a picture is taken, and not every picture can be read.
                    if self.photographed && rng.random_bool(0.5) {
                        self.pictures.extend(read);
                    }
                }
                Shows::Said(concept, chances) => {
                    let chance = chances.get(state).copied().unwrap_or_default();
                    if self.spoken && rng.random_bool(chance) && !self.said.contains(concept) {
                        self.said.push(concept);
                    }
                }
            }
        }
    }

    /// Where and when, as far as the worker writes it down; whether the place is known.
    pub(super) fn context(&mut self, place: usize, season: usize, rng: &mut impl Rng) -> bool {
        let season = if season == 0 { "dry" } else { "rains" };
        self.values
            .insert("season".to_owned(), FindingValue::Text(season.to_owned()));
        let known = rng.random_bool(0.7);
        if known {
            let risk = PLACES.get(place).copied().unwrap_or("low").to_owned();
            self.values
                .insert("malaria_risk".to_owned(), FindingValue::Text(risk));
        }
        known
    }

    /// What was not asked, not measured, or not there to measure with.
    pub(super) fn hide(&mut self, rng: &mut impl Rng) {
        let share = rng.random_range(0.0..0.25) + self.world.missing;
        let no = |values: &BTreeMap<String, FindingValue>, gate: &str| {
            values.get(gate) == Some(&FindingValue::No)
        };
        // Gates first: what is not known of a gate closes nothing.
        let mut kept = BTreeMap::new();
        for (field, value) in std::mem::take(&mut self.values) {
            let gate = GATED.iter().any(|(gate, _)| *gate == field);
            let danger = matches!(
                field.as_str(),
                "convulsions"
                    | "convulsing_now"
                    | "lethargic"
                    | "not_able_to_drink"
                    | "vomits_everything"
                    | "feeding"
                    | "movement"
            );
            let seldom = SELDOM.iter().find(|(name, ..)| *name == field);
            let missing = match (seldom, gate || danger) {
                _ if matches!(field.as_str(), "season" | "malaria_risk") => 0.0,
                (Some((_, community, facility)), _) => {
                    self.world.missing + if self.imci { *facility } else { *community }
                }
                (None, true) => 0.03 + self.world.missing / 3.0,
                (None, false) => share,
            };
            if !rng.random_bool(missing.clamp(0.0, 0.98)) {
                kept.insert(field, value);
            }
        }
        let closed: BTreeSet<&str> = GATED
            .iter()
            .filter(|(gate, _)| no(&kept, gate))
            .flat_map(|(_, fields)| fields.iter().copied())
            .collect();
        kept.retain(|field, _| !closed.contains(field.as_str()) || rng.random_bool(0.15));
        self.values = kept;
    }

    /// How well each state of each factor explains what is seen.
    pub(super) fn explained(&self, who: Who) -> Vec<[f64; STATES_MAX]> {
        FACTORS
            .iter()
            .map(|factor| {
                let mut states = [1.0; STATES_MAX];
                if is_of(factor, who.infant) {
                    for (state, explains) in states.iter_mut().enumerate().take(factor.usual.len())
                    {
                        *explains = factor.shows.iter().map(|s| self.chance(s, state)).product();
                    }
                }
                states
            })
            .collect()
    }

    /// The chance that a state shows what is seen of it.
    fn chance(&self, shows: &Shows, state: usize) -> f64 {
        match shows {
            Shows::Flag(field, yes) => {
                let yes = yes.get(state).copied().unwrap_or_default();
                match self.values.get(*field) {
                    Some(FindingValue::Yes) => yes,
                    Some(FindingValue::No) => 1.0 - yes,
                    _ => 1.0,
                }
            }
            Shows::Choice(field, words, chances) => match self.values.get(*field) {
                Some(FindingValue::Text(said)) => {
                    let at = words.iter().position(|word| word == said);
                    let chances = chances.get(state).copied().unwrap_or_default();
                    at.and_then(|at| chances.get(at))
                        .copied()
                        .unwrap_or_default()
                }
                _ => 1.0,
            },
            Shows::Number(field, step, tables) => match self.values.get(*field) {
                Some(FindingValue::Number(reading)) => {
                    let spreads = tables.get(self.who.table).copied().unwrap_or_default();
                    let spread = spreads.get(state.min(spreads.len().saturating_sub(1)));
                    spread.map_or(1.0, |s| s.chance(*reading, *step, self.world.blur))
                }
                _ => 1.0,
            },
            Shows::Picture(subject, chances) => match self.pictures.get(subject) {
                Some(read) => {
                    let readings = subject_named(subject)
                        .map(|s| s.readings)
                        .unwrap_or_default();
                    let at = readings.iter().position(|reading| reading == read);
                    let chances = chances.get(state).copied().unwrap_or_default();
                    at.and_then(|at| chances.get(at))
                        .copied()
                        .unwrap_or_default()
                }
                None => 1.0,
            },
            Shows::Said(concept, chances) => {
                let chance = chances.get(state).copied().unwrap_or_default();
                match (self.spoken, self.said.contains(concept)) {
                    (false, _) => 1.0,
                    (true, true) => chance,
                    (true, false) => 1.0 - chance,
                }
            }
        }
    }
}
