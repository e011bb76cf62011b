//! How good a model is, beside what could be known at best of the same patients.

use std::cmp::Ordering;

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use serde::Serialize;

use clinical::{AgeGroup, Profile, Urgency};
use inference::model::TriageModel;
use inference::rules::RulePack;
use inference::transformer::softmax;

use crate::learn::{Course, Fail};
use crate::net::Net;
use crate::patients::{Group, LANGUAGES, Patient, Posterior, Teacher, Wording, World, labels};

/// What some opinion says of patients: differential and urgency of each.
pub type Said = Vec<Posterior>;

/// Patients of one world, with all that can be said of them.
pub struct Trial {
    patients: Vec<Patient>,
    ceiling: Said,
    /// Pink by rules alone.
    rules: Vec<bool>,
}

/// False-pink rates at which sensitivity is reported.
pub const RATES: [f64; 3] = [0.05, 0.10, 0.20];

/// Measures of one opinion.
#[derive(Debug, Clone, Serialize)]
pub struct Measures {
    /// The right label comes first.
    pub top1: f64,
    /// The right label is among three, as a mean over the labels.
    pub macro_top3: f64,
    /// Kullback–Leibler divergence of the exact posterior from it, in nats.
    pub divergence: f64,
    /// Of patients who deserve pink, the share found at 5, 10 and 20 in a hundred false pinks.
    pub pink: [f64; 3],
    /// The same with the rules; `None` where they alone have more false pinks than that.
    pub pink_with_rules: [Option<f64>; 3],
    /// Expected calibration error of the first rank, and of pink.
    pub calibration: [f64; 2],
    /// Of those shown by the model's own threshold (five at most): how often the right label is among
    /// them, and how many they are on average.
    pub sets: [f64; 2],
    /// The same by group.
    pub groups: Vec<OfGroup>,
}

/// Measures of one group of patients.
#[derive(Debug, Clone, Serialize)]
pub struct OfGroup {
    /// Whom it holds.
    pub name: String,
    /// How many.
    pub count: usize,
    /// Expected calibration error of the first rank, and of pink.
    pub calibration: [f64; 2],
    /// The right label comes first.
    pub top1: f64,
    /// The same of what could be known at best.
    pub best_top1: f64,
    /// Kullback–Leibler divergence of the exact posterior from it, in nats.
    pub divergence: f64,
}

/// Rules alone: sensitivity, and the share of false pinks.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct ByRules {
    /// Of patients who deserve pink, the share found.
    pub pink: f64,
    /// Of those who do not, the share shown pink.
    pub false_pink: f64,
}

impl Trial {
    /// Patients of a world: the same for the same seed.
    ///
    /// # Errors
    /// Where the built-in pack cannot be read.
    pub fn new(world: World, seed: u64, cases: usize) -> Result<Self, Fail> {
        let (teacher, pack) = (Teacher::new(world), RulePack::built_in()?);
        let drawn: Vec<_> = (0..cases as u64)
            .into_par_iter()
            .map(|n| {
                let mut rng = ChaCha8Rng::seed_from_u64(seed ^ 0xE7A1_0A7E);
                rng.set_stream(n);
                let patient = teacher.draw(&mut rng);
                let best = teacher.posterior(&patient.seen);
                let rules = pack.evaluate(Profile::Imci, &patient.findings).urgency();
                (patient, best, rules == Urgency::Pink)
            })
            .collect();
        let (mut patients, mut ceiling, mut rules) = (Vec::new(), Said::new(), Vec::new());
        for (patient, best, pink) in drawn {
            patients.push(patient);
            ceiling.push(best);
            rules.push(pink);
        }
        Ok(Self {
            patients,
            ceiling,
            rules,
        })
    }

    /// The patients.
    pub fn patients(&self) -> &[Patient] {
        &self.patients
    }

    /// What a network says, with weights that are not quantized.
    ///
    /// # Errors
    /// Where it fails.
    pub fn ask_net(
        &self,
        course: &Course,
        net: &Net,
        [cool, cool_urgency]: [f64; 2],
    ) -> Result<Said, Fail> {
        let mut said = Said::new();
        for patients in self.patients.chunks(256) {
            let cases = patients.iter().map(|p| course.encoder.encode(&p.findings));
            let logits = net.forward(&cases.collect::<Result<Vec<_>, _>>()?)?;
            let (differential, urgency): (Vec<Vec<f32>>, Vec<Vec<f32>>) =
                (logits.differential.to_vec2()?, logits.urgency.to_vec2()?);
            said.extend(
                differential
                    .iter()
                    .zip(&urgency)
                    .map(|(d, u)| said_of([d, u], [cool, cool_urgency])),
            );
        }
        Ok(said)
    }

    /// What a model for phones says.
    ///
    /// # Errors
    /// Where it fails.
    pub fn ask_model(&self, model: &TriageModel, cool: [f64; 2]) -> Result<Said, Fail> {
        let ask = |patient: &Patient| {
            let ([d, u], _) = model.logits(&patient.findings).map_err(|e| e.to_string())?;
            Ok::<_, String>(said_of([&d, &u], cool))
        };
        Ok(self
            .patients
            .par_iter()
            .map(ask)
            .collect::<Result<_, _>>()?)
    }

    /// What could be known at best.
    pub fn ceiling(&self) -> &Said {
        &self.ceiling
    }

    /// What the rules alone find.
    pub fn by_rules(&self) -> ByRules {
        let count = |pink: bool| {
            let of = self
                .patients
                .iter()
                .zip(&self.rules)
                .filter(|(p, _)| (p.urgency == Urgency::Pink) == pink);
            let (mut all, mut found) = (0usize, 0usize);
            of.for_each(|(_, by_rules)| {
                all += 1;
                found += usize::from(*by_rules);
            });
            found as f64 / all.max(1) as f64
        };
        ByRules {
            pink: count(true),
            false_pink: count(false),
        }
    }

    /// How good an opinion is.
    pub fn measure(&self, said: &Said, set_above: f32) -> Measures {
        let names = labels().len();
        let (mut top1, mut divergence) = (0.0, 0.0);
        let mut by_label = vec![(0.0, 0.0); names];
        for ((patient, said), best) in self.patients.iter().zip(said).zip(&self.ceiling) {
            let before = before(patient.label, said);
            top1 += f64::from(u8::from(before == 0));
            if let Some((all, found)) = by_label.get_mut(patient.label) {
                *all += 1.0;
                *found += f64::from(u8::from(before < 3));
            }
            divergence += divergence_of(best, said);
        }
        let seen: Vec<_> = by_label.iter().filter(|(all, _)| *all > 0.0).collect();
        let count = self.patients.len().max(1) as f64;
        Measures {
            top1: top1 / count,
            macro_top3: seen.iter().map(|(all, found)| found / all).sum::<f64>()
                / seen.len().max(1) as f64,
            divergence: divergence / count,
            pink: RATES.map(|rate| self.found(said, rate, false).unwrap_or_default()),
            pink_with_rules: RATES.map(|rate| self.found(said, rate, true)),
            calibration: self.error(said, &|_| true).1,
            sets: self.sets(said, set_above),
            groups: self.groups(said),
        }
    }

    /// How often the right label is shown, and how many are.
    fn sets(&self, said: &Said, above: f32) -> [f64; 2] {
        let (mut right, mut shown) = (0usize, 0usize);
        for (patient, said) in self.patients.iter().zip(said) {
            let own = said
                .differential
                .get(patient.label)
                .copied()
                .unwrap_or_default();
            let before = said.differential.iter().filter(|p| **p > own).count();
            let count = said
                .differential
                .iter()
                .filter(|p| **p >= above)
                .count()
                .clamp(1, 5);
            shown += count;
            right += usize::from(before < count && (own >= above || before == 0));
        }
        [right, shown].map(|n| n as f64 / self.patients.len().max(1) as f64)
    }

    /// Of patients who deserve pink, the share found with at most this rate of false pinks.
    fn found(&self, said: &Said, rate: f64, with_rules: bool) -> Option<f64> {
        let all = self.patients.iter().zip(said).zip(&self.rules);
        let scores = all.map(|((patient, said), by_rules)| {
            let [.., chance] = said.urgency;
            let score = if with_rules && *by_rules { 2.0 } else { chance };
            (patient.urgency == Urgency::Pink, score)
        });
        found_at(scores, rate)
    }

    /// How many of a group, and the expected calibration error of its first rank and of pink, over
    /// fifteen bins.
    fn error(&self, said: &Said, of: &dyn Fn(&Group) -> bool) -> (usize, [f64; 2]) {
        let mut bins = [[(0.0f64, 0.0f64); 15]; 2];
        let mut count = 0;
        for (patient, said) in self.patients.iter().zip(said).filter(|(p, _)| of(&p.group)) {
            count += 1;
            let first = said
                .differential
                .iter()
                .enumerate()
                .max_by(|a, b| a.1.total_cmp(b.1));
            let (label, chance) = first.map_or((0, 0.0), |(label, p)| (label, *p));
            let [.., pink] = said.urgency;
            let of = [
                (chance, label == patient.label),
                (pink, patient.urgency == Urgency::Pink),
            ];
            for (bins, (chance, so)) in bins.iter_mut().zip(of) {
                if let Some(bin) = bins.get_mut(((chance * 15.0) as usize).min(14)) {
                    *bin = (bin.0 + f64::from(chance), bin.1 + f64::from(u8::from(so)));
                }
            }
        }
        let error = |bins: &[(f64, f64); 15]| {
            bins.iter()
                .map(|(said, was)| (said - was).abs())
                .sum::<f64>()
                / f64::from(count.max(1))
        };
        let [first, pink] = &bins;
        (count as usize, [error(first), error(pink)])
    }

    fn groups(&self, said: &Said) -> Vec<OfGroup> {
        let mut groups = Vec::new();
        let mut add = |name: String, of: &dyn Fn(&Group) -> bool| {
            let (count, calibration) = self.error(said, of);
            let all = self.patients.iter().zip(said).zip(&self.ceiling);
            let (mut first, mut best_first, mut divergence) = (0usize, 0usize, 0.0);
            for ((patient, said), best) in all.filter(|((p, _), _)| of(&p.group)) {
                first += usize::from(before(patient.label, said) == 0);
                best_first += usize::from(before(patient.label, best) == 0);
                divergence += divergence_of(best, said);
            }
            if count > 0 {
                let share = |n: usize| n as f64 / count as f64;
                groups.push(OfGroup {
                    name,
                    count,
                    calibration,
                    top1: share(first),
                    best_top1: share(best_first),
                    divergence: divergence / count as f64,
                });
            }
        };
        add("girls".into(), &|g| g.female);
        add("boys".into(), &|g| !g.female);
        for (band, name) in [
            "under 2 months",
            "2-11 months",
            "12-23 months",
            "24-59 months",
        ]
        .iter()
        .enumerate()
        {
            add((*name).into(), &|g| g.age_band == band);
        }
        for (at, language) in LANGUAGES.iter().enumerate() {
            add(format!("language {language}"), &|g| g.language == Some(at));
        }
        add("nothing said".into(), &|g| g.language.is_none());
        add("dry season".into(), &|g| g.season == 0);
        add("rains".into(), &|g| g.season == 1);
        add("phrases seen".into(), &|g| g.language.is_some() && g.taught);
        add("phrases not seen".into(), &|g| {
            g.language.is_some() && !g.taught
        });
        groups
    }
}

/// How many labels stand before the right one. A tie, or what is no number, counts against it.
pub fn before(label: usize, said: &Posterior) -> usize {
    let chance = |label: usize| said.differential.get(label).copied().unwrap_or_default();
    let own = chance(label);
    let others = said
        .differential
        .iter()
        .enumerate()
        .filter(|(at, _)| *at != label);
    others
        .filter(|(_, p)| own.partial_cmp(p) != Some(Ordering::Greater))
        .count()
}

/// Kullback–Leibler divergence of the best possible differential from this one, in nats.
pub fn divergence_of(best: &Posterior, said: &Posterior) -> f64 {
    let pairs = best.differential.iter().zip(&said.differential);
    pairs
        .filter(|(p, _)| **p > 1e-9)
        .map(|(p, q)| f64::from(*p) * f64::from(*p / q.max(1e-9)).ln())
        .sum()
}

/// Of those who deserve pink, by a score of each, the share found with at most this rate of false pinks; `None` where
/// a score that stands above all chances (2) has more of them.
pub fn found_at(scores: impl Iterator<Item = (bool, f32)>, rate: f64) -> Option<f64> {
    let (mut pink, mut others) = (Vec::new(), Vec::new());
    for (deserved, score) in scores {
        match deserved {
            true => pink.push(score),
            false => others.push(score),
        }
    }
    others.sort_by(|a, b| b.total_cmp(a));
    let bound = others
        .get((rate * others.len() as f64) as usize)
        .copied()
        .unwrap_or_default();
    (bound < 2.0)
        .then(|| pink.iter().filter(|p| **p > bound).count() as f64 / pink.len().max(1) as f64)
}

/// How far two opinions of the same patients lie apart: the mean total variation of their chances, 0 to
/// 1. Opinions about other labels lie 1 apart.
pub fn apart(ours: &Said, theirs: &Said) -> f32 {
    let of = |(ours, theirs): (&Posterior, &Posterior)| -> f32 {
        let both = ours.differential.iter().zip(&theirs.differential);
        match ours.differential.len() == theirs.differential.len() {
            true => both.map(|(a, b)| (a - b).abs() / 2.0).sum(),
            false => 1.0,
        }
    };
    ours.iter().zip(theirs).map(of).sum::<f32>() / ours.len().max(1) as f32
}

fn said_of([differential, urgency]: [&[f32]; 2], [cool, cool_urgency]: [f64; 2]) -> Posterior {
    let urgency = softmax(urgency, cool_urgency);
    Posterior {
        differential: softmax(differential, cool),
        urgency: <[f32; 3]>::try_from(urgency).unwrap_or_default(),
    }
}

/// Worlds in which a model is tried that it has not learned from, by name.
pub fn shifts() -> [(&'static str, World); 5] {
    let usual = World {
        wording: Wording::Both,
        ..World::LEARNING
    };
    const ELSEWHERE: &[(&str, f64)] = &[
        ("Malaria", 2.5),
        ("Severe malaria", 2.5),
        ("Cough or cold", 0.5),
        ("Measles", 4.0),
        ("Severe acute malnutrition", 2.0),
    ];
    [
        (
            "unseen phrases only",
            World {
                wording: Wording::Held,
                ..usual
            },
        ),
        (
            "another prevalence",
            World {
                more: ELSEWHERE,
                ..usual
            },
        ),
        (
            "30 in a hundred more missing",
            World {
                missing: 0.3,
                ..usual
            },
        ),
        (
            "measurements half as wide again",
            World { blur: 1.5, ..usual },
        ),
        (
            "many more misspellings",
            World {
                misspelling: 0.35,
                hurry: 0.35,
                ..usual
            },
        ),
    ]
}

/// How a model does on one group of synthetic patients.
#[derive(Debug, Clone, Serialize)]
pub struct GroupResult {
    /// Which group.
    pub name: &'static str,
    /// Cases in it.
    pub cases: usize,
    /// Of a thousand that deserve pink, shown pink by rules and model together.
    pub sensitivity_permille: u32,
    /// Of a thousand that deserve green and that the rules leave green, not raised.
    pub specificity_permille: u32,
}

/// Measures a model beside the rules on groups of synthetic patients, as a community worker sees them;
/// none where the model says nothing of children.
pub fn subgroups(
    model: &TriageModel,
    pack: &RulePack,
    seed: u64,
    cases: usize,
) -> Vec<GroupResult> {
    const GROUPS: [&str; 5] = [
        "under 2 months",
        "2-11 months",
        "12-59 months",
        "with words",
        "without words",
    ];
    if !model.patients().contains(&AgeGroup::Child) {
        return Vec::new();
    }
    let teacher = Teacher::new(World {
        wording: Wording::Both,
        ..World::LEARNING
    });
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut counts = [[0usize; 5]; GROUPS.len()]; // cases, pink, found, green, left
    for _ in 0..cases {
        let patient = teacher.draw(&mut rng);
        let by_rules = pack.evaluate(Profile::Iccm, &patient.findings).urgency();
        let raised = model.opinion(&patient.findings).and_then(|o| o.raises_to());
        let shown = raised.map_or(by_rules, |urgency| urgency.max(by_rules));
        let (pink, green) = (
            patient.urgency == Urgency::Pink,
            patient.urgency == Urgency::Green && by_rules == Urgency::Green,
        );
        let words = if patient.findings.text().is_empty() {
            4
        } else {
            3
        };
        for group in [patient.group.age_band.min(2), words] {
            if let Some([all, pinks, found, greens, left]) = counts.get_mut(group) {
                *all += 1;
                *pinks += usize::from(pink);
                *found += usize::from(pink && shown == Urgency::Pink);
                *greens += usize::from(green);
                *left += usize::from(green && shown == Urgency::Green);
            }
        }
    }
    let permille = |part: usize, of: usize| (part * 1000 / of.max(1)) as u32;
    let rows = GROUPS
        .iter()
        .zip(counts)
        .map(|(name, [all, pinks, found, greens, left])| GroupResult {
            name,
            cases: all,
            sensitivity_permille: permille(found, pinks),
            specificity_permille: permille(left, greens),
        });
    rows.collect()
}
