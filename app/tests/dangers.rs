//! For every pink rule of the pack: one phone says what makes the rule fire, another that has not
//! heard of it says, later by its clock, something that would clear the rule. The last writer would
//! win over the danger; here it never goes without a word.

use std::collections::BTreeMap;

use clinical::{AgeGroup, FindingValue, Profile, Urgency};
use inference::findings::Findings;
use inference::rules::{FindingKind, FindingSpec, RulePack};
use protocol::{CaseId, DeviceKeys};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use record::{Case, Entry};

type Values = BTreeMap<String, FindingValue>;

/// Tries until a rule must have fired.
const DRAWS: usize = 200_000;

struct Patient<'a> {
    pack: &'a RulePack,
    profile: Profile,
    group: AgeGroup,
    age: f64,
}

impl Patient<'_> {
    fn fires(&self, rule: &str, values: &Values) -> bool {
        let unit = match self.group {
            AgeGroup::Infant => "age_days",
            AgeGroup::Child | AgeGroup::Mother | AgeGroup::Adult => "age_months",
        };
        let ages = BTreeMap::from([(unit.to_owned(), self.age)]);
        let findings = Findings::new(values.clone(), String::new(), &ages);
        let fired = self
            .pack
            .evaluate(self.profile, &findings.ok().unwrap())
            .fired;
        fired
            .iter()
            .any(|outcome| outcome.rule == rule && outcome.urgency == Urgency::Pink)
    }

    /// As little as makes the rule fire, of what was drawn.
    fn reduced(&self, rule: &str, mut values: Values) -> Values {
        for name in values.keys().cloned().collect::<Vec<_>>() {
            let calm = match values[&name] {
                FindingValue::Yes => FindingValue::No,
                _ => FindingValue::Unknown,
            };
            let tried = values.clone().into_iter().chain([(name, calm)]).collect();
            if self.fires(rule, &tried) {
                values = tried;
            }
        }
        values
    }
}

fn draw(spec: &FindingSpec, rng: &mut ChaCha8Rng) -> FindingValue {
    match &spec.kind {
        FindingKind::Flag if rng.random_range(0..3) == 0 => FindingValue::Yes,
        FindingKind::Flag => FindingValue::No,
        FindingKind::Number { min, max, .. } => {
            FindingValue::Number(rng.random_range(*min..=*max).round())
        }
        FindingKind::Choice(words) => {
            FindingValue::Text(words[rng.random_range(0..words.len())].clone())
        }
    }
}

/// What somebody else might say instead.
fn others(spec: &FindingSpec) -> Vec<FindingValue> {
    match &spec.kind {
        FindingKind::Flag => vec![FindingValue::No],
        FindingKind::Number { min, max, .. } => (0..=20)
            .map(|i| FindingValue::Number((min + (max - min) * f64::from(i) / 20.0).round()))
            .collect(),
        FindingKind::Choice(words) => words
            .iter()
            .map(|word| FindingValue::Text(word.clone()))
            .collect(),
    }
}

fn entry(name: &str, value: &FindingValue) -> Entry {
    Entry::Finding {
        name: name.to_owned(),
        value: value.clone(),
    }
}

/// The worker says the one, the clinic apart from it the other, twenty years later by its clock.
fn merged(
    values: &Values,
    name: &str,
    danger: &FindingValue,
    other: &FindingValue,
) -> (FindingValue, bool) {
    let [worker, clinic] = [1, 2].map(|n| DeviceKeys::from_seed([n; 32]));
    let begin: Vec<_> = values
        .iter()
        .filter(|(n, _)| *n != name)
        .map(|(n, value)| entry(n, value))
        .collect();
    let mut case = Case::new(CaseId([1; 16]));
    let first = case
        .add(
            &[begin, vec![Entry::Note("seen".into())]].concat(),
            &worker,
            &[1; 16],
            1_800_000_000,
        )
        .unwrap();
    let mut there = Case::new(CaseId([1; 16]));
    there.apply(&first).unwrap();
    case.add(&[entry(name, danger)], &worker, &[1; 16], 1_800_000_100)
        .unwrap();
    let apart = there
        .add(&[entry(name, other)], &clinic, &[2; 16], 2_430_000_000)
        .unwrap();
    case.apply(&apart).unwrap();
    let view = case.view();
    let state = &view.findings[name];
    (state.value.clone(), state.disputed)
}

#[test]
fn no_danger_of_any_pink_rule_is_lost_to_the_last_writer() {
    let pack = RulePack::built_in().unwrap();
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let mut dangers = 0;
    let groups = AgeGroup::ALL.into_iter();
    for (profile, group) in groups.flat_map(|group| Profile::ALL.map(|profile| (profile, group))) {
        let questions = pack.read_by_rules(profile, group);
        for rule in pack
            .rules(profile, group)
            .filter(|rule| rule.urgency == Urgency::Pink)
        {
            let drawn = (0..DRAWS).find_map(|_| {
                let age = f64::from(match group {
                    AgeGroup::Infant => rng.random_range(0..60),
                    AgeGroup::Child => rng.random_range(2..60),
                    AgeGroup::Mother | AgeGroup::Adult => rng.random_range(180..500),
                });
                let patient = Patient {
                    pack: &pack,
                    profile,
                    group,
                    age,
                };
                let draws = |spec: &&FindingSpec| !spec.id.starts_with("age_");
                let mut values: Values = questions
                    .iter()
                    .filter(|s| draws(s))
                    .map(|spec| (spec.id.clone(), draw(spec, &mut rng)))
                    .collect();
                if group == AgeGroup::Mother {
                    values.insert("maternal".into(), FindingValue::Yes);
                }
                patient
                    .fires(&rule.id, &values)
                    .then_some((patient, values))
            });
            let (patient, values) = drawn.unwrap_or_else(|| panic!("rule {} never fired", rule.id));
            let values = patient.reduced(&rule.id, values);
            let mut examples = 0;
            for (name, danger) in &values {
                let Some(spec) = pack
                    .finding(name)
                    .filter(|_| *danger != FindingValue::Unknown)
                else {
                    continue;
                };
                let said_instead = |other: &FindingValue| {
                    values
                        .clone()
                        .into_iter()
                        .chain([(name.clone(), other.clone())])
                        .collect()
                };
                let clears = others(spec)
                    .into_iter()
                    .find(|other| !patient.fires(&rule.id, &said_instead(other)));
                let Some(other) = clears.filter(|other| other != danger) else {
                    continue;
                };
                let (value, disputed) = merged(&values, name, danger, &other);
                let stands = patient.fires(&rule.id, &said_instead(&value));
                let (said, instead) = (danger.words(), other.words());
                assert!(
                    disputed,
                    "{}: {name} is {said} and {instead}, and nobody is asked",
                    rule.id
                );
                assert!(
                    stands
                        || !matches!(spec.kind, FindingKind::Flag)
                        || *danger != FindingValue::Yes,
                    "{}: {name}",
                    rule.id
                );
                examples += 1;
            }
            assert!(examples > 0, "no example for rule {}", rule.id);
            dangers += examples;
        }
    }
    assert!(dangers > 60, "{dangers}");
}
