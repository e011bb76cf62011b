//! Patients that a file describes (`modules/*.toml`): of kinds that the tables here know nothing of, as
//! mothers. They are drawn to teach a module beside a model (`adapt --own`), and the exact posterior of how
//! they are drawn is what could be known of them at best.

use std::collections::{BTreeMap, BTreeSet};

use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::Deserialize;
use serde_json::{Map, Value as Json};

use clinical::{Kind, Urgency, catalogue};
use inference::model::Label;

use super::noise::{Spread, spread};
use super::phrases::{LANGUAGES, write_down};
use super::{Posterior, World};
use crate::learn::Fail;

/// How far chances may be from one.
const ROUNDING: f64 = 1e-6;
/// Of what is written down of a state, the share that usually is not.
const MISSING: f64 = 0.25;

/// A description as it is written.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Described {
    /// The share of patients of whom something is said.
    spoken: f64,
    always: BTreeMap<String, String>,
    factor: Vec<Factor>,
    disease: Vec<Disease>,
    phrases: BTreeMap<String, BTreeMap<String, Vec<String>>>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Factor {
    name: String,
    usual: Vec<f64>,
    #[serde(default)]
    urgency: Vec<Urgency>,
    shows: Vec<Shows>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Disease {
    name: String,
    icd11: String,
    weight: f64,
    urgency: Urgency,
    makes: BTreeMap<String, Vec<f64>>,
}

/// What shows of a state.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
enum Shows {
    Flag {
        flag: String,
        #[serde(default = "usual")]
        missing: f64,
        states: Vec<f64>,
    },
    Choice {
        choice: String,
        words: Vec<String>,
        #[serde(default = "usual")]
        missing: f64,
        states: Vec<Vec<f64>>,
    },
    Number {
        number: String,
        step: f64,
        #[serde(default = "usual")]
        missing: f64,
        states: Vec<Vec<f64>>,
    },
    Said {
        said: String,
        states: Vec<f64>,
    },
}

fn usual() -> f64 {
    MISSING
}

/// One case, and what could be known of it.
#[derive(Debug, Clone)]
pub struct Case {
    /// As in a findings file.
    pub findings: Json,
    /// Which disease, by its place.
    pub label: usize,
    /// What the patient deserves.
    pub urgency: Urgency,
    /// The exact posterior of what is seen.
    pub best: Posterior,
}

/// What is seen: values of fields, and the concepts that were said where anything is.
struct Seen {
    values: BTreeMap<String, Json>,
    said: Option<BTreeSet<String>>,
}

fn sums_to_one(chances: &[f64]) -> bool {
    (chances.iter().sum::<f64>() - 1.0).abs() < ROUNDING && chances.iter().all(|p| *p >= 0.0)
}

fn pick(chances: &[f64], rng: &mut impl Rng) -> usize {
    let total: f64 = chances.iter().sum();
    let mut left = rng.random_range(0.0..total.max(f64::MIN_POSITIVE));
    for (at, chance) in chances.iter().enumerate() {
        if left < *chance {
            return at;
        }
        left -= chance;
    }
    chances.len().saturating_sub(1)
}

fn at<T: Copy + Default>(list: &[T], place: usize) -> T {
    list.get(place).copied().unwrap_or_default()
}

fn spread_of(four: &[f64]) -> Option<Spread> {
    match four {
        [mean, sd, least, most] => Some(spread(*mean, *sd, *least, *most)),
        _ => None,
    }
}

impl Shows {
    /// Why it cannot be drawn of a factor of so many states.
    fn check(&self, states: usize) -> Result<(), String> {
        let kind = |name: &str| catalogue::field(name).map(|field| field.kind);
        let share = |p: &f64| (0.0..=1.0).contains(p);
        let (right, name) = match self {
            Self::Flag {
                flag,
                missing,
                states: of,
            } => {
                let right = kind(flag) == Some(Kind::Flag) && of.len() == states;
                (right && of.iter().chain([missing]).all(share), flag)
            }
            Self::Choice {
                choice,
                words,
                missing,
                states: of,
            } => {
                let known = words
                    .iter()
                    .all(|word| catalogue::read_value(choice, word).is_ok());
                let whole = of
                    .iter()
                    .all(|row| row.len() == words.len() && sums_to_one(row));
                let right = matches!(kind(choice), Some(Kind::Choice(_)));
                (
                    right && known && whole && of.len() == states && share(missing),
                    choice,
                )
            }
            Self::Number {
                number,
                step,
                missing,
                states: of,
            } => {
                let whole = of.iter().all(|row| {
                    let within = |s: Spread| s.sd > 0.0 && s.within.0 < s.within.1;
                    row.is_empty() || spread_of(row).is_some_and(within)
                });
                let right = matches!(kind(number), Some(Kind::Number(..))) && *step > 0.0;
                (
                    right && whole && of.len() == states && share(missing),
                    number,
                )
            }
            Self::Said { said, states: of } => (of.len() == states && of.iter().all(share), said),
        };
        match right {
            true => Ok(()),
            false => Err(format!(
                "{name}: no field of that kind, or not {states} states with sound chances"
            )),
        }
    }

    fn draw(&self, state: usize, seen: &mut Seen, rng: &mut impl Rng) {
        let (field, value) = match self {
            Self::Flag {
                flag,
                missing,
                states,
            } => {
                let yes = rng.random_bool(at(states, state));
                let value = if yes { "yes" } else { "no" };
                (flag, (!rng.random_bool(*missing)).then(|| value.into()))
            }
            Self::Choice {
                choice,
                words,
                missing,
                states,
            } => {
                let word = states.get(state).map(|row| pick(row, rng));
                let word = word.and_then(|place| words.get(place)).cloned();
                (
                    choice,
                    word.filter(|_| !rng.random_bool(*missing)).map(Json::from),
                )
            }
            Self::Number {
                number,
                step,
                missing,
                states,
            } => {
                let spread = states.get(state).and_then(|row| spread_of(row));
                let value = spread.map(|spread| spread.draw(*step, 1.0, rng).into());
                (number, value.filter(|_| !rng.random_bool(*missing)))
            }
            Self::Said { said, states } => {
                let speaks = rng.random_bool(at(states, state));
                if let Some(concepts) = seen.said.as_mut().filter(|_| speaks) {
                    concepts.insert(said.clone());
                }
                return;
            }
        };
        if let Some(value) = value {
            seen.values.insert(field.clone(), value);
        }
    }

    /// The chance that a state shows what is seen.
    fn chance(&self, state: usize, seen: &Seen) -> f64 {
        let shown = |field: &String, missing: f64, of: &dyn Fn(&Json) -> f64| {
            let value = seen.values.get(field);
            value.map_or(missing, |value| (1.0 - missing) * of(value))
        };
        match self {
            Self::Flag {
                flag,
                missing,
                states,
            } => {
                let yes = at(states, state);
                shown(flag, *missing, &|value| {
                    if value == "yes" { yes } else { 1.0 - yes }
                })
            }
            Self::Choice {
                choice,
                words,
                missing,
                states,
            } => shown(choice, *missing, &|value| {
                let place = words.iter().position(|word| value == word.as_str());
                let row = states.get(state).map(Vec::as_slice).unwrap_or_default();
                place.map_or(0.0, |place| at(row, place))
            }),
            Self::Number {
                number,
                step,
                missing,
                states,
            } => match states.get(state).and_then(|row| spread_of(row)) {
                None => f64::from(u8::from(!seen.values.contains_key(number))),
                Some(spread) => shown(number, *missing, &|value| {
                    value
                        .as_f64()
                        .map_or(0.0, |value| spread.chance(value, *step, 1.0))
                }),
            },
            Self::Said { said, states } => match &seen.said {
                None => 1.0,
                Some(concepts) if concepts.contains(said) => at(states, state),
                Some(_) => 1.0 - at(states, state),
            },
        }
    }
}

impl Described {
    /// Reads a description (TOML).
    ///
    /// # Errors
    /// What is none, and what in it cannot be drawn, by its name.
    pub fn read(text: &str) -> Result<Self, Fail> {
        let read: Self = toml::from_str(text)?;
        if !(0.0..=1.0).contains(&read.spoken) || !(2..=64).contains(&read.disease.len()) {
            return Err("spoken is a share, and there are 2 to 64 diseases".into());
        }
        if let Some(name) = read
            .always
            .keys()
            .find(|name| catalogue::field(name).is_none())
        {
            return Err(format!("always: there is no field {name:?}").into());
        }
        for factor in &read.factor {
            let states = factor.usual.len();
            let urgency = factor.urgency.is_empty() || factor.urgency.len() == states;
            if !sums_to_one(&factor.usual) || !urgency {
                return Err(format!(
                    "factor {}: chances that make one, and an urgency of each state or of none",
                    factor.name
                )
                .into());
            }
            for shows in &factor.shows {
                let wrong = |why| format!("factor {}: {why}", factor.name);
                shows.check(states).map_err(wrong)?;
            }
        }
        for disease in &read.disease {
            for (name, chances) in &disease.makes {
                let factor = read.factor.iter().find(|factor| factor.name == *name);
                if !factor.is_some_and(|f| f.usual.len() == chances.len() && sums_to_one(chances)) {
                    return Err(format!(
                        "disease {}: {name} is no factor, or its chances are not of its states",
                        disease.name
                    )
                    .into());
                }
            }
            if disease.weight.is_nan() || disease.weight <= 0.0 {
                return Err(format!("disease {}: a weight is above nought", disease.name).into());
            }
        }
        for language in LANGUAGES {
            let phrases = read.phrases.get(language);
            let few = read.concepts().find(|concept| {
                phrases
                    .and_then(|all| all.get(*concept))
                    .is_none_or(|said| said.len() < 6)
            });
            if let Some(concept) = few {
                return Err(format!("{language} has too few phrases for {concept}").into());
            }
        }
        Ok(read)
    }

    fn concepts(&self) -> impl Iterator<Item = &str> {
        let shows = self.factor.iter().flat_map(|factor| &factor.shows);
        shows.filter_map(|shows| match shows {
            Shows::Said { said, .. } => Some(said.as_str()),
            Shows::Flag { .. } | Shows::Choice { .. } | Shows::Number { .. } => None,
        })
    }

    /// The diseases.
    pub fn labels(&self) -> Vec<Label> {
        let label = |disease: &Disease| Label {
            name: disease.name.clone(),
            icd11: disease.icd11.clone(),
        };
        self.disease.iter().map(label).collect()
    }

    /// Case `n` of a seed, whatever was drawn before.
    pub fn draw(&self, seed: u64, n: u64) -> Case {
        let mut rng = ChaCha8Rng::seed_from_u64(seed ^ 0x3070_0C45);
        rng.set_stream(n);
        let weights: Vec<f64> = self.disease.iter().map(|disease| disease.weight).collect();
        let label = pick(&weights, &mut rng);
        let speaks = rng.random_bool(self.spoken);
        let mut seen = Seen {
            values: BTreeMap::new(),
            said: speaks.then(BTreeSet::new),
        };
        let disease = self.disease.get(label);
        let mut urgency = disease.map_or(Urgency::Green, |disease| disease.urgency);
        for factor in &self.factor {
            let made = disease.and_then(|disease| disease.makes.get(&factor.name));
            let state = pick(made.unwrap_or(&factor.usual), &mut rng);
            urgency = urgency.max(factor.urgency.get(state).copied().unwrap_or(urgency));
            for shows in &factor.shows {
                shows.draw(state, &mut seen, &mut rng);
            }
        }
        let best = self.posterior(&seen);
        let mut findings: Map<String, Json> = seen.values.into_iter().collect();
        let always = self.always.iter();
        findings.extend(always.map(|(name, value)| (name.clone(), value.as_str().into())));
        if let Some(text) = seen
            .said
            .map(|said| self.speak(&said, &mut rng))
            .filter(|t| !t.is_empty())
        {
            findings.insert("text".into(), text.into());
        }
        Case {
            findings: Json::Object(findings),
            label,
            urgency,
            best,
        }
    }

    fn speak(&self, concepts: &BTreeSet<String>, rng: &mut impl Rng) -> String {
        let language = LANGUAGES.get(rng.random_range(0..LANGUAGES.len())).copied();
        let phrases = language.and_then(|language| self.phrases.get(language));
        let mut parts: Vec<String> = Vec::new();
        for concept in concepts {
            let said = phrases.and_then(|all| all.get(concept)).map(Vec::as_slice);
            let said = said.unwrap_or_default();
            if let Some(phrase) = said.get(rng.random_range(0..said.len().max(1))) {
                parts.push(write_down(phrase, &World::LEARNING, rng));
            }
        }
        for i in (1..parts.len()).rev() {
            parts.swap(i, rng.random_range(0..=i));
        }
        parts.join(
            [", ", " ", ". "]
                .get(rng.random_range(0..3))
                .copied()
                .unwrap_or(", "),
        )
    }

    /// P(disease, urgency | seen), by Bayes: factors are independent given the disease.
    fn posterior(&self, seen: &Seen) -> Posterior {
        let explained: Vec<Vec<f64>> = self
            .factor
            .iter()
            .map(|factor| {
                let of = |state| factor.shows.iter().map(|s| s.chance(state, seen)).product();
                (0..factor.usual.len()).map(of).collect()
            })
            .collect();
        let mut differential = Vec::new();
        // At most green, at most yellow, at most pink.
        let mut at_most = [0.0; 3];
        let all = [Urgency::Green, Urgency::Yellow, Urgency::Pink];
        for disease in &self.disease {
            let within = |limit: Urgency| -> f64 {
                let factors = self
                    .factor
                    .iter()
                    .zip(&explained)
                    .map(|(factor, explains)| {
                        let chances = disease.makes.get(&factor.name).unwrap_or(&factor.usual);
                        let states = chances.iter().zip(explains).enumerate();
                        let inside = states.filter(|(state, _)| {
                            factor
                                .urgency
                                .get(*state)
                                .is_none_or(|urgency| *urgency <= limit)
                        });
                        inside
                            .map(|(_, (chance, explains))| chance * explains)
                            .sum::<f64>()
                    });
                let alone = f64::from(u8::from(disease.urgency <= limit));
                alone * disease.weight * factors.product::<f64>()
            };
            differential.push(within(Urgency::Pink));
            for (sum, limit) in at_most.iter_mut().zip(all) {
                *sum += within(limit);
            }
        }
        let total = differential.iter().sum::<f64>().max(f64::MIN_POSITIVE);
        let [green, yellow, _] = at_most.map(|sum| sum / total);
        Posterior {
            differential: differential.iter().map(|p| (p / total) as f32).collect(),
            urgency: [green, yellow - green, 1.0 - yellow].map(|p| p.clamp(0.0, 1.0) as f32),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MATERNAL: &str = include_str!("../../modules/maternal.toml");

    /// What is drawn is what the posterior says: of patients to whom it gives a chance of about so much,
    /// about so many have the disease and deserve pink.
    #[test]
    fn the_posterior_of_mothers_is_that_of_how_they_are_drawn() {
        let described = Described::read(MATERNAL).unwrap();
        let (mut said, mut was, mut pink, mut pinks) = (0.0, 0.0, 0.0, 0.0);
        let labels = described.labels().len();
        let mut by_label = vec![(0.0, 0.0); labels];
        let cases = 20_000;
        for n in 0..cases {
            let case = described.draw(7, n);
            assert_eq!(case.best.differential.len(), labels);
            let sum: f32 = case.best.differential.iter().sum();
            assert!((sum - 1.0).abs() < 1e-4 && case.best.differential[case.label] > 0.0);
            let (top, chance) = case
                .best
                .differential
                .iter()
                .enumerate()
                .max_by(|a, b| a.1.total_cmp(b.1))
                .unwrap();
            said += f64::from(*chance);
            was += f64::from(u8::from(top == case.label));
            pink += f64::from(case.best.urgency[2]);
            pinks += f64::from(u8::from(case.urgency == Urgency::Pink));
            for (at, chance) in case.best.differential.iter().enumerate() {
                by_label[at].0 += f64::from(*chance);
            }
            by_label[case.label].1 += 1.0;
        }
        let near = |a: f64, b: f64| (a - b).abs() < 0.012 * cases as f64;
        assert!(near(said, was), "the first rank: {said} {was}");
        assert!(near(pink, pinks), "pink: {pink} {pinks}");
        for (said, was) in by_label {
            assert!((said - was).abs() < 4.0 * was.sqrt() + 1.0, "{said} {was}");
        }
        assert_eq!(described.draw(7, 3).findings, described.draw(7, 3).findings);
    }

    #[test]
    fn a_description_that_cannot_be_drawn_is_refused_by_its_name() {
        for (from, to, why) in [
            ("weight = 2.5\n", "weight = 0.0\n", "a weight"),
            ("weight = 2.5\n", "weight = nan\n", "a weight"),
            (
                "usual = [0.15, 0.65, 0.2]",
                "usual = [0.15, 0.65, 0.3]",
                "factor age",
            ),
            (
                "flag = \"severe_headache\"",
                "flag = \"severe_headaches\"",
                "factor head",
            ),
            (
                "flag = \"severe_headache\"",
                "flag = \"urine_protein\"",
                "factor head",
            ),
            (
                "protein = [0.04, 0.21, 0.75]",
                "protein = [0.04, 0.96]",
                "disease Eclampsia",
            ),
            (
                "protein = [0.04, 0.21, 0.75]",
                "proteins = [0.04, 0.21, 0.75]",
                "disease Eclampsia",
            ),
            (
                "words = [\"none\", \"trace\", \"one\", \"two\", \"three\"]",
                "words = [\"none\", \"trace\", \"one\", \"two\", \"four\"]",
                "factor protein",
            ),
            (
                "said = \"sight\"",
                "said = \"sights\"",
                "too few phrases for sights",
            ),
            (
                "[112.0, 10.0, 84, 138]",
                "[112.0, 0.0, 84, 138]",
                "factor pressure",
            ),
            ("maternal = \"yes\"", "mother = \"yes\"", "no field"),
        ] {
            assert!(MATERNAL.contains(from), "{from}");
            let said = Described::read(&MATERNAL.replacen(from, to, 1))
                .unwrap_err()
                .to_string();
            assert!(said.contains(why), "{said}");
        }
    }
}
