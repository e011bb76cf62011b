//! Nothing lowers what the guideline says: random patients, random models with random thresholds,
//! random packs that run beside the guideline or in its place. A few thousand in the test command, five
//! million a night (`CASES=5000000`).

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::common::tiny;
use clinical::{AgeGroup, FindingValue, Profile, Urgency};
use inference::model::{Calibration, TriageModel};
use inference::pictures::SUBJECTS;
use inference::rules::{BUILT_IN, FindingKind};
use inference::{Findings, RulePack, assess};
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use teach::net::Net;
use teach::publish::{self, Stored};

/// Models whose weights and thresholds mean nothing.
fn models(count: u64) -> Vec<TriageModel> {
    let (course, _) = tiny(0);
    let model = |seed| {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let net = Net::new(course.shape(), &mut rng).unwrap();
        let mut beside = publish::uncalibrated();
        let mut share = || rng.random_range(0.0..1.0f32);
        beside.calibration = Calibration {
            yellow_above: share(),
            pink_above: share(),
            abstain_below: share() / 4.0,
            ..beside.calibration
        };
        let file = publish::write(&course, &net, Stored::Q4, &beside).unwrap();
        TriageModel::load("random", &file).unwrap()
    };
    (0..count).map(model).collect()
}

/// Packs whose rules were turned round: colours mixed up, conditions denied, rules left out.
fn packs(count: u64) -> Vec<RulePack> {
    let guideline = RulePack::built_in().unwrap();
    let pack = |seed| {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut text = String::new();
        for (at, part) in BUILT_IN.split("[[rule]]").enumerate() {
            if at > 0 && rng.random_bool(0.3) {
                // The rule is left out, and what stands after it is kept.
                text += part.find("\n[[").map_or("", |at| &part[at..]);
                continue;
            }
            let colour = ["green", "yellow"][usize::from(rng.random_bool(0.5))];
            let part = match at > 0 && rng.random_bool(0.7) {
                true => part.replacen("urgency = \"pink\"", &format!("urgency = \"{colour}\""), 1),
                false => part.to_owned(),
            };
            let part = match at > 0 && rng.random_bool(0.3) {
                true => part.replacen("when = \"", "when = \"not convulsing_now and ", 1),
                false => part,
            };
            text += if at > 0 { "[[rule]]" } else { "" };
            text += &part;
        }
        let text = match rng.random_bool(0.5) {
            true => text.replacen("id = \"who-child\"", "id = \"of-a-district\"", 1),
            false => text,
        };
        let own = RulePack::parse(&text).ok()?;
        Some(RulePack::side_by_side(&guideline, [Arc::new(own)]))
    };
    let packs: Vec<_> = (0..count).filter_map(pack).collect();
    assert!(
        packs.len() > count as usize / 3,
        "{} of {count} can be read",
        packs.len()
    );
    packs
}

fn draw(pack: &RulePack, rng: &mut impl Rng) -> Findings {
    let group = AgeGroup::ALL[rng.random_range(0..4)];
    let mut values = BTreeMap::new();
    for spec in pack.findings() {
        let value = match (&spec.kind, rng.random_range(0..6u8)) {
            (_, 0..3) => continue,
            (_, 3) => FindingValue::Unknown,
            (FindingKind::Flag, 4) => FindingValue::No,
            (FindingKind::Flag, _) if rng.random_bool(0.3) => FindingValue::Yes,
            (FindingKind::Flag, _) => FindingValue::No,
            (FindingKind::Number { min, max, .. }, _) => {
                FindingValue::Number(rng.random_range(*min..*max).round().max(*min))
            }
            (FindingKind::Choice(words), _) => {
                FindingValue::Text(words[rng.random_range(0..words.len())].clone())
            }
        };
        values.insert(spec.id.clone(), value);
    }
    let mother = group == AgeGroup::Mother;
    values.insert(
        "maternal".into(),
        if mother {
            FindingValue::Yes
        } else {
            FindingValue::No
        },
    );
    if !mother {
        values.retain(|name, _| name != "gestation_weeks" && name != "days_since_delivery");
    }
    let (unit, age) = match group {
        AgeGroup::Infant => ("age_days", rng.random_range(0..60)),
        AgeGroup::Child => ("age_months", rng.random_range(2..60)),
        AgeGroup::Mother | AgeGroup::Adult => ("age_months", rng.random_range(160..700)),
    };
    let ages = BTreeMap::from([(unit.to_owned(), f64::from(age))]);
    let findings = Findings::new(values, "drank kerosene".into(), &ages).unwrap();
    // What pictures were read as, whatever it is.
    let read = SUBJECTS.iter().filter(|_| rng.random_bool(0.3));
    let read: Vec<_> = read.map(|s| (s.name, s.readings)).collect();
    let pick = |(name, readings): (&'static str, &'static [&'static str])| {
        (name, readings[rng.random_range(0..readings.len())])
    };
    findings.with_pictures(read.into_iter().map(pick).collect())
}

#[test]
fn nothing_lowers_what_the_guideline_says() {
    let cases = std::env::var("CASES")
        .ok()
        .and_then(|cases| cases.parse().ok())
        .unwrap_or(6_000u64);
    let (guideline, models, packs) = (RulePack::built_in().unwrap(), models(12), packs(24));
    let lowered = |n: u64| {
        let mut rng = ChaCha8Rng::seed_from_u64(n);
        let findings = draw(&guideline, &mut rng);
        let profile = Profile::ALL[rng.random_range(0..2)];
        let pack = &packs[rng.random_range(0..packs.len())];
        let model = &models[rng.random_range(0..models.len())];
        let least = guideline.evaluate(profile, &findings);
        let said = assess(&findings, pack, profile, [model]);
        let pink = least.urgency() == Urgency::Pink;
        assert!(said.urgency >= said.rule_urgency, "{n}: a model lowered");
        assert!(
            !pink || said.urgency == Urgency::Pink,
            "{n}: a pack lowered"
        );
        assert!(
            !pink || !said.green_offered,
            "{n}: green is offered beside pink"
        );
        // The control: by its own rules alone, such a pack does lower.
        pink && pack.evaluate_alone(profile, &findings).urgency() < Urgency::Pink
    };
    let lowered = (0..cases).into_par_iter().filter(|n| lowered(*n)).count();
    let pinks = cases as usize / 100;
    assert!(
        lowered > pinks,
        "{lowered} of {cases}: these packs are no attack"
    );
}
