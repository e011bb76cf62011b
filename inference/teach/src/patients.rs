//! Synthetic patients, and the exact posterior of how they are drawn.
//!
//! A patient has one disease or two, may be gravely ill, and has factors, each in a state; given
//! the diseases, factors are independent. What a worker writes down of each state, what somebody says,
//! and how often a count is off is drawn from the same tables from which [`Teacher`] computes what
//! could be known at best: P(disease | what is seen) by summing over all pairs of diseases and all
//! states (Bayes). So a model can be taught by it, and measured against it.
//!
//! What is missing does not depend on what is so, but on the level of care and on what has been seen;
//! so it says nothing, and the posterior needs no term for it (Rubin 1976, missing at random).
//!
//! The text is seen by the teacher as the concepts that were meant: it knows a little more than the
//! words say. Its posterior is therefore an unbiased teacher, and a ceiling that nothing exceeds.
//!
//! This makes patients to learn from, not epidemiology; see `factors.rs`.

pub mod described;
mod diseases;
mod drawn;
mod factors;
mod noise;
pub mod phrases;

use std::collections::BTreeMap;

use rand::{Rng, RngExt};

use clinical::Urgency;
use inference::findings::Findings;
use inference::model::Label;

use diseases::{DISEASES, Disease, GRAVE, together};
use drawn::Drawn;
use factors::{FACTORS, Factor, Of};
pub use phrases::{LANGUAGES, Wording};

/// How a district is, and how its workers write things down.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct World {
    /// Which phrases are spoken.
    pub wording: Wording,
    /// Letters that are written otherwise here.
    pub dialect: &'static [(&'static str, &'static str)],
    /// The chance that a word is misspelt.
    pub misspelling: f64,
    /// The chance that a phrase loses a word.
    pub hurry: f64,
    /// The chance that a word is lost, of each phrase of several: what is left must speak for itself.
    pub lost: f64,
    /// The chance that something is said besides.
    pub chatter: f64,
    /// How much wider measurements spread than they usually do.
    pub blur: f64,
    /// How much more is missing: 0 as usual, 0.3 thirty in a hundred more.
    pub missing: f64,
    /// The place, if all patients are of one: highland, lakeside, dry plains.
    pub place: Option<usize>,
    /// The share of patients with text.
    pub spoken: f64,
    /// The share of patients of whom pictures are taken and read.
    pub photographed: f64,
    /// By the name of a disease, how much more frequent it is here.
    pub more: &'static [(&'static str, f64)],
}

impl World {
    /// The one that models learn from.
    pub const LEARNING: Self = Self {
        wording: Wording::Teach,
        dialect: &[],
        misspelling: 0.12,
        hurry: 0.15,
        lost: 0.0,
        chatter: 0.25,
        blur: 1.0,
        missing: 0.0,
        place: None,
        spoken: 0.7,
        photographed: 0.2,
        more: &[],
    };
}

/// A drawn patient.
#[derive(Debug, Clone)]
pub struct Patient {
    /// What a worker has written down.
    pub findings: Findings,
    /// Which disease, by its place among [`labels`]: of two, the graver.
    pub label: usize,
    /// What the patient deserves: by the diseases, and by every factor's state.
    pub urgency: Urgency,
    /// What is seen, as the teacher reads it.
    pub seen: Seen,
    /// Of which group, for reports.
    pub group: Group,
}

/// Groups for reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Group {
    /// Girls and women.
    pub female: bool,
    /// 0 under 2 months, 1 under 12, 2 under 24, 3 beyond.
    pub age_band: usize,
    /// By its place in [`LANGUAGES`], where something was said.
    pub language: Option<usize>,
    /// Dry season 0, rains 1.
    pub season: usize,
    /// Whether every phrase is one to learn from.
    pub taught: bool,
}

/// What of a patient depends on who it is.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Who {
    infant: bool,
    /// Under 2 months, under 12, older: where tables differ.
    table: usize,
    /// Which of a disease's three ages.
    age: usize,
    season: usize,
    place: Option<usize>,
}

/// What is seen of a patient, factor by factor: how well each state explains it.
#[derive(Debug, Clone)]
pub struct Seen {
    who: Who,
    /// By factor and state.
    explains: Vec<[f64; STATES_MAX]>,
}

/// States of a factor, at most.
const STATES_MAX: usize = 8;

/// The labels of the differential, in order.
pub fn labels() -> Vec<Label> {
    let label = |disease: &Disease| Label {
        name: disease.name.into(),
        icd11: disease.icd11.into(),
    };
    DISEASES.iter().map(label).collect()
}

/// What a disease makes of factors.
type Makes = &'static [(&'static str, &'static [f64])];

/// The chance of each state of a factor, where these make it: each can only make it worse.
fn chances(factor: &Factor, makers: &[Makes]) -> [f64; STATES_MAX] {
    let states = factor.usual.len();
    let said = |maker: &Makes| {
        let own = maker.iter().find(|(name, _)| *name == factor.name);
        own.map(|(_, chances)| *chances)
    };
    let made: Vec<&[f64]> = makers.iter().filter_map(said).collect();
    let made = if made.is_empty() {
        vec![factor.usual]
    } else {
        made
    };
    let mut chances = [0.0; STATES_MAX];
    let mut before = 0.0;
    for (state, chance) in chances.iter_mut().enumerate().take(states) {
        // The chance that none of them brings it beyond this state.
        let upto = |of: &&[f64]| of.iter().take(state + 1).sum::<f64>();
        let up_to: f64 = made.iter().map(upto).product();
        *chance = (up_to - before).max(0.0);
        before = up_to;
    }
    chances
}

/// One way in which a patient can be ill.
#[derive(Debug, Clone)]
struct Hypothesis {
    diseases: [Option<usize>; 2],
    grave: bool,
    /// The graver disease of the two.
    label: usize,
    floor: Urgency,
    infant: bool,
    /// How frequent, by season, place and age.
    prior: Priors,
    /// By factor and state.
    chances: Vec<[f64; STATES_MAX]>,
}

/// Draws patients, and knows how they are drawn.
#[derive(Debug, Clone)]
pub struct Teacher {
    world: World,
    hypotheses: Vec<Hypothesis>,
}

/// What could be known of a patient at best.
#[derive(Debug, Clone, PartialEq)]
pub struct Posterior {
    /// By label.
    pub differential: Vec<f32>,
    /// Green, yellow, pink.
    pub urgency: [f32; 3],
}

/// How often somebody with one disease has another, before what goes together.
const SECOND: f64 = 0.16;

/// One or two diseases, gravely ill or not; `None` where that cannot be.
fn hypothesis(
    both: [Option<(usize, &Disease)>; 2],
    grave: bool,
    weight: f64,
) -> Option<Hypothesis> {
    let ill = || both.iter().flatten();
    let calm: f64 = ill().map(|(_, d)| 1.0 - d.grave).product();
    let weight = weight * if grave { 1.0 - calm } else { calm };
    let at = |season: usize, place: usize, age: usize| {
        let times = |(_, d): &(usize, &Disease)| {
            let by = [d.seasons.get(season), d.places.get(place), d.ages.get(age)];
            by.into_iter().flatten().product::<f64>()
        };
        weight * ill().map(times).product::<f64>()
    };
    let makers: Vec<Makes> = ill()
        .map(|(_, d)| d.makes)
        .chain(grave.then_some(GRAVE))
        .collect();
    let (label, _) = ill().min_by_key(|(at, d)| (std::cmp::Reverse(d.floor), *at))?;
    (weight > 0.0).then(|| Hypothesis {
        diseases: both.map(|d| d.map(|(at, _)| at)),
        grave,
        label: *label,
        floor: ill().map(|(_, d)| d.floor).max().unwrap_or(Urgency::Green),
        infant: ill().any(|(_, d)| d.infant),
        prior: std::array::from_fn(|season| {
            std::array::from_fn(|place| std::array::from_fn(|age| at(season, place, age)))
        }),
        chances: FACTORS.iter().map(|f| chances(f, &makers)).collect(),
    })
}

impl Teacher {
    /// Of this world.
    pub fn new(world: World) -> Self {
        let more = |disease: &Disease| {
            let own = world.more.iter().find(|(name, _)| *name == disease.name);
            disease.weight * own.map_or(1.0, |(_, times)| *times)
        };
        let mut hypotheses = Vec::new();
        for (a, first) in DISEASES.iter().enumerate() {
            let alone = std::iter::once((None, 1.0));
            let total: f64 = DISEASES
                .iter()
                .filter(|d| d.infant == first.infant)
                .map(more)
                .sum();
            let pairs = DISEASES
                .iter()
                .enumerate()
                .skip(a + 1)
                .filter_map(|(b, second)| {
                    let often = together(first.name, second.name);
                    (second.infant == first.infant && often > 0.0).then(|| {
                        (
                            Some((b, second)),
                            SECOND * often * more(second) / total * 2.0,
                        )
                    })
                });
            for (second, often) in alone.chain(pairs) {
                let both = [Some((a, first)), second];
                let weight = more(first) * often;
                hypotheses.extend(
                    [false, true]
                        .into_iter()
                        .filter_map(|grave| hypothesis(both, grave, weight)),
                );
            }
        }
        // Of each season, place and age, all of one kind together are certain.
        let mut totals = [[[[0.0; 3]; 3]; 2]; 2];
        each(&mut hypotheses, &mut totals, |prior, total| {
            *total += *prior
        });
        each(&mut hypotheses, &mut totals, |prior, total| {
            *prior /= total.max(f64::MIN_POSITIVE)
        });
        Self { world, hypotheses }
    }

    fn prior(hypothesis: &Hypothesis, who: &Who, place: Option<usize>) -> f64 {
        if hypothesis.infant != who.infant {
            return 0.0;
        }
        let places = hypothesis
            .prior
            .get(who.season)
            .copied()
            .unwrap_or_default();
        let of = |place: &[f64; 3]| place.get(who.age).copied().unwrap_or_default();
        match who.place.or(place) {
            Some(place) => places.get(place).map(of).unwrap_or_default(),
            None => places.iter().map(of).sum::<f64>() / 3.0,
        }
    }

    /// Draws one patient. The same randomness gives the same patient.
    pub fn draw(&self, rng: &mut impl Rng) -> Patient {
        let infant = rng.random_bool(0.2);
        let season = rng.random_range(0..2usize);
        let place = self.world.place.unwrap_or_else(|| rng.random_range(0..3));
        let (name, number, band, table, age) = draw_age(infant, rng);
        let who = Who {
            infant,
            table,
            age,
            season,
            place: Some(place),
        };
        let priors = self.hypotheses.iter().map(|h| Self::prior(h, &who, None));
        let at = weighted(priors, rng);
        let mut drawn = Drawn::new(self.world, who, rng);
        let mut urgency = Urgency::Green;
        let hypothesis = self.hypotheses.get(at);
        if let Some(hypothesis) = hypothesis {
            urgency = hypothesis.floor;
            for (factor, chances) in FACTORS.iter().zip(&hypothesis.chances) {
                if is_of(factor, infant) {
                    let state = weighted(chances.iter().copied(), rng);
                    let deserved = deserves(factor, &who).get(state);
                    urgency = urgency.max(deserved.copied().unwrap_or(urgency));
                    drawn.show(factor, state, rng);
                }
            }
        }
        let place_known = drawn.context(place, season, rng);
        drawn.hide(rng);
        let ages = BTreeMap::from([(name.to_owned(), number)]);
        let language = rng.random_range(0..LANGUAGES.len());
        let spoken = drawn.spoken;
        let (text, taught) = match spoken {
            true => phrases::speak(&drawn.said, language, &self.world, rng),
            false => (String::new(), true),
        };
        let who = Who {
            place: place_known.then_some(place),
            ..who
        };
        let seen = Seen {
            who,
            explains: drawn.explained(who),
        };
        let female = rng.random_bool(0.5);
        // An age that was drawn is one that a patient can have.
        let findings = Findings::new(drawn.values.clone(), text, &ages);
        let group = if infant {
            clinical::AgeGroup::Infant
        } else {
            clinical::AgeGroup::Child
        };
        let findings =
            findings.unwrap_or_else(|_| Findings::of_parts(group, drawn.values, String::new()));
        let findings = findings.with_pictures(drawn.pictures);
        Patient {
            findings,
            label: hypothesis.map_or(0, |h| h.label),
            urgency,
            seen,
            group: Group {
                female,
                age_band: band,
                language: spoken.then_some(language),
                season,
                taught,
            },
        }
    }

    /// What could be known of what is seen.
    pub fn posterior(&self, seen: &Seen) -> Posterior {
        let mut differential = vec![0.0; DISEASES.len()];
        // With every factor in a state of at most this urgency.
        let mut within = [0.0; 3];
        let of: Vec<_> = FACTORS
            .iter()
            .map(|factor| is_of(factor, seen.who.infant))
            .collect();
        for hypothesis in &self.hypotheses {
            let prior = Self::prior(hypothesis, &seen.who, self.world.place);
            if prior == 0.0 {
                continue;
            }
            let mut likelihood = [prior; 3];
            let factors = FACTORS
                .iter()
                .zip(&of)
                .zip(&seen.explains)
                .zip(&hypothesis.chances);
            for (((factor, of), explains), chances) in factors {
                if !of {
                    continue;
                }
                let mut sums = [0.0; 3];
                for ((chance, explains), urgency) in chances
                    .iter()
                    .zip(explains)
                    .zip(deserves(factor, &seen.who))
                {
                    let part = chance * explains;
                    sums.iter_mut()
                        .skip(*urgency as usize)
                        .for_each(|sum| *sum += part);
                }
                likelihood
                    .iter_mut()
                    .zip(sums)
                    .for_each(|(l, sum)| *l *= sum);
            }
            if let Some(label) = differential.get_mut(hypothesis.label) {
                *label += likelihood[2];
            }
            for (within, likelihood) in within
                .iter_mut()
                .zip(likelihood)
                .skip(hypothesis.floor as usize)
            {
                *within += likelihood;
            }
        }
        let all: f64 = differential.iter().sum::<f64>().max(f64::MIN_POSITIVE);
        let [green, yellow, _] = within.map(|w| w / all);
        Posterior {
            differential: differential.iter().map(|p| (p / all) as f32).collect(),
            urgency: [green, yellow - green, 1.0 - yellow].map(|p| p.clamp(0.0, 1.0) as f32),
        }
    }

    /// The pairs of diseases that a patient can have.
    pub fn pairs(&self) -> impl Iterator<Item = [Option<usize>; 2]> {
        self.hypotheses
            .iter()
            .filter(|h| !h.grave)
            .map(|h| h.diseases)
    }
}

/// How frequent something is, by season, place and age.
type Priors = [[[f64; 3]; 3]; 2];

/// Does something with each prior and the total of its kind, season, place and age.
fn each(of: &mut [Hypothesis], totals: &mut [Priors; 2], mut with: impl FnMut(&mut f64, &mut f64)) {
    for hypothesis in of {
        let Some(totals) = totals.get_mut(usize::from(hypothesis.infant)) else {
            continue;
        };
        let flat = hypothesis.prior.as_flattened_mut().as_flattened_mut();
        let totals = totals.as_flattened_mut().as_flattened_mut();
        flat.iter_mut()
            .zip(totals)
            .for_each(|(prior, total)| with(prior, total));
    }
}

/// What each state of a factor deserves of this patient.
fn deserves(factor: &Factor, who: &Who) -> &'static [Urgency] {
    match who.infant && who.age == 0 {
        true => factor.first_week,
        false => factor.urgency,
    }
}

fn is_of(factor: &Factor, infant: bool) -> bool {
    match factor.of {
        Of::All => true,
        Of::Infant => infant,
        Of::Child => !infant,
    }
}

/// The name of the age's field, its value, the band for reports, the table and the disease's age.
fn draw_age(infant: bool, rng: &mut impl Rng) -> (&'static str, f64, usize, usize, usize) {
    if infant {
        let days = rng.random_range(0..60u32);
        return ("age_days", f64::from(days), 0, 0, usize::from(days >= 7));
    }
    let months = rng.random_range(2..60u32);
    let age = match months {
        ..12 => 0,
        12..24 => 1,
        _ => 2,
    };
    (
        "age_months",
        f64::from(months),
        age + 1,
        if months < 12 { 1 } else { 2 },
        age,
    )
}

/// Which of these, by their weights.
fn weighted(weights: impl Iterator<Item = f64> + Clone, rng: &mut impl Rng) -> usize {
    let total: f64 = weights.clone().sum();
    let mut left = rng.random_range(0.0..1.0) * total;
    let mut last = 0;
    for (at, weight) in weights.enumerate() {
        if weight > 0.0 {
            last = at;
            if left < weight {
                break;
            }
            left -= weight;
        }
    }
    last
}

#[cfg(test)]
mod tests;
